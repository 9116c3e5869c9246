//! Several archivers over one lake, in a folder and in a bucket: one is killed, one is paused while its partitions go to
//! another and wakes up again. Every record is in the lake, once.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use millrace_broker::{Broker, BrokerSettings};
use millrace_connectors::kafka::{ClientSettings, Cluster};
use millrace_connectors::testing::objects::Objects;
use serde_json::Value;

use crate::support::{command, run, said, wait_for};

/// Source topics the simulated shop writes.
const TOPICS: [&str; 3] = ["user_events", "transactions", "inventory_updates"];
/// Longer than a silent member of a group is kept.
const SILENCE: Duration = Duration::from_secs(14);

struct Archiver(Child);

impl Archiver {
    fn start(bench: &Bench, role: &str, name: &str) -> Self {
        let log = bench.dir.path().join(format!("{name}.log"));
        let file = std::fs::File::create(&log).expect("a log");
        let errors = file.try_clone().expect("a log");
        let mut command = bench.with_settings(&[role]);
        let child = command.stdout(Stdio::from(file)).stderr(Stdio::from(errors)).spawn().expect("started");
        let mut archiver = Archiver(child);
        wait_for(&format!("{name} runs"), || {
            let said = std::fs::read_to_string(&log).expect("a log");
            let ended = archiver.0.try_wait().expect("a status");
            assert!(ended.is_none(), "{name} ended: {said}");
            said.contains("running against").then_some(())
        });
        archiver
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.expect("kill").success());
    }

    fn stop(mut self) {
        self.signal("-INT");
        let status = wait_for("the archiver has stopped", || self.0.try_wait().expect("a status"));
        assert!(status.success(), "{status}");
    }
}

impl Drop for Archiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Bench {
    dir: tempfile::TempDir,
    broker: Broker,
    runtime: tokio::runtime::Runtime,
    environment: Vec<(&'static str, String)>,
}

impl Bench {
    fn new(place: &str, environment: Vec<(&'static str, String)>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let broker = BrokerSettings {
            data_dir: dir.path().join("cluster"),
            listen: "127.0.0.1:0".parse().expect("an address"),
            ..BrokerSettings::default()
        };
        let broker = runtime.block_on(Broker::start(broker)).expect("a broker");
        let place = if place.is_empty() { dir.path().join("lake").display().to_string() } else { place.to_owned() };
        let servers = broker.address().to_string();
        let text =
            format!("[kafka]\nbootstrap_servers = '{servers}'\n[lake]\ndir = '{place}'\nflush_interval = '300ms'\n");
        std::fs::write(dir.path().join("settings.toml"), text).expect("settings");
        let bench = Bench { dir, broker, runtime, environment };
        let config = bench.config();
        said(bench.dir.path(), &["--config", &config, "topics"]);
        bench
    }

    fn config(&self) -> String {
        self.dir.path().join("settings.toml").display().to_string()
    }

    fn with_settings(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.dir.path());
        command.args(["--config", &self.config()]).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command
    }

    fn produce(&self, seed: &str) {
        let servers = self.broker.address().to_string();
        let simulate = ["simulate", "--bootstrap-servers", &servers, "--rate", "500", "--for", "6s", "--seed", seed];
        assert!(run(Path::new(self.dir.path()), &simulate).status.success());
    }

    fn records(&self) -> i64 {
        let cluster = Cluster::new(&ClientSettings::new(self.broker.address().to_string()), "count").expect("a client");
        self.runtime.block_on(async {
            let places = cluster.places(&TOPICS.map(Arc::from)).await.expect("partitions");
            cluster.extents(&places).await.expect("ends").values().map(|extent| extent.end - extent.low).sum()
        })
    }

    /// Rows in the lake, and how many different records they are.
    fn rows(&self) -> (i64, i64) {
        let of = |topic: &&str| {
            let sql =
                format!("SELECT count(*) AS n, count(DISTINCT concat(_partition, '/', _offset)) AS d FROM {topic}");
            let out = self.with_settings(&["query", "--format", "json", &sql]).output().expect("a query");
            let row: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
            (row["n"].as_i64().unwrap_or(0), row["d"].as_i64().unwrap_or(0))
        };
        let rows: Vec<(i64, i64)> = TOPICS.iter().map(of).collect();
        (rows.iter().map(|row| row.0).sum(), rows.iter().map(|row| row.1).sum())
    }

    fn wait_for_all(&self, what: &str) {
        let records = self.records();
        wait_for(what, || (self.rows().1 >= records).then_some(()));
        assert_eq!(self.rows(), (records, records), "{what}: rows and different records");
    }
}

fn one_is_killed_and_one_sleeps(bench: &Bench) {
    let [first, second, third] = ["first", "second", "third"].map(|name| Archiver::start(bench, "lake", name));
    bench.produce("1");
    bench.wait_for_all("three archive all");
    std::thread::scope(|scope| {
        let producing = scope.spawn(|| bench.produce("2"));
        // In the middle of batches, whatever they are doing.
        std::thread::sleep(Duration::from_millis(2_500));
        first.signal("-KILL");
        std::thread::sleep(Duration::from_millis(1_130));
        second.signal("-STOP");
        producing.join().expect("produced");
    });
    std::thread::sleep(SILENCE);
    bench.wait_for_all("the third has all");
    std::thread::scope(|scope| {
        let producing = scope.spawn(|| bench.produce("3"));
        std::thread::sleep(Duration::from_millis(1_500));
        second.signal("-CONT");
        producing.join().expect("produced");
    });
    bench.wait_for_all("the one that slept has come back");
    second.stop();
    bench.produce("4");
    bench.wait_for_all("the third alone");
    third.stop();
    let records = bench.records();
    assert_eq!(bench.rows(), (records, records));
    println!("{records} records, each once");
}

#[test]
#[ignore = "slow suite: starts seven processes and waits for a group to notice a silent member"]
fn archivers_over_a_folder_are_killed_and_paused() {
    one_is_killed_and_one_sleeps(&Bench::new("", Vec::new()));
}

#[test]
#[ignore = "slow suite: starts an S3 server from Python packages"]
fn archivers_over_a_bucket_are_killed_and_paused() {
    let objects = Objects::start().expect("an S3 server");
    objects.create_bucket("shop").expect("a bucket");
    let bench = Bench::new("s3://shop/lake", objects.environment());
    one_is_killed_and_one_sleeps(&bench);
    // The audit counts the same rows (it cannot balance: nothing runs the pipelines here).
    let sink = Archiver::start(&bench, "sink", "sink");
    let out = bench.with_settings(&["audit", "--format", "json"]).output().expect("an audit");
    let answer: Value = serde_json::from_slice(&out.stdout).expect("an answer");
    let rows = |topic: &str| answer["facts"]["streams"][topic]["lake_rows"].as_i64().expect("a count");
    assert_eq!(TOPICS.map(rows).iter().sum::<i64>(), bench.records());
    sink.stop();
}

#[test]
#[ignore = "slow suite: starts an S3 server from Python packages"]
fn a_job_is_computed_over_a_bucket() {
    let objects = Objects::start().expect("an S3 server");
    objects.create_bucket("shop").expect("a bucket");
    crate::backfill::computed_late_or_live("s3://shop/lake", &objects.environment());
}
