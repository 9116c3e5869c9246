//! Each role as a process of its own on a cluster: they share the work, and one may die.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use millrace_broker::{Broker, BrokerSettings};
use millrace_connectors::testing::Postgres;
use serde_json::Value;

use crate::support::{audit_with, command, said, wait_for};

/// A process of one role; killed when dropped.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(dir: &Path, config: &str, name: &str, arguments: &[&str]) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).expect("a log");
        let errors = file.try_clone().expect("a log");
        let mut command = command(dir);
        command.args(["--config", config]).args(arguments).stdout(Stdio::from(file)).stderr(Stdio::from(errors));
        let mut process = Process { child: command.spawn().expect("started"), log };
        wait_for(&format!("{name} runs"), || {
            if let Some(status) = process.child.try_wait().expect("a status") {
                panic!("{name} ended with {status}: {}", process.said());
            }
            process.said().contains("running against").then_some(())
        });
        process
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }

    fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// As Ctrl-C does; it must end well.
    fn stop(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
        let status = wait_for("the role has stopped", || self.child.try_wait().expect("a status"));
        assert!(status.success(), "{status}: {}", self.said());
        self.said()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "slow suite: starts PostgreSQL 15"]
fn roles_alone_share_a_cluster_and_a_sink_may_die() {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let broker = BrokerSettings {
        data_dir: dir.path().join("cluster"),
        listen: "127.0.0.1:0".parse().expect("an address"),
        ..BrokerSettings::default()
    };
    let broker = runtime.block_on(Broker::start(broker)).expect("a broker");
    let postgres = Postgres::start().expect("a server");
    let config = dir.path().join("cluster.toml");
    let text = format!(
        "[kafka]\nbootstrap_servers = '{}'\n[store]\nurl = '{}'\n[lake]\ndir = '{}'\nflush_interval = '1s'\n",
        broker.address(),
        postgres.create_database("shop").expect("a database"),
        dir.path().join("lake").display(),
    );
    std::fs::write(&config, &text).expect("settings");
    let config = config.to_str().expect("a path");
    let start = |name: &str, arguments: &[&str]| Process::start(dir.path(), config, name, arguments);

    let made = said(dir.path(), &["--config", config, "topics"]);
    assert!(made.contains("created user_events") && made.contains("created store_metrics"), "{made}");
    let again = said(dir.path(), &["--config", config, "topics"]);
    assert!(again.contains("0 were changed"), "{again}");

    let sinks = ["first-sink", "second-sink"].map(|name| start(name, &["sink"]));
    // The page and questions get by with a role that may only read.
    let reader = include_str!("../../../../contracts/reader.sql");
    postgres.script("postgres", "shop", reader, &[("reader", "shop_reader")]).expect("a role that reads");
    let reading = dir.path().join("reading.toml");
    std::fs::write(&reading, text.replace("postgres@", "shop_reader@")).expect("settings");
    let reading = reading.to_str().expect("a path");
    let others = [
        start("jobs", &["run"]),
        start("lake", &["lake"]),
        Process::start(dir.path(), reading, "dashboard", &["dashboard", "--listen", "127.0.0.1:0"]),
    ];
    let servers = broker.address().to_string();
    let produce = |seed: &str| {
        let simulate = ["simulate", "--bootstrap-servers", &servers, "--rate", "1000", "--for", "15s", "--seed", seed];
        said(dir.path(), &simulate)
    };
    produce("1");
    let [first, second] = sinks;
    first.kill();
    produce("2");
    let answer = audit_with(dir.path(), &["--config", config]);
    let records = answer["facts"]["streams"]["user_events"]["records"].as_u64().expect("a count");
    assert!(records > 5_000, "{records} user events");
    assert!(answer["facts"]["streams"]["user_events"]["lake_rows"] == records);

    let page = others[2].said();
    let page = page.split("http://").nth(1).and_then(|rest| rest.split(';').next()).expect("an address").trim();
    let orders = crate::support::get(page, "/api/overview").1;
    assert!(orders.contains("\"kpis\""), "{orders}");
    for shown in ["/", "/health", "/fraud", "/stock", "/sessions", "/alerts", "/dead-letters"] {
        let (status, body) = crate::support::get(page, shown);
        assert_eq!(status, 200, "{shown}: {body}");
        assert!(!body.contains("permission denied"), "{shown}: {body}");
    }
    let minutes = "SELECT count(*) AS n FROM store_metrics";
    let asked = said(dir.path(), &["--config", reading, "query", "--format", "json", minutes]);
    let found = serde_json::from_str::<Value>(asked.trim()).expect("a JSON line");
    assert!(found["n"].as_i64().is_some_and(|n| n > 0), "{asked}");

    // A job runs in one process: the newer fences the older, which says so.
    let newer = start("newer-jobs", &["run", "pipelines/metrics.sql"]);
    wait_for("the older gives the job up", || {
        // It learns of it when it writes: a shop without records gives it no reason to.
        let simulate = ["simulate", "--bootstrap-servers", &servers, "--rate", "100", "--for", "1s", "--seed", "3"];
        said(dir.path(), &simulate);
        let (older, newer) = (others[0].said(), newer.said());
        assert!(!newer.contains("another process has taken over"), "the newer was fenced: {newer}\nthe older: {older}");
        older.contains("another process has taken over").then_some(())
    });
    newer.stop();
    second.stop();
    let [jobs, lake, dashboard] = others;
    lake.stop();
    dashboard.stop();
    drop(jobs);
    runtime.block_on(broker.shutdown()).expect("the broker ends");
}
