//! A job that comes from Spark, which was stopped in the middle of a batch: the rows that batch had written are not given
//! again, and none is missing.

use std::collections::{BTreeSet, HashMap};
use std::process::Stdio;
use std::time::Duration;

use millrace_broker::{Broker, BrokerSettings};
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::reader::Reader;
use millrace_connectors::kafka::{ClientSettings, Cluster, Place};
use millrace_model::Timestamp;
use serde_json::json;

use crate::support::{PATIENCE, command, said, wait_for};

/// Records; of those, the ones Spark told of; and the ones whose rows it wrote.
const RECORDS: i64 = 40;
const TOLD: i64 = 20;
const WRITTEN: i64 = 27;
/// Longer than the job takes to give a row twice.
const QUIET: Duration = Duration::from_secs(2);

#[test]
fn rows_of_a_batch_that_was_cut_short_are_given_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let settings = BrokerSettings {
        data_dir: dir.path().join("cluster"),
        listen: "127.0.0.1:0".parse().expect("an address"),
        ..BrokerSettings::default()
    };
    let broker = runtime.block_on(Broker::start(settings)).expect("a broker");
    let pipelines = dir.path().join("pipelines");
    std::fs::create_dir(&pipelines).expect("a folder");
    let sql = "-- Orders that were placed.\nCREATE STREAMING TABLE placed TBLPROPERTIES ('output_mode' = 'append', 'key' = 'order_id')\n\
               AS SELECT order_id, event_time FROM STREAM transactions WHERE event_type = 'order_placed';\n";
    std::fs::write(pipelines.join("placed.sql"), sql).expect("written");
    let config = dir.path().join("millrace.toml").display().to_string();
    let text = format!("pipelines = {pipelines:?}\n[kafka]\nbootstrap_servers = '{}'\n", broker.address());
    std::fs::write(&config, text).expect("settings");
    said(dir.path(), &["--config", &config, "topics"]);

    let client = ClientSettings::new(broker.address().to_string());
    let producer = Producer::new(&client, None).expect("a producer");
    let now = Timestamp::from_system_time(std::time::SystemTime::now());
    let send = |topic: &str, partition: Option<i32>, key: &str, value: serde_json::Value| {
        let value = value.to_string();
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        producer.send(Outgoing { topic, partition, key, value, time: Some(now) }, PATIENCE).expect("room");
    };
    let row = |at: i64| json!({ "order_id": format!("o-{at:02}"), "event_time": now.to_string() });
    for at in 0..RECORDS {
        let mut record = row(at);
        record["event_id"] = json!(format!("e-{at}"));
        record["event_type"] = json!("order_placed");
        send("transactions", Some(0), "k", record);
    }
    for at in 0..WRITTEN {
        send("placed", Some(0), &json!({ "order_id": format!("o-{at:02}") }).to_string(), row(at));
    }
    let counts = json!({
        "records_in": TOLD, "records_counted": TOLD, "records_late": 0, "records_malformed": 0, "records_duplicate": 0,
    });
    let mut told = json!({
        "table": "placed", "job": "placed", "backend": "spark", "epoch": 3, "time": now.to_string(), "watermark": null,
        "output_mode": "append", "rows_out": TOLD, "state_groups": 0, "state_bytes": 0, "epoch_micros": 1_000,
        "sources": [{ "topic": "transactions", "partition": 0, "offset": TOLD, "end_offset": RECORDS }],
    });
    for (name, count) in counts.as_object().expect("counts") {
        told[name] = count.clone();
        told["sources"][0][name] = count.clone();
    }
    send("job_progress", None, "placed", told);
    producer.flush(PATIENCE).expect("acknowledged");
    // As Spark's supervisor commits them: without an epoch.
    let cluster = Cluster::new(&client, "millrace-placed").expect("a client");
    runtime.block_on(cluster.commit(&HashMap::from([(Place::new("transactions", 0), TOLD)]))).expect("committed");

    let log = std::fs::File::create(dir.path().join("run.log")).expect("a log");
    let errors = log.try_clone().expect("a log");
    let mut run = command(dir.path());
    run.args(["--config", &config, "run"]).stdout(Stdio::from(log)).stderr(Stdio::from(errors));
    let mut run = run.spawn().expect("started");
    let mut reader = Reader::new(&client, "test").expect("a reader");
    let places = runtime.block_on(cluster.places(&["placed".into()])).expect("partitions");
    reader.assign(places.into_iter().map(|place| (place, 0)).collect()).expect("assigned");
    let mut keys = Vec::new();
    let read = |keys: &mut Vec<String>| {
        while let Some(message) = reader.next().expect("a record") {
            keys.push(String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned());
        }
        keys.iter().collect::<BTreeSet<_>>().len()
    };
    let found = wait_for("every order", || {
        assert!(run.try_wait().expect("a status").is_none(), "{}", said_in(&dir));
        Some(read(&mut keys)).filter(|found| *found >= RECORDS as usize)
    });
    std::thread::sleep(QUIET);
    read(&mut keys);
    run.kill().expect("killed");
    run.wait().expect("ended");
    assert_eq!((found, keys.len()), (RECORDS as usize, RECORDS as usize), "{keys:?}\n{}", said_in(&dir));
}

fn said_in(dir: &tempfile::TempDir) -> String {
    std::fs::read_to_string(dir.path().join("run.log")).unwrap_or_default()
}
