//! `millrace check`: mistakes in settings, contracts and pipelines, before anything starts.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use millrace_connectors::kafka::ClientSettings;
use millrace_engine::JobPlan;

use super::{Global, Invalid};
use crate::pipelines::Pipelines;
use crate::product::cluster;
use crate::roles::backends::{self, JobPlace};
use crate::settings::{Backend, Settings};
use crate::statics::Statics;

/// Options of `check`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  millrace check                      the pipelines that `millrace up` would run
  millrace check my.sql other.sql     these files
  millrace check --backend spark --spark-url sc://spark:15002

With --backend spark a Spark Connect server is asked too; nothing is started on it.

Exit code 0: all is well; 2: something is wrong, with file, line and column.")]
pub(crate) struct Options {
    /// Pipeline files or folders [default: what `up` would run]
    #[arg(value_name = "PIPELINE")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    backend: super::role::BackendOptions,
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings()?;
    options.backend.over(&mut settings);
    settings.recommend.model().map_err(Invalid)?;
    let pipelines = super::pipelines(&settings, &options.paths)?;
    let runtime = super::runtime()?;
    let planned = plan(&pipelines, &Statics::new(runtime.handle().clone()))?;
    backends::check(&settings, &planned.jobs)?;
    let on_spark = ask_spark(&settings, &runtime, &planned.jobs, &pipelines)?;
    if !on_spark.is_empty() {
        return Err(Invalid(on_spark.join("\n\n")).into());
    }
    for job in &planned.jobs {
        let tables = job.tables.iter().map(|table| table.contract.name.as_str()).collect::<Vec<_>>().join(", ");
        let sources = job.sources.iter().map(|source| source.contract.name.as_str()).collect::<Vec<_>>().join(", ");
        let backend = match settings.backend(&job.name) {
            Backend::Embedded => "",
            Backend::Spark => " on Spark",
        };
        println!("{}: ok{backend}\n  reads {sources}\n  makes {tables}", job.name);
    }
    Ok(ExitCode::SUCCESS)
}

/// What Spark says against the jobs that are to run on it.
fn ask_spark(
    settings: &Settings,
    runtime: &tokio::runtime::Runtime,
    jobs: &[JobPlan],
    pipelines: &Pipelines,
) -> anyhow::Result<Vec<String>> {
    if jobs.iter().all(|job| settings.backend(&job.name) == Backend::Embedded) {
        return Ok(Vec::new());
    }
    // Spark plans a stream without asking its cluster, so that none has to run.
    let data_dir = settings.data_dir()?;
    let kafka = cluster(settings, &data_dir).unwrap_or_else(|_| ClientSettings::new("127.0.0.1:9092"));
    let (_, shutdown) = millrace_connectors::shutdown();
    let runtime = runtime.handle();
    let place = JobPlace { settings, kafka: &kafka, data_dir: &data_dir, runtime, shutdown: &shutdown };
    let bar = crate::progress::counter("asking Spark");
    let errors = backends::check_on_spark(&place, jobs, pipelines);
    bar.finish_and_clear();
    errors
}

/// Plans the pipelines, or says everything that is wrong with them.
///
/// # Errors
/// [`Invalid`].
pub(super) fn plan(pipelines: &Pipelines, statics: &Statics) -> anyhow::Result<crate::pipelines::Planned> {
    Ok(pipelines.plan(statics).map_err(|errors| Invalid(pipelines.explain(&errors)))?)
}
