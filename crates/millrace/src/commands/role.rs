//! `millrace sink`, `lake`, `dashboard`, `recommend`, `score`, `notify`, `topics`: one role of the product alone, on a cluster it shares
//! with others.

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
#[command(
    after_help = "Several divide the partitions among them as members of group millrace-lake, over one folder they all see or one
bucket; when one dies, the others go on where it was. S3 is reached as AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
AWS_ENDPOINT_URL and AWS_ALLOW_HTTP say.

Examples:
  millrace lake --bootstrap-servers kafka1:9092 --dir /data/lake
  millrace lake --bootstrap-servers kafka1:9092 --dir s3://shop/lake"
)]
pub(crate) struct LakeOptions {
    #[command(flatten)]
    cluster: ClusterOptions,
    /// Folder of the lake, or s3://BUCKET/PREFIX [default: `lake` in the data folder]
    #[arg(long, value_name = "PLACE")]
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

/// Options of `recommend`.
#[derive(Args, Debug)]
#[command(
    after_help = "Reads user_events, transactions and inventory_updates, keeps what it learns in `recommend` in the data
folder, and answers:

  GET /v1/recommendations?placement=next&visitor=ID&session=ID&product=ID&count=N&evidence=true
  GET /v1/recommendations/comparison     what the answers led to, and placements compared

Placements: next, similar, bought_together, trending, visitor, cart_reminder, and those of the settings.
With `millrace up` the same paths are answered at the page's address.

Examples:
  millrace recommend --bootstrap-servers kafka1:9092 --listen 127.0.0.1:8081"
)]
pub(crate) struct RecommendOptions {
    #[command(flatten)]
    cluster: ClusterOptions,
    /// Address of the answers; port 0 takes any free one [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
}

/// Options of `score`.
#[derive(Args, Debug)]
#[command(
    after_help = "Reads user_events, transactions, fraud_verdicts and fraud_lists, judges every payment and refund by lists, rules and
a model that learns, writes fraud_decisions and fraud_alerts, keeps what it knows in `score` in the data folder, and answers:

  POST /v1/payments/score     what would be said of a payment: the body is a record of `transactions`
  POST /v1/fraud/verdicts     what an analyst says of one

With `millrace up` the same paths are answered at the page's address. One scorer a cluster: a second one stops the first.

Examples:
  millrace score --bootstrap-servers kafka1:9092 --listen 127.0.0.1:8082"
)]
pub(crate) struct ScoreOptions {
    #[command(flatten)]
    cluster: ClusterOptions,
    /// Address of the answers; port 0 takes any free one [default: 127.0.0.1:8082]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
}

/// Options of `notify`.
#[derive(Args, Debug)]
#[command(after_help = "Routes and channels are in millrace.toml. One notifier a store: a second one stops the first.

Examples:
  millrace notify --bootstrap-servers kafka1:9092 --store postgres://millrace@db/shop")]
pub(crate) struct NotifyOptions {
    #[command(flatten)]
    cluster: ClusterOptions,
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

/// Runs the recommender.
pub(crate) fn recommend(global: &Global, options: &RecommendOptions) -> anyhow::Result<ExitCode> {
    let set = |settings: &mut Settings| {
        settings.recommend.enabled = true;
        settings.recommend.listen = options.listen.unwrap_or(settings.recommend.listen);
    };
    role(global, &options.cluster, set, Roles { recommend: true, ..Roles::ALONE }, "recommender")
}

/// Runs the scorer.
pub(crate) fn score(global: &Global, options: &ScoreOptions) -> anyhow::Result<ExitCode> {
    let set = |settings: &mut Settings| {
        settings.score.enabled = true;
        settings.score.listen = options.listen.unwrap_or(settings.score.listen);
    };
    role(global, &options.cluster, set, Roles { score: true, ..Roles::ALONE }, "scorer")
}

/// Runs the alerts.
pub(crate) fn notify(global: &Global, options: &NotifyOptions) -> anyhow::Result<ExitCode> {
    if global.settings()?.notify.routes.is_empty() {
        let text =
            "there is no route: write [notify.routes.NAME] into millrace.toml; docs/operating/alerts.md has examples";
        return Err(Invalid(text.into()).into());
    }
    role(global, &options.cluster, |_| {}, Roles { notify: true, ..Roles::ALONE }, "alerts")
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
        let path = if roles.score { "payments/score" } else { "recommendations" };
        let answers = product.answers().map_or_else(String::new, |at| format!(", http://{at}/v1/{path}"));
        println!("{name} running against {}{page}{answers}; Ctrl-C stops", product.kafka_address());
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
