//! How long a record takes from a producer's `send` to the result topic, and to an open page's event stream.
//!
//! A product runs with its simulated shop at 300 and then at 20,000 records a second. Beside it a marker a quarter of a second
//! is sent: a page view of a storefront of its own, so that its row in `vitals` is known by its name wherever it turns up.
//! Prints the quantiles; asserts nothing, as machines differ: `cargo bench -p millrace --bench latency`.

#![allow(clippy::disallowed_methods, reason = "a measurement takes its time")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::tail::{Start, Tailed, tail};
use millrace_model::Timestamp;
use serde_json::{Value, json};

const MARKERS: usize = 200;
/// Markers before those that count: a client's first records wait for its connection and its producer id.
const WARM_UP: usize = 8;
const BETWEEN: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(60);

/// When each marker was first seen.
type Seen = Arc<Mutex<HashMap<usize, Instant>>>;

struct Product(Child);

impl Drop for Product {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    // `cargo test --benches` asks whether there is anything to test.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!(
        "{:>8} {:>10} {:>10} {:>10} {:>10} {:>6}",
        "rate", "topic p50", "topic p99", "page p50", "page p99", "seen"
    );
    for rate in [300, 20_000] {
        measure(rate);
    }
}

fn measure(rate: u32) {
    let dir = tempfile::tempdir().expect("a folder");
    let rate_text = rate.to_string();
    let child = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["up", "--listen", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0"])
        .args(["--history", "5s", "--rate", &rate_text])
        .arg("--data-dir")
        .arg(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _product = Product(child.expect("the program starts"));
    let (kafka, page) = addresses(&dir.path().join("running.json"));
    // Past the start: caught up with its own history.
    std::thread::sleep(Duration::from_secs(10));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = ClientSettings::new(kafka);
    let (topic, sse) = (Seen::default(), Seen::default());
    let in_topic = topic.clone();
    let tail_client = client.clone();
    runtime.spawn(async move {
        let mut records = tail(&tail_client, &["vitals"], Start::Latest).expect("a tail");
        while let Some(tailed) = records.recv().await {
            if let Tailed::Record(record) = tailed {
                note(&in_topic, &String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()));
            }
        }
    });
    let on_page = sse.clone();
    std::thread::spawn(move || follow(&page, &on_page));
    std::thread::sleep(Duration::from_secs(2));
    let mut fast = client;
    fast.properties.insert("linger.ms".into(), "0".into());
    let producer = Producer::new(&fast, None).expect("a producer");
    let mut sent = Vec::new();
    for n in 0..WARM_UP + MARKERS {
        let now = Timestamp::from_system_time(SystemTime::now());
        let event = json!({
            "event_id": format!("marker-{n}"), "event_type": "page_viewed", "event_time": now.to_string(),
            "anonymous_id": format!("marker-{n}"), "store_id": format!("marker-{n:04}."),
        });
        let value = event.to_string();
        sent.push(Instant::now());
        let outgoing = Outgoing {
            topic: "user_events",
            partition: None,
            key: Some(b"marker"),
            value: Some(value.as_bytes()),
            time: Some(now),
        };
        producer.send(outgoing, PATIENCE).expect("room");
        std::thread::sleep(BETWEEN);
    }
    std::thread::sleep(Duration::from_secs(5));
    let (t, p) = (quantiles(&sent, &topic), quantiles(&sent, &sse));
    println!("{rate:>8} {:>7} ms {:>7} ms {:>7} ms {:>7} ms {:>6}", t.0, t.1, p.0, p.1, t.2.min(p.2));
}

fn addresses(file: &Path) -> (String, String) {
    let began = Instant::now();
    loop {
        if let Some(found) = std::fs::read(file).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok()) {
            let text = |name: &str| found[name].as_str().expect("an address").to_owned();
            return (text("kafka"), text("dashboard"));
        }
        assert!(began.elapsed() < PATIENCE, "the product does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Notes the markers named in a text.
fn note(seen: &Seen, text: &str) {
    let now = Instant::now();
    for (at, _) in text.match_indices("marker-") {
        if let Some(n) = text.get(at + 7..at + 11).and_then(|digits| digits.parse().ok()) {
            seen.lock().expect("no panic").entry(n).or_insert(now);
        }
    }
}

/// Reads the page's event stream, as a browser does.
fn follow(page: &str, seen: &Seen) {
    let mut stream = TcpStream::connect(page).expect("the page's port");
    write!(stream, "GET /events?tables=vitals HTTP/1.1\r\nhost: {page}\r\n\r\n").expect("asked");
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        note(seen, &String::from_utf8_lossy(&line));
        line.clear();
    }
}

/// Median and 99th percentile in milliseconds, and how many markers were seen.
fn quantiles(sent: &[Instant], seen: &Seen) -> (u128, u128, usize) {
    let seen = seen.lock().expect("no panic");
    let took = |(n, sent): (usize, &Instant)| seen.get(&n).map(|at| at.duration_since(*sent).as_millis());
    let mut all: Vec<u128> = sent.iter().enumerate().skip(WARM_UP).filter_map(took).collect();
    all.sort_unstable();
    let at = |share: usize| all.get((all.len() * share / 100).min(all.len().saturating_sub(1))).copied().unwrap_or(0);
    (at(50), at(99), all.len())
}
