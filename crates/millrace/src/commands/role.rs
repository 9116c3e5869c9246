//! `millrace sink`, `lake`, `dashboard`, `topics`: one role of the product alone, on a cluster it shares with others.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use millrace_connectors::kafka::topics;
use millrace_model::Contract;

use super::{Global, Invalid};
use crate::pipelines::Pipelines;
use crate::product::{Product, Roles, cluster};
use crate::settings::{Backend, Settings};
use crate::statics::Statics;

/// Where cluster and store are.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ClusterOptions {
    /// Kafka cluster: host:port, several with commas between them
    #[arg(long, value_name = "SERVERS")]
    pub(crate) bootstrap_servers: Option<String>,
    /// Where results are kept: postgres://… or sqlite://… [default: SQLite in the data folder]
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Folder of pipeline files; their result tables are this role's tables [default: ./pipelines, else those that ship]
    #[arg(long, value_name = "DIR")]
    pub(crate) pipelines: Option<PathBuf>,
}

/// What runs the pipelines.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct BackendOptions {
    /// What runs the pipelines [default: embedded, or as the settings say of each job]
    #[arg(long, value_enum, value_name = "BACKEND")]
    pub(crate) backend: Option<Backend>,
    /// Spark Connect server [default: sc://127.0.0.1:15002]
    #[arg(long, value_name = "URL")]
    pub(crate) spark_url: Option<String>,
}

impl BackendOptions {
    /// Puts the options over the settings.
    pub(crate) fn over(&self, settings: &mut Settings) {
        if let Some(backend) = self.backend {
            settings.backend = backend;
            settings.jobs.values_mut().for_each(|job| job.backend = None);
        }
        if let Some(url) = &self.spark_url {
            settings.spark.url = url.clone();
        }
    }
}

impl ClusterOptions {
    /// Puts the options over the settings.
    pub(crate) fn over(&self, settings: &mut Settings) {
        if let Some(servers) = &self.bootstrap_servers {
            settings.kafka.bootstrap_servers = servers.clone();
        }
        if let Some(url) = &self.store {
            settings.store.url = url.clone();
        }
        if let Some(dir) = &self.pipelines {
            settings.pipelines = Some(dir.clone());
        }
    }
}

/// Options of `sink`.
#[derive(Args, Debug)]
#[command(
    after_help = "Several sinks divide the partitions among them as members of group millrace-store; when one dies, the
others take over its share where the store says it was.

Examples:
  millrace sink --bootstrap-servers kafka1:9092,kafka2:9092 --store postgres://millrace@db/shop
  millrace sink --store postgres://millrace@db/shop        of the product that runs here"
)]
pub(crate) struct SinkOptions {
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// Options of `lake`.
#[derive(Args, Debug)]
#[command(after_help = "One archiver a folder.

Examples:
  millrace lake --bootstrap-servers kafka1:9092 --dir /data/lake")]
pub(crate) struct LakeOptions {
    #[command(flatten)]
    cluster: ClusterOptions,
    /// Folder of the lake [default: `lake` in the data folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Options of `dashboard`.
#[derive(Args, Debug)]
#[command(after_help = "As many as you like: each reads the topics for itself, and the store for what was before.

Examples:
  millrace dashboard --bootstrap-servers kafka1:9092 --store postgres://millrace@db/shop")]
pub(crate) struct DashboardOptions {
    #[command(flatten)]
    cluster: ClusterOptions,
    /// Address of the page; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
}

/// Options of `topics`.
#[derive(Args, Debug)]
#[command(
    after_help = "Every topic as its contract says: created, widened, reconfigured. Doing it again changes nothing; a
topic is never deleted and never loses a partition. The roles do the same when they start.

Examples:
  millrace topics --bootstrap-servers kafka1:9092 --replication 3"
)]
pub(crate) struct TopicsOptions {
    #[command(flatten)]
    cluster: ClusterOptions,
    /// Copies of each partition of a topic that is created [default: the cluster's]
    #[arg(long, value_name = "N")]
    replication: Option<u16>,
}

/// Runs the store sink.
pub(crate) fn sink(global: &Global, options: &SinkOptions) -> anyhow::Result<ExitCode> {
    role(global, &options.cluster, |_| {}, Roles { sink: true, ..Roles::ALONE }, "store sink")
}

/// Runs the lake.
pub(crate) fn lake(global: &Global, options: &LakeOptions) -> anyhow::Result<ExitCode> {
    let set = |settings: &mut Settings| {
        settings.lake.enabled = true;
        settings.lake.dir = options.dir.clone().or(settings.lake.dir.take());
    };
    role(global, &options.cluster, set, Roles { lake: true, ..Roles::ALONE }, "lake")
}

/// Runs the page.
pub(crate) fn dashboard(global: &Global, options: &DashboardOptions) -> anyhow::Result<ExitCode> {
    let set = |settings: &mut Settings| {
        settings.dashboard.listen = options.listen.unwrap_or(settings.dashboard.listen);
    };
    role(global, &options.cluster, set, Roles { dashboard: true, ..Roles::ALONE }, "dashboard")
}

/// Makes the topics.
pub(crate) fn topics(global: &Global, options: &TopicsOptions) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings()?;
    options.cluster.over(&mut settings);
    let kafka = cluster(&settings, &settings.data_dir()?)?;
    let pipelines = super::pipelines(&settings, &[])?;
    super::runtime()?.block_on(async {
        let planned = super::check::plan(&pipelines, &Statics::new(tokio::runtime::Handle::current()))?;
        let contracts: Vec<Contract> = planned.contracts.iter().cloned().collect();
        let replication = options.replication.or(settings.kafka.replication);
        let report = topics::ensure(&kafka, &contracts, replication).await?;
        for (what, names) in
            [("created", &report.created), ("widened", &report.widened), ("reconfigured", &report.reconfigured)]
        {
            names.iter().for_each(|name| println!("{what} {name}"));
        }
        let done = report.created.len() + report.widened.len() + report.reconfigured.len();
        println!("{} topics are as their contracts say; {done} were changed", contracts.len());
        Ok(ExitCode::SUCCESS)
    })
}

fn role(
    global: &Global,
    cluster: &ClusterOptions,
    set: impl FnOnce(&mut Settings),
    roles: Roles,
    name: &str,
) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings()?;
    cluster.over(&mut settings);
    set(&mut settings);
    let pipelines = Pipelines::find(settings.pipelines.as_deref(), settings.contracts.as_deref())
        .map_err(|error| Invalid(format!("{error:#}")))?;
    run_roles(&super::runtime()?, &settings, pipelines, roles, name)
}

/// Runs roles until Ctrl-C.
pub(super) fn run_roles(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    pipelines: Pipelines,
    roles: Roles,
    name: &str,
) -> anyhow::Result<ExitCode> {
    runtime.block_on(async {
        let mut product = Product::start(settings, pipelines, roles).await?;
        let page = product.page().map_or_else(String::new, |page| format!(", page http://{page}"));
        println!("{name} running against {}{page}; Ctrl-C stops", product.kafka_address());
        let failed = tokio::select! {
            () = super::up::asked_to_stop() => None,
            failed = product.failed() => Some(failed),
        };
        if let Some(error) = failed {
            return Err(error);
        }
        // On a cluster others go on producing: what is left is for the next start, or for those who share the work.
        let ended = if roles.alone { product.stop().await? } else { product.end().await? };
        for (job, why) in &ended.failed_jobs {
            eprintln!("job {job} had stopped: {why}");
        }
        println!("stopped");
        Ok(if ended.failed_jobs.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
