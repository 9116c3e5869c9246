//! Records a second through the embedded broker: the producer, the lake and the store sink (SQLite), one after another.
//!
//! `cargo bench -p millrace-connectors --features testing --bench rates -- [records]`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use millrace_broker::{Broker, BrokerSettings};
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::{ClientSettings, topics};
use millrace_connectors::lake::{self, LakeSettings};
use millrace_connectors::sink::SinkStats;
use millrace_connectors::sink::store::{self as store_sink, StoreSinkSettings};
use millrace_connectors::store::Store;
use millrace_connectors::{Ending, Shutdown, shutdown};
use millrace_model::{Contract, Contracts, Timestamp};

const PATIENCE: Duration = Duration::from_secs(60);

const METRICS: &str = r#"{
  "$id": "store_metrics", "type": "object", "required": [],
  "properties": {
    "window_start": { "type": "string", "format": "date-time" }, "window_end": { "type": "string", "format": "date-time" },
    "store_id": { "type": "string" }, "currency": { "type": "string" },
    "visitors": { "type": "integer" }, "page_views": { "type": "integer" }, "searches": { "type": "integer" },
    "product_views": { "type": "integer" }, "cart_adds": { "type": "integer" }, "checkouts": { "type": "integer" },
    "orders": { "type": "integer" }, "refunds": { "type": "integer" }, "gross_minor": { "type": "integer" },
    "net_minor": { "type": "integer" }
  },
  "x-millrace": { "role": "result", "key": ["window_start", "store_id"], "topic": { "partitions": 1, "retention.ms": -1 } }
}"#;

fn event(at: u64) -> (String, String, Timestamp) {
    let time = Timestamp(1_794_000_000_000_000 + at as i64 * 10_000);
    let visitor = format!("v{:07}", at * 7_919 % 200_000);
    let value = format!(
        r#"{{"event_id":"e{at:012}","event_type":"product_viewed","event_time":"{time}","store_id":"main","anonymous_id":"{visitor}","session_id":"s{:06}","device_type":"phone","country":"DE","channel":"organic","path":"/product/{}","product_id":"p{:05}","category":"shoes","price_minor":{},"currency":"EUR"}}"#,
        at % 90_000,
        at % 5_000,
        at % 5_000,
        at % 20_000
    );
    (visitor, value, time)
}

fn metric(at: u64) -> (String, String, Timestamp) {
    let time = Timestamp(1_794_000_000_000_000 + (at * 7_919 % 10_000) as i64 * 60_000_000);
    let end = Timestamp(time.0 + 300_000_000);
    let store = format!("store-{}", at % 10);
    let counts: Vec<String> = [
        "visitors",
        "page_views",
        "searches",
        "product_views",
        "cart_adds",
        "checkouts",
        "orders",
        "refunds",
        "gross_minor",
        "net_minor",
    ]
    .iter()
    .map(|name| format!(r#""{name}":{at}"#))
    .collect();
    let value = format!(
        r#"{{"window_start":"{time}","window_end":"{end}","store_id":"{store}","currency":"EUR",{}}}"#,
        counts.join(",")
    );
    (store, value, time)
}

async fn produce(settings: &ClientSettings, topic: &str, records: u64, make: fn(u64) -> (String, String, Timestamp)) {
    let (settings, topic) = (settings.clone(), topic.to_owned());
    let run = tokio::task::spawn_blocking(move || {
        let made: Vec<_> = (0..records).map(make).collect();
        let bytes: usize = made.iter().map(|(_, value, _)| value.len()).sum();
        let producer = Producer::new(&settings, None).expect("a producer");
        let start = Instant::now();
        for (key, value, time) in &made {
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            producer
                .send(Outgoing { topic: &topic, partition: None, key, value, time: Some(*time) }, PATIENCE)
                .expect("sent");
        }
        producer.flush(PATIENCE).expect("acknowledged");
        say("produced", &topic, records, start.elapsed(), bytes);
    });
    run.await.expect("the producer's thread");
}

fn say(what: &str, topic: &str, records: u64, took: Duration, bytes: usize) {
    let rate = records as f64 / took.as_secs_f64();
    println!(
        "{what:<9} {topic:<14} {records} records of {} bytes in {took:.2?}: {rate:.0}/s",
        bytes / records as usize
    );
}

fn drained() -> Shutdown {
    let (switch, ending) = shutdown();
    switch.ask(Ending::Drain);
    // The switch lives as long as the program: a dropped one would stop at once.
    std::mem::forget(switch);
    ending
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    // Cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|text| !text.starts_with("--"));
    let records = arguments.next().map_or(1_000_000, |text| text.parse::<u64>().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let broker = BrokerSettings { data_dir: folder.path().join("broker"), listen, ..BrokerSettings::default() };
    let broker = Broker::start(broker).await.expect("a broker");
    let settings = ClientSettings::new(broker.address().to_string());
    let mut events = Contracts::builtin().get("user_events").expect("it ships").clone();
    // The events are of a fixed day in the past.
    events.topic.config.insert("retention.ms".into(), "-1".into());
    let metrics = Contract::parse(METRICS).expect("a contract");
    let letters = Contracts::builtin().get("dead_letters").expect("it ships").clone();
    topics::ensure(&settings, &[events.clone(), metrics.clone(), letters], None).await.expect("topics");

    produce(&settings, "user_events", records, event).await;
    archive(&settings, &folder.path().join("lake"), events).await;
    produce(&settings, "store_metrics", records / 2, metric).await;
    sink(&settings, &format!("sqlite://{}/store.db", folder.path().display()), metrics).await;
}

async fn archive(settings: &ClientSettings, folder: &Path, contract: Contract) {
    let start = Instant::now();
    let settings = LakeSettings::new(settings.clone(), folder);
    let report = lake::run(settings, vec![contract], SinkStats::default(), drained()).await.expect("archived");
    let took = start.elapsed();
    let found = lake::inspect(folder).await.expect("footers");
    let topic = &found["user_events"];
    assert_eq!(topic.rows, report.rows_written);
    say("archived", "user_events", topic.rows, took, topic.bytes as usize);
    println!("          {} files, {} bytes", topic.files, topic.bytes);
}

async fn sink(settings: &ClientSettings, url: &str, contract: Contract) {
    let store = Store::open(url).await.expect("a store");
    let start = Instant::now();
    let settings = StoreSinkSettings::new(settings.clone());
    let run = store_sink::run(settings, vec![contract], store.clone(), SinkStats::default(), drained());
    let report = run.await.expect("written");
    let (rows, seconds) = (report.rows_written, start.elapsed().as_secs_f64());
    assert_eq!(report.records_missed, 0);
    println!("upserted  store_metrics  {rows} rows of 14 columns in {seconds:.2}s: {:.0}/s", rows as f64 / seconds);
    store.close().await;
}
