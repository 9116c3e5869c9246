//! A broker and a Millrace process beside it, for the benchmarks of whole programs.

#![allow(dead_code, reason = "each benchmark takes its part")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_broker::{Broker, BrokerSettings};
use millrace_connectors::kafka::{ClientSettings, topics};
use millrace_model::{Contract, Contracts};
use tokio::runtime::Runtime;

pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// A process that ends with the benchmark.
pub(crate) struct Millrace(pub(crate) Child);

impl Drop for Millrace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Millrace {
    /// Starts it with these arguments.
    pub(crate) fn start<'a>(data: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
        command.arg("--data-dir").arg(data).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        Millrace(command.spawn().expect("the program starts"))
    }

    /// CPU seconds and peak memory (MiB) so far; zeros where there is no `/proc`.
    pub(crate) fn used(&self) -> (f64, u64) {
        let read = |what: &str| std::fs::read_to_string(format!("/proc/{}/{what}", self.0.id())).unwrap_or_default();
        let stat = read("stat");
        // Behind the name, which is in brackets: user and system time are fields 12 and 13, in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let status = read("status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
        ((ticks(11) + ticks(12)) as f64 / 100.0, peak / 1024)
    }

    /// It has not ended.
    pub(crate) fn check(&mut self) {
        let ended = self.0.try_wait().expect("a status");
        assert!(ended.is_none(), "the program has ended: {ended:?}");
    }
}

/// A broker in this process, with the topics that ship.
pub(crate) fn broker(runtime: &Runtime, dir: &Path) -> (Broker, ClientSettings) {
    let settings = BrokerSettings {
        data_dir: dir.join("broker"),
        listen: "127.0.0.1:0".parse().expect("an address"),
        // For what Spark writes.
        auto_create_topics: true,
        ..BrokerSettings::default()
    };
    let broker = runtime.block_on(Broker::start(settings)).expect("a broker");
    let client = ClientSettings::new(broker.address().to_string());
    let contracts: Vec<Contract> = Contracts::builtin().iter().cloned().collect();
    runtime.block_on(topics::ensure(&client, &contracts, None)).expect("topics");
    (broker, client)
}
