//! One file a command; here is what they share: the options of all, the log, the runtime.

pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod backfill;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod dead_letters;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod fraud;
pub(crate) mod query;
pub(crate) mod replay;
mod replay_lake;
pub(crate) mod role;
pub(crate) mod run;
pub(crate) mod search;
pub(crate) mod simulate;
pub(crate) mod up;

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use millrace_model::Timestamp;

use crate::pipelines::Pipelines;
use crate::settings::Settings;

/// Real-time e-commerce analytics in one program.
///
/// Without a command it does `up`: starts everything, with a simulated shop, on this machine.
#[derive(Parser)]
#[command(name = "millrace", version, max_term_width = 100)]
#[command(after_help = "Examples:
  millrace                          start everything; open http://127.0.0.1:8080
  millrace up --no-simulate         start everything, without the simulated shop
  millrace check pipelines/         look for mistakes in pipeline files
  millrace query \"SELECT category, sum(units) FROM category_metrics GROUP BY category\"")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) mode: Option<Mode>,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Settings file [default: ./millrace.toml, then ~/.config/millrace/millrace.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of everything the product keeps [default: ~/.local/share/millrace]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Say more (-v: what happens, -vv: how)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The commands.
#[derive(Subcommand)]
pub(crate) enum Mode {
    /// Start everything in one process: broker, pipelines, store, lake, dashboard, simulated shop
    Up(up::Options),
    /// Produce the simulated shop's records into a running product or any Kafka cluster
    Simulate(simulate::Options),
    /// Run pipelines alone: against Kafka, or over files until the input ends
    Run(run::Options),
    /// Run the store sink alone: result topics into the store
    Sink(role::SinkOptions),
    /// Run the lake alone: source topics into Parquet files
    Lake(role::LakeOptions),
    /// Run the page alone
    Dashboard(role::DashboardOptions),
    /// Run the recommender alone
    Recommend(role::RecommendOptions),
    /// Run the fraud scorer alone: every payment judged, and questions about payments answered
    Score(role::ScoreOptions),
    /// Run the alerts alone: rows of tables to Slack, email and webhooks
    Notify(role::NotifyOptions),
    /// Make the topics as their contracts say, and end
    Topics(role::TopicsOptions),
    /// Look for mistakes in settings, contracts and pipeline files; starts nothing
    Check(check::Options),
    /// Show what a pipeline file will do: sources, watermarks, state, output
    Explain(explain::Options),
    /// Ask the lake and the results with SQL
    Query(query::Options),
    /// Compute a new or changed pipeline over the lake, up to where it goes on live
    Backfill(backfill::Options),
    /// Feed a file of real data through the product, or send the lake's past again
    Replay(replay::Options),
    /// Look at records that could not be counted, repair them, send them again
    DeadLetters(dead_letters::Options),
    /// A dashboard for Kibana and OpenSearch Dashboards, of the indices the search sink writes
    Search(search::Options),
    /// See what fired, acknowledge and snooze it, try a channel
    Alerts(alerts::Options),
    /// Review payments, give verdicts, see how well the scorer does, try rules on the past
    Fraud(fraud::Options),
    /// Balance the books: every record of every stream is accounted for
    Audit(audit::Options),
    /// How good the predictive parts are, on files of your own
    Evaluate(evaluate::Options),
    /// A real cluster on this machine: three Kafka brokers, Spark, PostgreSQL
    Cluster(cluster::Options),
}

impl Default for Mode {
    fn default() -> Self {
        Mode::Up(up::Options::default())
    }
}

/// The user gave something that cannot work; nothing was started.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub(crate) String);

impl Global {
    /// The settings of file, environment and these options.
    ///
    /// # Errors
    /// [`Invalid`].
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = Settings::load(self.config.as_deref()).map_err(|error| Invalid(format!("{error:#}")))?;
        if let Some(dir) = &self.data_dir {
            settings.data_dir = Some(dir.clone());
        }
        Ok(settings)
    }
}

/// Log lines go to standard error; `RUST_LOG` says more exactly what.
pub(crate) fn start_log(global: &Global) {
    use tracing_subscriber::EnvFilter;
    let level = match global.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},datafusion=warn,sqlx=warn,hyper=warn,h2=warn")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// The runtime of commands that wait for more than one thing.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}

/// A time, or a day, which is its beginning.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let day = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    Timestamp::parse(day.as_bytes())
        .ok_or_else(|| format!("`{text}` is no time; write 2026-01-31T12:00:00Z or 2026-01-31"))
}

/// The pipelines named, or those `up` would run.
///
/// # Errors
/// [`Invalid`].
pub(crate) fn pipelines(settings: &Settings, paths: &[PathBuf]) -> anyhow::Result<Pipelines> {
    let contracts = settings.contracts.as_deref();
    let found = match paths {
        [] => Pipelines::find(settings.pipelines.as_deref(), contracts),
        paths => Pipelines::named(paths, contracts),
    };
    Ok(found.map_err(|error| Invalid(format!("{error:#}")))?)
}
