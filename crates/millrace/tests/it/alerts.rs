//! Alerts reach real receivers: a webhook of the test's own and a real SMTP server. Once each, in one message when many.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_model::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{PATIENCE, Up, post, run, said, wait_for};

/// Key of the webhook's signature.
const SECRET: &str = "a key of the test";

/// What a receiver was told.
#[derive(Clone, Debug)]
struct Told {
    path: String,
    key: String,
    signature: String,
    body: Vec<u8>,
    taken: bool,
}

impl Told {
    fn message(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A webhook receiver; it says 503 to the first request, so that the message comes again.
struct Receiver {
    port: u16,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let kept = Arc::clone(&told);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, kept) = (stream.expect("a connection"), Arc::clone(&kept));
                std::thread::spawn(move || while answer(&stream, &kept).is_some() {});
            }
        });
        Receiver { port, told }
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().expect("kept").clone()
    }

    /// Messages taken at this path.
    fn taken(&self, path: &str) -> Vec<Value> {
        self.told().iter().filter(|told| told.taken && told.path == path).map(Told::message).collect()
    }
}

/// Reads one request and answers it; `None`: the connection is over.
fn answer(stream: &std::net::TcpStream, kept: &Mutex<Vec<Told>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut key, mut signature) = (0, String::new(), String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "idempotency-key" => key = value.to_owned(),
            "millrace-signature" => signature = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut kept = kept.lock().expect("kept");
    let taken = !kept.is_empty();
    kept.push(Told { path, key, signature, body, taken });
    let status = if taken { "200 OK" } else { "503 Service Unavailable" };
    write!(&*stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").ok()
}

fn now() -> Timestamp {
    Timestamp::from_system_time(std::time::SystemTime::now())
}

fn signal(n: usize, severity: &str) -> String {
    let now = now().to_string();
    json!({
        "signal_id": format!("velocity/{n}"), "window_start": now, "window_end": now, "rule": "velocity",
        "entity_kind": "card_token", "entity": format!("card_{}", n % 50), "severity": severity, "payments": 10 + n,
        "currency": "EUR",
    })
    .to_string()
}

fn stock(product: &str, status: &str, available: i64) -> String {
    json!({ "product_id": product, "product_name": "Lamp", "status": status, "available": available }).to_string()
}

/// Produces rows of a result table under keys, which a compacted topic wants.
fn produce(up: &Up, topic: &str, values: &[String]) {
    let producer = Producer::new(&ClientSettings::new(up.kafka.clone()), None).expect("a producer");
    for value in values {
        let row: Value = serde_json::from_str(value).expect("JSON");
        let key = row.get("signal_id").or(row.get("product_id")).map(Value::to_string).unwrap_or_default();
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        producer.send(Outgoing { topic, partition: None, key, value, time: None }, PATIENCE).expect("sent");
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

fn settings(dir: &Path, port: u16, more: &str) -> PathBuf {
    std::fs::write(dir.join("secret"), SECRET).expect("written");
    let path = dir.join("millrace.toml");
    let text = format!(
        "[notify]\ndashboard_url = 'https://dash.example'\n\
         [notify.channels.flood]\nkind = 'webhook'\nurl = 'http://127.0.0.1:{port}/flood'\nsecret = 'file:{0}/secret'\n\
         [notify.channels.stock]\nkind = 'webhook'\nurl = 'http://127.0.0.1:{port}/stock'\nsecret = 'file:{0}/secret'\n\
         [notify.routes.fraud]\ntable = 'fraud_signals'\nchannels = ['flood']\nseverity_min = 'high'\n\
         gather = '8s'\nevery = '1h'\n\
         [notify.routes.stock]\ntable = 'stock_levels'\nchannels = ['stock']\nwhere = {{ status = ['low', 'out_of_stock'] }}\n\
         title = '{{product_name}} is {{status}}'\ngather = '100ms'\nevery = '100ms'\nresolve = true\n{more}",
        dir.display()
    );
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn ten_thousand_hits_are_one_message_and_none_comes_twice() {
    let dir = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start();
    let config = settings(dir.path(), receiver.port, "");
    let config = config.to_str().expect("a name");
    let start = || Up::start(dir.path(), &["--no-simulate", "--config", config]);
    let up = start();
    let hits: Vec<String> = (0..10_000).map(|n| signal(n, "high")).chain([signal(10_000, "low")]).collect();
    produce(&up, "fraud_signals", &hits);
    let messages = wait_for("the message about all of them", || {
        let taken = receiver.taken("/flood");
        (!taken.is_empty()).then_some(taken)
    });
    let message = &messages[0];
    assert_eq!((message["alerts"].as_u64(), message["entities_total"].as_u64()), (Some(10_000), Some(50)), "{message}");
    assert_eq!(message["entities"].as_array().map(Vec::len), Some(10));
    assert_eq!(
        (message["severity"].as_str(), message["link"].as_str()),
        (Some("high"), Some("https://dash.example/fraud"))
    );
    let evidence = message["entities"][0]["evidence"].to_string();
    assert!(evidence.contains("payments") && evidence.contains("EUR"), "{evidence}");
    // It was refused once with 503; the second time it was the same message, and rightly signed.
    let told = receiver.told();
    let told: Vec<&Told> = told.iter().filter(|told| told.path == "/flood").collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0].key, told[1].key);
    let (time, signature) = told[1].signature.split_once(",v1=").expect("a signature");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
    mac.update(time.trim_start_matches("t=").as_bytes());
    mac.update(b".");
    mac.update(&told[1].body);
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signature, expected);

    // The same rows again, and a restart: known already.
    produce(&up, "fraud_signals", &hits[..100]);
    drop(up.stop());
    let up = start();
    produce(&up, "fraud_signals", &hits[..100]);

    // Stock runs low, is filled, and runs low again: three messages. What is acknowledged is told no more.
    for (status, available, subject) in [("low", 3, "fired"), ("in_stock", 90, "resolved"), ("low", 2, "fired")] {
        let before = receiver.taken("/stock").len();
        produce(&up, "stock_levels", &[stock("p1", status, available), stock("p2", "in_stock", 50)]);
        let after = wait_for("a message about the stock", || {
            let taken = receiver.taken("/stock");
            (taken.len() > before).then_some(taken)
        });
        let last = after.last().expect("a message");
        assert_eq!((after.len(), last["entities"][0]["cause"].as_str()), (before + 1, Some(subject)), "{last}");
    }
    let first = receiver.taken("/stock")[0].clone();
    assert_eq!(first["entities"][0]["title"], "Lamp is low");
    let alerts = |words: &[&str]| said(dir.path(), &[&["--config", config, "alerts"], words].concat());
    // The page and the command say it in the same place.
    let on_page = |query: &str| serde_json::from_str::<Value>(&up.get(&format!("/v1/alerts?{query}")).1).expect("JSON");
    let lamp = on_page("route=stock");
    let id = lamp["groups"][0]["occurrences"][0]["id"].as_str().expect("an id").to_owned();
    let (status, answer) = post(&up.page, &format!("/v1/alerts/{id}/ack"), &json!({"by": "grace"}));
    assert_eq!((status, &answer), (200, &json!({"acknowledged": 1, "by": "grace"})));
    assert!(alerts(&["list", "--open", "--limit", "1"]).contains("acknowledged by grace"));
    assert!(alerts(&["ack", "stock/p1", "--undo"]).contains("1 no longer acknowledged"));
    assert_eq!(on_page("route=stock&state=open")["groups"][0]["entity"], "p1");
    assert_eq!(on_page("route=fraud&state=open")["groups"][0]["alerts"], 200, "10,000 alerts about 50 cards");
    assert!(alerts(&["ack", "stock/p1", "--by", "ada"]).contains("1 acknowledged"));
    let listed = alerts(&["list", "--open", "--limit", "20000"]);
    assert!(listed.contains("stock/p1") && listed.contains("acknowledged by ada"), "{}", &listed[..400]);
    assert!(listed.ends_with("10001 alerts\n"), "{}", &listed[listed.len() - 200..]);
    assert!(alerts(&["snooze", "fraud/velocity/7", "--for", "1h"]).contains("nothing about card_7 of fraud_signals"));
    assert!(alerts(&["snooze", "fraud/velocity/7", "--undo"]).contains("card_7 of fraud_signals is told of again"));
    let none = run(dir.path(), &["--config", config, "alerts", "ack", "stock/p9"]);
    assert_eq!(none.status.code(), Some(2));
    produce(&up, "stock_levels", &[stock("p1", "in_stock", 80), stock("p3", "out_of_stock", 0)]);
    wait_for("the message about another product", || {
        let taken = receiver.taken("/stock");
        taken.iter().any(|message| message["entities"][0]["entity"] == "p3").then_some(())
    });
    // Nothing about p1 came with it or after it, and the flood's second message waits for its hour.
    std::thread::sleep(Duration::from_secs(2));
    let causes: Vec<String> = receiver
        .taken("/stock")
        .iter()
        .flat_map(|message| message["entities"].as_array().cloned().unwrap_or_default())
        .map(|entity| {
            format!(
                "{} {}",
                entity["entity"].as_str().unwrap_or_default(),
                entity["cause"].as_str().unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(causes, ["p1 fired", "p1 resolved", "p1 fired", "p3 fired"]);
    assert_eq!(receiver.taken("/flood").len(), 1);
    let (out, err) = up.stop();
    assert!(!out.contains(SECRET) && !err.contains(SECRET));
}

#[test]
fn routes_that_lead_nowhere_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let more = "[notify.routes.wrong]\ntable = 'fraud_signal'\nchannels = ['flood']\n";
    let config = settings(dir.path(), 1, more);
    let config = config.to_str().expect("a name");
    let output = run(
        &dir.path().join("data"),
        &["--config", config, "up", "--listen", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0"],
    );
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("did you mean `fraud_signals`?"), "{told}");
    let output = run(dir.path(), &["--config", config, "alerts", "test", "flod"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `flood`?"));
    // Nobody listens at port 1.
    let output = run(dir.path(), &["--config", config, "alerts", "test", "flood"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("127.0.0.1:1: ") && !told.contains(SECRET), "{told}");
}

#[test]
#[ignore = "slow suite: starts an SMTP server in Python"]
fn email_goes_through_a_real_server() {
    let dir = tempfile::tempdir().expect("a folder");
    let mail = dir.path().join("mail");
    std::fs::create_dir(&mail).expect("a folder");
    let folder = mail.clone();
    let server = std::thread::spawn(move || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/smtp_server.py");
        let packages = ["aiosmtpd==1.4.6", "trustme==1.2.1"];
        millrace_broker::testing::python::run(&packages, &script, &[folder.to_str().expect("a name")])
    });
    let port = wait_for("the SMTP server", || {
        assert!(!server.is_finished(), "the SMTP server has ended; see its error below");
        std::fs::read_to_string(mail.join("port")).ok()
    });
    let receiver = Receiver::start();
    let password = dir.path().join("password");
    let more = format!(
        "[notify.channels.mail]\nkind = 'email'\nserver = '127.0.0.1:{port}'\nca_file = '{}/ca.pem'\nuser = 'millrace'\n\
         password = 'file:{}'\nfrom = 'millrace@shop.example'\nto = ['ops@shop.example', 'night@shop.example']\n\
         [notify.routes.mail]\ntable = 'stock_levels'\nchannels = ['mail']\nwhere = {{ status = 'low' }}\n\
         gather = '1s'\nevery = '1s'\n",
        mail.display(),
        password.display()
    );
    let config = settings(dir.path(), receiver.port, &more);
    let config = config.to_str().expect("a name");
    std::fs::write(&password, "wrong horse\n").expect("written");
    let output = run(dir.path(), &["--config", config, "alerts", "test", "mail"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("AUTH is answered 535") && !told.contains("horse"), "{told}");
    std::fs::write(&password, "correct horse\n").expect("written");
    let up = Up::start(dir.path(), &["--no-simulate", "--config", config]);
    let rows = [stock("lämp-1", "low", 3), stock("p2", "low", 1)];
    produce(&up, "stock_levels", &rows);
    // The first try was answered 451.
    let kept = wait_for("the mail", || std::fs::read(mail.join("message-2.json")).ok());
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    assert_eq!((&kept["tls"], &kept["defects"]), (&json!(true), &json!([])), "{kept}");
    assert_eq!(kept["to"], json!(["ops@shop.example", "night@shop.example"]));
    assert_eq!(kept["subject"], "[MEDIUM] mail: 2 alerts about 2 entities, first stock_levels: lämp-1");
    let (plain, html) = (kept["parts"]["text/plain"].as_str(), kept["parts"]["text/html"].as_str());
    assert!(plain.is_some_and(|text| text.contains("lämp-1") && text.contains("https://dash.example/stock")), "{kept}");
    assert!(html.is_some_and(|text| text.contains("<table>") && text.contains("available")), "{kept}");
    let (out, err) = up.stop();
    assert!(!out.contains("horse") && !err.contains("horse"));
    std::fs::write(mail.join("stop"), "").expect("written");
    server.join().expect("no panic").expect("the server ended well");
    assert!(!mail.join("message-3.json").exists(), "told twice");
}
