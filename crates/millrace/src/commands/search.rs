//! `millrace search`: what Kibana and OpenSearch Dashboards show of the indices that the search sink writes.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use millrace_connectors::sink::search::SavedObjects;

use super::Global;
use crate::product::searched_tables;
use crate::statics::Statics;

/// Options of `search`.
#[derive(Args, Debug)]
#[command(after_help = "The server and the prefix of its indices are [sink.elasticsearch] in millrace.toml.
`millrace up` and `millrace sink` write them; docs/operating/search.md says more.

Examples:
  millrace search saved-objects > millrace.ndjson
  curl -X POST 'http://127.0.0.1:5601/api/saved_objects/_import?overwrite=true' \\
       -H 'osd-xsrf: true' -H 'kbn-xsrf: true' -F file=@millrace.ndjson")]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Print index patterns, charts and a dashboard, to import into Kibana or OpenSearch Dashboards
    ///
    /// One JSON object a line, made from the contracts of the tables that the sink writes. Nothing is asked and nothing started.
    /// Ids are of prefix and name: importing again replaces.
    SavedObjects,
}

/// Runs it.
pub(crate) fn run(global: &Global, options: &Options) -> anyhow::Result<ExitCode> {
    let Action::SavedObjects = options.action;
    let settings = global.settings()?;
    let pipelines = super::pipelines(&settings, &[])?;
    let runtime = super::runtime()?;
    let planned = super::check::plan(&pipelines, &Statics::new(runtime.handle().clone()))?;
    let made = SavedObjects::of(&settings.sink.elasticsearch, &searched_tables(&settings, &planned)?);
    print!("{}", made.to_ndjson());
    for chart in &made.left_out {
        eprintln!("left out: {chart}");
    }
    Ok(ExitCode::SUCCESS)
}
