//! The lake's past, sent into other topics and run through a pipeline again; answers of queries as files.

use std::path::Path;
use std::time::Instant;

use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::{ClientSettings, Cluster};
use millrace_model::Timestamp;
use serde_json::Value;

use crate::support::{PATIENCE, Up, query, run, said, wait_for};

const SECOND: i64 = 1_000_000;
/// Three hours, a record a second.
const RECORDS: i64 = 3 * 3_600;
const START: &str = "2026-01-31T09:00:00Z";

fn produce(servers: &str) {
    let producer = Producer::new(&ClientSettings::new(servers.to_owned()), None).expect("a producer");
    let start = Timestamp::parse(START.as_bytes()).expect("a time");
    for at in 0..RECORDS {
        let time = Timestamp(start.0 + at * SECOND);
        let value = serde_json::json!({
            "event_id": format!("e{at}"), "event_type": "page_viewed", "event_time": time.to_string(), "path": "/",
            "anonymous_id": format!("v{}", at % 97),
        })
        .to_string();
        let key = format!("v{}", at % 97);
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        let outgoing = Outgoing { topic: "user_events", partition: None, key, value, time: Some(time) };
        producer.send(outgoing, PATIENCE).expect("room");
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

/// Records of each partition of a topic.
fn held(servers: &str, topic: &str) -> Vec<i64> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = Cluster::new(&ClientSettings::new(servers.to_owned()), "test").expect("a client");
    let places = runtime.block_on(cluster.places(&[topic.into()])).expect("partitions");
    let extents = runtime.block_on(cluster.extents(&places)).expect("extents");
    places.iter().map(|place| extents[place].end - extents[place].low).collect()
}

#[test]
fn the_past_goes_again_into_other_topics_and_through_pipelines() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("millrace.toml"), "[lake]\nflush_interval = '500ms'\n").expect("settings");
    let up = Up::start(dir.path(), &["--config", &path("millrace.toml"), "--no-simulate"]);
    produce(&up.kafka);
    wait_for("all is archived", || {
        let found = run(dir.path(), &["query", "--format", "json", "SELECT count(*) AS n FROM user_events"]);
        (found.stdout == format!("{{\"n\":{RECORDS}}}\n").as_bytes()).then_some(())
    });

    // An hour of it, an hour in two seconds, with keys and partitions as they were.
    let span = ["--since", "2026-01-31T10:00:00Z", "--until", "2026-01-31T11:00:00Z"];
    let replay = [&["replay", "--from", "lake"], &span[..]].concat();
    let started = Instant::now();
    let out = said(dir.path(), &[&replay[..], &["--to-prefix", "again_", "--speed", "1800"]].concat());
    assert!(started.elapsed().as_secs_f64() > 1.9, "an hour passed in {:?}", started.elapsed());
    assert!(out.contains("user_events → again_user_events: 3600 records, arrived 2026-01-31T10:00:00"), "{out}");
    assert!(out.contains("transactions → again_transactions: 0 records"), "{out}");
    let sql = "SELECT _partition AS p, count(*) AS n FROM user_events \
               WHERE event_time >= TIMESTAMP '2026-01-31T10:00:00Z' AND event_time < TIMESTAMP '2026-01-31T11:00:00Z' \
               GROUP BY _partition ORDER BY p";
    let expected: Vec<i64> = query(dir.path(), sql).iter().map(|row| row["n"].as_i64().expect("a count")).collect();
    assert_eq!(held(&up.kafka, "again_user_events"), expected);

    // Into what is read already, or nowhere: refused.
    for (to, why) in [(&["--to", "user_events=transactions"][..], "is a topic of the product"), (&[], "say where")] {
        let out = run(dir.path(), &[&replay[..], to].concat());
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && text.contains(why), "{text}");
    }
    up.stop();

    // Through a pipeline alone: every window of the hour, and no other.
    let sql = "-- Views a minute.\nCREATE STREAMING TABLE views TBLPROPERTIES ('key' = 'window_start')\n\
               AS SELECT window.start AS window_start, count(*) AS views\n\
               FROM STREAM user_events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS\n\
               GROUP BY window(event_time, '1 minute');\n";
    std::fs::write(path("views.sql"), sql).expect("written");
    let (pipeline, output) = (path("views.sql"), path("out"));
    let out = run(dir.path(), &[&replay[..], &["--run", &pipeline, "--output", &output]].concat());
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(text.contains("views: 3600 records in, 3600 counted, 0 late, 0 malformed, 0 repeats; 60 rows"), "{text}");
    let rows = std::fs::read_to_string(dir.path().join("out/views.ndjson")).expect("rows");
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).expect("a row")).collect();
    assert!(rows.len() == 60 && rows.iter().all(|row| row["views"] == 60), "{rows:?}");

    answers_are_files(dir.path());
    old_days_are_deleted(dir.path());
}

/// The same lake, when it is to keep less than what it has: the next start deletes it, and the folders.
fn old_days_are_deleted(dir: &Path) {
    let config = dir.join("keeps-little.toml").display().to_string();
    std::fs::write(&config, "[lake]\nretention = '7d'\n").expect("settings");
    let topic = dir.join("lake/user_events");
    let is_empty = || std::fs::read_dir(&topic).expect("a folder").next().is_none();
    assert!(!is_empty());
    let up = Up::start(dir, &["--config", &config, "--no-simulate"]);
    wait_for("old days are gone", || is_empty().then_some(()));
    assert!(dir.join("lake/_claims/user_events").read_dir().expect("a folder").next().is_some(), "claims stay");
    up.stop();
}

fn answers_are_files(dir: &Path) {
    let sql = "SELECT anonymous_id, count(*) AS n, array(1, 2) AS a FROM user_events GROUP BY anonymous_id ORDER BY n, anonymous_id";
    let ask = |name: &str| {
        let file = dir.join(name);
        let out = run(dir, &["query", sql, "--output", file.to_str().expect("a name")]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success() && said.contains("97 rows in "), "{said}");
        std::fs::read(file).expect("the file")
    };
    let csv = String::from_utf8(ask("answer.csv")).expect("text");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), ("anonymous_id,n,a", 98));
    assert!(lines[1].ends_with(",\"[1,2]\""), "{}", lines[1]);
    let json = String::from_utf8(ask("answer.ndjson")).expect("text");
    let first: Value = serde_json::from_str(json.lines().next().expect("a row")).expect("JSON");
    assert_eq!((json.lines().count(), &first["a"]), (97, &serde_json::json!([1, 2])));
    let parquet = ask("answer.parquet");
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    let out = run(dir, &["query", sql, "--format", "parquet"]);
    assert_eq!(out.status.code(), Some(2), "{}", String::from_utf8_lossy(&out.stderr));
}
