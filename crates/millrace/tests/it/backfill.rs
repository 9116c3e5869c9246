//! A job computed over the lake after retention has deleted the beginning of its topics, killed in between, then live: every
//! row is the one it would have been, had the job been there from the start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use millrace_connectors::kafka::lag::LagProbe;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::rdkafka::admin::{AdminClient, AdminOptions};
use millrace_connectors::kafka::rdkafka::client::DefaultClientContext;
use millrace_connectors::kafka::rdkafka::{Offset, TopicPartitionList};
use millrace_connectors::kafka::{ClientSettings, Cluster, Extent, Place};
use millrace_model::{ColumnType, Contracts, Role, Timestamp};
use millrace_simulate::{Disorder, Record, Shop, ShopSettings};
use serde_json::Value;

use crate::support::{PATIENCE, Up, command, wait_for, workspace};

const MINUTE_MICROS: i64 = 60_000_000;
/// Event time of the part that is in the lake, and of the part that comes live.
const PART_MINUTES: [i64; 2] = [100, 40];
/// Source records a second of event time.
const RATE: f64 = 6.0;
const SOURCES: [&str; 3] = ["user_events", "transactions", "inventory_updates"];
/// The tables that are computed over the lake; `abandoned_carts` and `session_funnel` read `sessions`, a table of their file.
const JOBS: [(&str, &[&str]); 2] = [
    ("metrics", &["store_metrics", "vitals", "revenue_daily", "category_metrics", "ledger"]),
    ("sessions", &["sessions", "abandoned_carts", "session_funnel"]),
];

/// A shop's past in two parts, with repeats and malformed records, and a last record of every partition that closes all
/// windows. What is late depends on the moment live, so nothing is.
fn parts(contracts: &Contracts) -> [Vec<Record>; 2] {
    let now = Timestamp::from_system_time(SystemTime::now());
    let minutes: i64 = PART_MINUTES.iter().sum();
    let start = Timestamp(now.0 - (minutes + 120) * MINUTE_MICROS).floor(MINUTE_MICROS);
    let mut settings = ShopSettings::new(20_261_130, start, RATE);
    settings.disorder = Disorder { late: 0.0, malformed: 0.002, duplicates: 0.005, ..Disorder::default() };
    let mut shop = Shop::new(settings).expect("settings in range");
    let mut until = start.0;
    PART_MINUTES.map(|minutes| {
        until += minutes * MINUTE_MICROS;
        let mut records = Vec::new();
        shop.advance(Timestamp(until), &mut records);
        records
            .retain(|record| contracts.get(record.topic.name()).is_some_and(|contract| contract.role == Role::Source));
        records
    })
}

pub(crate) fn produce(servers: &str, records: &[Record]) {
    let producer = Producer::new(&ClientSettings::new(servers.to_owned()), None).expect("a producer");
    for record in records {
        let (key, value) = (Some(&record.key[..]), Some(&record.value[..]));
        let outgoing = Outgoing { topic: record.topic.name(), partition: None, key, value, time: Some(record.arrival) };
        producer.send(outgoing, PATIENCE).expect("room");
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

/// A record in every partition that keeps its contract and does nothing but move time on.
pub(crate) fn closing(servers: &str, contracts: &Contracts, at: Timestamp) {
    let producer = Producer::new(&ClientSettings::new(servers.to_owned()), None).expect("a producer");
    for contract in contracts.of_role(Role::Source).filter(|contract| SOURCES.contains(&contract.name.as_str())) {
        for partition in 0..i32::try_from(contract.topic.partitions).expect("few") {
            let id = format!("closing-{}-{partition}", contract.name);
            let mut record =
                serde_json::json!({ "event_id": id, "event_type": "closing", "event_time": at.to_string() });
            for column in contract.columns.iter().filter(|column| column.required) {
                if record.get(&column.name).is_none() {
                    record[&column.name] = match column.column_type {
                        ColumnType::Integer => 0.into(),
                        _ => id.clone().into(),
                    };
                }
            }
            let value = record.to_string();
            let (key, value) = (Some(&b"closing"[..]), Some(value.as_bytes()));
            let topic = &contract.name;
            let outgoing = Outgoing { topic, partition: Some(partition), key, value, time: Some(at) };
            producer.send(outgoing, PATIENCE).expect("room");
        }
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

/// What the source topics hold.
fn extents(servers: &str) -> BTreeMap<Place, Extent> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = Cluster::new(&ClientSettings::new(servers.to_owned()), "test").expect("a client");
    let places = runtime.block_on(cluster.places(&SOURCES.map(Into::into))).expect("partitions");
    runtime.block_on(cluster.extents(&places)).expect("extents").into_iter().collect()
}

/// Deletes records as retention does: of each partition this share.
fn delete(servers: &str, share: f64) {
    let mut list = TopicPartitionList::new();
    for (place, extent) in extents(servers) {
        let before = extent.low + ((extent.end - extent.low) as f64 * share) as i64;
        list.add_partition_offset(&place.topic, place.partition, Offset::Offset(before)).expect("an offset");
    }
    let config = ClientSettings::new(servers.to_owned()).admin();
    let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(admin.delete_records(&list, &AdminOptions::new())).expect("deleted");
}

/// Waits until these groups have committed everything they read: a job stops, and says so, when records go before it has read them.
fn all_read(servers: &str, groups: &[&str]) {
    let probe = LagProbe::new(&ClientSettings::new(servers.to_owned()), groups, &SOURCES).expect("a probe");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    wait_for("all is read", || {
        let lags = runtime.block_on(probe.read()).expect("offsets");
        let read = |group: &&str| lags.iter().any(|lag| lag.group == *group);
        (groups.iter().all(read) && lags.iter().all(|lag| lag.records() == 0)).then_some(())
    });
}

/// A data folder with settings of its own.
struct Bench {
    dir: PathBuf,
    config: String,
    /// Where its lake lies, and how that is reached.
    lake: String,
    environment: Vec<(&'static str, String)>,
}

impl Bench {
    fn new(dir: PathBuf, lake: &str, environment: &[(&'static str, String)]) -> Self {
        std::fs::create_dir_all(&dir).expect("a folder");
        let config = dir.join("millrace.toml").display().to_string();
        let bench = Bench { config, dir, lake: lake.to_owned(), environment: environment.to_vec() };
        bench.settings(true);
        bench
    }

    /// Small epochs: a backfill of little is many transactions.
    fn settings(&self, lake: bool) {
        let place = if self.lake.is_empty() { String::new() } else { format!("dir = '{}'\n", self.lake) };
        let text = format!(
            "[engine]\nepoch_records_max = 500\nsnapshot_interval = '200ms'\n[lake]\nenabled = {lake}\nflush_interval = '500ms'\n{place}"
        );
        std::fs::write(&self.config, text).expect("settings");
    }

    fn up(&self, pipelines: &[&str]) -> Up {
        let folder = self.dir.join("pipelines");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        for name in pipelines {
            let file = format!("{name}.sql");
            std::fs::copy(workspace().join("pipelines").join(&file), folder.join(&file)).expect("copied");
        }
        let folder = folder.display().to_string();
        let options = ["--config", &self.config, "--no-simulate", "--pipelines", &folder];
        Up::start_with(&self.dir, &options, &self.environment)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.dir);
        command.args(["--config", &self.config]).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Waits until nothing is on its way any more and the books balance.
    fn balanced(&self) -> Value {
        let pipelines = self.dir.join("pipelines").display().to_string();
        let audit = ["audit", "--format", "json", "--pipelines", &pipelines];
        let started = Instant::now();
        loop {
            let out = self.run(&audit);
            if out.status.success() {
                return serde_json::from_slice(&out.stdout).expect("an answer");
            }
            let said = String::from_utf8_lossy(&out.stdout);
            assert!(
                started.elapsed() < 2 * PATIENCE,
                "not balanced: {}",
                said.split("\"facts\"").next().unwrap_or(&said)
            );
        }
    }

    fn rows(&self, table: &str) -> Vec<String> {
        let sql = format!("SELECT * FROM {table}");
        let out = self.run(&["query", "--format", "json", &sql]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let mut rows: Vec<String> = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
        rows.sort();
        rows
    }

    fn backfill(&self, arguments: &[&str]) -> (bool, String) {
        let out = self.run(&[&["backfill"], arguments].concat());
        let said = [out.stdout, out.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (out.status.success(), said)
    }

    /// Starts a backfill and kills it when its epochs' log is so long, bytes; false: it had ended before.
    fn backfill_killed_at(&self, job: &str, logged: u64) -> bool {
        let mut backfill = self.command(&["backfill", job]);
        let mut child = backfill.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        let is_log = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
        let started = Instant::now();
        loop {
            if child.try_wait().expect("a status").is_some() {
                return false;
            }
            assert!(started.elapsed() < PATIENCE, "neither ended nor came to {logged} bytes of log");
            let files = std::fs::read_dir(self.dir.join("state").join(job)).into_iter().flatten().flatten();
            let logs = files.filter(|file| is_log(&file.path()));
            let newest = logs.filter_map(|log| log.metadata().ok().map(|of| of.len())).sum::<u64>();
            if newest >= logged {
                child.kill().expect("killed");
                child.wait().expect("ended");
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_backfilled_job_gives_what_it_would_have_given_live() {
    computed_late_or_live("", &[]);
}

/// Computes jobs over a lake that lies here (empty: in the data folder), and holds them against jobs that were there.
pub(crate) fn computed_late_or_live(lake: &str, environment: &[(&'static str, String)]) {
    let contracts = Contracts::builtin();
    let dir = tempfile::tempdir().expect("a folder");
    let [past, present] = parts(&contracts);
    let last = present.iter().map(|record| record.event_time).max().expect("records");
    let end = Timestamp(last.0 + 90 * MINUTE_MICROS);

    // What it must come to: the jobs were there all the time.
    let live = Bench::new(dir.path().join("live"), "", &[]);
    let up = live.up(&["metrics", "sessions", "inventory"]);
    produce(&up.kafka, &past);
    produce(&up.kafka, &present);
    closing(&up.kafka, &contracts, end);
    live.balanced();
    let tables = || JOBS.iter().flat_map(|(_, tables)| tables.iter().copied());
    let expected: BTreeMap<&str, Vec<String>> = tables().map(|table| (table, live.rows(table))).collect();
    up.stop();

    // Here they come later: the past is in the lake, and most of it no longer in the topics.
    let late = Bench::new(dir.path().join("late"), lake, environment);
    let up = late.up(&["inventory"]);
    produce(&up.kafka, &past);
    late.balanced();
    delete(&up.kafka, 0.8);
    assert!(extents(&up.kafka).values().any(|extent| extent.low > 0));
    let (ok, said) = late.backfill(&["inventory"]);
    assert!(!ok && said.contains("the product that runs on this data folder runs it"), "{said}");
    up.stop();

    let kills = [2_000, 9_000, 20_000].iter().filter(|at| late.backfill_killed_at("metrics", **at)).count();
    assert!(kills > 0, "the backfill was never killed in between");
    let (ok, said) = late.backfill(&["metrics", "sessions"]);
    assert!(ok && said.contains("went on after epoch") && said.contains("goes on live"), "{said}");
    let (ok, said) = late.backfill(&["metrics"]);
    assert!(ok && said.contains("0 records of the lake"), "there is nothing left: {said}");

    let up = late.up(&["metrics", "sessions", "inventory"]);
    produce(&up.kafka, &present);
    closing(&up.kafka, &contracts, end);
    let answer = late.balanced();
    for table in tables() {
        let (found, expected) = (late.rows(table), &expected[table]);
        assert!(!found.is_empty(), "{table} has no rows");
        let missing: Vec<&String> = expected.iter().filter(|row| !found.contains(row)).take(3).collect();
        let extra: Vec<&String> = found.iter().filter(|row| !expected.contains(row)).take(3).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{table}: missing {missing:#?}, instead {extra:#?}");
    }
    let sessions = &answer["facts"]["tables"]["sessions"];
    assert_eq!(sessions["topic_rows"], sessions["topic_keys"], "a final row was given twice: {sessions:#}");
    up.stop();

    // Records that nobody archived, and that the topics have no more: refused, with the place.
    late.settings(false);
    let up = late.up(&["inventory"]);
    produce(&up.kafka, &present[..1_000]);
    all_read(&up.kafka, &["millrace-intake", "millrace-inventory"]);
    delete(&up.kafka, 1.0);
    up.stop();
    let (ok, said) = late.backfill(&["metrics", "--recompute"]);
    let named = said.contains("topic `") && said.contains("neither in the lake") && said.contains("--allow-gaps");
    assert!(!ok && named, "{said}");
    let (ok, said) = late.backfill(&["metrics", "--recompute", "--allow-gaps"]);
    assert!(ok && said.contains("live from offset"), "{said}");
}
