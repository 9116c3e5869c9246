//! The search sink against a real server: every row is one document, whatever is refused, repeated or killed.

use std::time::{Duration, SystemTime};

use millrace_connectors::http::{HttpClient, Method};
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::{ClientSettings, topics};
use millrace_connectors::sink::search::{self, SearchSettings, SearchSinkSettings};
use millrace_connectors::sink::{SinkReport, SinkStats};
use millrace_connectors::testing::search::Search;
use millrace_connectors::{Ending, ShutdownSwitch, shutdown};
use millrace_model::{Classified, ColumnType, Contract, Contracts, ErrorKind, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Broker, PATIENCE, broker, column, contract, eventually, unique};

/// A broker with a table of windows, one of stores and one of signals, which have an event time, and a client to look into the indices.
struct Bench {
    broker: Broker,
    tables: Vec<Contract>,
    look: HttpClient,
    search: SearchSettings,
}

impl Bench {
    async fn new(server: &Search) -> Bench {
        let broker = broker().await;
        let mut windows = contract(&unique("windows"), 2);
        windows.columns.push(column("window_start", ColumnType::Timestamp));
        windows.key = vec!["window_start".into(), "store_id".into()];
        windows.topic.config.insert("retention.ms".into(), (30 * 86_400_000_i64).to_string());
        let mut signals = Contract { name: unique("signals"), key: vec!["store_id".into()], ..windows.clone() };
        signals.event_time = Some("window_start".into());
        let tables = vec![windows, contract(&unique("stores"), 2), signals];
        let letters = Contracts::builtin().get("dead_letters").expect("it ships").clone();
        let all: Vec<Contract> = tables.iter().cloned().chain([letters]).collect();
        topics::ensure(&broker.settings, &all, None).await.expect("topics");
        let look = HttpClient::new(&server.url(), None).expect("an address");
        let search = SearchSettings { url: server.url(), replicas: Some(0), ..SearchSettings::default() };
        Bench { broker, tables, look, search }
    }

    fn produce(&self, table: usize, rows: impl IntoIterator<Item = Value>) {
        produce(&self.broker.settings, &self.tables[table].name, rows.into_iter().map(|row| row.to_string()));
    }

    fn start(&self) -> (ShutdownSwitch, JoinHandle<Result<SinkReport, millrace_connectors::sink::SinkError>>) {
        let settings = SearchSinkSettings::new(self.broker.settings.clone(), self.search.clone());
        let (switch, shutdown) = shutdown();
        (switch, tokio::spawn(search::run(settings, self.tables.clone(), SinkStats::default(), shutdown)))
    }

    /// Runs the sink over what is in the topics now.
    async fn drain(&self) -> SinkReport {
        let (switch, sink) = self.start();
        switch.ask(Ending::Drain);
        tokio::time::timeout(PATIENCE * 2, sink).await.expect("in time").expect("no panic").expect("drained")
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let headers = [("content-type", "application/json")];
        let answer = self.look.send(method, path, &headers, body, PATIENCE).await.expect("an answer");
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// Documents of a table and the sum of their orders; `None` when it cannot be told now.
    async fn count(&self, table: usize) -> (u64, i64) {
        let index = format!("millrace-{}*", self.tables[table].name);
        self.ask(Method::POST, &format!("/{index}/_refresh"), &Value::Null).await;
        let query = json!({ "size": 0, "track_total_hits": true, "aggs": { "s": { "sum": { "field": "orders" } } } });
        let (_, found) = self.ask(Method::POST, &format!("/{index}/_search"), &query).await;
        let sum = found["aggregations"]["s"]["value"].as_f64().unwrap_or(-1.0);
        (found["hits"]["total"]["value"].as_u64().unwrap_or(0), sum as i64)
    }
}

fn produce(settings: &ClientSettings, topic: &str, values: impl Iterator<Item = String>) {
    let producer = Producer::new(settings, None).expect("a producer");
    for value in values {
        // All rows of a key in one partition, in order.
        let key = serde_json::from_str::<Value>(&value).ok().map(|row| row["store_id"].to_string()).unwrap_or_default();
        let outgoing =
            Outgoing { topic, partition: None, key: Some(key.as_bytes()), value: Some(value.as_bytes()), time: None };
        producer.send(outgoing, PATIENCE).expect("sent");
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

fn window(at: i64) -> Value {
    let (day, store) = (1 + at % 3, at % 1_000);
    json!({ "window_start": format!("2099-01-0{day}T00:00:00Z"), "store_id": format!("s{store}"), "orders": at })
}

fn store(at: i64) -> Value {
    json!({ "store_id": format!("s{}", at % 50), "orders": at })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow suite: starts OpenSearch"]
async fn every_row_is_one_document_and_the_last_one_wins() {
    let server = tokio::task::spawn_blocking(|| Search::start(&[])).await.expect("no panic").expect("a server");
    let bench = Bench::new(&server).await;
    bench.produce(0, (0..3_000).map(window));
    bench.produce(1, (0..500).map(store));
    // One that no mapping takes, one that is no JSON, one without its day.
    bench.produce(1, [json!({ "store_id": "bad", "orders": "many" })]);
    // A newer version that is refused does not take the place of the one before it.
    bench.produce(1, [json!({ "store_id": "s7", "orders": "many" })]);
    produce(&bench.broker.settings, &bench.tables[1].name, ["{".to_owned()].into_iter());
    bench.produce(0, [json!({ "store_id": "s1", "orders": 1 })]);
    let report = bench.drain().await;
    assert_eq!((report.records_read, report.rows_written, report.records_set_aside), (3_504, 3_500, 4));
    assert_eq!(bench.count(0).await, (3_000, (0..3_000).sum()));
    assert_eq!(bench.count(1).await, (50, (450..500).sum()));
    let (_, indices) =
        bench.ask(Method::GET, &format!("/millrace-{}-2*/_settings", bench.tables[0].name), &Value::Null).await;
    let mut names: Vec<&String> = indices.as_object().expect("indices").keys().collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].ends_with("-2099.01.01"), "{names:?}");
    let (_, mapping) = bench.ask(Method::GET, &format!("/{}/_mapping", names[0]), &Value::Null).await;
    let of_field = &mapping[names[0].as_str()]["mappings"]["properties"];
    assert_eq!((&of_field["store_id"]["type"], &of_field["window_start"]["type"]), (&json!("keyword"), &json!("date")));

    // Nothing new: nothing is read. Everything again: nothing changes, not even by records that are older.
    assert_eq!(bench.drain().await.records_read, 0);
    let cluster =
        millrace_connectors::kafka::Cluster::new(&bench.broker.settings, search::SEARCH_GROUP).expect("a cluster");
    let names: Vec<std::sync::Arc<str>> = bench.tables.iter().map(|table| table.name.as_str().into()).collect();
    let places = cluster.places(&names).await.expect("places");
    cluster.commit(&places.into_iter().map(|place| (place, 0)).collect()).await.expect("set back");
    assert_eq!(bench.drain().await.records_read, 3_504);
    assert_eq!(bench.count(0).await, (3_000, (0..3_000).sum()));
    assert_eq!(bench.count(1).await, (50, (450..500).sum()));
    // A later row of a store replaces its document.
    bench.produce(1, [json!({ "store_id": "s0", "orders": 10_000 })]);
    bench.drain().await;
    assert_eq!(bench.count(1).await, (50, (451..500).sum::<i64>() + 10_000));

    // A template that is not taken is said at once.
    let (status, _) = bench
        .ask(Method::PUT, "/_cluster/settings", &json!({ "persistent": { "cluster.blocks.read_only": true } }))
        .await;
    assert_eq!(status, 200);
    let (_switch, sink) = bench.start();
    let refused = tokio::time::timeout(PATIENCE, sink).await.expect("in time").expect("no panic").expect_err("refused");
    assert!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains("template"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow suite: starts OpenSearch"]
async fn what_is_past_the_contracts_retention_leaves() {
    let server = tokio::task::spawn_blocking(|| Search::start(&[])).await.expect("no panic").expect("a server");
    let bench = Bench::new(&server).await;
    let ago = |days: i64| {
        let now = Timestamp::from_system_time(SystemTime::now());
        json!(Timestamp(now.0 - days * 86_400_000_000).to_string())
    };
    let row =
        |time: Value, store: &str, orders: u64| json!({ "window_start": time, "store_id": store, "orders": orders });
    // Both tables keep 30 days.
    bench.produce(0, [row(ago(40), "old", 1), row(ago(29), "kept", 2)]);
    bench.produce(2, [row(ago(40), "old", 1), row(ago(29), "kept", 2), row(Value::Null, "timeless", 4)]);
    // Without an event time a row is a state, and stays.
    bench.produce(1, [json!({ "store_id": "state", "orders": 8 })]);
    let report = bench.drain().await;
    assert_eq!((report.rows_written, report.records_set_aside), (6, 0));
    bench.ask(Method::POST, "/millrace-*/_refresh", &Value::Null).await;

    let (switch, sink) = bench.start();
    eventually("the old are gone", async || bench.count(0).await == (1, 2) && bench.count(2).await == (2, 6)).await;
    assert_eq!(bench.count(1).await, (1, 8));
    let day = ago(40).as_str().expect("a text")[..10].replace('-', ".");
    let (status, _) = bench.ask(Method::GET, &format!("/millrace-{}-{day}", bench.tables[0].name), &Value::Null).await;
    assert_eq!(status, 404, "an index of {day} is empty, not gone");
    // What is gone may come again.
    bench.produce(2, [row(ago(1), "old", 16)]);
    eventually("it is back", async || bench.count(2).await == (3, 22)).await;
    switch.ask(Ending::Drain);
    tokio::time::timeout(PATIENCE, sink).await.expect("in time").expect("no panic").expect("drained");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow suite: starts OpenSearch, and kills it under load"]
async fn a_server_that_is_full_blocked_or_killed_is_waited_for() {
    // One request of any size is more than half of what it may hold: real 429s.
    let limits = ["indexing_pressure.memory.limit=400kb"];
    let server = tokio::task::spawn_blocking(move || Search::start(&limits)).await.expect("no panic");
    let mut server = server.expect("a server");
    let bench = Bench::new(&server).await;
    let (switch, sink) = bench.start();
    let settings = bench.broker.settings.clone();
    let name = bench.tables[0].name.clone();
    let producing = std::thread::spawn(move || {
        for chunk in 0..20 {
            produce(&settings, &name, (chunk * 1_000..(chunk + 1) * 1_000).map(|at| window(at).to_string()));
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    eventually("documents", async || bench.count(0).await.0 > 0).await;
    // A block on writes, as a full disk sets it.
    let block = |on: bool| json!({ "index.blocks.read_only_allow_delete": if on { json!(true) } else { Value::Null } });
    let path = format!("/millrace-{}-2*/_settings", bench.tables[0].name);
    bench.ask(Method::PUT, &path, &block(true)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    bench.ask(Method::PUT, &path, &block(false)).await;
    // And killed, twice.
    for _ in 0..2 {
        server = tokio::task::spawn_blocking(move || {
            server.kill();
            std::thread::sleep(Duration::from_secs(2));
            server.resume().expect("started again");
            server
        })
        .await
        .expect("no panic");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::task::spawn_blocking(move || producing.join().expect("produced")).await.expect("no panic");
    switch.ask(Ending::Drain);
    let report = tokio::time::timeout(PATIENCE * 4, sink).await.expect("in time").expect("no panic").expect("drained");
    assert_eq!(report.records_set_aside, 0);
    // 20,000 rows of 3,000 windows: of each the last.
    assert_eq!(bench.count(0).await, (3_000, (17_000..20_000).sum()));
}
