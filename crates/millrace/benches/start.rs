//! How long from the start of a process to its first result, and from a `kill -9` to the next one with a million keys of state.
//!
//! - a product of its own that starts for the first time, and once more: until a row of `vitals` can be read from its topic;
//! - a job that counts by visitor, a million of them, killed: until it has counted one more record. Its last snapshot is at most a
//!   second older than the records it has.
//!
//! Prints; asserts only that the answers are right: `cargo bench -p millrace --bench start -- [keys]`.

#![allow(clippy::disallowed_methods, reason = "a measurement takes its time")]

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::lag::LagProbe;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::tail::{Record, Start, Tailed, tail};
use millrace_model::Timestamp;
use support::{Millrace, PATIENCE, broker};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;

const ROUNDS: usize = 3;
/// Time for a snapshot of the whole state to be on disk.
const SETTLED: Duration = Duration::from_secs(10);

/// A running total of every visitor, for ever.
const TOTALS: &str = "CREATE STREAMING TABLE totals
TBLPROPERTIES ('output_mode' = 'update', 'key' = 'anonymous_id')
AS SELECT anonymous_id, count(*) AS events, max(event_time) AS last_seen FROM STREAM user_events GROUP BY anonymous_id;
";

fn main() {
    // `cargo test --benches` asks whether there is anything to test; `cargo bench` adds `--bench`.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let keys = std::env::args().skip(1).find(|text| !text.starts_with("--"));
    let keys = keys.map_or(1_000_000, |text| text.parse().expect("a number of keys"));
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    for round in 1..=ROUNDS {
        let data = dir.path().join(format!("product-{round}"));
        let (first, cpu) = product(&runtime, &data);
        let (again, cpu_again) = product(&runtime, &data);
        println!(
            "product, until its first row: {first:.2?} ({cpu:.2} CPU-s); started again: {again:.2?} ({cpu_again:.2} CPU-s)"
        );
    }
    recovery(&runtime, dir.path(), keys);
}

/// Starts a product; how long until a row is there that it made since, and the CPU time it took.
fn product(runtime: &Runtime, data: &Path) -> (Duration, f64) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let kafka = format!("127.0.0.1:{port}");
    let arguments = ["up", "--listen", "127.0.0.1:0", "--kafka-listen", &kafka, "--history", "5s", "--rate", "300"];
    let (began, started) = (Instant::now(), Timestamp::from_system_time(SystemTime::now()));
    let millrace = Millrace::start(data, arguments);
    while std::net::TcpStream::connect(&kafka).is_err() {
        assert!(began.elapsed() < PATIENCE, "no broker");
        std::thread::sleep(Duration::from_millis(5));
    }
    let client = ClientSettings::new(kafka.clone());
    let mut rows = runtime.block_on(async { tail(&client, &["vitals"], Start::Earliest) }).expect("a tail");
    next(runtime, &mut rows, |row| row.time.is_some_and(|time| time > started));
    (began.elapsed(), millrace.used().0)
}

/// The next row that fits.
fn next(runtime: &Runtime, rows: &mut Receiver<Tailed>, fits: impl Fn(&Record) -> bool) -> Record {
    runtime.block_on(async {
        loop {
            let row = tokio::time::timeout(PATIENCE, rows.recv()).await.expect("a row in time");
            match row.expect("the tail goes on") {
                Tailed::Record(row) if fits(&row) => return row,
                _ => {}
            }
        }
    })
}

fn recovery(runtime: &Runtime, dir: &Path, keys: usize) {
    let (broker, client) = broker(runtime, dir);
    let (pipeline, settings) = (dir.join("totals.sql"), dir.join("settings.toml"));
    std::fs::write(&pipeline, TOTALS).expect("written");
    std::fs::write(&settings, "[engine]\nsnapshot_interval = '1s'\n").expect("written");
    let producer = Producer::new(&client, None).expect("a producer");
    let send = |visitor: &str| {
        let now = Timestamp::from_system_time(SystemTime::now());
        let value = format!(
            r#"{{"event_id":"{visitor} {now}","event_type":"page_viewed","event_time":"{now}","anonymous_id":"{visitor}"}}"#
        );
        let (key, value) = (Some(visitor.as_bytes()), Some(value.as_bytes()));
        let outgoing = Outgoing { topic: "user_events", partition: None, key, value, time: Some(now) };
        producer.send(outgoing, PATIENCE).expect("room");
    };
    (0..keys).for_each(|key| send(&format!("visitor-{key:09}")));
    producer.flush(PATIENCE).expect("acknowledged");
    let (data, probe) = (dir.join("totals"), LagProbe::new(&client, &["millrace-totals"], &["user_events"]));
    let probe = probe.expect("a probe");
    let start = || {
        let text = |path: &Path| path.to_str().expect("a path").to_owned();
        let (settings, pipeline) = (text(&settings), text(&pipeline));
        let servers = client.bootstrap_servers.as_str();
        Millrace::start(&data, ["--config", &settings, "run", &pipeline, "--bootstrap-servers", servers])
    };
    let caught_up = |millrace: &mut Millrace| {
        let began = Instant::now();
        loop {
            let lags = runtime.block_on(probe.read()).expect("offsets");
            if !lags.is_empty() && lags.iter().all(|lag| lag.records() == 0) {
                return;
            }
            millrace.check();
            assert!(began.elapsed() < PATIENCE, "it is not done");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let mut millrace = start();
    caught_up(&mut millrace);
    let mut rows = runtime.block_on(async { tail(&client, &["totals"], Start::Latest) }).expect("a tail");
    std::thread::sleep(SETTLED);
    for round in 1..=ROUNDS {
        // Killed, not asked to end.
        drop(millrace);
        send(&format!("visitor-{:09}", 0));
        producer.flush(PATIENCE).expect("acknowledged");
        let began = Instant::now();
        millrace = start();
        let row = next(runtime, &mut rows, |_| true);
        let took = began.elapsed();
        let row = String::from_utf8(row.value.unwrap_or_default()).expect("text");
        assert!(row.contains(&format!("\"events\":{}", round + 1)), "{row}");
        println!("recovery with {keys} keys: {took:.2?} ({:.2} CPU-s)", millrace.used().0);
        caught_up(&mut millrace);
        std::thread::sleep(SETTLED);
    }
    runtime.block_on(broker.shutdown()).expect("the broker ends");
}
