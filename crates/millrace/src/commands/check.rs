//! `millrace check`: mistakes in settings, contracts and pipelines, before anything starts.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Global, Invalid};
use crate::pipelines::Pipelines;
use crate::statics::Statics;

/// Options of `check`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  millrace check                      the pipelines that `millrace up` would run
  millrace check my.sql other.sql     these files

Exit code 0: all is well; 2: something is wrong, with file, line and column.")]
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
    let planned = plan(&pipelines, &Statics::new(runtime.handle().clone()))?;
    for job in &planned.jobs {
        let tables = job.tables.iter().map(|table| table.contract.name.as_str()).collect::<Vec<_>>().join(", ");
        let sources = job.sources.iter().map(|source| source.contract.name.as_str()).collect::<Vec<_>>().join(", ");
        println!("{}: ok\n  reads {sources}\n  makes {tables}", job.name);
    }
    Ok(ExitCode::SUCCESS)
}

/// Plans the pipelines, or says everything that is wrong with them.
///
/// # Errors
/// [`Invalid`].
pub(super) fn plan(pipelines: &Pipelines, statics: &Statics) -> anyhow::Result<crate::pipelines::Planned> {
    Ok(pipelines.plan(statics).map_err(|errors| Invalid(pipelines.explain(&errors)))?)
}
