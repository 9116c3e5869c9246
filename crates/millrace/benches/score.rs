//! How long `POST /v1/payments/score` takes at 2,000 requests a second, and a fraudulent payment from a producer's `send` to
//! `fraud_alerts`.
//!
//! Requests go out on a schedule, whether or not the one before was answered: a latency counts from when its request was due. The
//! simulated shop runs meanwhile at 300 records a second. Prints the quantiles; asserts nothing, as machines differ:
//! `cargo bench -p millrace --bench score`.

#![allow(clippy::disallowed_methods, reason = "a measurement takes its time")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
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

const REQUESTS_A_SECOND: u32 = 2_000;
const SECONDS: u32 = 20;
const CONNECTIONS: u32 = 8;
const ALERTS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

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
    let dir = tempfile::tempdir().expect("a folder");
    let child = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["up", "--listen", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0", "--rate", "300"])
        .arg("--data-dir")
        .arg(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _product = Product(child.expect("the program starts"));
    let (kafka, page) = addresses(&dir.path().join("running.json"));
    // Past the start: caught up with its own history.
    std::thread::sleep(Duration::from_secs(20));
    println!("{:<44} {:>7} {:>9} {:>9} {:>9} {:>9}", "", "answers", "p50", "p99", "p99.9", "worst");
    show("POST /v1/payments/score, 2,000 a second", &ask(&page));
    show("payment produced to fraud_alerts", &alerts(&kafka));
}

fn show(what: &str, times: &[Duration]) {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |share: f64| {
        let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        format!("{:.2} ms", times.get(at).copied().unwrap_or_default().as_secs_f64() * 1e3)
    };
    println!("{what:<44} {:>7} {:>9} {:>9} {:>9} {:>9}", times.len(), at(0.5), at(0.99), at(0.999), at(1.0));
}

/// Asks on a schedule, over some connections that are kept.
fn ask(page: &str) -> Vec<Duration> {
    let began = Instant::now() + Duration::from_millis(200);
    let between = Duration::from_secs(1) * CONNECTIONS / REQUESTS_A_SECOND;
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|worker| {
            let page = page.to_owned();
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(&page).expect("the page's port");
                stream.set_nodelay(true).expect("no delay");
                let mut answers = BufReader::new(stream.try_clone().expect("a reader"));
                let mut took = Vec::new();
                for n in 0..REQUESTS_A_SECOND * SECONDS / CONNECTIONS {
                    let due = began + between * n + between * worker / CONNECTIONS;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let body = payment(&format!("q{worker}-{n}"), &format!("card-{}", n % 997), "DE").to_string();
                    let length = body.len();
                    let head = format!(
                        "POST /v1/payments/score HTTP/1.1\r\nhost: {page}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
                    );
                    stream.write_all((head + &body).as_bytes()).expect("asked");
                    assert!(answer(&mut answers).starts_with("HTTP/1.1 200"), "an answer");
                    took.push(due.elapsed());
                }
                took
            })
        })
        .collect();
    workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
}

/// Reads one answer; its first line.
fn answer(from: &mut BufReader<TcpStream>) -> String {
    let (mut first, mut length) = (String::new(), 0);
    from.read_line(&mut first).expect("a status");
    loop {
        let mut line = String::new();
        from.read_line(&mut line).expect("a header");
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().expect("a length");
        }
    }
    from.read_exact(&mut vec![0; length]).expect("a body");
    first
}

fn payment(id: &str, card: &str, shipped_to: &str) -> Value {
    let now = Timestamp::from_system_time(SystemTime::now()).to_string();
    json!({ "event_id": format!("e-{id}"), "event_type": "payment_authorized", "event_time": now, "order_id": format!("o-{id}"),
        "payment_id": id, "device_id": format!("d-{card}"), "user_id": format!("u-{card}"), "card_token": card,
        "card_bin": "411111", "card_country": "DE", "ip": "10.0.0.1", "ip_country": "DE", "shipping_country": shipped_to,
        "shipping_address_hash": format!("a-{card}"), "email_hash": format!("m-{card}"), "amount_minor": 4_990, "currency": "EUR" })
}

/// Produces payments whose goods go abroad, and looks when each is in `fraud_alerts`.
fn alerts(kafka: &str) -> Vec<Duration> {
    let mut client = ClientSettings::new(kafka.to_owned());
    let seen: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let (noted, of_tail) = (seen.clone(), client.clone());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.spawn(async move {
        let mut records = tail(&of_tail, &["fraud_alerts"], Start::Latest).expect("a tail");
        while let Some(tailed) = records.recv().await {
            if let Tailed::Record(record) = tailed {
                let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
                noted.lock().expect("no panic").entry(key).or_insert_with(Instant::now);
            }
        }
    });
    std::thread::sleep(Duration::from_secs(2));
    client.properties.insert("linger.ms".into(), "0".into());
    let producer = Producer::new(&client, None).expect("a producer");
    let mut sent = Vec::new();
    for n in 0..ALERTS {
        let id = format!("marker-{n}");
        let value = payment(&id, &format!("marker-card-{n}"), "JP").to_string();
        sent.push((id.clone(), Instant::now()));
        let (key, value) = (Some(id.as_bytes()), Some(value.as_bytes()));
        producer
            .send(Outgoing { topic: "transactions", partition: None, key, value, time: None }, PATIENCE)
            .expect("room");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(3));
    let seen = seen.lock().expect("no panic");
    sent.iter().filter_map(|(id, sent)| seen.get(id).map(|at| at.duration_since(*sent))).collect()
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
