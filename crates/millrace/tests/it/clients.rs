//! Other people's Kafka clients against the running product: what they produce is counted, what they consume are results.

use std::path::Path;

use millrace_broker::testing::kafka_tools::{self, CONSOLE_CONSUMER, CONSOLE_PRODUCER, CONSUMER_GROUPS};
use millrace_broker::testing::python::{self, CLIENTS};

use serde_json::json;

use crate::support::{Up, page_view, wait_for};

/// The jobs of the shipped pipelines, and the one that takes in what is malformed.
const JOBS: [&str; 6] = ["intake", "metrics", "sessions", "fraud", "inventory", "recommendations"];

fn counted(up: &Up) -> u64 {
    let rows = up.query("SELECT coalesce(sum(records), 0) AS n FROM ledger WHERE stream = 'user_events'");
    rows[0]["n"].as_u64().expect("a count")
}

#[test]
#[ignore = "slow suite: starts Apache Kafka's tools"]
fn kafka_tools_produce_consume_and_see_the_lag_of_every_job() {
    let dir = tempfile::tempdir().expect("a folder");
    let up = Up::start(dir.path(), &["--no-simulate"]);
    let lines: String = (0..50).map(|n| page_view(&format!("console-{n}")) + "\n").collect();
    let server = ["--bootstrap-server", &up.kafka];
    let tool = |class: &str, arguments: &[&str], input: &str| {
        kafka_tools::run(class, &[&server, arguments].concat(), input).unwrap_or_else(|why| panic!("{why}"))
    };
    tool(CONSOLE_PRODUCER, &["--topic", "user_events"], &lines);
    let now = &page_view("any")[..];
    let at = serde_json::from_str::<serde_json::Value>(now).expect("JSON")["event_time"].clone();
    let payment = json!({"event_id": "p-1", "event_type": "payment_authorized", "event_time": at, "order_id": "o-1"});
    tool(CONSOLE_PRODUCER, &["--topic", "transactions"], &format!("{payment}\n"));
    let shipment = json!({"event_id": "s-1", "event_type": "stock_received", "event_time": at, "product_id": "p",
        "on_hand_change": 5, "reserved_change": 0});
    tool(CONSOLE_PRODUCER, &["--topic", "inventory_updates"], &format!("{shipment}\n"));
    wait_for("fifty records are counted", || (counted(&up) == 50).then_some(()));
    let out = tool(
        CONSOLE_CONSUMER,
        &["--topic", "ledger", "--from-beginning", "--max-messages", "1", "--isolation-level", "read_committed"],
        "",
    );
    assert!(out.contains("\"stream\":\"user_events\""), "{out}");
    // Every job's lag, by the tool operators use.
    let settled = wait_for("no group lags", || {
        let described = tool(CONSUMER_GROUPS, &["--describe", "--all-groups"], "");
        let lags: Vec<(String, String)> = described
            .lines()
            .filter_map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                (words.len() > 5 && words[0].starts_with("millrace-"))
                    .then(|| (words[0].to_owned(), words[5].to_owned()))
            })
            .collect();
        let all = JOBS.iter().all(|job| lags.iter().any(|(group, _)| *group == format!("millrace-{job}")));
        (all && lags.iter().all(|(_, lag)| lag == "0" || lag == "-")).then_some(lags)
    });
    println!("{} partitions of {} jobs, none lags", settled.len(), JOBS.len());
}

#[test]
#[ignore = "slow suite: installs Python clients"]
fn python_confluent_kafka_produces_and_reads_results() {
    let dir = tempfile::tempdir().expect("a folder");
    let up = Up::start(dir.path(), &["--no-simulate"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python/shop.py");
    let said = python::run(CLIENTS, &script, &[&up.kafka]).unwrap_or_else(|why| panic!("{why}"));
    assert!(said.contains("40 page views counted in the ledger"), "{said}");
}
