//! A cluster as a whole: up, status, kill, start, stop, down.

mod launch;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

pub use self::steps::Step;
use crate::kafka::{self, Quorum};
use crate::process::{self, ProcessId, port_is_open};
use crate::settings::planned_ports;
use crate::state::ClusterFile;
use crate::{ClusterSettings, Error, packages, spark};

/// How long a node has to end when asked; then it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// The same for a Kafka node without a majority: it would wait for a controller that cannot come.
const STOP_LIMIT_WITHOUT_QUORUM: Duration = Duration::from_secs(3);
/// How long a port may stay taken by what was just killed.
const PORT_LIMIT: Duration = Duration::from_secs(5);
/// What executors are called, before their number.
const EXECUTOR: &str = "spark-executor-";

/// A cluster in a folder, running or not.
#[derive(Debug)]
pub struct Cluster {
    file: ClusterFile,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// `kafka-1`, `spark-executor-0` …
    pub name: String,
    /// Its process, if it runs.
    pub pid: Option<u32>,
    /// Memory in RAM, KiB; 0 when it does not run.
    pub memory_kib: u64,
    /// The port that its clients use; executors have none.
    pub port: Option<u16>,
    /// Whether that port takes connections.
    pub port_open: bool,
    /// What a client or a browser opens, by what it is.
    pub urls: BTreeMap<String, String>,
}

impl NodeStatus {
    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.pid.is_some()
    }
}

impl Cluster {
    /// Starts a cluster, or what of it does not run, and waits until it is ready. Whatever was not fetched is fetched.
    /// If it fails, what it had started is stopped again.
    ///
    /// # Errors
    /// A program is missing, a port is taken, the folder has a cluster with other settings, or a node does not start.
    pub fn up(settings: &ClusterSettings, tell: &mut dyn FnMut(Step)) -> Result<Self, Error> {
        fs::create_dir_all(&settings.dir).map_err(Error::io("make", &settings.dir))?;
        let dir = settings.dir.canonicalize().map_err(Error::io("find", &settings.dir))?;
        let settings = ClusterSettings { dir, ..settings.clone() };
        let _only = lock(&settings.dir)?;
        let mut cluster = match ClusterFile::read(&settings.dir)? {
            Some(file) if file.settings == settings => Cluster { file },
            Some(_) => {
                return Err(Error::Conflict(format!(
                    "{} has a cluster with other settings; use them, or delete it: millrace cluster down --delete",
                    settings.dir.display()
                )));
            }
            None => {
                let ports = planned_ports(&settings)?;
                Cluster { file: ClusterFile::new(settings, kafka::cluster_id(random()?), ports) }
            }
        };
        let stopped: Vec<String> =
            cluster.file.nodes.iter().filter(|node| !node.is_alive()).map(|node| node.name.clone()).collect();
        for name in &stopped {
            cluster.check_ports(name)?;
        }
        let ready = cluster.launch_all(&stopped, tell);
        if let Err(why) = ready {
            // The reason is what counts; what cannot be stopped is still in cluster.json.
            cluster.stop_all(&stopped).ok();
            return Err(why);
        }
        Ok(cluster)
    }

    /// The cluster in this folder, running or not.
    ///
    /// # Errors
    /// There is none, or its file is damaged.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let found = dir.canonicalize().map_err(|_| Error::NoCluster(dir.to_owned()))?;
        let file = ClusterFile::read(&found)?.ok_or_else(|| Error::NoCluster(dir.to_owned()))?;
        Ok(Cluster { file })
    }

    /// What `cluster.json` says.
    pub fn file(&self) -> &ClusterFile {
        &self.file
    }

    /// How every node is, executors last.
    pub fn status(&self) -> Vec<NodeStatus> {
        let executors = self.executors();
        let mut all: Vec<NodeStatus> = self
            .file
            .nodes
            .iter()
            .map(|node| {
                let process = node.process.filter(|process| process.is_alive());
                let memory_kib = process.map_or(0, |process| match node.name.as_str() {
                    "postgres" => process.memory_kib(&process.descendants()),
                    _ => process.memory_kib(&[]),
                });
                let port = node.ready_port();
                NodeStatus {
                    name: node.name.clone(),
                    pid: process.map(|process| process.pid),
                    memory_kib,
                    port: Some(port),
                    port_open: process.is_some() && port_is_open(port),
                    urls: node.urls.clone(),
                }
            })
            .collect();
        all.extend(executors.into_iter().map(|(name, process)| NodeStatus {
            name,
            pid: Some(process.pid),
            memory_kib: process.memory_kib(&[]),
            port: None,
            port_open: false,
            urls: BTreeMap::new(),
        }));
        all
    }

    /// The executors that run. They are no nodes of the file: Spark starts and ends them as it likes.
    pub fn executors(&self) -> Vec<(String, ProcessId)> {
        let found = process::working_below(&self.spark_dir().join("executors"));
        let mut named: Vec<(String, ProcessId)> = found
            .into_iter()
            .filter_map(|(process, line)| Some((format!("{EXECUTOR}{}", spark::executor_id(&line)?), process)))
            .collect();
        named.sort();
        let mut seen = BTreeSet::new();
        for (name, process) in &mut named {
            // Two applications count their executors from 0 each.
            if !seen.insert(name.clone()) {
                *name = format!("{name}-pid{}", process.pid);
            }
        }
        named
    }

    /// Kills a node with SIGKILL, as a power cut would; its data stays.
    ///
    /// # Errors
    /// There is no such node, or it does not go.
    pub fn kill(&mut self, name: &str) -> Result<(), Error> {
        let _only = self.exclusively()?;
        let process = self.process_of(name)?;
        let Some(process) = process.filter(|process| process.is_alive()) else { return Ok(()) };
        // PostgreSQL's children notice their parent's end only after a while, and a new server would not start beside them.
        let family = if name == "postgres" { process.descendants() } else { Vec::new() };
        process.kill()?;
        family.into_iter().try_for_each(ProcessId::kill)
    }

    /// Starts a node that does not run, on its data, and waits until it is ready. One that runs is left alone.
    ///
    /// # Errors
    /// There is no such node, its port is taken, or it does not start.
    pub fn start(&mut self, name: &str, tell: &mut dyn FnMut(Step)) -> Result<(), Error> {
        let _only = self.exclusively()?;
        if name.starts_with(EXECUTOR) {
            let detail = "executors are started by spark-worker itself, within seconds of their end";
            return Err(Error::Conflict(format!("{name}: {detail}")));
        }
        if self.process_of(name)?.is_some_and(ProcessId::is_alive) {
            return Ok(());
        }
        self.check_ports(name)?;
        self.launch_all(&[name.to_owned()], tell)
    }

    /// Stops a node properly; one that does not end in time is killed.
    ///
    /// # Errors
    /// There is no such node, or it does not go.
    pub fn stop(&mut self, name: &str) -> Result<(), Error> {
        let _only = self.exclusively()?;
        self.stop_node(name)
    }

    /// Stops everything properly. The data stays, for [`up`](Self::up).
    ///
    /// # Errors
    /// A process does not go.
    pub fn down(&mut self) -> Result<(), Error> {
        let _only = self.exclusively()?;
        let all: Vec<String> = self.file.nodes.iter().map(|node| node.name.clone()).collect();
        self.stop_all(&all)
    }

    /// Stops everything at once and deletes the cluster's folder with all its data.
    ///
    /// # Errors
    /// A process does not go, or the disk.
    pub fn delete(mut self) -> Result<(), Error> {
        self.down()?;
        packages::remove(&self.file.settings.dir)
    }

    /// `host:port,…` of all Kafka nodes.
    pub fn bootstrap_servers(&self) -> String {
        let ports = self.file.nodes.iter().filter_map(|node| node.ports.get("kafka"));
        ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// `sc://…` of Spark Connect, if there is one.
    pub fn spark_url(&self) -> Option<String> {
        self.url("spark-connect", "connect")
    }

    /// `postgres://…` of the database `millrace`, if there is one.
    pub fn postgres_url(&self) -> Option<String> {
        self.url("postgres", "postgres")
    }

    /// Pages for a browser: node and URL.
    pub fn pages(&self) -> Vec<(String, String)> {
        let page = |name: &str, what: &str| Some((name.to_owned(), self.url(name, what)?));
        [page("spark-master", "web"), page("spark-worker", "web"), page("spark-connect", "queries")]
            .into_iter()
            .flatten()
            .collect()
    }

    fn url(&self, node: &str, what: &str) -> Option<String> {
        self.file.node(node)?.urls.get(what).cloned()
    }

    /// Runs one of Kafka's command-line tools by its main class (see [`kafka`]) with `input` on its standard input;
    /// what it wrote to its standard output.
    ///
    /// # Errors
    /// It ended with an error; the text has all it wrote.
    pub fn tool(&self, class: &str, args: &[&str], input: &str) -> Result<String, Error> {
        let what = format!("{class} {}", args.join(" "));
        process::run(self.tool_command(class)?.args(args), &what, "openjdk-17-jre-headless", input)
    }

    /// The command that starts a tool, for those who want its process.
    ///
    /// # Errors
    /// Kafka's jars cannot be fetched.
    pub fn tool_command(&self, class: &str) -> Result<Command, Error> {
        let libs = packages::kafka_libs(&mut |_| {})?;
        let logging = self.file.settings.dir.join("kafka/tools-log4j2.properties");
        let mut command = Command::new("java");
        command.args(kafka::tool_args(&libs, &logging, class));
        Ok(command)
    }

    /// Who leads Kafka's controllers; takes some seconds.
    ///
    /// # Errors
    /// No majority of the nodes answers.
    pub fn quorum(&self) -> Result<Quorum, Error> {
        let servers = self.bootstrap_servers();
        let said = self.tool(kafka::METADATA_QUORUM, &["--bootstrap-server", &servers, "describe", "--status"], "")?;
        kafka::parse_quorum(&said).ok_or_else(|| Error::failed("reading Kafka's quorum", said))
    }

    /// One change at a time, on what the file says now: another program may have changed it.
    fn exclusively(&mut self) -> Result<File, Error> {
        let dir = self.file.settings.dir.clone();
        let only = lock(&dir)?;
        self.file = ClusterFile::read(&dir)?.ok_or(Error::NoCluster(dir))?;
        Ok(only)
    }

    fn process_of(&self, name: &str) -> Result<Option<ProcessId>, Error> {
        if let Some(node) = self.file.node(name) {
            return Ok(node.process);
        }
        let executors = self.executors();
        if let Some((_, process)) = executors.iter().find(|(have, _)| have == name) {
            return Ok(Some(*process));
        }
        let nodes = self.file.nodes.iter().map(|node| node.name.as_str());
        let known: Vec<&str> = nodes.chain(executors.iter().map(|(name, _)| name.as_str())).collect();
        Err(Error::UnknownNode { name: name.to_owned(), known: known.join(", ") })
    }

    fn check_ports(&self, name: &str) -> Result<(), Error> {
        let ports = self.file.node(name).into_iter().flat_map(|node| node.ports.values());
        for port in ports {
            // The threads of a killed process end one by one; its ports are free when the last has.
            if !process::until(PORT_LIMIT, || TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()) {
                return Err(Error::PortTaken { node: name.to_owned(), port: *port });
            }
        }
        Ok(())
    }

    /// Clients before servers; Kafka's nodes one after the other, each with a controller as long as there is one.
    fn stop_all(&self, names: &[String]) -> Result<(), Error> {
        let order =
            |name: &str| ["spark-connect", "spark-worker", "spark-master", "postgres"].iter().position(|n| *n == name);
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.sort_by_key(|name| (order(name).unwrap_or(usize::MAX), *name));
        let mut result = Ok(());
        for name in names {
            // One that does not go must not keep the others.
            result = result.and(self.stop_node(name));
        }
        result
    }

    fn stop_node(&self, name: &str) -> Result<(), Error> {
        let process = self.process_of(name)?;
        if let Some(process) = process.filter(|process| process.is_alive()) {
            // PostgreSQL takes SIGTERM as "when all clients have gone", SIGINT as "now".
            let signal = if name == "postgres" { Signal::INT } else { Signal::TERM };
            let limit = if name.starts_with("kafka-") && !self.has_kafka_majority() {
                STOP_LIMIT_WITHOUT_QUORUM
            } else {
                STOP_LIMIT
            };
            process.stop(signal, limit)?;
        }
        if name == "spark-worker" {
            // They follow their worker by themselves, but not at once, and not when they hang.
            for (_, executor) in self.executors() {
                executor.stop(Signal::TERM, STOP_LIMIT)?;
            }
        }
        Ok(())
    }

    fn has_kafka_majority(&self) -> bool {
        let nodes = self.file.nodes.iter().filter(|node| node.name.starts_with("kafka-"));
        let (all, alive) = nodes.fold((0, 0), |(all, alive), node| (all + 1, alive + usize::from(node.is_alive())));
        alive >= kafka::majority(all)
    }
}

/// A cluster that is taken down when this is dropped, for tests.
#[derive(Debug)]
pub struct ClusterGuard(Cluster);

impl ClusterGuard {
    /// As [`Cluster::up`].
    ///
    /// # Errors
    /// As [`Cluster::up`].
    pub fn up(settings: &ClusterSettings, tell: &mut dyn FnMut(Step)) -> Result<Self, Error> {
        Cluster::up(settings, tell).map(ClusterGuard)
    }
}

impl Deref for ClusterGuard {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl std::ops::DerefMut for ClusterGuard {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.0
    }
}

impl Drop for ClusterGuard {
    fn drop(&mut self) {
        // Deleted already: nothing is left to take down.
        if self.0.file.settings.dir.exists()
            && let Err(why) = self.0.down()
        {
            eprintln!("the cluster cannot be taken down: {why}");
        }
    }
}

/// Waits until no other program changes the cluster; the file must be kept.
fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("cluster.lock");
    let file = File::create(&path).map_err(Error::io("make", &path))?;
    file.lock().map_err(Error::io("lock", &path))?;
    Ok(file)
}

fn random() -> Result<u128, Error> {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|e| Error::failed("/dev/urandom", e))?;
    Ok(u128::from_le_bytes(bytes))
}
