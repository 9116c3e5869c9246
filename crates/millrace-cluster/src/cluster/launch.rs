//! How nodes are prepared, launched and waited for.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Cluster, Step};
use crate::kafka::KafkaPorts;
use crate::process::{self, Launch, port_is_open};
use crate::spark::{SparkPaths, Tasks};
use crate::state::NodeRecord;
use crate::{Error, SparkMode, kafka, packages, postgres, spark};

/// How long a node has to become ready: a loaded machine with two cores needs a minute or more.
const READY_LIMIT: Duration = Duration::from_secs(300);
/// How much of a log an error shows, bytes.
const TAIL_BYTES: u64 = 3000;

/// A node that was started and is not yet ready.
struct Started {
    name: String,
    at: Instant,
    /// Where its log began with this start, bytes.
    log_from: u64,
}

impl Cluster {
    /// Prepares, launches and waits for these nodes. What others need first is waited for first: Kafka's nodes are
    /// launched together (one alone has no quorum), Spark's worker and Connect server after the master is there.
    pub(super) fn launch_all(&mut self, names: &[String], tell: &mut dyn FnMut(Step)) -> Result<(), Error> {
        if names.iter().any(|name| name != "postgres") {
            packages::check_java()?;
        }
        let dir = self.file.settings.dir.clone();
        for folder in ["logs", "kafka", "spark/conf", "spark/local", "spark/executors", "spark/recovery"] {
            let folder = dir.join(folder);
            fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
        }
        // Everything that is fetched, before anything runs.
        if names.iter().any(|name| name.starts_with("spark-")) {
            let mut fetching = |what: &str| tell(Step::Fetching { what: what.to_owned() });
            packages::spark_jars(&mut fetching)?;
            packages::spark_home(&mut fetching)?;
        }
        self.prepare_kafka(tell)?;
        self.prepare_spark(names)?;
        self.file.write()?;
        let (early, late): (Vec<&String>, Vec<&String>) =
            names.iter().partition(|name| !matches!(name.as_str(), "spark-worker" | "spark-connect"));
        let mut started = Vec::new();
        for name in early {
            started.push(self.launch(name, tell)?);
        }
        if let Some(at) = started.iter().position(|node| node.name == "spark-master").filter(|_| !late.is_empty()) {
            let master = started.remove(at);
            self.wait_for(vec![master], tell)?;
        }
        for name in late {
            started.push(self.launch(name, tell)?);
        }
        self.wait_for(started, tell)
    }

    pub(super) fn spark_dir(&self) -> PathBuf {
        self.file.settings.dir.join("spark")
    }

    fn launch(&mut self, name: &str, tell: &mut dyn FnMut(Step)) -> Result<Started, Error> {
        let Some(node) = self.file.node(name).cloned() else {
            return Err(Error::UnknownNode { name: name.to_owned(), known: String::new() });
        };
        let launch = match name {
            "postgres" => self.postgres_launch(&node, tell)?,
            _ if name.starts_with("kafka-") => self.kafka_launch(&node, tell)?,
            _ => self.spark_launch(&node, tell)?,
        };
        let log_from = fs::metadata(&node.log).map_or(0, |meta| meta.len());
        let process = process::spawn(&launch)?;
        if let Some(node) = self.file.nodes.iter_mut().find(|node| node.name == name) {
            node.process = Some(process);
        }
        // At once: a process that is not in the file would be stopped by nobody.
        self.file.write()?;
        Ok(Started { name: name.to_owned(), at: Instant::now(), log_from })
    }

    /// Waits for all of them at once: each is told of when it is ready.
    fn wait_for(&self, mut started: Vec<Started>, tell: &mut dyn FnMut(Step)) -> Result<(), Error> {
        let port = |name: &str| self.file.node(name).map_or(0, NodeRecord::ready_port);
        for Started { name, .. } in &started {
            tell(Step::Waiting { node: name.clone(), port: port(name) });
        }
        let mut result = Ok(());
        let all_ready = process::until(READY_LIMIT, || {
            let mut waiting = Vec::new();
            for node in started.drain(..) {
                match self.look_at(&node) {
                    Ok(true) => {
                        tell(Step::Ready { port: port(&node.name), took: node.at.elapsed(), node: node.name });
                    }
                    Ok(false) => waiting.push(node),
                    Err(why) => result = Err(why),
                }
            }
            started = waiting;
            started.is_empty() || result.is_err()
        });
        result?;
        match started.first() {
            Some(node) if !all_ready => {
                Err(self.not_ready(node, format!("is not ready after {} s", READY_LIMIT.as_secs())))
            }
            _ => Ok(()),
        }
    }

    /// Whether it is ready.
    fn look_at(&self, started: &Started) -> Result<bool, Error> {
        let Some(node) = self.file.node(&started.name) else { return Ok(true) };
        if !node.is_alive() {
            return Err(self.not_ready(started, "has ended".into()));
        }
        if !is_ready(node, started.log_from) {
            return Ok(false);
        }
        if node.name == "postgres" {
            postgres::create_database(&postgres::binaries()?, node.ready_port())?;
        }
        Ok(true)
    }

    fn not_ready(&self, started: &Started, what: String) -> Error {
        let log = self.file.node(&started.name).map(|node| node.log.clone()).unwrap_or_default();
        let tail = log_tail(&log, started.log_from);
        Error::NotReady { node: started.name.clone(), what, log, tail }
    }

    fn kafka_ports(&self) -> Vec<KafkaPorts> {
        let nodes = self.file.nodes.iter().filter(|node| node.name.starts_with("kafka-"));
        let ports = |(node, id): (&NodeRecord, u32)| {
            Some(KafkaPorts { id, kafka: *node.ports.get("kafka")?, controller: *node.ports.get("controller")? })
        };
        nodes.zip(1..).filter_map(ports).collect()
    }

    fn kafka_folder(&self, id: u32) -> PathBuf {
        self.file.settings.dir.join(format!("kafka/node-{id}"))
    }

    /// Properties of all nodes; formats the storage of those that have none.
    fn prepare_kafka(&self, tell: &mut dyn FnMut(Step)) -> Result<(), Error> {
        let libs = packages::kafka_libs(&mut |what| tell(Step::Fetching { what: what.to_owned() }))?;
        let kafka = self.file.settings.dir.join("kafka");
        write(&kafka.join("log4j2.properties"), kafka::SERVER_LOGGING)?;
        let tool_logging = kafka.join("tools-log4j2.properties");
        write(&tool_logging, kafka::TOOL_LOGGING)?;
        let all = self.kafka_ports();
        for own in &all {
            let folder = self.kafka_folder(own.id);
            fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
            let (properties, data) = (folder.join("server.properties"), folder.join("data"));
            write(&properties, &kafka::server_properties(*own, &all, &data))?;
            if data.join("meta.properties").exists() {
                continue;
            }
            tell(Step::Formatting { what: format!("kafka-{}", own.id) });
            let mut format = Command::new("java");
            format.args(kafka::tool_args(&libs, &tool_logging, "kafka.tools.StorageTool"));
            format.args(["format", "--ignore-formatted", "-t", &self.file.kafka_cluster_id, "-c"]).arg(&properties);
            process::run(&mut format, "formatting Kafka's storage", "openjdk-17-jre-headless", "")?;
        }
        Ok(())
    }

    fn kafka_launch(&self, node: &NodeRecord, tell: &mut dyn FnMut(Step)) -> Result<Launch, Error> {
        let libs = packages::kafka_libs(&mut |what| tell(Step::Fetching { what: what.to_owned() }))?;
        let id = node.name.trim_start_matches("kafka-").parse().unwrap_or_default();
        let folder = self.kafka_folder(id);
        let settings = &self.file.settings;
        let logging = settings.dir.join("kafka/log4j2.properties");
        let properties = folder.join("server.properties");
        Ok(Launch {
            program: "java".into(),
            args: kafka::server_args(&libs, &logging, &properties, settings.kafka_heap_mib),
            environment: Vec::new(),
            dir: folder,
            log: node.log.clone(),
            owner: None,
        })
    }

    fn prepare_spark(&self, names: &[String]) -> Result<(), Error> {
        let dir = self.spark_dir();
        write(&dir.join("conf/log4j2.properties"), spark::LOGGING)?;
        let runs = |name: &str| self.file.node(name).is_some_and(NodeRecord::is_alive);
        if names.iter().any(|name| name == "spark-master") && !runs("spark-worker") && !runs("spark-connect") {
            // A new master would wait for those of the last time, who will not come.
            let recovery = dir.join("recovery");
            packages::remove(&recovery)?;
            fs::create_dir_all(&recovery).map_err(Error::io("make", &recovery))?;
        }
        Ok(())
    }

    fn spark_launch(&self, node: &NodeRecord, tell: &mut dyn FnMut(Step)) -> Result<Launch, Error> {
        let mut fetching = |what: &str| tell(Step::Fetching { what: what.to_owned() });
        let jars = packages::spark_jars(&mut fetching)?;
        let paths = SparkPaths { home: packages::spark_home(&mut fetching)?, dir: self.spark_dir() };
        let port = |what: &str| node.ports.get(what).copied().unwrap_or_default();
        let master = self.file.port("spark-master", "spark").unwrap_or_default();
        let (cores, memory_mib) = match self.file.settings.spark {
            SparkMode::Standalone { cores, executor_memory_mib } => (cores, Some(executor_memory_mib)),
            SparkMode::Local { cores } => (cores, None),
            SparkMode::None => (1, None),
        };
        let (program, args) = match node.name.as_str() {
            "spark-master" => (paths.spark_class(), spark::master_args(port("spark"), port("web"))),
            "spark-worker" => {
                let executors = paths.executors();
                let memory_mib = memory_mib.unwrap_or_default();
                (paths.spark_class(), spark::worker_args(master, port("web"), cores, memory_mib, &executors))
            }
            _ => {
                let tasks = match memory_mib {
                    Some(memory_mib) => Tasks::Executors { master, cores, memory_mib },
                    None => Tasks::Own { cores },
                };
                (paths.spark_submit(), spark::connect_args(&paths, &jars, port("connect"), port("web"), tasks))
            }
        };
        let (environment, dir) = (paths.environment(node.name != "spark-connect"), self.spark_dir());
        Ok(Launch { program, args, environment, dir, log: node.log.clone(), owner: None })
    }

    fn postgres_launch(&self, node: &NodeRecord, tell: &mut dyn FnMut(Step)) -> Result<Launch, Error> {
        let (binaries, owner) = (postgres::binaries()?, postgres::owner()?);
        let data = self.file.settings.dir.join("postgres");
        if !data.exists() {
            tell(Step::Formatting { what: "PostgreSQL".into() });
        }
        postgres::prepare(&binaries, &data, owner)?;
        Ok(Launch {
            program: binaries.join("postgres"),
            args: postgres::server_args(&data, node.ready_port()),
            environment: Vec::new(),
            dir: data,
            log: node.log.clone(),
            owner,
        })
    }
}

/// All its ports take connections (a Spark master's page comes after its port) and its log says so where a port is open
/// before the node is ready: Kafka, PostgreSQL.
fn is_ready(node: &NodeRecord, log_from: u64) -> bool {
    if node.name.starts_with("kafka-") && !log_since(&node.log, log_from).contains(kafka::READY) {
        return false;
    }
    if node.name == "postgres" && !log_since(&node.log, log_from).contains("ready to accept connections") {
        return false;
    }
    node.ports.values().all(|port| port_is_open(*port))
}

/// The log from this byte on.
fn log_since(log: &Path, from: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut bytes));
        read.ok();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The end of what a start wrote to its log.
fn log_tail(log: &Path, from: u64) -> String {
    let length = fs::metadata(log).map_or(0, |meta| meta.len());
    log_since(log, from.max(length.saturating_sub(TAIL_BYTES)))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io("write", path))
}
