//! `cluster.json`: what a cluster has and what of it runs. Everything that is done later works from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::process::ProcessId;
use crate::settings::NodePorts;
use crate::{ClusterSettings, Error};

/// Name of the file in the cluster's folder.
pub const FILE: &str = "cluster.json";
/// Version of its layout.
const LAYOUT: u32 = 1;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFile {
    /// Version of this layout.
    pub layout: u32,
    /// With what it was started.
    pub settings: ClusterSettings,
    /// Kafka's id of the cluster, which its storage is formatted with.
    pub kafka_cluster_id: String,
    /// In the order in which they are started.
    pub nodes: Vec<NodeRecord>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// `kafka-1`, `spark-master` …
    pub name: String,
    /// The process last started for it; it may have ended by now.
    pub process: Option<ProcessId>,
    /// Ports on 127.0.0.1 by what they are for.
    pub ports: BTreeMap<String, u16>,
    /// Where its output goes.
    pub log: PathBuf,
    /// What a client or a browser opens, by what it is.
    pub urls: BTreeMap<String, String>,
}

impl ClusterFile {
    /// A cluster of which nothing runs yet.
    pub fn new(settings: ClusterSettings, kafka_cluster_id: String, ports: Vec<NodePorts>) -> Self {
        let logs = settings.dir.join("logs");
        let nodes = ports.into_iter().map(|(name, ports)| {
            let (log, urls) = (logs.join(format!("{name}.log")), urls(&name, &ports));
            NodeRecord { name, process: None, ports, log, urls }
        });
        ClusterFile { layout: LAYOUT, kafka_cluster_id, nodes: nodes.collect(), settings }
    }

    /// Reads the file of the cluster in `dir`; `None`: there is none.
    ///
    /// # Errors
    /// It cannot be read, or is no such file.
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(Error::io("read", &path))?,
        };
        let damaged = |detail: String| Error::Damaged { path: path.clone(), detail };
        let mut file: ClusterFile = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        if file.layout != LAYOUT {
            return Err(damaged(format!("its layout is {}, this program knows {LAYOUT}", file.layout)));
        }
        file.settings.dir = dir.to_owned();
        Ok(Some(file))
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self) -> Result<(), Error> {
        let path = self.settings.dir.join(FILE);
        let partial = path.with_extension("json.partial");
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::failed("writing cluster.json", e))?;
        fs::write(&partial, text + "\n").map_err(Error::io("write", &partial))?;
        fs::rename(&partial, &path).map_err(Error::io("write", &path))
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> Option<&NodeRecord> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// A port of a node.
    pub fn port(&self, name: &str, what: &str) -> Option<u16> {
        self.node(name)?.ports.get(what).copied()
    }
}

impl NodeRecord {
    /// The port that is open when the node is ready, with what it is for.
    pub fn ready_port(&self) -> u16 {
        let first = ["kafka", "postgres", "spark", "connect", "web"].iter().find_map(|what| self.ports.get(*what));
        first.copied().unwrap_or_default()
    }

    /// Whether its process runs.
    pub fn is_alive(&self) -> bool {
        self.process.is_some_and(ProcessId::is_alive)
    }
}

fn urls(name: &str, ports: &BTreeMap<String, u16>) -> BTreeMap<String, String> {
    let url = |(what, port): (&String, &u16)| {
        let url = match what.as_str() {
            "web" => format!("http://127.0.0.1:{port}"),
            "connect" => format!("sc://127.0.0.1:{port}"),
            "spark" => format!("spark://127.0.0.1:{port}"),
            "postgres" => crate::postgres::url(*port),
            "kafka" => format!("127.0.0.1:{port}"),
            _ => return None,
        };
        Some((if what == "web" && name == "spark-connect" { "queries".into() } else { what.clone() }, url))
    };
    ports.iter().filter_map(url).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::fixed_ports;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let settings = ClusterSettings::new(folder.path());
        assert_eq!(ClusterFile::read(folder.path()).unwrap(), None);
        let ports = fixed_ports(&settings);
        let mut file = ClusterFile::new(settings, "id".into(), ports);
        file.nodes[0].process = Some(ProcessId { pid: 7, started_ticks: 99 });
        file.write().unwrap();
        assert_eq!(ClusterFile::read(folder.path()).unwrap(), Some(file));
    }

    #[test]
    fn nodes_say_where_they_are() {
        let settings = ClusterSettings::new("/c");
        let ports = fixed_ports(&settings);
        let file = ClusterFile::new(settings, "id".into(), ports);
        let url = |node: &str, what: &str| file.node(node).unwrap().urls[what].clone();
        assert_eq!(url("kafka-2", "kafka"), "127.0.0.1:19111");
        assert_eq!(url("spark-connect", "connect"), "sc://127.0.0.1:15002");
        assert_eq!(url("spark-connect", "queries"), "http://127.0.0.1:4040");
        assert_eq!(file.node("spark-worker").unwrap().ready_port(), 8082);
        assert_eq!(file.node("kafka-1").unwrap().ready_port(), 19_101);
        assert_eq!(file.node("kafka-1").unwrap().log, Path::new("/c/logs/kafka-1.log"));
    }

    #[test]
    fn a_damaged_file_names_itself() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{\"layout\": 1").unwrap();
        let text = ClusterFile::read(folder.path()).unwrap_err().to_string();
        assert!(text.contains("cluster.json is damaged") && text.contains("delete the folder"), "{text}");
    }
}
