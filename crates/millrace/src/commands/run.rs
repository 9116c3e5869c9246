//! `millrace run`: pipelines alone, against Kafka or over files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use millrace_engine::JobPlan;
use millrace_engine::job::OperatorProfile;
use millrace_engine::sql::OutputMode;
use millrace_model::Contract;

use super::{Global, Invalid};
use crate::bounded::{self, Output, Past};
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
  millrace run bids.sql --output out/ --profile                  and what each operator took
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
    /// Print at the end of a bounded run where rows, bytes, CPU time and state went, by operator
    #[arg(long)]
    profile: bool,
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
        if options.profile {
            let text =
                "--profile is for a bounded run, but no source is a file; the dashboard shows what a running job takes";
            return Err(Invalid(text.into()).into());
        }
        let all = options.paths.is_empty();
        let roles = match settings.kafka.bootstrap_servers.is_empty() {
            true => Roles { lake: false, ..Roles::UNASKED },
            false => Roles { jobs: true, intake: all, ..Roles::ALONE },
        };
        return super::role::run_roles(&runtime, &settings, pipelines, roles, "pipelines");
    }
    bounded(planned.jobs, None, options.output.as_deref(), options.changes, options.profile)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs jobs until their input ends, and tells what came of it.
///
/// # Errors
/// Reading, writing, the engine.
pub(super) fn bounded(
    jobs: Vec<JobPlan>,
    past: Option<&Past>,
    folder: Option<&Path>,
    changes: bool,
    profile: bool,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let tables: Vec<Contract> = jobs.iter().flat_map(|job| &job.tables).map(|table| table.contract.clone()).collect();
    let of_mode = |mode: OutputMode| {
        let tables = jobs.iter().flat_map(|job| &job.tables).filter(move |table| table.output_mode == mode);
        tables.map(|table| table.contract.name.clone()).collect()
    };
    let (updated, complete) = (of_mode(OutputMode::Update), of_mode(OutputMode::Complete));
    let mut output = Output::new(folder, changes, updated, complete)?;
    output.open(tables.iter())?;
    let report = bounded::run(jobs, past, profile, &mut output)?;
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
    if profile {
        print_profile(&report.profile);
    }
    Ok(())
}

/// A line an operator, in the order rows pass them.
fn print_profile(profile: &[OperatorProfile]) {
    let count = |number: u64| if number == 0 { "-".to_owned() } else { number.to_string() };
    let wide = profile.iter().map(|line| line.of.chars().count()).max().unwrap_or(0).max("table".len());
    let what = profile.iter().map(|line| line.operator.chars().count()).max().unwrap_or(0).max("operator".len());
    eprintln!();
    eprintln!(
        "{:wide$}  {:what$} {:>12} {:>12} {:>10} {:>9} {:>12} {:>10}",
        "table", "operator", "rows in", "rows out", "MB", "CPU s", "state groups", "state MB"
    );
    let megabytes = |bytes: u64| if bytes == 0 { "-".to_owned() } else { format!("{:.1}", bytes as f64 / 1e6) };
    for line in profile {
        eprintln!(
            "{:wide$}  {:what$} {:>12} {:>12} {:>10} {:>9.3} {:>12} {:>10}",
            line.of,
            line.operator,
            count(line.rows_in),
            count(line.rows_out),
            megabytes(line.bytes),
            line.cpu_micros as f64 / 1e6,
            count(line.state_groups_most),
            megabytes(line.state_bytes_most),
        );
    }
    let cpu: u64 = profile.iter().map(|line| line.cpu_micros).sum();
    let all = cpu_time::ProcessTime::now().as_duration().as_secs_f64();
    eprintln!(
        "operators {:.3} s of CPU; the whole process, with planning, reading and writing: {all:.3} s",
        cpu as f64 / 1e6
    );
}
