//! The pipelines that ship, on both backends over the same records: the same final rows.
//!
//! The embedded backend is the built program (`MILLRACE_BIN`, or `millrace` of the same target folder, which
//! `cargo test --workspace` builds and `cargo test -p millrace-spark` does not); its broker is the Kafka of both. Spark
//! takes everything in bounded runs and writes to topics of its own. The shop of this test sends no late records: what is
//! late depends on how records fall into batches (docs/spark-differences.md).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use millrace_model::time::{HOUR_MICROS, MINUTE_MICROS};
use millrace_model::{Contract, Contracts, Role, Timestamp};
use millrace_simulate::{Delivery, Disorder, Record, Shop, ShopSettings, Topic};
use millrace_spark::{SparkEvent, SparkJob, SparkOutputMode, SparkTable, SparkTrigger, run};
use serde_json::Value;

use crate::glue;
use crate::servers::{Spark, cpu_of};
use crate::support::{Kafka, KeyValue, Outgoing, settings, wait_for};

/// The results have come when none has grown for this long.
const QUIET: Duration = Duration::from_secs(10);
/// Event time of the recorded input.
const MINUTES: i64 = 75;
/// Source records a second of event time.
const RATE: f64 = 4.0;
/// Rules whose condition more records can undo: with many records they held for a while in epochs of 20 ms, and Spark, in one batch,
/// never saw it.
const MAY_CEASE: [&str; 4] = ["amount_out_of_habit", "card_testing", "decline_rate", "refund_abuse"];

/// CPU seconds from the first record to the last row.
pub(crate) struct Cost {
    pub(crate) records: usize,
    /// Of the whole product: broker, jobs, store, lake and page.
    pub(crate) embedded: f64,
    /// Of Spark alone: it has the product's broker.
    pub(crate) spark: f64,
}

/// `millrace up` on a folder of its own; killed when dropped.
struct Embedded {
    child: Child,
    kafka: Kafka,
}

impl Embedded {
    fn start(dir: &Path) -> Self {
        let log = std::fs::File::create(dir.join("err.log")).expect("a file");
        let mut child = Command::new(program())
            .arg("--data-dir")
            .arg(dir)
            .args(["up", "--no-simulate", "--listen", "127.0.0.1:0", "--kafka-listen", "127.0.0.1:0"])
            .current_dir(glue::workspace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let running = dir.join("running.json");
        let found: Value = wait_for("the product has started", Duration::from_secs(120), || {
            assert!(child.try_wait().expect("a status").is_none(), "it ended: {}", dir.display());
            serde_json::from_slice(&std::fs::read(&running).ok()?).ok()
        });
        let kafka = Kafka::at(found["kafka"].as_str().expect("an address"));
        Embedded { child, kafka }
    }

    /// Waits until no result topic grows.
    fn settle(&self, tables: &[&SparkTable]) {
        let mut sizes = Vec::new();
        let mut since = Instant::now();
        wait_for("the embedded backend has settled", Duration::from_secs(300), || {
            let now: Vec<i64> = tables.iter().map(|table| self.kafka.end(&table.contract.name)).collect();
            if now != sizes {
                (sizes, since) = (now, Instant::now());
            }
            (since.elapsed() > QUIET).then_some(())
        });
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    let beside = || std::env::current_exe().ok()?.parent()?.parent().map(|folder| folder.join("millrace"));
    let program = std::env::var_os("MILLRACE_BIN").map(PathBuf::from).or_else(beside).expect("a path");
    let told = "build it first with `cargo build --release`, or name it in MILLRACE_BIN";
    assert!(program.exists(), "the product's program {} is not there: {told}", program.display());
    program
}

/// A recorded stretch of a shop, all of it in the past, and a record of each kind an hour later in every partition.
fn input(contracts: &Contracts, rate: f64) -> (Vec<Record>, Timestamp) {
    let now = Timestamp::from_system_time(SystemTime::now());
    let start = Timestamp(now.0 - (MINUTES + 180) * MINUTE_MICROS).floor(MINUTE_MICROS);
    let mut settings = ShopSettings::new(20_261_122, start, rate);
    settings.campaign_interval_scale = 0.2;
    settings.disorder = Disorder { late: 0.0, malformed: 0.002, duplicates: 0.005, ..Disorder::default() };
    let mut shop = Shop::new(settings).expect("settings in range");
    let mut records = Vec::new();
    shop.advance(Timestamp(start.0 + MINUTES * MINUTE_MICROS), &mut records);
    records.retain(|record| contracts.get(record.topic.name()).is_some_and(|contract| contract.role == Role::Source));
    assert!(records.iter().all(|record| record.delivery != Delivery::Late));
    records.extend(frauds(start));
    (records, Timestamp(start.0 + MINUTES * MINUTE_MICROS + HOUR_MICROS))
}

/// What this shop's campaigns do not do for sure in so short a time: a card guessed at, a payment out of all habit, goods kept.
fn frauds(start: Timestamp) -> Vec<Record> {
    let payment = |number: i64, kind: &str, card: &str, user: &str, amount: i64| {
        let time = Timestamp(start.0 + MINUTES * MINUTE_MICROS + number * 1_000_000);
        let order = format!("crafted-{card}-{number}");
        let value = serde_json::json!({
            "event_id": order, "event_type": kind, "event_time": time.to_string(), "order_id": order, "payment_id": order, "refund_id": order,
            "user_id": user, "card_token": card, "amount_minor": amount, "currency": "EUR",
        });
        Record {
            topic: Topic::Transactions,
            key: order.into(),
            value: value.to_string().into(),
            event_time: time,
            arrival: time,
            delivery: Delivery::Regular,
        }
    };
    let mut records: Vec<Record> =
        (0..4).map(|number| payment(number, "payment_declined", "guessed", "guesser", 500)).collect();
    records.push(payment(4, "payment_authorized", "guessed", "guesser", 500));
    records.extend((10..16).map(|number| payment(number, "payment_authorized", "usual", "regular", 1_000 + number)));
    records.push(payment(16, "payment_authorized", "unusual", "regular", 90_000));
    records.extend([20, 21].map(|number| payment(number, "order_refunded", "kept", "keeper", 5_000)));
    records
}

/// A record that keeps the contract and does nothing but move time on.
fn closing(contract: &Contract, partition: u32, time: Timestamp) -> String {
    let id = format!("closing-{partition}");
    let mut record = serde_json::json!({"event_id": id, "event_type": "closing", "event_time": time.to_string()});
    for column in contract.columns.iter().filter(|column| column.required) {
        if record.get(&column.name).is_none() {
            record[&column.name] = match column.column_type {
                millrace_model::ColumnType::Integer => 0.into(),
                _ => id.clone().into(),
            };
        }
    }
    record.to_string()
}

/// Tables in the order in which they can be run to their end: what is read comes first.
fn levels(jobs: &[SparkJob]) -> Vec<Vec<SparkJob>> {
    let reads = |job: &SparkJob, table: &SparkTable| -> Vec<String> {
        let mut names: Vec<String> = table.query.reads.iter().map(|read| read.table.clone()).collect();
        for view in &job.views {
            names.extend(view.query.reads.iter().map(|read| read.table.clone()));
        }
        names
    };
    let all: Vec<String> =
        jobs.iter().flat_map(|job| job.tables.iter().map(|table| table.contract.name.clone())).collect();
    let mut done: Vec<String> = Vec::new();
    let mut levels = Vec::new();
    while done.len() < all.len() {
        let ready = |job: &SparkJob, table: &SparkTable| {
            let waits = |name: &String| all.contains(name) && !done.contains(name);
            !done.contains(&table.contract.name) && !reads(job, table).iter().any(waits)
        };
        let level: Vec<SparkJob> = jobs
            .iter()
            .map(|job| SparkJob {
                tables: job.tables.iter().filter(|t| ready(job, t)).cloned().collect(),
                ..job.clone()
            })
            .filter(|job| !job.tables.is_empty())
            .collect();
        assert!(!level.is_empty(), "a circle");
        done.extend(level.iter().flat_map(|job| job.tables.iter().map(|table| table.contract.name.clone())));
        levels.push(level);
    }
    levels
}

/// Whether the table is one of changes: in append mode, but over rows that are corrected. How often, batches decide.
fn of_changes(jobs: &[SparkJob], table: &SparkTable) -> bool {
    let read = |name: &str| jobs.iter().flat_map(|job| &job.tables).find(|table| table.contract.name == name);
    let mut sources = table.query.reads.iter().filter_map(|source| read(&source.table));
    sources.any(|source| source.output_mode == SparkOutputMode::Update)
}

/// The rows a reader ends with: the last of each key, or all of them.
fn rows(last_of_key: bool, records: Vec<KeyValue>) -> BTreeMap<String, Vec<Value>> {
    let mut rows: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (key, value) in records {
        let key = String::from_utf8(key.unwrap_or_default()).expect("text");
        let value = serde_json::from_slice(&value.expect("a row")).expect("JSON");
        let of_key = rows.entry(key).or_default();
        if last_of_key {
            of_key.clear();
        }
        of_key.push(value);
    }
    for of_key in rows.values_mut() {
        of_key.sort_by_key(Value::to_string);
    }
    rows
}

/// Equal, numbers that are no integers to a billionth.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            let (x, y) = (x.as_f64().unwrap_or(0.0), y.as_f64().unwrap_or(0.0));
            a == b || (x - y).abs() <= 1e-9 * x.abs().max(y.abs())
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, value)| y.get(name).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

/// Fields in which two rows differ.
fn differing(a: &Value, b: &Value) -> Vec<String> {
    let fields = a.as_object().into_iter().flatten();
    let wrong = fields.filter(|(name, value)| !same(value, &b[name.as_str()]));
    wrong.map(|(name, value)| format!("{name}: embedded {value}, Spark {}", b[name.as_str()])).collect()
}

/// Whether a row that Spark does not have is one of a rule whose condition held for a while.
fn held_for_a_while(table: &str, key: &str) -> bool {
    MAY_CEASE.iter().any(|rule| {
        table.strip_prefix("fraud_") == Some(rule) || (table == "fraud_signals" && key.contains(&format!("{rule}:")))
    })
}

pub(crate) fn every_shipped_pipeline_gives_the_same_rows(spark: &Spark) {
    both(spark, RATE, "spark_");
}

/// What the shipped pipelines cost on both, after rows have been compared: Spark's second run counts, when its JVM is warm.
pub(crate) fn race(spark: &Spark, rate: f64) -> Cost {
    both(spark, RATE, "warm_");
    both(spark, rate, "race_")
}

/// Runs a shop on both backends, Spark's results in topics of this prefix, and compares them.
fn both(spark: &Spark, rate: f64, prefix: &str) -> Cost {
    let contracts = glue::contracts();
    let jobs: Vec<SparkJob> =
        glue::shipped().iter().map(|(name, text)| glue::job(name, text, &contracts, prefix)).collect();
    let tables: Vec<&SparkTable> = jobs.iter().flat_map(|job| &job.tables).collect();
    assert_eq!(tables.len(), contracts.of_role(Role::Result).count());

    let dir = tempfile::tempdir().expect("a folder");
    let embedded = Embedded::start(dir.path());
    let kafka = &embedded.kafka;
    let (records, end) = input(&contracts, rate);
    let of_embedded = cpu_of(embedded.child.id());
    println!("{} records over {MINUTES} minutes of event time", records.len());
    for topic in Topic::ALL {
        let contract = contracts.get(topic.name()).expect("shipped");
        if contract.role != Role::Source {
            continue;
        }
        let of_topic = records.iter().filter(|record| record.topic == topic);
        let record = |record: &'_ Record| (record.key.clone(), record.value.clone(), record.arrival);
        let of_topic: Vec<_> = of_topic.map(record).collect();
        kafka.produce(
            topic.name(),
            of_topic.iter().map(|(key, value, time)| Outgoing {
                key: Some(key),
                value: Some(value),
                time: Some(*time),
                partition: None,
            }),
        );
        let partitions = 0..contract.topic.partitions;
        let last: Vec<(u32, String)> = partitions.map(|at| (at, closing(contract, at, end))).collect();
        kafka.produce(
            topic.name(),
            last.iter().map(|(partition, value)| Outgoing {
                key: Some(b"closing"),
                value: Some(value.as_bytes()),
                time: Some(end),
                partition: i32::try_from(*partition).ok(),
            }),
        );
    }
    let started = Instant::now();
    embedded.settle(&tables);
    let of_embedded = cpu_of(embedded.child.id()) - of_embedded;
    println!("embedded: settled after {:.0} s", started.elapsed().saturating_sub(QUIET).as_secs_f64());

    let names: Vec<String> = tables.iter().map(|table| table.topic.clone()).collect();
    kafka.create(names.iter().map(|name| (name.as_str(), 1)));
    let mut settings = settings(spark, kafka, dir.path());
    settings.trigger = SparkTrigger::AvailableNow;
    let (started, of_spark) = (Instant::now(), spark.cpu());
    let mut malformed = BTreeMap::new();
    for level in levels(&jobs) {
        for job in level {
            let (names, started): (Vec<_>, _) =
                (job.tables.iter().map(|t| t.contract.name.clone()).collect(), Instant::now());
            run(&job, &settings, &|| false, &mut |event| match event {
                SparkEvent::Progress(progress) => {
                    *malformed.entry(progress.table.clone()).or_insert(0) += progress.counts().records_malformed;
                }
                SparkEvent::Retrying { error, .. } => panic!("{error}\n{}", spark.log()),
                _ => {}
            })
            .unwrap_or_else(|error| panic!("{error}\n{}", spark.log()));
            println!("Spark: job {} {names:?} in {:.0} s", job.name, started.elapsed().as_secs_f64());
        }
    }
    let of_spark = spark.cpu() - of_spark;
    println!("Spark: everything in {:.0} s", started.elapsed().as_secs_f64());

    let mut wrong = 0;
    println!("{:<38} {:>9} {:>9}  verdict", "table", "embedded", "Spark");
    for job in &jobs {
        for table in &job.tables {
            let last_of_key = table.output_mode == SparkOutputMode::Update || of_changes(&jobs, table);
            let own = rows(last_of_key, kafka.read(&table.contract.name));
            let theirs = rows(last_of_key, kafka.read(&table.topic));
            assert!(!own.is_empty(), "{}: nothing is compared", table.contract.name);
            let count = |rows: &BTreeMap<String, Vec<Value>>| rows.values().map(Vec::len).sum::<usize>();
            let mut differences = Vec::new();
            for (key, of_key) in &own {
                match theirs.get(key) {
                    None if rate > RATE && held_for_a_while(&table.contract.name, key) => {}
                    None => differences.push(format!("only embedded: {key}")),
                    Some(other) if of_key.len() != other.len() => {
                        differences.push(format!("{key}: {} rows embedded, {} on Spark", of_key.len(), other.len()));
                    }
                    Some(other) => {
                        let fields: Vec<String> = of_key.iter().zip(other).flat_map(|(a, b)| differing(a, b)).collect();
                        if !fields.is_empty() {
                            differences.push(format!("{key}: {}", fields.join("; ")));
                        }
                    }
                }
            }
            differences
                .extend(theirs.keys().filter(|key| !own.contains_key(*key)).map(|key| format!("only Spark: {key}")));
            let verdict =
                if differences.is_empty() { "equal".to_owned() } else { format!("{} differ", differences.len()) };
            let name = format!("{}.{}", job.name, table.contract.name);
            println!("{name:<38} {:>9} {:>9}  {verdict}", count(&own), count(&theirs));
            for difference in differences.iter().take(4) {
                println!("    {}", difference.chars().take(600).collect::<String>());
            }
            wrong += usize::from(!differences.is_empty());
        }
    }
    let broken = records.iter().filter(|record| record.delivery == Delivery::Malformed).count() as u64;
    println!("malformed: {broken} sent; Spark counted {malformed:?}");
    assert_eq!(malformed.get("ledger"), Some(&broken), "the ledger reads all three sources");
    assert_eq!(wrong, 0, "tables differ");
    Cost { records: records.len(), embedded: of_embedded, spark: of_spark }
}
