//! The store sink: each record exactly once, whatever crashes, and nothing lost when it does not fit.

use std::sync::Arc;
use std::time::Duration;

use millrace_connectors::kafka::producer::{Outgoing, Producer, transactional};
use millrace_connectors::kafka::{ClientSettings, topics};
use millrace_connectors::sink::store::{self as store_sink, BatchLimits, Retention, StoreSinkSettings};
use millrace_connectors::sink::{SinkReport, SinkStats};
use millrace_connectors::store::{Param, Store, Table, WriteBatch};
use millrace_connectors::testing::Postgres;
use millrace_connectors::testing::bouncer::Bouncer;
use millrace_connectors::{Ending, shutdown};
use millrace_model::{Classified, ColumnType, Contract, Contracts, ErrorKind, Timestamp};
use rdkafka::producer::{BaseRecord, Producer as _};
use serde_json::{Value, json};

use crate::support::{Broker, PATIENCE, broker, column, contract, eventually, unique};

/// A broker, topics of their own, a SQLite file.
struct Bench {
    broker: Broker,
    tables: Vec<Contract>,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new(name: &str) -> Bench {
        let broker = broker().await;
        let mut append = contract(&unique(name), 2);
        append.key = Vec::new();
        append.columns.push(column("at", ColumnType::Timestamp));
        let letters = Contracts::builtin().get("dead_letters").expect("it ships").clone();
        let tables = vec![contract(&unique(name), 2), append, letters];
        topics::ensure(&broker.settings, &tables, None).await.expect("topics");
        Bench { broker, tables, folder: tempfile::tempdir().expect("a folder") }
    }

    fn url(&self) -> String {
        format!("sqlite://{}/store.db", self.folder.path().display())
    }

    fn settings(&self) -> StoreSinkSettings {
        let mut settings = StoreSinkSettings::new(self.broker.settings.clone());
        settings.limits = BatchLimits { rows_max: 100, ..BatchLimits::default() };
        settings
    }

    /// Runs the sink over what is in the topics now.
    async fn drain(&self, url: &str) -> SinkReport {
        let store = Store::open(url).await.expect("a store");
        let (switch, shutdown) = shutdown();
        switch.ask(Ending::Drain);
        let run = store_sink::run(self.settings(), self.tables.clone(), store.clone(), SinkStats::default(), shutdown);
        let report = tokio::time::timeout(PATIENCE, run).await.expect("in time").expect("drained");
        assert_eq!(report.records_read, report.rows_written + report.records_set_aside);
        store.close().await;
        report
    }
}

fn keyed(at: u32) -> Value {
    json!({ "store_id": format!("store {}", at % 50), "orders": at })
}

fn placed(at: u32) -> Value {
    json!({ "store_id": "a", "orders": at, "at": "2026-01-31T09:05:00.000001Z" })
}

/// Produces rows `range` to both topics: in one transaction each hundred, and now and then an aborted one.
async fn produce(settings: &ClientSettings, tables: &[Contract], range: std::ops::Range<u32>) {
    let (settings, names) = (settings.clone(), [tables[0].name.clone(), tables[1].name.clone()]);
    tokio::task::spawn_blocking(move || {
        let producer = transactional(&settings, &unique("job")).expect("a producer");
        producer.init_transactions(PATIENCE).expect("a transactional id");
        for hundred in range.collect::<Vec<_>>().chunks(100) {
            for commit in [hundred[0] % 300 != 0, true] {
                producer.begin_transaction().expect("begun");
                for at in hundred {
                    let at = if commit { *at } else { 1_000_000 + at };
                    for (name, row) in [(&names[0], keyed(at)), (&names[1], placed(at))] {
                        let (key, row) = (row["store_id"].to_string(), row.to_string());
                        producer.send(BaseRecord::to(name).key(&key).payload(&row)).map_err(|(e, _)| e).expect("sent");
                    }
                }
                if commit {
                    producer.commit_transaction(PATIENCE).expect("committed");
                    break;
                }
                producer.flush(PATIENCE).expect("sent");
                producer.abort_transaction(PATIENCE).expect("aborted");
            }
        }
    })
    .await
    .expect("the producer's thread");
}

async fn one(store: &Store, sql: &str) -> Value {
    let rows = store.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    Value::Object(rows.into_iter().next().expect("a row"))
}

/// What the tables must hold after rows `0..n`.
async fn check(url: &str, tables: &[Contract], n: i64) {
    let store = Store::open(url).await.expect("a store");
    let appended = one(&store, &format!("SELECT count(*) AS n, sum(orders) AS s FROM {}", tables[1].name)).await;
    assert_eq!(appended, json!({ "n": n, "s": n * (n - 1) / 2 }));
    let latest = one(&store, &format!("SELECT count(*) AS n, sum(orders) AS s FROM {}", tables[0].name)).await;
    assert_eq!(latest, json!({ "n": 50, "s": (n - 50..n).sum::<i64>() }));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_in_the_store_once() {
    let bench = Bench::new("once").await;
    produce(&bench.broker.settings, &bench.tables, 0..1_000).await;
    let report = bench.drain(&bench.url()).await;
    assert!(report.rows_written >= 2_000, "{report:?}");
    check(&bench.url(), &bench.tables, 1_000).await;
    produce(&bench.broker.settings, &bench.tables, 1_000..1_200).await;
    bench.drain(&bench.url()).await;
    check(&bench.url(), &bench.tables, 1_200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_killed_again_and_again_counts_nothing_twice() {
    let bench = Bench::new("killed").await;
    let store = Store::open(&bench.url()).await.expect("a store");
    let producing = produce(&bench.broker.settings, &bench.tables, 0..3_000);
    let killing = async {
        for life in 0..8 {
            let (_switch, shutdown) = shutdown();
            let stats = SinkStats::default();
            let run = store_sink::run(bench.settings(), bench.tables.clone(), store.clone(), stats.clone(), shutdown);
            let sink = tokio::spawn(run);
            // A life lasts until something is written and a bit longer, another bit each time.
            let patience = tokio::time::Instant::now() + Duration::from_secs(2);
            while stats.snapshot().batches <= life && tokio::time::Instant::now() < patience {
                tokio::task::yield_now().await;
            }
            sink.abort();
            sink.await.ok();
        }
    };
    tokio::join!(producing, killing);
    store.close().await;
    bench.drain(&bench.url()).await;
    check(&bench.url(), &bench.tables, 3_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_fit_no_row_are_set_aside() {
    let bench = Bench::new("misfit").await;
    let (settings, name) = (bench.broker.settings.clone(), bench.tables[0].name.clone());
    tokio::task::spawn_blocking(move || {
        let producer = Producer::new(&settings, None).expect("a producer");
        let values: [Option<&[u8]>; 6] = [
            Some(br#"{"store_id":"a","orders":1}"#),
            Some(b"{\"store_id\":"),
            Some(br#"{"store_id":"b","orders":"many"}"#),
            Some(br#"{"store_id":"c\u0000","orders":1}"#),
            None,
            Some(br#"{"store_id":"d","orders":2}"#),
        ];
        for value in values {
            let record = Outgoing { topic: &name, partition: Some(1), key: Some(b"k"), value, time: None };
            producer.send(record, PATIENCE).expect("sent");
        }
        producer.flush(PATIENCE).expect("acknowledged");
    })
    .await
    .expect("a thread");
    let report = bench.drain(&bench.url()).await;
    assert!(report.records_set_aside >= 4, "{report:?}");
    bench.drain(&bench.url()).await;
    let store = Store::open(&bench.url()).await.expect("a store");
    let good = one(&store, &format!("SELECT count(*) AS n, sum(orders) AS s FROM {}", bench.tables[0].name)).await;
    assert_eq!(good, json!({ "n": 2, "s": 3 }));
    let sql = "SELECT \"offset\", kind, code, field, job, value_base64 FROM dead_letters WHERE topic = $1 ORDER BY \"offset\"";
    let letters = store.query(sql, &[millrace_connectors::store::Param::Text(bench.tables[0].name.clone())]).await;
    let letters: Vec<Value> = letters.expect("letters").into_iter().map(Value::Object).collect();
    let letter = |offset: i64, code: &str, field: Value, value: Value| json!({ "offset": offset, "kind": "sink", "code": code, "field": field, "job": "store", "value_base64": value });
    assert_eq!(
        letters,
        [
            letter(1, "not_json", Value::Null, json!("eyJzdG9yZV9pZCI6")),
            letter(2, "wrong_type", json!("orders"), json!("eyJzdG9yZV9pZCI6ImIiLCJvcmRlcnMiOiJtYW55In0=")),
            letter(3, "nul_character", json!("store_id"), json!("eyJzdG9yZV9pZCI6ImNcdTAwMDAiLCJvcmRlcnMiOjF9")),
            letter(4, "empty", Value::Null, Value::Null),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sinks_one_is_fenced() {
    let bench = Bench::new("two").await;
    let store = Store::open(&bench.url()).await.expect("a store");
    let (switch, _) = shutdown();
    let start = || {
        let stats = SinkStats::default();
        let run =
            store_sink::run(bench.settings(), bench.tables.clone(), store.clone(), stats.clone(), switch.subscribe());
        (tokio::spawn(run), stats)
    };
    let sinks = [start(), start()];
    // A sink learns that it was replaced when it writes, so there is always more to write.
    let mut produced = 0;
    eventually("one of them is fenced", async || {
        produce(&bench.broker.settings, &bench.tables, produced..produced + 200).await;
        produced += 200;
        sinks.iter().any(|(sink, _)| sink.is_finished())
    })
    .await;
    eventually("the other has everything", async || {
        let sql = format!("SELECT count(*) AS n FROM {}", bench.tables[1].name);
        one(&store, &sql).await["n"] == json!(produced)
    })
    .await;
    switch.ask(Ending::Drain);
    let mut fenced = 0;
    for (sink, _) in sinks {
        if let Err(error) = sink.await.expect("a task") {
            assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
            fenced += 1;
        }
    }
    assert_eq!(fenced, 1);
    store.close().await;
    check(&bench.url(), &bench.tables, i64::from(produced)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sinks_share_the_partitions_and_one_is_cut_off() {
    let bench = Bench::new("shared").await;
    let store = Store::open(&bench.url()).await.expect("a store");
    let (switch, _) = shutdown();
    let start = || {
        let stats = SinkStats::default();
        let settings = StoreSinkSettings { shared: true, ..bench.settings() };
        let run = store_sink::run(settings, bench.tables.clone(), store.clone(), stats.clone(), switch.subscribe());
        (tokio::spawn(run), stats)
    };
    let ((first, first_stats), (second, second_stats)) = (start(), start());
    let mut produced = 0;
    eventually("both of them write", async || {
        produce(&bench.broker.settings, &bench.tables, produced..produced + 200).await;
        produced += 200;
        first_stats.snapshot().rows_written > 0 && second_stats.snapshot().rows_written > 0
    })
    .await;
    // While it writes, without a word to anyone.
    produce(&bench.broker.settings, &bench.tables, produced..produced + 1_000).await;
    first.abort();
    produced += 1_000;
    produce(&bench.broker.settings, &bench.tables, produced..produced + 300).await;
    produced += 300;
    eventually("the other has everything", async || {
        let count = format!("SELECT count(*) AS n FROM {}", bench.tables[1].name);
        let oldest = format!("SELECT min(orders) AS oldest FROM {}", bench.tables[0].name);
        let (count, oldest) = (one(&store, &count).await, one(&store, &oldest).await);
        count["n"] == json!(produced) && oldest["oldest"] == json!(produced - 50)
    })
    .await;
    let lag = async || second_stats.snapshot().lag_records;
    eventually("the lag is known to be nothing", async || lag().await == Some(0)).await;
    switch.ask(Ending::Drain);
    tokio::time::timeout(PATIENCE, second).await.expect("in time").expect("a task").expect("drained");
    store.close().await;
    check(&bench.url(), &bench.tables, i64::from(produced)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_the_database_refuses_is_found_among_good_ones() {
    let bench = Bench::new("refused").await;
    // A check the contract knows nothing of, as an operator might add it.
    let store = Store::open(&bench.url()).await.expect("a store");
    store.ensure_tables(&bench.tables).await.expect("tables");
    store.close().await;
    let sql = format!(
        "CREATE TRIGGER odd BEFORE INSERT ON {} WHEN NEW.orders = 137 BEGIN SELECT RAISE(ABORT, 'no 137'); END",
        bench.tables[1].name
    );
    let file = bench.folder.path().join("store.db");
    let mut database = sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.expect("a file");
    use sqlx::Connection as _;
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut database).await.expect("a trigger");
    database.close().await.expect("closed");
    produce(&bench.broker.settings, &bench.tables, 0..300).await;
    bench.drain(&bench.url()).await;
    bench.drain(&bench.url()).await;
    let store = Store::open(&bench.url()).await.expect("a store");
    let rows = one(&store, &format!("SELECT count(*) AS n, sum(orders) AS s FROM {}", bench.tables[1].name)).await;
    assert_eq!(rows, json!({ "n": 299, "s": 300 * 299 / 2 - 137 }));
    let letter = format!("SELECT code, reason FROM dead_letters WHERE topic = '{}'", bench.tables[1].name);
    let letter = one(&store, &letter).await;
    assert_eq!(letter["code"], json!("store_refused"));
    assert!(letter["reason"].as_str().expect("text").contains("no 137"), "{letter}");
}

/// Rows of the second table, some of them old, go in; what is past the contract's seven days leaves.
async fn old_rows_leave(url: &str) {
    const OLD: i64 = 12_000;
    let mut bench = Bench::new("old").await;
    bench.tables[1].event_time = Some("at".into());
    bench.drain(url).await;
    let store = Store::open(url).await.expect("a store");
    // What the topic no longer has: more than two pieces, of 8 days and a row a second.
    let now = Timestamp::from_system_time(std::time::SystemTime::now());
    let table = Arc::new(Table::of(&bench.tables[1]).expect("a table"));
    let mut batch = WriteBatch::new("test");
    let week = 7 * 86_400_000_000;
    let row = |age: i64, offset: i64| {
        let cells = [Param::Integer(1), Param::Time(Timestamp(now.0 - age)), Param::Integer(9), Param::Integer(offset)];
        [Param::Text("old".into())].into_iter().chain(cells).collect::<Vec<_>>()
    };
    for at in 0..OLD {
        batch.upsert(&table, row(week + 86_400_000_000 + at * 1_000_000, at)).expect("a row");
    }
    for at in 0..100 {
        batch.upsert(&table, row(week - 3_600_000_000, OLD + at)).expect("a row");
    }
    store.write(&batch).await.expect("written");
    let count = format!("SELECT count(*) AS n FROM {}", bench.tables[1].name);
    bench.drain(url).await;
    assert_eq!(one(&store, &count).await, json!({ "n": OLD + 100 }), "for ever, unless told otherwise");

    let (switch, shutdown) = shutdown();
    let settings = StoreSinkSettings { retention: Retention::Contracts, ..bench.settings() };
    let sink =
        tokio::spawn(store_sink::run(settings, bench.tables.clone(), store.clone(), SinkStats::default(), shutdown));
    produce(&bench.broker.settings, &bench.tables, 0..300).await;
    let young = format!("SELECT count(*) AS n FROM {} WHERE store_id = 'old'", bench.tables[1].name);
    eventually("the old are gone", async || one(&store, &young).await == json!({ "n": 100 })).await;
    switch.ask(Ending::Drain);
    tokio::time::timeout(PATIENCE, sink).await.expect("in time").expect("a task").expect("drained");
    let left = one(&store, &format!("SELECT count(*) AS n FROM {} WHERE store_id = 'old'", bench.tables[1].name)).await;
    assert_eq!(left, json!({ "n": 100 }), "the young stay");
    // A table without an event time is a state.
    assert_eq!(one(&store, &format!("SELECT count(*) AS n FROM {}", bench.tables[0].name)).await, json!({ "n": 50 }));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_past_its_retention_leaves_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    old_rows_leave(&format!("sqlite://{}/store.db", folder.path().display())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow suite: starts PostgreSQL 15"]
async fn what_is_past_its_retention_leaves_postgres() {
    let server = Postgres::start().expect("PostgreSQL 15");
    old_rows_leave(&server.create_database("old").expect("a database")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow suite: starts PostgreSQL 15"]
async fn a_postgres_that_goes_away_and_comes_back_has_everything() {
    let bench = Bench::new("away").await;
    let mut server = Postgres::start().expect("PostgreSQL 15");
    let url = server.create_database("sink").expect("a database");
    let store = Store::open(&url).await.expect("a store");
    let (switch, shutdown) = shutdown();
    let stats = SinkStats::default();
    let sink =
        tokio::spawn(store_sink::run(bench.settings(), bench.tables.clone(), store.clone(), stats.clone(), shutdown));
    produce(&bench.broker.settings, &bench.tables, 0..500).await;
    eventually("the first rows", async || stats.snapshot().rows_written > 0).await;
    for round in 0_u32..3 {
        server.stop();
        produce(&bench.broker.settings, &bench.tables, 500 + round * 100..600 + round * 100).await;
        eventually("it says what it waits for", async || stats.snapshot().waits_for.is_some()).await;
        server.resume().expect("it starts again");
        eventually("it writes again", async || stats.snapshot().waits_for.is_none()).await;
    }
    switch.ask(Ending::Drain);
    tokio::time::timeout(PATIENCE, sink).await.expect("in time").expect("a task").expect("drained");
    store.close().await;
    check(&url, &bench.tables, 800).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow suite: starts PostgreSQL 15 and pgbouncer"]
async fn a_postgres_behind_a_pgbouncer_that_is_killed_has_everything() {
    let bench = Bench::new("bounced").await;
    let server = Postgres::start().expect("PostgreSQL 15");
    server.create_database("sink").expect("a database");
    let mut bouncer = Bouncer::start(&server, "transaction", 2).expect("pgbouncer");
    let url = bouncer.url("sink");
    let store = Store::open(&url).await.expect("a store");
    let (switch, shutdown) = shutdown();
    let stats = SinkStats::default();
    let sink =
        tokio::spawn(store_sink::run(bench.settings(), bench.tables.clone(), store.clone(), stats.clone(), shutdown));
    for round in 0_u32..3 {
        let read = one(&store, "SELECT count(*) AS n FROM sink_offsets").await;
        assert!(read["n"].is_u64(), "{read}");
        produce(&bench.broker.settings, &bench.tables, round * 500..round * 500 + 250).await;
        bouncer.stop();
        produce(&bench.broker.settings, &bench.tables, round * 500 + 250..round * 500 + 500).await;
        eventually("it says what it waits for", async || stats.snapshot().waits_for.is_some()).await;
        bouncer.resume().expect("it starts again");
        eventually("it writes again", async || stats.snapshot().waits_for.is_none()).await;
    }
    switch.ask(Ending::Drain);
    tokio::time::timeout(PATIENCE, sink).await.expect("in time").expect("a task").expect("drained");
    store.close().await;
    check(&url, &bench.tables, 1_500).await;
}
