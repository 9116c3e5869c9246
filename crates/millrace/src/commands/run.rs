//! `millrace run`: pipelines alone, against Kafka or over files.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use millrace_engine::sql::OutputMode;
use millrace_model::Contract;

use super::{Global, Invalid};
use crate::bounded::{self, Output};
use crate::product::Roles;
use crate::statics::Statics;

/// Options of `run`.
#[derive(Args, Debug)]
#[command(
    after_help = "Sources declared USING json OPTIONS ('path' = …) make the run bounded: it ends with its input, and
every window closes. Otherwise the pipelines run against Kafka until Ctrl-C: against the cluster of the settings, where
other processes write the store (`millrace sink`); or, when none is named, with an embedded broker and the store.

A job runs in one process at a time: the newer fences the older. Without PIPELINE all jobs run, and `intake`, which
writes malformed records to dead_letters; with PIPELINE only these.

Examples:
  millrace run bids.sql --output out/                            one NDJSON file a table
  millrace run my_pipeline.sql                                   with an embedded broker
  millrace run --bootstrap-servers kafka1:9092,kafka2:9092       all jobs, on a cluster
  millrace run pipelines/fraud.sql --bootstrap-servers kafka1:9092"
)]
pub(crate) struct Options {
    /// Pipeline files or folders [default: what `up` would run]
    #[arg(value_name = "PIPELINE")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    cluster: super::role::ClusterOptions,
    #[command(flatten)]
    backend: super::role::BackendOptions,
    /// Folder for the rows of a bounded run [default: standard output]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Write every change of a table in update mode, not only its final rows
    #[arg(long)]
    changes: bool,
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings()?;
    options.cluster.over(&mut settings);
    options.backend.over(&mut settings);
    let pipelines = super::pipelines(&settings, &options.paths)?;
    let runtime = super::runtime()?;
    let planned = super::check::plan(&pipelines, &Statics::new(runtime.handle().clone()))?;
    if !planned.jobs.iter().any(bounded::is_bounded) {
        if options.output.is_some() {
            return Err(Invalid("--output is for a bounded run, but no source is a file".into()).into());
        }
        let all = options.paths.is_empty();
        let roles = match settings.kafka.bootstrap_servers.is_empty() {
            true => Roles { lake: false, dashboard: false, ..Roles::ALL },
            false => Roles { jobs: true, intake: all, ..Roles::ALONE },
        };
        return super::role::run_roles(&runtime, &settings, pipelines, roles, "pipelines");
    }
    let started = Instant::now();
    let tables: Vec<Contract> =
        planned.jobs.iter().flat_map(|job| &job.tables).map(|table| table.contract.clone()).collect();
    let updated = planned.jobs.iter().flat_map(|job| &job.tables).filter(|t| t.output_mode == OutputMode::Update);
    let updated = updated.map(|table| table.contract.name.clone()).collect();
    let mut output = Output::new(options.output.as_deref(), options.changes, updated)?;
    output.open(tables.iter())?;
    let report = bounded::run(planned.jobs, &mut output)?;
    for (table, counts) in &report.counts {
        eprintln!(
            "{table}: {} records in, {} counted, {} late, {} malformed, {} repeats; {} rows",
            counts.records_in,
            counts.records_counted,
            counts.records_late,
            counts.records_malformed,
            counts.records_duplicate,
            report.rows.get(table).copied().unwrap_or(0),
        );
    }
    eprintln!("done in {:.2?}", started.elapsed());
    Ok(ExitCode::SUCCESS)
}
