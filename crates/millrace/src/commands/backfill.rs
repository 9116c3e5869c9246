//! `millrace backfill`: a new or changed pipeline over the lake, up to the offsets from which it goes on live.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use clap::Args;
use millrace_connectors::{Ending, shutdown};
use millrace_engine::JobPlan;
use millrace_model::names::did_you_mean;
use millrace_model::{Classified, ErrorKind, Timestamp};

use super::role::ClusterOptions;
use super::{Global, Invalid};
use crate::pipelines::Pipelines;
use crate::product::{Product, Roles, cluster};
use crate::roles::backends::{JobPlace, run_settings};
use crate::roles::job::backfill::{self, BackfillReport, BackfillSettings};
use crate::roles::job::{INTAKE, JobError};
use crate::runtime_file::RuntimeFile;
use crate::settings::{Backend, Settings};
use crate::statics::Statics;

/// Options of `backfill`.
#[derive(Args, Debug)]
#[command(
    after_help = "A job reads what Kafka still has; the lake has all of it. This computes a job over the lake with the same engine,
in the order in which the records came, writes its results and commits its offsets as it goes; at the end
`millrace up` or `millrace run` goes on live from the next record, without a gap and without an overlap.

Stopped (Ctrl-C) or killed it goes on where it was when it is started again. A job that was away longer than
Kafka keeps its records catches up in the same way. Nothing else may run the job meanwhile.

Examples:
  millrace backfill my.sql                             a new pipeline, over all there is
  millrace backfill my.sql --since 2026-01-01          only what happened from then on
  millrace backfill pipelines/metrics.sql --recompute  a changed one, from the beginning
  millrace backfill my.sql --lake s3://shop/lake --bootstrap-servers kafka1:9092"
)]
pub(crate) struct Options {
    /// Pipeline files, or names of jobs that `up` would run
    #[arg(value_name = "PIPELINE", required = true)]
    pipelines: Vec<PathBuf>,
    /// Leave out what happened before this time
    #[arg(long, value_name = "TIME", value_parser = super::time)]
    since: Option<Timestamp>,
    /// Begin anew a job that has run before: its offsets and state are dropped, its rows given again under the same keys
    #[arg(long)]
    recompute: bool,
    /// Pass over records that are neither in the lake nor in Kafka
    #[arg(long)]
    allow_gaps: bool,
    /// The lake: a folder or s3://BUCKET/PREFIX [default: of the settings]
    #[arg(long, value_name = "PLACE")]
    lake: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings()?;
    options.cluster.over(&mut settings);
    let data_dir = settings.data_dir()?;
    let runtime = super::runtime()?;
    let statics = Statics::new(runtime.handle().clone());
    let (pipelines, names) = chosen(&settings, &options.pipelines, &statics)?;
    let plans = super::check::plan(&pipelines, &statics)?.jobs;
    let of_name = |name: &String| plans.iter().position(|plan| plan.name == *name);
    let mut chosen: Vec<usize> = names.iter().filter_map(of_name).collect();
    let mut plans: Vec<Option<JobPlan>> = plans.into_iter().map(Some).collect();
    chosen.dedup();
    let plans: Vec<JobPlan> = chosen.into_iter().filter_map(|at| plans[at].take()).collect();
    let running = RuntimeFile::find(&data_dir);
    for plan in &plans {
        refuse(plan, &settings, running.as_ref())?;
    }
    let of_running = running.and_then(|running| running.lake);
    let lake = options.lake.clone().or(of_running).or_else(|| settings.lake.dir.clone());
    let backfill = BackfillSettings {
        lake: lake.unwrap_or_else(|| data_dir.join("lake")),
        since: options.since,
        recompute: options.recompute,
        allow_gaps: options.allow_gaps,
    };
    let alone = cluster(&settings, &data_dir).is_ok();
    if !alone {
        settings.broker.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    }
    runtime.block_on(async {
        let product = Product::start(&settings, pipelines, Roles { alone, ..Roles::ALONE }).await?;
        let outcome = all(&settings, &product, plans, &backfill).await;
        product.stop().await?;
        outcome
    })
}

/// Runs the jobs, one after the other.
async fn all(
    settings: &Settings,
    product: &Product,
    plans: Vec<JobPlan>,
    backfill: &BackfillSettings,
) -> anyhow::Result<ExitCode> {
    let (switch, asked) = shutdown();
    tokio::spawn(async move {
        super::up::asked_to_stop().await;
        eprintln!("stopping after the epoch that is being computed; the next start goes on from there");
        switch.ask(Ending::Stop);
        // It is told for as long as anyone listens.
        std::future::pending::<()>().await;
    });
    let runtime = tokio::runtime::Handle::current();
    for plan in plans {
        let (name, started) = (plan.name.clone(), Instant::now());
        let place = JobPlace {
            settings,
            kafka: &product.kafka,
            data_dir: &product.data_dir,
            runtime: &runtime,
            shutdown: &asked,
        };
        let (engine, backfill, asked) = (run_settings(&place, &[]), backfill.clone(), asked.clone());
        let bar = crate::progress::bar(0, "computing");
        let shown = bar.clone();
        let thread = std::thread::Builder::new().name(format!("job-{name}"));
        let thread = thread.spawn(move || backfill::run(plan, &engine, &backfill, &asked, &shown));
        let thread = thread.context("cannot start a thread")?;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
        bar.finish_and_clear();
        let report = joined.map_err(|_| anyhow!("the job panicked; the log says where"))?;
        let report = report.map_err(|error| explained(&name, error))?;
        say(&name, &report, started);
        if report.is_stopped {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn explained(job: &str, error: JobError) -> anyhow::Error {
    match error.kind() {
        ErrorKind::Invalid => Invalid(format!("job `{job}`: {error}")).into(),
        _ => anyhow::Error::from(error).context(format!("job `{job}`")),
    }
}

/// The pipelines to plan together, and the names of the jobs that were asked for. A file may read tables of the files `up`
/// would run; then those are planned too.
fn chosen(settings: &Settings, given: &[PathBuf], statics: &Statics) -> anyhow::Result<(Pipelines, Vec<String>)> {
    let (paths, names): (Vec<PathBuf>, Vec<PathBuf>) = given.iter().cloned().partition(|given| given.exists());
    let named = match paths.is_empty() {
        true => None,
        false => Some(super::pipelines(settings, &paths)?),
    };
    let of_files = named.iter().flat_map(|named| &named.files).map(|file| file.job().to_owned());
    let mut jobs: Vec<String> = of_files.collect();
    if let Some(named) = named.as_ref().filter(|named| names.is_empty() && named.plan(statics).is_ok()) {
        return Ok((named.clone(), jobs));
    }
    let mut all = super::pipelines(settings, &[])?;
    for name in &names {
        let name = name.display().to_string();
        if !all.files.iter().any(|file| file.job() == name) {
            let hint = did_you_mean(&name, all.files.iter().map(|file| file.job()));
            return Err(Invalid(format!("there is no file and no job `{name}`{hint}")).into());
        }
        jobs.push(name);
    }
    if let Some(named) = named {
        all.files.retain(|file| !named.files.iter().any(|other| other.job() == file.job()));
        all.files.extend(named.files);
    }
    Ok((all, jobs))
}

/// Refuses a job that cannot be computed here now.
fn refuse(plan: &JobPlan, settings: &Settings, running: Option<&RuntimeFile>) -> anyhow::Result<()> {
    let name = &plan.name;
    let why = if name == INTAKE {
        "it only checks records, live".to_owned()
    } else if settings.backend(name) == Backend::Spark {
        "it runs on Spark; the lake is computed by the embedded engine".to_owned()
    } else if running.is_some_and(|running| running.jobs.contains(name)) {
        "the product that runs on this data folder runs it: stop that first (Ctrl-C), and start it again after"
            .to_owned()
    } else {
        return Ok(());
    };
    Err(Invalid(format!("job `{name}` is not computed over the lake: {why}")).into())
}

fn say(job: &str, report: &BackfillReport, started: Instant) {
    let took = started.elapsed().as_secs_f64();
    if let Some(epoch) = report.resumed {
        println!("{job}: went on after epoch {epoch}");
    }
    println!(
        "{job}: {} records of the lake in {took:.1} s ({:.0} a second), {} epochs",
        report.records,
        report.records as f64 / took.max(0.001),
        report.epochs
    );
    for table in &report.tables {
        let counts = &table.counts;
        println!(
            "  {}: {} records in, {} counted, {} late, {} malformed, {} repeats",
            table.table,
            counts.records_in,
            counts.records_counted,
            counts.records_late,
            counts.records_malformed,
            counts.records_duplicate
        );
    }
    if report.is_stopped {
        println!("{job}: stopped; the same command goes on from there");
        return;
    }
    for ((topic, partition), (from, live)) in &report.ranges {
        println!("  {topic}/{partition}: from offset {from}; live from offset {live}");
    }
    println!("{job}: goes on live from there with `millrace up` or `millrace run`");
}
