//! How many records jobs take from Kafka to their result topics, exactly once, and what it costs.
//!
//! A broker in this process is filled with an hour of the simulated shop, three topics. Then `millrace run` starts against it as
//! a process of its own, and the clock stops when every job has committed every record: first with one query over `user_events`,
//! then with the five pipelines that ship. CPU time is that of the jobs' process, its start included; the broker's is beside it.
//! With a folder that holds Spark's Kafka connector, Spark runs the one query too, from the same topic; rows are compared.
//!
//! `cargo bench -p millrace --bench throughput -- [records] [one|shipped|all] [folder of jars]`

#![allow(clippy::disallowed_methods, reason = "a measurement takes its time")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use cpu_time::ProcessTime;
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::lag::LagProbe;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::tail::{Start, Tailed, tail};
use millrace_model::time::MINUTE_MICROS;
use millrace_model::{Contracts, Timestamp};
use millrace_simulate::{Disorder, Shop, ShopSettings, Topic};
use serde_json::Value;
use support::{Millrace, PATIENCE, broker};
use tokio::runtime::Runtime;

const SOURCES: [&str; 3] = ["user_events", "transactions", "inventory_updates"];
/// Records of the shop a second of event time: a million are most of an hour, so that sessions close.
const RATE: f64 = 300.0;
/// How often the jobs' offsets are read.
const LOOK: Duration = Duration::from_millis(50);
/// A topic that gives nothing for so long has given all.
const SILENCE: Duration = Duration::from_secs(3);
const SPARK_ROUNDS: usize = 3;

/// Five-minute windows sliding by one minute, as in the race.
const SELECT: &str = "SELECT window.start AS start, category, count(*) AS events, sum(price_minor) AS price_minor
FROM events GROUP BY window(event_time, '5 minutes', '1 minute'), category";
const HEAD: &str = "CREATE TEMPORARY VIEW events AS
SELECT * FROM STREAM user_events WATERMARK event_time DELAY OF INTERVAL 10 SECONDS;
CREATE STREAMING TABLE by_category TBLPROPERTIES ('output_mode' = 'append') AS
";

/// Jobs to be measured.
struct Case<'a> {
    name: &'a str,
    /// A file, or a folder of files.
    pipelines: &'a Path,
    jobs: &'a [&'a str],
    sources: &'a [&'a str],
    records: u64,
}

fn main() {
    // `cargo test --benches` asks whether there is anything to test; `cargo bench` adds `--bench`.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).filter(|text| !text.starts_with("--")).collect();
    let records = arguments.first().map_or(1_000_000, |text| text.parse().expect("a number of records"));
    let asked = |name: &str| arguments.get(1).is_none_or(|wanted| wanted == name || wanted == "all");
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let (broker, client) = broker(&runtime, dir.path());
    let counts = fill(&client, records);
    let all: u64 = counts.iter().sum();
    println!("{all} records: {} {}, {} {}, {} {}", SOURCES[0], counts[0], SOURCES[1], counts[1], SOURCES[2], counts[2]);
    println!(
        "{:<10} {:>9} {:>9} {:>7} {:>10} {:>12} {:>14} {:>9}",
        "jobs", "records", "wall s", "CPU s", "broker s", "records/s", "records/CPU-s", "peak MiB"
    );
    let one = dir.path().join("one.sql");
    std::fs::write(&one, format!("{HEAD}{SELECT};\n")).expect("written");
    if asked("one") {
        let (jobs, sources) = (&["one"], &SOURCES[..1]);
        let case = Case { name: "one", pipelines: &one, jobs, sources, records: counts[0] };
        let cpu = measure(&runtime, &client, dir.path(), &case);
        if let Some(jars) = arguments.get(2) {
            let times = spark(&runtime, &client, dir.path(), jars);
            println!(
                "Spark, {SPARK_ROUNDS} rounds: {times:.2?} CPU-s, the last {:.1} times Millrace's",
                times[SPARK_ROUNDS - 1] / cpu
            );
        }
    }
    if asked("shipped") {
        let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
        let jobs = &["fraud", "inventory", "metrics", "recommendations", "sessions"];
        let case = Case { name: "shipped", pipelines: &pipelines, jobs, sources: &SOURCES, records: all };
        measure(&runtime, &client, dir.path(), &case);
    }
    runtime.block_on(broker.shutdown()).expect("the broker ends");
}

/// Fills the source topics; how many records each has.
fn fill(client: &ClientSettings, records: usize) -> [u64; 3] {
    let seconds = (records as f64 / RATE).ceil() as i64;
    let now = Timestamp::from_system_time(SystemTime::now());
    let start = Timestamp(now.0 - (seconds + 60) * 1_000_000);
    let mut settings = ShopSettings::new(1, start, RATE);
    // Spark in one batch takes for good what is late, and words what is malformed otherwise.
    settings.disorder = Disorder { late: 0.0, malformed: 0.0, ..Disorder::default() };
    let mut shop = Shop::new(settings).expect("settings in range");
    let producer = Producer::new(client, None).expect("a producer");
    let send = |topic: usize, partition: Option<i32>, key: &[u8], value: &[u8], time: Timestamp| {
        let outgoing =
            Outgoing { topic: SOURCES[topic], partition, key: Some(key), value: Some(value), time: Some(time) };
        producer.send(outgoing, PATIENCE).expect("room");
    };
    let mut counts = [0; 3];
    let mut made = Vec::new();
    for second in 1..=seconds {
        shop.advance(Timestamp(start.0 + second * 1_000_000), &mut made);
        for record in made.drain(..).filter(|record| record.topic != Topic::AnswerKey) {
            let topic = SOURCES.iter().position(|name| *name == record.topic.name()).expect("a source topic");
            counts[topic] += 1;
            send(topic, None, &record.key, &record.value, record.arrival);
        }
    }
    // One record a partition that closes every window; further ahead of its own time a record is malformed.
    let end = Timestamp(now.0 + 50 * MINUTE_MICROS);
    let partitions = Contracts::builtin().get(SOURCES[0]).expect("shipped").topic.partitions;
    for partition in 0..partitions {
        let value =
            format!(r#"{{"event_id":"end-{partition}","event_type":"end","event_time":"{end}","anonymous_id":"end"}}"#);
        send(0, i32::try_from(partition).ok(), b"end", value.as_bytes(), now);
        counts[0] += 1;
    }
    producer.flush(PATIENCE).expect("acknowledged");
    counts
}

/// Runs the jobs until they have committed every record of these topics; the CPU seconds it took.
fn measure(runtime: &Runtime, client: &ClientSettings, dir: &Path, case: &Case<'_>) -> f64 {
    let groups: Vec<String> = case.jobs.iter().map(|job| format!("millrace-{job}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let probe = LagProbe::new(client, &groups, case.sources).expect("a probe");
    let (began, broker) = (Instant::now(), ProcessTime::now());
    let pipelines = case.pipelines.to_str().expect("a path");
    let run = ["run", pipelines, "--bootstrap-servers", &client.bootstrap_servers];
    let mut jobs = Millrace::start(&dir.join(format!("data-{}", case.name)), run);
    loop {
        std::thread::sleep(LOOK);
        let lags = runtime.block_on(probe.read()).expect("offsets");
        let started = groups.iter().all(|group| lags.iter().any(|lag| lag.group == *group));
        if started && lags.iter().all(|lag| lag.records() == 0) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the jobs are not done: {lags:?}");
        jobs.check();
    }
    let (wall, broker) = (began.elapsed().as_secs_f64(), broker.elapsed().as_secs_f64());
    let (cpu, peak) = jobs.used();
    let rate = |seconds: f64| case.records as f64 / seconds;
    println!(
        "{:<10} {:>9} {wall:>9.2} {cpu:>7.2} {broker:>10.2} {:>12.0} {:>14.0} {peak:>9}",
        case.name,
        case.records,
        rate(wall),
        rate(cpu)
    );
    cpu
}

/// The same query on Spark; CPU seconds of each round.
fn spark(runtime: &Runtime, client: &ClientSettings, dir: &Path, jars: &str) -> Vec<f64> {
    let query = dir.join("spark.sql");
    std::fs::write(&query, SELECT).expect("written");
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/race/spark_kafka_peer.py");
    let output = Command::new("python3")
        .arg(peer)
        .arg(&client.bootstrap_servers)
        .arg(query)
        .arg(jars)
        .arg(dir.join("spark"))
        .args([SPARK_ROUNDS.to_string(), "2".to_owned()])
        .stderr(Stdio::inherit())
        .output()
        .expect("Python");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "Spark failed: {said}");
    let rounds = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let times: Vec<f64> = rounds.filter_map(|round| round["cpu"].as_f64()).collect();
    assert_eq!(times.len(), SPARK_ROUNDS, "{said}");
    let ours = rows(runtime, client, "by_category");
    assert!(!ours.is_empty(), "no rows");
    assert!(ours == rows(runtime, client, &format!("spark-{SPARK_ROUNDS}")), "the rows differ");
    println!("both gave the same {} rows", ours.len());
    times
}

/// The rows of a topic: by window and category, events and their price.
fn rows(runtime: &Runtime, client: &ClientSettings, topic: &str) -> BTreeMap<(i64, String), (i64, i64)> {
    runtime.block_on(async {
        let mut rows = BTreeMap::new();
        let mut records = tail(client, &[topic], Start::Earliest).expect("a tail");
        while let Ok(Some(record)) = tokio::time::timeout(SILENCE, records.recv()).await {
            let Tailed::Record(record) = record else { continue };
            let row: Value = serde_json::from_slice(&record.value.unwrap_or_default()).expect("a row");
            let start = Timestamp::parse(row["start"].as_str().unwrap_or_default().as_bytes()).expect("a time");
            let number = |name: &str| row[name].as_i64().unwrap_or(0);
            let category = row["category"].as_str().unwrap_or_default().to_owned();
            let twice = rows.insert((start.0, category), (number("events"), number("price_minor")));
            assert!(twice.is_none(), "a row is there twice: {row}");
        }
        rows
    })
}
