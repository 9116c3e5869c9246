//! `millrace audit`: balances the books.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::{Args, ValueEnum};
use millrace_connectors::store::Store;
use millrace_model::Contract;

use super::{Global, Invalid};
use crate::audit::{Facts, Line, balance, collect};
use crate::pipelines::Pipelines;
use crate::product::{Product, Roles, cluster, store_url};
use crate::runtime_file::RuntimeFile;
use crate::settings::Settings;
use crate::statics::Statics;

/// Options of `audit`.
#[derive(Args, Debug)]
#[command(
    after_help = "Works on the product that runs on this data folder, or on the cluster that is named. When there is neither, it
starts the roles without new records, lets everything go through, and balances what is there.

Examples:
  millrace audit
  millrace audit --format json | jq .balanced
  millrace audit --bootstrap-servers kafka1:9092 --store postgres://millrace@db/shop

Exit code 0: every record of every stream is accounted for; 1: the lines that do not balance are marked."
)]
pub(crate) struct Options {
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    cluster: super::role::ClusterOptions,
    /// Address of the Kafka port while it works [default: any free one]
    #[arg(long, value_name = "ADDRESS")]
    kafka_listen: Option<std::net::SocketAddr>,
}

#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
enum Format {
    /// For people
    Table,
    /// Facts and lines
    Json,
}

/// A running product's records in flight are waited for this long.
const LIVE_TRIES: u32 = 20;
/// Between two tries.
const LIVE_WAIT: Duration = Duration::from_millis(500);
/// Records in flight through Spark: its batches are further apart.
const SPARK_TRIES: u32 = 60;
/// Between two tries with Spark.
const SPARK_WAIT: Duration = Duration::from_secs(2);

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings()?;
    options.cluster.over(&mut settings);
    settings.broker.listen = options.kafka_listen.unwrap_or(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let pipelines = super::pipelines(&settings, &[])?;
    let facts = super::runtime()?.block_on(async {
        let data_dir = settings.data_dir()?;
        match RuntimeFile::find(&data_dir) {
            // What runs on a cluster is not ours to start.
            None if settings.kafka.bootstrap_servers.is_empty() => at_rest(&settings, pipelines).await,
            None => live(&settings, &pipelines, "", settings.lake.dir.as_deref()).await,
            Some(running) => live(&settings, &pipelines, &running.store, running.lake.as_deref()).await,
        }
    })?;
    let lines = balance(&facts);
    let balanced = lines.iter().all(Line::balances);
    match options.format {
        Format::Json => {
            let answer = serde_json::json!({ "balanced": balanced, "lines": lines, "facts": facts });
            println!("{answer:#}");
        }
        Format::Table => {
            for (stream, found) in &facts.streams {
                println!("{stream}: {} records", found.records);
            }
            for line in &lines {
                let mark = if line.balances() { "ok " } else { "NOT" };
                println!("{mark} {:>12} = {:<12} {}", line.expected, line.found, line.what);
            }
            println!("{}", if balanced { "the books balance" } else { "the books do NOT balance" });
        }
    }
    Ok(if balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the lake has every record there ever was; what retention has deleted would be missed.
fn keeps_all(settings: &Settings) -> bool {
    settings.lake.retention.is_zero()
}

/// Lets what is in the topics go through, and balances.
async fn at_rest(settings: &Settings, pipelines: Pipelines) -> anyhow::Result<Facts> {
    if !settings.data_dir()?.exists() && settings.kafka.bootstrap_servers.is_empty() {
        let text = format!("nothing to audit: {} does not exist", settings.data_dir()?.display());
        return Err(Invalid(text).into());
    }
    let mut product = Product::start(settings, pipelines, Roles::UNASKED).await?;
    let ended = product.settle().await?;
    let lake = product.lake().filter(|_| keeps_all(settings));
    let facts = collect(&product.kafka, product.store()?, lake, &product.contracts).await;
    product.close().await?;
    if let Some((job, why)) = ended.failed_jobs.first() {
        bail!("job {job} has stopped: {why}");
    }
    facts
}

/// Balances a running product: tries until nothing is in flight, or gives what it found last.
async fn live(settings: &Settings, pipelines: &Pipelines, store: &str, lake: Option<&Path>) -> anyhow::Result<Facts> {
    let statics = Statics::new(tokio::runtime::Handle::current());
    let contracts: Vec<Contract> = super::check::plan(pipelines, &statics)?.contracts.iter().cloned().collect();
    let data_dir = settings.data_dir()?;
    let kafka = cluster(settings, &data_dir)?;
    let url = if store.is_empty() { store_url(settings, &data_dir) } else { store.to_owned() };
    let store = Store::open(&url).await?;
    let mut tries = 0;
    let lake = lake.filter(|_| keeps_all(settings));
    loop {
        let facts = collect(&kafka, &store, lake, &contracts).await?;
        tries += 1;
        let spark = facts.tables.values().any(|table| table.spark.is_some());
        let (most, wait) = if spark { (SPARK_TRIES, SPARK_WAIT) } else { (LIVE_TRIES, LIVE_WAIT) };
        if balance(&facts).iter().all(Line::balances) || tries >= most {
            store.close().await;
            return Ok(facts);
        }
        tokio::time::sleep(wait).await;
    }
}
