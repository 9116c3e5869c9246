//! Dead letters are listed, shown, repaired and sent again once; the repaired ones are counted and the books balance.

use std::io::Write;
use std::process::Stdio;

use base64::Engine as _;
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::rdkafka::consumer::{BaseConsumer, Consumer};
use millrace_connectors::kafka::rdkafka::message::Headers;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Up, audit, command, page_view, post, query, run, said, wait_for};

/// Partitions of `user_events`.
const PARTITIONS: usize = 4;

/// A page view whose path is a number: the contract wants a text.
fn wrong_type(n: usize) -> String {
    let mut record: Value = serde_json::from_str(&page_view(&format!("wrong-{n}"))).expect("JSON");
    record["path"] = json!(n);
    record.to_string()
}

/// Headers of the records of `user_events` that were sent again.
fn redriven(kafka: &str) -> Vec<Vec<(String, String)>> {
    let mut config = ClientSettings::new(kafka).consumer("redrive-test");
    config.set("auto.offset.reset", "earliest").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&["user_events"]).expect("subscribed");
    let (mut found, mut ends) = (Vec::new(), std::collections::BTreeSet::new());
    let start = std::time::Instant::now();
    while ends.len() < PARTITIONS && start.elapsed() < PATIENCE {
        match consumer.poll(std::time::Duration::from_secs(1)) {
            Some(Ok(message)) => {
                let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                let headers = headers.map(|header| {
                    (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
                });
                let headers: Vec<_> = headers.collect();
                if headers.iter().any(|(name, _)| name == "millrace.redriven.id") {
                    found.push(headers);
                }
            }
            Some(Err(millrace_connectors::kafka::rdkafka::error::KafkaError::PartitionEOF(partition))) => {
                ends.insert(partition);
            }
            _ => {}
        }
    }
    found
}

#[test]
fn letters_are_repaired_and_sent_again_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let up = Up::start(dir.path(), &["--no-simulate"]);
    let values: Vec<String> = (0..30)
        .map(|n| if n % 3 == 0 { wrong_type(n) } else { page_view(&format!("good-{n}")) })
        .chain(["not json at all".to_owned()])
        .collect();
    up.produce("user_events", values.iter().map(|value| Some(value.as_bytes())));
    wait_for("eleven dead letters", || {
        let rows = up.query("SELECT dead_letter_id FROM dead_letters");
        (rows.len() == 11).then_some(())
    });
    let letters = |words: &[&str]| said(dir.path(), &[&["dead-letters"], words].concat());
    let listed = letters(&["list", "--format", "json", "--code", "not_json", "--since", "1h"]);
    let one: Value = serde_json::from_str(listed.trim()).expect("one line");
    let id = one["dead_letter_id"].as_str().expect("an id");
    assert!(letters(&["list", "--reason", "QUANTITY"]).contains("0 of 0"), "nothing is about a quantity");
    let shown = letters(&["show", id]);
    assert!(shown.contains("not json at all") && shown.contains("topic user_events"), "{shown}");
    assert!(letters(&["show", id, "--form", "hex"]).contains("6e 6f 74 20 6a 73 6f 6e"), "its bytes");

    // Unrepaired, they stay; nothing is sent by a command that was not told which.
    let answer = letters(&["redrive", "--all"]);
    assert!(answer.starts_with("0 sent again") && answer.contains("11 left: still breaking"), "{answer}");
    assert_eq!(run(dir.path(), &["dead-letters", "redrive"]).status.code(), Some(2));

    // Many with a patch: first dry, then a wrong one, then the right one.
    let patch = r#"[{"op":"replace","path":"/path","value":"/repaired"}]"#;
    let dry = letters(&["repair", "--code", "wrong_type", "--patch", patch, "--dry-run"]);
    assert!(dry.contains("10 would be repaired") && dry.contains("/repaired"), "{dry}");
    assert_eq!(query(dir.path(), "SELECT count(*) AS n FROM dead_letters")[0]["n"], 11);
    let wrong = run(
        dir.path(),
        &["dead-letters", "repair", "--code", "wrong_type", "--patch", r#"[{"op":"remove","path":"/event_id"}]"#],
    );
    let told = String::from_utf8_lossy(&wrong.stderr);
    assert!(!wrong.status.success() && told.contains("would still break its contract"), "{told}");
    assert!(letters(&["repair", "--code", "wrong_type", "--patch", patch]).starts_with("10 repaired"));

    // One from standard input.
    let mut child = command(dir.path())
        .args(["dead-letters", "repair", id, "--value", "-", "--by", "ada"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("its input").write_all(page_view("by-hand").as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ended");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(letters(&["show", id]).contains("by ada: replaced from -"));
    assert_eq!(letters(&["show", id, "--form", "raw", "--received"]), "not json at all");

    // Sent once, at a rate, and not twice.
    assert!(letters(&["redrive", "--all", "--dry-run"]).starts_with("11 would be sent again"));
    let started = std::time::Instant::now();
    let answer = letters(&["redrive", "--all", "--rate", "5", "--by", "ada"]);
    assert!(answer.starts_with("11 sent again"), "{answer}");
    assert!(started.elapsed().as_secs_f64() >= 2.0, "11 records at 5 a second take two seconds and more");
    let again = letters(&["redrive", "--all"]);
    assert!(again.starts_with("0 sent again") && again.contains("11 left: sent before"), "{again}");
    assert!(letters(&["redrive", id, "--force"]).starts_with("1 sent again"));
    let sent = redriven(&up.kafka);
    assert_eq!(sent.len(), 12, "{sent:?}");
    let of_one: Vec<_> =
        sent.iter().filter(|headers| headers.contains(&("millrace.redriven.id".into(), id.into()))).collect();
    assert_eq!(of_one.len(), 2);
    let attempts = ["1", "2"].map(|attempt| ("millrace.redriven.attempt".to_owned(), attempt.to_owned()));
    assert!(attempts.iter().all(|attempt| of_one.iter().any(|headers| headers.contains(attempt))), "{of_one:?}");
    assert!(sent.iter().any(|headers| headers.contains(&("millrace.redriven.by".into(), "ada".into()))));
    wait_for("the store knows what was sent", || letters(&["list", "--open"]).contains("0 of 0").then_some(()));
    drop(up.stop());
    // Twelve records came again; the one sent twice has the same event id, so it is counted once.
    let audit = audit(dir.path());
    assert_eq!(audit["facts"]["streams"]["user_events"]["records"], 31 + 12);
    let counted = query(dir.path(), "SELECT sum(records) AS n FROM ledger WHERE stream = 'user_events'");
    assert_eq!(counted[0]["n"], 20 + 11, "{counted:?}");
    let kept = query(dir.path(), "SELECT value_base64 FROM dead_letters WHERE code = 'not_json'");
    let kept = base64::engine::general_purpose::STANDARD.decode(kept[0]["value_base64"].as_str().expect("bytes"));
    assert_eq!(kept.expect("base64"), b"not json at all");
}

#[test]
fn letters_are_repaired_and_sent_again_on_the_page() {
    let dir = tempfile::tempdir().expect("a folder");
    let up = Up::start(dir.path(), &["--no-simulate"]);
    let values: Vec<String> = (0..4).map(wrong_type).chain([page_view("good")]).collect();
    up.produce("user_events", values.iter().map(|value| Some(value.as_bytes())));
    let ask = |path: &str| {
        let (status, body) = up.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str::<Value>(&body).expect("JSON")
    };
    let say = |path: &str, body: Value| {
        let (status, answer) = post(&up.page, path, &body);
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    };
    let listed = wait_for("four letters", || {
        let listed = ask("/v1/dead-letters?code=wrong_type");
        (listed["matching"] == 4).then_some(listed)
    });
    let ids: Vec<&str> =
        listed["letters"].as_array().expect("letters").iter().filter_map(|l| l["id"].as_str()).collect();
    // One by hand: who edits does not see the visitor, and the visitor is in what is sent.
    let one = ask(&format!("/v1/dead-letters/{}", ids[0].replace('/', "%2F")));
    let text = one["editable"].as_str().expect("a text").to_owned();
    assert!(text.contains("⟦1⟧") && !text.contains("visitor-1"), "{text}");
    let path = text.split("\"path\":").nth(1).and_then(|rest| rest.split([',', '}']).next()).expect("a path");
    let edited = text.replace(&format!("\"path\":{path}"), "\"path\":\"/by-hand\"");
    let (repair, redrive) = ("/v1/dead-letters/repair", "/v1/dead-letters/redrive");
    let unchanged = say(repair, json!({"ids": [ids[0]], "value": text, "dry_run": true}));
    assert!(
        unchanged["refused"] == 1 && unchanged.to_string().contains("would still break its contract"),
        "{unchanged}"
    );
    let dry = say(repair, json!({"ids": [ids[0]], "value": edited, "dry_run": true}));
    assert!(dry["repaired"] == 1 && dry.to_string().contains("/by-hand"), "{dry}");
    assert_eq!(
        ask(&format!("/v1/dead-letters/{}", ids[0].replace('/', "%2F")))["repair"],
        Value::Null,
        "nothing is kept"
    );
    say(repair, json!({"ids": [ids[0]], "value": edited, "by": "ada"}));
    // The others with a patch, by filter; what the page does and what the command does is one.
    let patch = json!([{"op": "replace", "path": "/path", "value": "/patched"}]);
    let rest: Vec<&str> = ids[1..].to_vec();
    assert_eq!(say(repair, json!({"ids": rest, "patch": patch, "by": "ada"}))["repaired"], 3);
    assert!(said(dir.path(), &["dead-letters", "show", ids[0]]).contains("by ada: edited on the page"));
    let filter = json!({"code": "wrong_type", "since": "1h"});
    assert_eq!(say(redrive, json!({"filter": filter, "dry_run": true}))["sent"], 4);
    assert_eq!(say(redrive, json!({"filter": filter, "by": "ada"}))["sent"], 4);
    let again = say(redrive, json!({"filter": filter}));
    assert!(again["sent"] == 0 && again.to_string().contains("4 left: sent before"), "{again}");
    assert_eq!(redriven(&up.kafka).len(), 4);
    wait_for("the page knows what was sent", || (ask("/v1/dead-letters?state=sent")["matching"] == 4).then_some(()));
    let one = ask(&format!("/v1/dead-letters/{}", ids[0].replace('/', "%2F")));
    assert_eq!((&one["redrives"][0]["by"], &one["redrives"][0]["repaired"]), (&json!("ada"), &json!(true)));
    drop(up.stop());
    audit(dir.path());
    let visitors =
        query(dir.path(), "SELECT DISTINCT anonymous_id FROM user_events WHERE path IN ('/by-hand', '/patched')");
    assert_eq!(visitors, [json!({"anonymous_id": "visitor-1"})], "what was hidden went back in");
}
