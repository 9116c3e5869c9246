//! A shop whose jobs move to Spark and back: nothing is lost, and no final row is given twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Instant, SystemTime};

use millrace_cluster::{ClusterGuard, ClusterSettings, Ports, SparkMode};
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::store::Store;
use millrace_model::{ColumnType, Contracts, Role, Timestamp};
use millrace_simulate::{Delivery, Disorder, Record, Shop, ShopSettings};
use serde_json::Value;

use crate::support::{PATIENCE, Up, audit_with, balanced, result_tables};

const MINUTE_MICROS: i64 = 60_000_000;
/// Event time of each of the three parts.
const PART_MINUTES: i64 = 40;
/// Source records a second of event time.
const RATE: f64 = 2.0;
/// Records are produced so much of arrival time at once, and acknowledged before the next: Spark's watermark follows the foremost
/// partition, so the others may not be behind it by more than the watermark's 10 seconds.
const SLICE_MICROS: i64 = 4_000_000;

/// Two hours of a shop in three parts, all of it in the past, and a last record of every partition that closes all windows.
fn parts(contracts: &Contracts) -> [Vec<Record>; 3] {
    let now = Timestamp::from_system_time(SystemTime::now());
    let start = Timestamp(now.0 - (3 * PART_MINUTES + 120) * MINUTE_MICROS).floor(MINUTE_MICROS);
    let mut settings = ShopSettings::new(20_261_123, start, RATE);
    settings.campaign_interval_scale = 0.2;
    // Late records are another matter: which are late, each backend says for itself.
    settings.disorder = Disorder {
        late: 0.0,
        malformed: 0.002,
        duplicates: 0.005,
        out_of_order_max: 4_000_000,
        duplicate_within: 4_000_000,
        ..Disorder::default()
    };
    let mut shop = Shop::new(settings).expect("settings in range");
    [1, 2, 3].map(|part| {
        let mut records = Vec::new();
        shop.advance(Timestamp(start.0 + part * PART_MINUTES * MINUTE_MICROS), &mut records);
        records
            .retain(|record| contracts.get(record.topic.name()).is_some_and(|contract| contract.role == Role::Source));
        assert!(records.iter().all(|record| record.delivery != Delivery::Late));
        records
    })
}

fn produce(servers: &str, records: &[Record]) {
    let producer = Producer::new(&ClientSettings::new(servers.to_owned()), None).expect("a producer");
    let slices = records.chunk_by(|a, b| a.arrival.floor(SLICE_MICROS) == b.arrival.floor(SLICE_MICROS));
    for slice in slices {
        for record in slice {
            let (key, value) = (Some(&record.key[..]), Some(&record.value[..]));
            let outgoing =
                Outgoing { topic: record.topic.name(), partition: None, key, value, time: Some(record.arrival) };
            producer.send(outgoing, PATIENCE).expect("room");
        }
        producer.flush(PATIENCE).expect("acknowledged");
    }
}

/// A record in every partition that keeps its contract and does nothing but move time on.
fn closing(servers: &str, contracts: &Contracts, at: Timestamp) {
    let producer = Producer::new(&ClientSettings::new(servers.to_owned()), None).expect("a producer");
    for contract in contracts.of_role(Role::Source) {
        for partition in 0..i32::try_from(contract.topic.partitions).expect("few") {
            let id = format!("closing-{}-{partition}", contract.name);
            let mut record =
                serde_json::json!({ "event_id": id, "event_type": "closing", "event_time": at.to_string() });
            for column in contract.columns.iter().filter(|column| column.required) {
                if record.get(&column.name).is_none() {
                    record[&column.name] = match column.column_type {
                        ColumnType::Integer => 0.into(),
                        _ => id.clone().into(),
                    };
                }
            }
            let value = record.to_string();
            let outgoing = Outgoing {
                topic: &contract.name,
                partition: Some(partition),
                key: Some(b"closing"),
                value: Some(value.as_bytes()),
                time: Some(at),
            };
            producer.send(outgoing, PATIENCE).expect("room");
        }
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

/// All rows of the results, as texts in their order, by table.
fn rows(dir: &Path) -> BTreeMap<String, Vec<String>> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = format!("sqlite://{}", dir.join("millrace.db").display());
    let store = runtime.block_on(Store::open(&url)).expect("the store");
    let of = |table: &String| {
        let rows = runtime.block_on(store.query(&format!("SELECT * FROM {table}"), &[])).expect("the table");
        let mut rows: Vec<String> = rows.into_iter().map(|row| Value::Object(row).to_string()).collect();
        rows.sort();
        rows
    };
    result_tables().into_iter().map(|table| (table.clone(), of(&table))).collect()
}

#[test]
#[ignore = "slow suite: starts Kafka and Spark"]
fn jobs_move_to_spark_and_back() {
    let contracts = Contracts::builtin();
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = ClusterSettings {
        ports: Ports::Free,
        kafka_nodes: 1,
        spark: SparkMode::Local { cores: 2 },
        postgres: false,
        ..ClusterSettings::new(dir.path().join("cluster"))
    };
    let cluster = ClusterGuard::up(&cluster, &mut |step| println!("{step}")).expect("a cluster");
    let servers = cluster.bootstrap_servers();
    let config = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("settings");
        path.display().to_string()
    };
    let moved = config(
        "millrace.toml",
        &format!(
            "[kafka]\nbootstrap_servers = '{servers}'\n[spark]\nurl = '{}'\ntrigger = '2s'\n[lake]\nflush_interval = '1s'\n",
            cluster.spark_url().expect("Spark")
        ),
    );
    let parts = parts(&contracts);
    let last = parts[2].iter().map(|record| record.event_time).max().expect("records");
    let close = |servers: &str| closing(servers, &contracts, Timestamp(last.0 + 90 * MINUTE_MICROS));

    // What it must come to: the same records on one machine that nothing moves on.
    let still_dir = dir.path().join("still");
    let plain = config("plain.toml", "");
    let still = Up::start(&still_dir, &["--config", &plain, "--no-simulate"]);
    parts.iter().for_each(|part| produce(&still.kafka, part));
    close(&still.kafka);
    balanced(&still_dir, &plain);
    still.stop();
    let expected = rows(&still_dir);

    let moved_dir = dir.path().join("moved");
    let started = Instant::now();
    for (part, backend) in [(0, "embedded"), (1, "spark"), (2, "embedded")] {
        let up = Up::start(&moved_dir, &["--config", &moved, "--no-simulate", "--backend", backend]);
        produce(&servers, &parts[part]);
        if part == 2 {
            close(&servers);
        }
        let answer = balanced(&moved_dir, &moved);
        let on_spark = answer["facts"]["tables"]["sessions"]["spark"].is_object();
        assert_eq!(on_spark, backend == "spark");
        if backend == "spark" {
            let lag = cluster_lag(&cluster);
            assert!(lag.contains("user_events") && lag.contains("millrace-sessions"), "{lag}");
            let late = |facts: &Value| facts["spark"]["counts"]["records_late"].as_u64().unwrap_or(0);
            let late: Vec<_> = answer["facts"]["tables"]
                .as_object()
                .expect("tables")
                .iter()
                .filter(|(_, facts)| late(facts) > 0)
                .collect();
            assert!(late.is_empty(), "Spark was given records out of order, and left them out: {late:#?}");
        }
        println!("[{:>5.0} s] part {part} is through on {backend}", started.elapsed().as_secs_f64());
        let (_, log) = up.stop();
        // What a failure of the counts below would be explained by: batches that were done again.
        log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).for_each(|line| println!("{line}"));
    }
    let mut filled = 0;
    let mut moved_rows = rows(&moved_dir);
    for (table, expected) in expected {
        let found = moved_rows.remove(&table).expect("the same tables");
        filled += usize::from(!found.is_empty());
        let missing: Vec<&String> = expected.iter().filter(|row| !found.contains(row)).take(3).collect();
        let extra: Vec<&String> = found.iter().filter(|row| !expected.contains(row)).take(3).collect();
        let rows = (found.len(), expected.len());
        assert!(missing.is_empty() && extra.is_empty(), "{table}, {rows:?}: missing {missing:#?}, instead {extra:#?}");
    }
    assert!(filled > 15, "only {filled} tables have rows");
    // Every final row once, in the topics too.
    let answer = audit_with(&moved_dir, &["--config", &moved]);
    for table in ["sessions", "abandoned_carts"] {
        let facts = &answer["facts"]["tables"][table];
        assert!(facts["topic_rows"].as_u64().is_some_and(|rows| rows > 10), "{facts:#}");
        assert_eq!(facts["topic_rows"], facts["topic_keys"], "{table}");
    }
}

/// What Kafka's own tool says of a job's consumer group.
fn cluster_lag(cluster: &millrace_cluster::Cluster) -> String {
    let servers = cluster.bootstrap_servers();
    let arguments = ["--bootstrap-server", &servers, "--describe", "--group", "millrace-sessions"];
    cluster
        .tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &arguments, "")
        .expect("the tool answers")
}
