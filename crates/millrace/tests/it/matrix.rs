//! The language, statement by statement: what Spark takes and refuses (`tests/matrix/statements.sql`), on both backends over
//! the same records. The final rows must be equal; what differs, or is not known to the embedded engine, must be listed here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millrace_cluster::{ClusterGuard, ClusterSettings, Ports, SparkMode};
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::{ClientSettings, topics as kafka_topics};
use millrace_model::{Contract, Contracts, contract::TopicSettings};
use serde_json::{Value, json};

use crate::scenarios::{self, Scenario};
use crate::support::{PATIENCE, Up, query_with, run, workspace};

/// Statements and modes that Spark takes and the embedded engine refuses.
const NOT_YET: [&str; 0] = [];
/// The page of the results, above its table.
const PAGE: &str = "\
<!-- Made by the test `matrix`, which compares both backends; MILLRACE_WRITE_CONFORMANCE=1 writes it again. -->
# What was compared on both backends

Every statement of `tests/matrix/statements.sql` ran on the embedded engine and on Spark 4.2 over the same records of Kafka, in
each output mode, and so did the statements of `tests/scenarios/` with their rows, sorted by time; the final rows were
compared, numbers with a fraction to a billionth. Another suite compares the shipped
pipelines (`cargo test --profile quick -p millrace-spark -- --include-ignored`). What is known to differ is in
[spark-differences.md](spark-differences.md).

";
/// Streaming queries that run on Spark at a time: each holds memory, and takes its turn on few cores.
const GROUP: usize = 16;
/// Compiling Java for each of a hundred statements takes more time than their few records.
const SPARK_CONF: &str = "'spark.sql.codegen.wholeStage' = 'false'\n'spark.sql.codegen.factoryMode' = 'NO_CODEGEN'\n";
/// Longest wait for a group's rows: the first batches on busy cores take most of it.
const ROWS_MAX: Duration = Duration::from_secs(420);

/// A statement in one output mode.
struct Case {
    name: String,
    mode: String,
    refused: bool,
    /// The streaming table that makes it a pipeline.
    table: String,
}

impl Case {
    fn id(&self) -> String {
        format!("{}_{}", self.name, self.mode)
    }
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(workspace().join("tests/matrix/statements.sql")).expect("the statements");
    let mut cases = Vec::new();
    for block in text.split("\n\n").filter(|block| block.starts_with("-- ") && block.contains("\n")) {
        let (head, sql) = block.split_once('\n').expect("a head and a statement");
        let Some((name, rest)) = head.trim_start_matches("-- ").split_once(": ") else { continue };
        let (modes, key) = rest.split_once("; key ").unwrap_or((rest, ""));
        for mode in modes.split(", ") {
            let refused = mode.starts_with('(');
            let mode = mode.trim_matches(['(', ')']);
            let key = if key.is_empty() || mode == "append" { String::new() } else { format!(", 'key' = '{key}'") };
            let table = format!(
                "CREATE STREAMING TABLE {name}_{mode} TBLPROPERTIES ('output_mode' = '{mode}'{key})\nAS {};\n",
                sql.trim()
            );
            cases.push(Case { name: name.to_owned(), mode: mode.to_owned(), refused, table });
        }
    }
    assert!(cases.len() > 50, "{} statements", cases.len());
    cases
}

/// The streams and the static table the statements read.
fn sources(statics: &Path) -> String {
    format!(
        "CREATE TABLE raw (event_id STRING, user_id STRING, event_type STRING, page STRING, product_id STRING, category STRING,
  price DOUBLE, quantity BIGINT, event_time TIMESTAMP) USING kafka OPTIONS ('topic' = 'matrix_events', 'format' = 'json');
CREATE TABLE raw_orders (event_id STRING, user_id STRING, product_id STRING, amount DOUBLE, event_time TIMESTAMP)
USING kafka OPTIONS ('topic' = 'matrix_orders', 'format' = 'json');
CREATE TEMPORARY VIEW events AS SELECT * FROM STREAM raw WATERMARK event_time DELAY OF INTERVAL 10 SECONDS;
CREATE TEMPORARY VIEW orders AS SELECT * FROM STREAM raw_orders WATERMARK event_time DELAY OF INTERVAL 10 SECONDS;
CREATE TEMPORARY VIEW mk USING csv OPTIONS ('path' = '{}', 'header' = 'true', 'inferSchema' = 'true');
",
        statics.display()
    )
}

/// Clicks and orders of two hours, and some long after them that close every window.
fn records() -> [(&'static str, Vec<Value>); 2] {
    let time =
        |seconds: u64| format!("2026-01-01T{:02}:{:02}:{:02}Z", 10 + seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (mut clicks, mut orders) = (Vec::new(), Vec::new());
    let mut dice = 12_345_u64;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    for number in 0..220_u64 {
        // One time a record: what is the first, the last or the newest is then no matter of order.
        let second = number * 33;
        let (user, product) = (roll(7), roll(9));
        let category = ["books", "games", "music"][roll(3) as usize];
        let kind = ["page_view", "page_view", "add_to_cart", "add_to_cart", "purchase"][roll(5) as usize];
        clicks.push(json!({
            "event_id": format!("e{number}"), "user_id": format!("u{user}"), "event_type": kind, "page": format!("/{}", roll(6)),
            "product_id": format!("p{product}"), "category": category,
            "price": (roll(4000) as f64) / 100.0, "quantity": roll(4) + 1, "event_time": time(second),
        }));
        if roll(4) == 0 {
            orders.push(json!({
                "event_id": format!("o{number}"), "user_id": format!("u{user}"), "product_id": format!("p{product}"),
                "amount": 5.5, "event_time": time(second + roll(700)),
            }));
        }
    }
    // One of each kind: on Spark the watermark follows the rows that pass a statement's filter.
    for (records, id) in [(&mut clicks, "e"), (&mut orders, "o")] {
        for (number, kind) in ["page_view", "add_to_cart", "purchase"].into_iter().enumerate() {
            records.push(json!({
                "event_id": format!("{id}-{kind}"), "user_id": "nobody", "event_type": kind, "page": "/", "product_id": "none",
                "category": "none", "price": 1.0, "quantity": 1, "amount": 1.0, "event_time": time(9 * 3600 + number as u64),
            }));
        }
    }
    [("matrix_events", clicks), ("matrix_orders", orders)]
}

/// Sends each topic's records, in their order, to its only partition.
fn produce(servers: &str, topics: &BTreeMap<String, Vec<String>>) {
    let contract = |name: &String| Contract {
        name: name.clone(),
        topic: TopicSettings { partitions: 1, config: BTreeMap::new() },
        ..Contracts::builtin().get("user_events").expect("shipped").clone()
    };
    let contracts: Vec<Contract> = topics.keys().map(contract).collect();
    let settings = ClientSettings::new(servers.to_owned());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(kafka_topics::ensure(&settings, &contracts, None)).expect("topics");
    let producer = Producer::new(&settings, None).expect("a producer");
    for (topic, records) in topics {
        for record in records {
            let outgoing =
                Outgoing { topic, partition: Some(0), key: None, value: Some(record.as_bytes()), time: None };
            producer.send(outgoing, PATIENCE).expect("room");
        }
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

/// Pipelines that run at a time, and the tables that are compared.
#[derive(Default)]
struct Group {
    files: Vec<(String, String)>,
    tables: Vec<String>,
}

fn groups(taken: &[&Case], scenarios: &[Scenario], statics: &Path) -> Vec<Group> {
    let statements = taken.chunks(GROUP).map(|cases| Group {
        files: vec![(
            "matrix".into(),
            sources(statics) + &cases.iter().map(|case| case.table.as_str()).collect::<String>(),
        )],
        tables: cases.iter().map(|case| case.id()).collect(),
    });
    let mut groups: Vec<Group> = statements.collect();
    let mut group = Group::default();
    for scenario in scenarios {
        group.files.push((scenario.name.clone(), scenario.sql.clone()));
        group.tables.extend(scenario.tables.iter().cloned());
        if group.tables.len() >= GROUP {
            groups.push(std::mem::take(&mut group));
        }
    }
    if !group.tables.is_empty() {
        groups.push(group);
    }
    groups
}

/// A folder of pipeline files.
fn pipelines(dir: &Path, files: &[(String, String)]) -> PathBuf {
    std::fs::create_dir_all(dir).expect("a folder");
    for (name, text) in files {
        std::fs::write(dir.join(format!("{name}.sql")), text).expect("written");
    }
    dir.to_owned()
}

/// The final rows of a table, in an order of their own.
fn rows(dir: &Path, config: &str, table: &str) -> Vec<Value> {
    let mut rows = query_with(dir, config, &format!("SELECT * FROM {table}"));
    rows.sort_by_key(|row| {
        row.as_object().map(|row| row.values().filter(|v| !v.is_f64()).map(Value::to_string).collect::<String>())
    });
    rows
}

/// Equal, numbers that are no integers to a billionth.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            let (x, y) = (x.as_f64().unwrap_or(0.0), y.as_f64().unwrap_or(0.0));
            (x - y).abs() <= 1e-9 * x.abs().max(y.abs())
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, value)| y.get(name).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

#[test]
#[ignore = "slow suite: starts Kafka and Spark"]
fn both_backends_speak_the_same_language() {
    let dir = tempfile::tempdir().expect("a folder");
    let statics = dir.path().join("products.csv");
    std::fs::write(&statics, "product_id,product_name,cost\np1,one,1.5\np2,two,3.5\np3,three,4.25\n").expect("written");
    let cases = cases();
    let mut verdicts: BTreeMap<String, String> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut taken = Vec::new();
    for case in &cases {
        let file = dir.path().join(format!("{}.sql", case.id()));
        std::fs::write(&file, sources(&statics) + &case.table).expect("written");
        let checked = run(dir.path(), &["check", &file.display().to_string()]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        match (checked.status.success(), case.refused) {
            (true, false) => taken.push(case),
            (true, true) => wrong.push(format!("{}: Spark refuses it, the embedded engine does not", case.id())),
            (false, true) => {
                assert!(
                    said.contains("hint"),
                    "{}: refused without a word of what to write instead: {said}",
                    case.id()
                );
                verdicts.insert(case.id(), "refused by both".into());
            }
            (false, false) if NOT_YET.contains(&case.id().as_str()) => {
                verdicts.insert(case.id(), "not in the embedded engine".into());
            }
            (false, false) => wrong.push(format!("{}: {said}", case.id())),
        }
    }

    let config = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("settings");
        path.display().to_string()
    };
    let scenarios = scenarios::all(dir.path());
    let mut topics: BTreeMap<String, Vec<String>> = scenarios.iter().flat_map(|s| s.records.clone()).collect();
    topics.extend(records().map(|(topic, rows)| (topic.to_owned(), rows.iter().map(Value::to_string).collect())));
    let groups = groups(&taken, &scenarios, &statics);
    let own_dir = dir.path().join("own");
    let mut files =
        vec![("matrix".into(), sources(&statics) + &taken.iter().map(|c| c.table.as_str()).collect::<String>())];
    files.extend(scenarios.iter().map(|scenario| (scenario.name.clone(), scenario.sql.clone())));
    let all = pipelines(&dir.path().join("all"), &files);
    let plain = config("plain.toml", format!("pipelines = '{}'\n", all.display()));
    let own = Up::start(&own_dir, &["--config", &plain, "--no-simulate"]);
    produce(&own.kafka, &topics);
    // It lets go through what is on its way.
    own.stop();
    let tables = groups.iter().flat_map(|group| &group.tables);
    let expected: BTreeMap<String, Vec<Value>> =
        tables.map(|table| (table.clone(), rows(&own_dir, &plain, table))).collect();
    for case in &taken {
        assert!(!expected[&case.id()].is_empty(), "{}: nothing is compared", case.id());
    }

    let settings = ClusterSettings {
        ports: Ports::Free,
        kafka_nodes: 1,
        spark: SparkMode::Local { cores: 2 },
        postgres: false,
        ..ClusterSettings::new(dir.path().join("cluster"))
    };
    let cluster = ClusterGuard::up(&settings, &mut |step| println!("{step}")).expect("a cluster");
    let servers = cluster.bootstrap_servers();
    produce(&servers, &topics);
    for (number, group) in groups.iter().enumerate() {
        let started = Instant::now();
        let folder = pipelines(&dir.path().join(format!("group-{number}")), &group.files);
        let text = format!(
            "pipelines = '{}'\n[kafka]\nbootstrap_servers = '{servers}'\n[spark]\nurl = '{}'\ntrigger = '1s'\n[spark.conf]\n{}",
            folder.display(),
            cluster.spark_url().expect("Spark"),
            SPARK_CONF,
        );
        let spark = config(&format!("spark-{number}.toml"), text);
        let spark_dir = dir.path().join(format!("spark-{number}"));
        let up = Up::start(&spark_dir, &["--config", &spark, "--no-simulate", "--backend", "spark"]);
        let equal = |table: &String| {
            let (found, wanted) = (rows(&spark_dir, &spark, table), &expected[table]);
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| same(a, b))
        };
        // One table at a time, and not all the time: asking takes from the cores that Spark answers with.
        let mut left: Vec<&String> = group.tables.iter().collect();
        while let Some(table) = left.last()
            && started.elapsed() < ROWS_MAX
        {
            if equal(table) {
                left.pop();
            } else {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        // Once more all of them: no row has come on top.
        for table in &group.tables {
            if equal(table) {
                verdicts.insert(table.clone(), format!("equal, {} rows", expected[table].len()));
                continue;
            }
            let (found, wanted) = (rows(&spark_dir, &spark, table), &expected[table]);
            let missing: Vec<_> =
                wanted.iter().filter(|row| !found.iter().any(|other| same(row, other))).take(2).collect();
            let extra: Vec<_> =
                found.iter().filter(|row| !wanted.iter().any(|other| same(row, other))).take(2).collect();
            wrong.push(format!(
                "{table}: {} rows embedded, {} on Spark; only embedded {missing:?}; only Spark {extra:?}",
                wanted.len(),
                found.len()
            ));
        }
        println!("group {number}: {} tables in {:.0} s", group.tables.len(), started.elapsed().as_secs_f64());
        let (status, said) = up.stop_or_not();
        if !status.success() {
            wrong.push(format!("group {number} ended with {status}: {said:?}"));
        }
    }

    let mut table = String::new();
    for case in &cases {
        let verdict = verdicts.get(&case.id()).map_or("DIFFERS", String::as_str);
        let _ = writeln!(table, "| `{}` | {} | {verdict} |", case.name, case.mode);
    }
    table.push_str("\n| scenario, table | embedded engine and Spark |\n|---|---|\n");
    for scenario in &scenarios {
        for name in &scenario.tables {
            let verdict = verdicts.get(name).map_or("DIFFERS", String::as_str);
            let short = name.strip_prefix(&format!("{}_", scenario.name)).unwrap_or(name);
            let _ = writeln!(table, "| `{}`, `{short}` | {verdict} |", scenario.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let page = workspace().join("docs/spark-conformance.md");
    let text = format!("{PAGE}| statement | output mode | embedded engine and Spark |\n|---|---|---|\n{table}");
    if std::env::var_os("MILLRACE_WRITE_CONFORMANCE").is_some() {
        std::fs::write(&page, &text).expect("written");
    }
    let written = std::fs::read_to_string(&page).expect("the page");
    assert_eq!(written, text, "MILLRACE_WRITE_CONFORMANCE=1 writes {} again", page.display());
}
