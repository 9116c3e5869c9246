//! A Spark Connect server and a Kafka node of a test's own, as plain processes.

use millrace_cluster::{ClusterGuard, ClusterSettings, Ports, SparkMode};

const CONNECT: &str = "spark-connect";
const KAFKA: &str = "kafka-1";

/// A Spark Connect server on two cores, with a Kafka node beside it; killed when dropped.
pub(crate) struct Spark {
    cluster: ClusterGuard,
    _dir: tempfile::TempDir,
}

impl Spark {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = ClusterSettings {
            ports: Ports::Free,
            kafka_nodes: 1,
            spark: SparkMode::Local { cores: 2 },
            postgres: false,
            ..ClusterSettings::new(dir.path())
        };
        let cluster = ClusterGuard::up(&settings, &mut |step| println!("{step}"));
        Spark { cluster: cluster.unwrap_or_else(|error| panic!("{error}")), _dir: dir }
    }

    pub(crate) fn url(&self) -> String {
        self.cluster.spark_url().expect("it has Spark")
    }

    /// Where the Kafka node listens.
    pub(crate) fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Ends Spark without any warning, as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.cluster.kill(CONNECT).expect("it goes");
    }

    /// Starts Spark again on the same port.
    pub(crate) fn start_again(&mut self) {
        self.cluster.start(CONNECT, &mut |step| println!("{step}")).unwrap_or_else(|error| panic!("{error}"));
    }

    /// CPU seconds of Spark so far.
    pub(crate) fn cpu(&self) -> f64 {
        let node = self.cluster.file().node(CONNECT).expect("it has Spark");
        cpu_of(node.process.as_ref().expect("it runs").pid)
    }

    pub(crate) fn log(&self) -> String {
        let node = self.cluster.file().node(CONNECT).expect("it has Spark");
        std::fs::read_to_string(&node.log).unwrap_or_default()
    }
}

/// CPU seconds of a process and those it started, so far.
pub(crate) fn cpu_of(pid: u32) -> f64 {
    let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
    let stat = read("stat");
    // Behind the name, which is in brackets: user and system time are fields 12 and 13, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let children = read(&format!("task/{pid}/children"));
    let of_children: f64 = children.split_whitespace().filter_map(|child| child.parse().ok()).map(cpu_of).sum();
    (ticks(11) + ticks(12)) as f64 / 100.0 + of_children
}

impl Drop for Spark {
    /// At once: what is in its folder goes too.
    fn drop(&mut self) {
        let _ = self.cluster.kill(CONNECT);
        let _ = self.cluster.kill(KAFKA);
    }
}
