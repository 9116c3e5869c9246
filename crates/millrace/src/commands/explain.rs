//! `millrace explain`: the plan of a pipeline as a person thinks of it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Global;
use crate::statics::Statics;

/// Options of `explain`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  millrace explain pipelines/metrics.sql")]
pub(crate) struct Options {
    /// Pipeline files or folders [default: what `up` would run]
    #[arg(value_name = "PIPELINE")]
    paths: Vec<PathBuf>,
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let settings = global.settings()?;
    let pipelines = super::pipelines(&settings, &options.paths)?;
    let runtime = super::runtime()?;
    let planned = super::check::plan(&pipelines, &Statics::new(runtime.handle().clone()))?;
    for job in &planned.jobs {
        println!("job {} (consumer group {})", job.name, crate::roles::job::group_of(&job.name));
        for source in &job.sources {
            let columns = &source.columns;
            let all = source.contract.columns.len();
            println!(
                "  reads {}: {} of {all} columns decoded ({})",
                source.contract.name,
                columns.len(),
                columns.join(", ")
            );
            if !source.contract.deduplicate_by.is_empty() {
                let by = source.contract.deduplicate_by.join(", ");
                println!("    repeats of {by} dropped within {} s of event time", source.delay_micros as f64 / 1e6);
            }
        }
        for table in &job.tables {
            println!("  table {}: {}", table.contract.name, table.contract.description);
            for line in &table.explanation {
                println!("    {line}");
            }
            println!("    topic {}, exactly once (rows and offsets in one transaction)", table.contract.name);
        }
        println!();
    }
    Ok(ExitCode::SUCCESS)
}
