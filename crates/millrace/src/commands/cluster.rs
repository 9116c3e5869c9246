//! `millrace cluster`: a real cluster on this machine, as plain processes: three Kafka brokers, Spark, PostgreSQL 15.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use millrace_cluster::{Cluster, ClusterSettings, Ports, SparkMode, Step};

use super::{Global, Invalid};

/// Options of `cluster`.
#[derive(Args, Debug)]
#[command(
    after_help = "Packages come through mvn, pip and apt-get, once; `up` says what is missing. The cluster outlives the
command; its data is in DATA_DIR/cluster.

Examples:
  millrace cluster up                     three brokers, Spark master, worker and Connect server, PostgreSQL 15
  millrace cluster up --spark local       a smaller Spark, in one process
  millrace cluster status
  millrace cluster kill kafka-2           kill -9, to see what happens
  millrace cluster start kafka-2
  millrace cluster down                   stop everything, keep the data"
)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start everything, and wait until it answers
    Up(UpOptions),
    /// What runs, where, and how much memory it holds
    Status,
    /// Kill a node without warning
    Kill {
        /// Its name, as `status` shows it
        node: String,
    },
    /// Stop a node in order
    Stop {
        /// Its name, as `status` shows it
        node: String,
    },
    /// Start a node that was stopped or killed, on its own data
    Start {
        /// Its name, as `status` shows it
        node: String,
    },
    /// Run one of Kafka's command-line tools against it, by its class
    Tool {
        /// For example org.apache.kafka.tools.TopicCommand
        class: String,
        /// Its options; --bootstrap-server is added
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Stop everything
    Down {
        /// Delete the data too
        #[arg(long)]
        delete: bool,
    },
}

#[derive(Args, Debug)]
struct UpOptions {
    /// Kafka brokers
    #[arg(long, default_value_t = 3, value_name = "N")]
    brokers: u32,
    /// How Spark runs: as a standalone cluster, in one process, or not at all
    #[arg(long, value_enum, default_value_t = Spark::Standalone, value_name = "HOW")]
    spark: Spark,
    /// Cores of Spark
    #[arg(long, default_value_t = 2, value_name = "N")]
    cores: u32,
    /// Memory of a Spark executor, MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    executor_memory: u32,
    /// Without PostgreSQL
    #[arg(long)]
    no_postgres: bool,
    /// Any free ports instead of the usual ones
    #[arg(long)]
    free_ports: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Spark {
    /// Master, worker and Connect server
    Standalone,
    /// A Connect server that runs the tasks itself
    Local,
    /// No Spark
    None,
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let dir = global.settings()?.data_dir()?.join("cluster");
    match options.action {
        Action::Up(options) => up(dir, &options)?,
        Action::Status => show(&open(&dir)?),
        Action::Kill { node } => {
            open(&dir)?.kill(&node)?;
            println!("{node} killed; `millrace cluster start {node}` brings it back");
        }
        Action::Stop { node } => {
            open(&dir)?.stop(&node)?;
            println!("{node} stopped");
        }
        Action::Start { node } => open(&dir)?.start(&node, &mut tell)?,
        Action::Tool { class, arguments } => {
            let cluster = open(&dir)?;
            let servers = cluster.bootstrap_servers();
            let mut all = vec!["--bootstrap-server", servers.as_str()];
            all.extend(arguments.iter().map(String::as_str));
            print!("{}", cluster.tool(&class, &all, "")?);
        }
        Action::Down { delete: false } => {
            open(&dir)?.down()?;
            println!("the cluster is down; its data is in {}", dir.display());
        }
        Action::Down { delete: true } => {
            open(&dir)?.delete()?;
            println!("the cluster is down and its data deleted");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open(dir: &std::path::Path) -> anyhow::Result<Cluster> {
    let missing = |error: millrace_cluster::Error| Invalid(error.to_string());
    Ok(Cluster::open(dir).map_err(missing)?)
}

fn tell(step: Step) {
    println!("{step}");
}

fn up(dir: PathBuf, options: &UpOptions) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let (cores, executor_memory_mib) = (options.cores, options.executor_memory);
    let settings = ClusterSettings {
        kafka_nodes: options.brokers,
        spark: match options.spark {
            Spark::Standalone => SparkMode::Standalone { cores, executor_memory_mib },
            Spark::Local => SparkMode::Local { cores },
            Spark::None => SparkMode::None,
        },
        postgres: !options.no_postgres,
        ports: if options.free_ports { Ports::Free } else { Ports::Fixed },
        ..ClusterSettings::new(dir)
    };
    let cluster = Cluster::up(&settings, &mut tell)?;
    println!();
    show(&cluster);
    let took = Duration::from_secs(started.elapsed().as_secs());
    println!("\nThe cluster is up after {took:?}. The product on it:\n\n  {}", product(&cluster));
    println!("\n`millrace cluster down` stops it.");
    Ok(())
}

/// The command that runs the product on a cluster.
fn product(cluster: &Cluster) -> String {
    let mut command = format!("millrace up --bootstrap-servers {}", cluster.bootstrap_servers());
    if let Some(url) = cluster.postgres_url() {
        command.push_str(&format!(" \\\n    --store {url}"));
    }
    if let Some(url) = cluster.spark_url() {
        command.push_str(&format!(" \\\n    --backend spark --spark-url {url}"));
    }
    command
}

fn show(cluster: &Cluster) {
    let mut whole_kib = 0;
    for node in cluster.status() {
        let state = node.pid.map_or_else(|| "stopped".to_owned(), |pid| format!("pid {pid}"));
        let urls: Vec<String> = node.urls.values().cloned().collect();
        let answers = if node.port_open { "answers" } else { "-" };
        println!("{:<18} {state:<12} {:>5} MiB  {answers:<8} {}", node.name, node.memory_kib >> 10, urls.join("  "));
        whole_kib += node.memory_kib;
    }
    println!("{:<18} {:<12} {:>5} MiB", "all", "", whole_kib >> 10);
    for (name, url) in cluster.pages() {
        println!("{name:<18} {url}");
    }
}
