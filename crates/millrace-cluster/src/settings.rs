//! What a cluster shall have, as plain data, and the ports it takes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Most Kafka nodes of a cluster: the fixed ports have room for them.
pub const KAFKA_NODES_MAX: u32 = 9;
/// Where free ports are looked for: below the range from which the system takes the near end of outgoing connections.
/// There, a client that retries a dead broker's port could connect to itself and keep the port.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What a cluster shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// Folder of its data, logs and `cluster.json`; made if absent. Not part of `cluster.json`.
    #[serde(skip)]
    pub dir: PathBuf,
    /// Which ports.
    pub ports: Ports,
    /// Kafka brokers, each a KRaft controller too: 1 to [`KAFKA_NODES_MAX`], odd numbers make sense.
    pub kafka_nodes: u32,
    /// Largest heap of each Kafka broker, MiB.
    pub kafka_heap_mib: u32,
    /// Spark.
    pub spark: SparkMode,
    /// PostgreSQL 15.
    pub postgres: bool,
}

impl ClusterSettings {
    /// Three Kafka nodes, Spark standalone with two cores and 1 GiB, PostgreSQL, on the fixed ports.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        ClusterSettings {
            dir: dir.into(),
            ports: Ports::Fixed,
            kafka_nodes: 3,
            kafka_heap_mib: 256,
            spark: SparkMode::Standalone { cores: 2, executor_memory_mib: 1024 },
            postgres: true,
        }
    }
}

/// Which ports on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ports {
    /// The ones of [`fixed_ports`], for people.
    Fixed,
    /// Any that are free, for tests.
    Free,
}

/// How much Spark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SparkMode {
    /// None.
    None,
    /// One process: a Connect server that runs its tasks itself.
    Local {
        /// Threads for tasks.
        cores: u32,
    },
    /// Master, worker, Connect server and an executor of the worker.
    Standalone {
        /// Cores of the worker.
        cores: u32,
        /// Heap of the executor, MiB.
        executor_memory_mib: u32,
    },
}

/// A node's name and its ports on 127.0.0.1 by what they are for.
pub type NodePorts = (String, BTreeMap<String, u16>);

/// The nodes with the fixed port of each of their ports, in the order in which they are started.
pub fn fixed_ports(settings: &ClusterSettings) -> Vec<NodePorts> {
    let mut nodes = Vec::new();
    let mut node = |name: &str, ports: &[(&str, u16)]| {
        nodes.push((name.to_owned(), ports.iter().map(|(what, port)| ((*what).to_owned(), *port)).collect()));
    };
    for id in (1u16..).take(settings.kafka_nodes as usize) {
        node(&format!("kafka-{id}"), &[("kafka", 19_091 + id * 10), ("controller", 19_092 + id * 10)]);
    }
    if settings.postgres {
        node("postgres", &[("postgres", 15_432)]);
    }
    if matches!(settings.spark, SparkMode::Standalone { .. }) {
        node("spark-master", &[("spark", 17_077), ("web", 8081)]);
        node("spark-worker", &[("web", 8082)]);
    }
    if settings.spark != SparkMode::None {
        node("spark-connect", &[("connect", 15_002), ("web", 4040)]);
    }
    nodes
}

/// As [`fixed_ports`], with ports that are free now if the settings say so.
///
/// # Errors
/// The settings make no sense, or no port is free.
pub fn planned_ports(settings: &ClusterSettings) -> Result<Vec<NodePorts>, Error> {
    if !(1..=KAFKA_NODES_MAX).contains(&settings.kafka_nodes) {
        let asked = settings.kafka_nodes;
        return Err(Error::Conflict(format!("{asked} Kafka nodes: it must be 1 to {KAFKA_NODES_MAX}")));
    }
    let mut nodes = fixed_ports(settings);
    if settings.ports == Ports::Free {
        let wanted = nodes.iter().map(|(_, ports)| ports.len()).sum();
        let mut free = free_ports(wanted)?.into_iter();
        for port in nodes.iter_mut().flat_map(|(_, ports)| ports.values_mut()) {
            *port = free.next().unwrap_or_default();
        }
    }
    Ok(nodes)
}

/// Free ports, all different; looked for from a random place on, so that two clusters rarely want the same.
fn free_ports(wanted: usize) -> Result<Vec<u16>, Error> {
    let mut dice = [0u8; 2];
    let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut dice));
    random.map_err(|e| Error::failed("/dev/urandom", e))?;
    let span = FREE_PORTS.len();
    let first = usize::from(u16::from_le_bytes(dice)) % span;
    let all: Vec<u16> = FREE_PORTS.collect();
    let tried = (0..span).filter_map(|step| all.get((first + step) % span).copied());
    let held: Vec<(u16, TcpListener)> = tried
        .filter_map(|port| Some((port, TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?)))
        .take(wanted)
        .collect();
    if held.len() < wanted {
        return Err(Error::failed("looking for free ports", format!("only {} of {wanted} are free", held.len())));
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn fixed_ports_are_the_documented_ones_and_spare_the_product() {
        let nodes = fixed_ports(&ClusterSettings::new("x"));
        let names: Vec<&str> = nodes.iter().map(|(name, _)| name.as_str()).collect();
        let expected = ["kafka-1", "kafka-2", "kafka-3", "postgres", "spark-master", "spark-worker", "spark-connect"];
        assert_eq!(names, expected);
        let ports: Vec<u16> = nodes.iter().flat_map(|(_, ports)| ports.values().copied()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), ports.len(), "{ports:?}");
        assert!(!ports.contains(&9092) && !ports.contains(&8080), "{ports:?}");
        assert_eq!(nodes[2].1["kafka"], 19_121);
    }

    #[test]
    fn free_ports_differ_and_lie_below_outgoing_connections() {
        let settings = ClusterSettings { ports: Ports::Free, ..ClusterSettings::new("x") };
        let nodes = planned_ports(&settings).unwrap();
        let ports: BTreeSet<u16> = nodes.iter().flat_map(|(_, ports)| ports.values().copied()).collect();
        assert_eq!(ports.len(), 12);
        assert!(ports.iter().all(|port| FREE_PORTS.contains(port)), "{ports:?}");
    }

    #[test]
    fn modes_decide_which_nodes_there_are() {
        let small = ClusterSettings {
            kafka_nodes: 1,
            spark: SparkMode::Local { cores: 1 },
            postgres: false,
            ..ClusterSettings::new("x")
        };
        let names: Vec<String> = fixed_ports(&small).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["kafka-1", "spark-connect"]);
        assert!(planned_ports(&ClusterSettings { kafka_nodes: 0, ..small }).is_err());
    }
}
