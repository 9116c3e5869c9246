//! `millrace up`: numbers move within seconds, Ctrl-C drains, the next start goes on.

use std::time::{Duration, Instant};

use millrace_connectors::testing::Postgres;
use serde_json::Value;

use crate::support::{Up, audit, wait_for};

/// What the overview's API says.
fn overview(up: &Up) -> Value {
    let (status, body) = up.get("/api/overview");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

fn values(overview: &Value) -> Vec<Value> {
    overview["kpis"].as_array().expect("tiles").iter().map(|tile| tile["value"].clone()).collect()
}

#[test]
fn numbers_move_drain_and_go_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let started = Instant::now();
    let up = Up::start(dir.path(), &["--history", "2m"]);
    let first = wait_for("tiles have values", || {
        let found = values(&overview(&up));
        found.iter().any(|value| value.as_f64().is_some_and(|n| n > 0.0)).then_some(found)
    });
    let moved = wait_for("tiles move", || Some(values(&overview(&up))).filter(|now| *now != first));
    println!("tiles moved {:.1?} after the start of the process: {first:?} -> {moved:?}", started.elapsed());
    let (out, err) = up.stop();
    assert!(out.contains("records simulated") && err.contains("stopping: letting what is on its way"), "{out}{err}");
    assert!(!err.contains("WARN") && !err.contains("ERROR"), "{err}");
    let before = audit(dir.path());

    // The second start goes on: nothing is lost, and more comes.
    let up = Up::start(dir.path(), &[]);
    std::thread::sleep(Duration::from_secs(2));
    drop(up.stop());
    let after = audit(dir.path());
    let records = |audit: &Value| audit["facts"]["streams"]["user_events"]["records"].as_u64().expect("a count");
    assert!(records(&after) > records(&before), "{} then {}", records(&before), records(&after));
}

#[test]
fn stops_by_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    let said = crate::support::said(
        dir.path(),
        &["up", "--for", "2s", "--no-simulate", "--listen", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0"],
    );
    assert!(said.contains("Millrace is running") && said.contains("stopped after"), "{said}");
    assert!(!dir.path().join("running.json").exists());
}

#[test]
fn an_idle_product_keeps_its_state() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path().join("often.toml");
    std::fs::write(&config, "[engine]\nsnapshot_interval = '50ms'\n").expect("settings");
    let config = config.to_str().expect("a path").to_owned();
    let up = Up::start(dir.path(), &["--config", &config, "--no-simulate"]);
    let event = serde_json::json!({
        "event_id": "e1", "event_type": "page_viewed", "event_time": "2026-01-31T09:05:00.000001Z",
        "anonymous_id": "a1", "session_id": "s1", "path": "/",
    });
    up.produce("user_events", [Some(event.to_string().as_bytes())]);
    // Dozens of snapshots become due, and nothing happens between them.
    std::thread::sleep(Duration::from_secs(3));
    let (_, err) = up.stop();
    assert!(!err.contains("WARN") && !err.contains("ERROR"), "{err}");
    audit(dir.path());
}

#[test]
#[ignore = "slow suite: starts PostgreSQL 15"]
fn a_start_waits_for_postgres() {
    let mut postgres = Postgres::start().expect("PostgreSQL 15");
    let url = postgres.create_database("shop").expect("a database");
    postgres.stop();
    // Longer than one try to connect lasts.
    let away = Duration::from_secs(8);
    let waking = std::thread::spawn(move || {
        std::thread::sleep(away);
        postgres.resume().expect("it starts again");
        postgres
    });
    let dir = tempfile::tempdir().expect("a folder");
    let up = Up::start(dir.path(), &["--no-simulate", "--store", &url]);
    assert!(up.started_in >= away, "{:?}", up.started_in);
    let (_, log) = up.stop();
    assert!(log.contains("the start waits for the store"), "{log}");
    drop(waking.join().expect("no panic"));
}
