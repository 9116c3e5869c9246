//! Server-sent events: snapshots, changes, resuming, limits, slow readers.

use std::time::Duration;

use millrace_dashboard::Limits;
use serde_json::{Value, json};

use crate::http::{Events, get};
use crate::support::{Stage, now, until};

fn second(at: i64, orders: i64) -> Value {
    let time = |second: i64| millrace_model::Timestamp(second * 1_000_000).to_string();
    json!({
        "window_start": time(at), "window_end": time(at + 1), "store_id": "berlin", "currency": "EUR", "events": 5,
        "page_views": 5, "cart_adds": 0, "orders": orders, "payments_declined": 0, "gross_minor": orders * 1_000,
    })
}

#[tokio::test]
async fn rows_snapshot_then_changes() {
    let stage = Stage::set().await;
    let mut events = Events::open(stage.address(), "/events?tables=vitals,sessions", &[]).await.expect("a stream");
    let snapshot = events.next().await.expect("an event");
    assert_eq!(snapshot.kind, "snapshot");
    assert_eq!(snapshot.data["tables"]["vitals"]["key"], json!(["window_start", "store_id"]));
    assert!(snapshot.data["tables"]["vitals"]["rows"].as_array().map(Vec::len) > Some(500));
    assert!(!snapshot.data.to_string().contains("user-000841"), "masked here too");
    // Many changes of one key close together arrive as its last state.
    let at = now().0 / 1_000_000 + 60;
    for orders in 1..=50 {
        stage.push("vitals", vec![second(at, orders)]).await;
    }
    let mut last = Value::Null;
    let mut pushes = 0;
    while last != json!(50) {
        let delta = events.next_of("delta").await;
        pushes += 1;
        let rows = delta.data["tables"]["vitals"]["rows"].as_array().expect("rows").clone();
        assert_eq!(rows.len(), 1, "only the latest row of a key");
        last = rows[0]["orders"].clone();
        assert!(delta.data["ages_ms"]["vitals"].as_i64() >= Some(0));
    }
    assert!(pushes <= 10, "{pushes} pushes for changes that came together");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn pushes_are_at_most_five_a_second() {
    let stage = Stage::set().await;
    let mut events = Events::open(stage.address(), "/events?tables=vitals", &[]).await.expect("a stream");
    events.next_of("snapshot").await;
    let live = stage.live.clone();
    let pusher = tokio::spawn(async move {
        for orders in 0..200 {
            let rows = vec![second(now().0 / 1_000_000, orders).as_object().expect("an object").clone()];
            let batch = millrace_dashboard::LiveBatch { table: "vitals".into(), rows };
            live.send(batch).await.expect("the dashboard listens");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let began = tokio::time::Instant::now();
    let mut pushes = 0;
    while !pusher.is_finished() {
        // The last change may be told already: then a heartbeat ends the wait.
        pushes += u32::from(events.next().await.expect("an event").kind == "delta");
    }
    let seconds = began.elapsed().as_secs_f64();
    assert!(f64::from(pushes) <= seconds * 5.0 + 2.0, "{pushes} pushes in {seconds} s");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn a_stream_resumes_where_it_was() {
    let stage = Stage::set().await;
    let mut events = Events::open(stage.address(), "/events?tables=vitals", &[]).await.expect("a stream");
    let id = events.next_of("snapshot").await.id;
    drop(events);
    stage.push("vitals", vec![second(now().0 / 1_000_000 + 5, 7)]).await;
    let resumed = [("last-event-id", id.as_str())];
    let mut events = Events::open(stage.address(), "/events?tables=vitals", &resumed).await.expect("a stream");
    let delta = events.next().await.expect("an event");
    assert_eq!((delta.kind.as_str(), &delta.data["tables"]["vitals"]["rows"][0]["orders"]), ("delta", &json!(7)));
    // An id of another run is of no use: everything again.
    let mut events = Events::open(stage.address(), "/events?tables=vitals", &[("last-event-id", "other-5")])
        .await
        .expect("a stream");
    assert_eq!(events.next().await.expect("an event").kind, "snapshot");
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn page_sections_change_in_place() {
    let stage = Stage::set().await;
    let mut events = Events::open(stage.address(), "/events?page=fraud", &[]).await.expect("a stream");
    let snapshot = events.next_of("snapshot").await;
    let known = snapshot.data["sections"]["signals"]["set"].as_array().map_or(0, Vec::len);
    assert!(known > 10, "{known}");
    stage.push("fraud_signals", vec![crate::api::signal("card_token_aaaaaaaaaaaa", 5)]).await;
    let delta = events.next_of("delta").await;
    let signals = &delta.data["sections"]["signals"];
    assert_eq!(signals["at"], "start", "the newest is first: {signals}");
    let html = signals["set"][0][1].as_str().expect("HTML");
    assert!(html.contains("pay-0004") && html.contains("card…aaaa"), "{html}");
    let key = signals["set"][0][0].clone();
    // It grows: the same line, changed.
    stage.push("fraud_signals", vec![crate::api::signal("card_token_aaaaaaaaaaaa", 12)]).await;
    let delta = events.next_of("delta").await;
    let set = delta.data["sections"]["signals"]["set"].as_array().expect("changes").clone();
    assert_eq!((set.len(), &set[0][0]), (1, &key));
    assert!(set[0][1].as_str().is_some_and(|html| html.contains("pay-0011")));
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn silence_is_broken_by_heartbeats() {
    let limits = Limits { sse_heartbeat_ms: 100, ..Limits::default() };
    let stage = Stage::with(0, limits).await;
    let mut events = Events::open(stage.address(), "/events?page=stock", &[]).await.expect("a stream");
    events.next_of("snapshot").await;
    for _ in 0..3 {
        let beat = events.next().await.expect("an event");
        assert_eq!((beat.kind.as_str(), &beat.data["live"]), ("heartbeat", &json!(true)));
    }
    stage.dashboard.shutdown().await;
    assert!(events.next().await.is_none(), "a shutdown ends the stream");
}

#[tokio::test]
async fn places_are_limited_and_given_back() {
    let limits = Limits { sse_clients_max: 2, sse_heartbeat_ms: 100, ..Limits::default() };
    let stage = Stage::with(0, limits).await;
    let path = "/events?tables=vitals";
    let first = Events::open(stage.address(), path, &[]).await.expect("a stream");
    let _second = Events::open(stage.address(), path, &[]).await.expect("a stream");
    assert_eq!(Events::open(stage.address(), path, &[]).await.err(), Some(503));
    drop(first);
    until(async || Events::open(stage.address(), path, &[]).await.ok()).await;
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn a_slow_reader_costs_nothing_and_catches_up() {
    let limits = Limits { sse_delta_rows_max: 200, sse_push_ms_min: 20, ..Limits::default() };
    let stage = Stage::with(0, limits).await;
    let mut events = Events::open(stage.address(), "/events?tables=vitals", &[]).await.expect("a stream");
    events.next_of("snapshot").await;
    // The reader takes nothing while far more than a socket holds is pushed.
    let base = now().0 / 1_000_000;
    for round in 0..600 {
        let rows = (0..300).map(|at| second(base + at, round)).collect();
        stage.push("vitals", rows).await;
    }
    let counts = until(async || {
        let health = get(stage.address(), "/api/health").await.json();
        let received = get(stage.address(), "/api/tables").await.json();
        let vitals = received["tables"].as_array()?.iter().find(|table| table["name"] == "vitals")?.clone();
        (vitals["rows_received"] == json!(180_000)).then(|| health["delivery"].clone())
    })
    .await;
    // What was not taken was not made either.
    let made = counts["bytes"].as_u64().expect("a number");
    assert!(made < 40_000_000, "{made} bytes for a reader that takes nothing");
    // Then it reads on, and soon has the newest state.
    let newest = async {
        loop {
            let event = events.next().await.expect("the stream goes on");
            let rows = event.data["tables"]["vitals"]["rows"].as_array().cloned().unwrap_or_default();
            if rows.iter().any(|row| row["orders"] == json!(599)) {
                return event.kind;
            }
        }
    };
    let kind = tokio::time::timeout(Duration::from_secs(20), newest).await.expect("it catches up");
    assert_eq!(kind, "snapshot", "more changed than one change may carry");
    stage.dashboard.shutdown().await;
}
