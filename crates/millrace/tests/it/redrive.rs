//! Dead letters are listed, shown, repaired and sent again once; the repaired ones are counted and the books balance.

use std::io::Write;
use std::process::Stdio;

use base64::Engine as _;
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::rdkafka::consumer::{BaseConsumer, Consumer};
use millrace_connectors::kafka::rdkafka::message::Headers;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Up, audit, command, page_view, query, run, said, wait_for};

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
