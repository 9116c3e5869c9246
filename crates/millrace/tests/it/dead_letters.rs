//! A hundred malformed records of ten kinds among good ones: all set aside, complete and with a reason; all good ones counted.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::json;

use crate::support::{Up, audit, page_view, wait_for};

/// Ten kinds, each with the code `dead_letters` gives it.
fn malformed(kind: usize, n: usize) -> (Option<Vec<u8>>, &'static str) {
    let with = |field: &str, value: serde_json::Value| {
        let mut good: serde_json::Value = serde_json::from_str(&page_view(&format!("bad-{kind}-{n}"))).expect("JSON");
        good[field] = value;
        good.to_string().into_bytes()
    };
    match kind {
        0 => (Some(vec![b'{', 0xff, 0xfe, n as u8, b'}']), "not_utf8"),
        1 => (Some(format!("event {n} happened").into_bytes()), "not_json"),
        2 => (Some(with("quantity", json!("three"))), "wrong_type"),
        3 => (Some(format!("{{\"event_id\":\"bad-{n}\"}}").into_bytes()), "missing_field"),
        4 => (Some(with("path", json!("x".repeat((1 << 20) + n)))), "too_large"),
        5 => (Some(with("anonymous_id", json!(null))), "null_field"),
        6 => (Some(with("extra", (0..200).fold(json!(n), |inner, _| json!([inner])))), "too_deep"),
        7 => (Some(with("event_time", json!(format!("yesterday at {n}")))), "bad_time"),
        8 => (Some(with("event_time", json!(format!("22{n:02}-01-01T00:00:00Z")))), "future_time"),
        _ => (if n.is_multiple_of(2) { None } else { Some(b" ".repeat(n)) }, "empty"),
    }
}

#[test]
fn a_hundred_of_ten_kinds_are_kept_and_good_ones_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let up = Up::start(dir.path(), &["--no-simulate"]);
    let mut values: Vec<Option<Vec<u8>>> = Vec::new();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for n in 0..1_000 {
        values.push(Some(page_view(&format!("good-{n}")).into_bytes()));
        if n % 10 == 0 {
            let (value, code) = malformed(n / 100, n / 10 % 10);
            *expected.entry(code.to_owned()).or_default() += 1;
            values.push(value);
        }
    }
    assert_eq!(expected.values().sum::<u64>(), 100);
    up.produce("user_events", values.iter().map(|value| value.as_deref()));
    let found = wait_for("a hundred dead letters", || {
        let rows = up.query("SELECT code, reason, topic, value_base64 FROM dead_letters");
        (rows.len() >= 100).then_some(rows)
    });
    let mut by_code: BTreeMap<String, u64> = BTreeMap::new();
    for row in &found {
        *by_code.entry(row["code"].as_str().expect("a code").to_owned()).or_default() += 1;
        assert!(row["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{row}");
    }
    assert_eq!(by_code, expected);
    // The bytes as they came.
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    let mut kept: Vec<Option<Vec<u8>>> = found.iter().map(|row| row["value_base64"].as_str().map(decode)).collect();
    let mut sent: Vec<Option<Vec<u8>>> = (0..10).flat_map(|kind| (0..10).map(move |n| malformed(kind, n).0)).collect();
    // Times differ between the two makings of a value; everything else is fixed.
    let timeless = |values: &mut Vec<Option<Vec<u8>>>| {
        values
            .retain(|value| value.as_ref().is_none_or(|bytes| !String::from_utf8_lossy(bytes).contains("event_time")));
        values.sort();
    };
    timeless(&mut kept);
    timeless(&mut sent);
    assert_eq!(kept, sent);
    drop(up.stop());
    let audit = audit(dir.path());
    assert_eq!(audit["facts"]["streams"]["user_events"]["records"], 1_100);
    let counted =
        crate::support::query(dir.path(), "SELECT sum(records) AS n FROM ledger WHERE stream = 'user_events'");
    assert_eq!(counted[0]["n"], 1_000, "{counted:?}");
}
