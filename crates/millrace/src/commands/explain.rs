//! `millrace explain`: the plan of a pipeline as a person thinks of it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use millrace_engine::JobPlan;
use millrace_engine::plan::{SourcePlan, TablePlan, TableState};
use millrace_engine::sql::Origin;
use serde_json::{Value, json};

use super::Global;
use crate::statics::Statics;

/// Options of `explain`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  millrace explain pipelines/metrics.sql
  millrace explain my.sql --format json | jq '.[].tables[] | {table, state}'")]
pub(crate) struct Options {
    /// Pipeline files or folders [default: what `up` would run]
    #[arg(value_name = "PIPELINE")]
    paths: Vec<PathBuf>,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
enum Format {
    /// For people
    Text,
    /// One array of jobs
    Json,
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let settings = global.settings()?;
    let pipelines = super::pipelines(&settings, &options.paths)?;
    let runtime = super::runtime()?;
    let planned = super::check::plan(&pipelines, &Statics::new(runtime.handle().clone()))?;
    match options.format {
        Format::Json => println!("{:#}", Value::Array(planned.jobs.iter().map(in_json).collect())),
        Format::Text => planned.jobs.iter().for_each(print),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(job: &JobPlan) {
    println!("job {} (consumer group {})", job.name, crate::roles::job::group_of(&job.name));
    for source in &job.sources {
        let (columns, all) = (&source.columns, source.contract.columns.len());
        println!(
            "  reads {} {}: {} of {all} columns decoded ({})",
            kind_of(source),
            place_of(source),
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
            let is_step = !line.starts_with([' ']) && !line.starts_with("source ");
            println!("    {}{line}", if is_step { "↓ " } else { "  " });
        }
        println!("    ↓ {}", delivery(job, table));
    }
    println!();
}

fn kind_of(source: &SourcePlan) -> &'static str {
    match source.origin {
        Origin::Topic(_) => "topic",
        Origin::Ndjson(_) => "file",
    }
}

fn place_of(source: &SourcePlan) -> &str {
    match &source.origin {
        Origin::Topic(place) | Origin::Ndjson(place) => place,
    }
}

/// Where the rows go, and how surely.
fn delivery(job: &JobPlan, table: &TablePlan) -> String {
    let keyed = match table.contract.key.as_slice() {
        [] => "no key".to_owned(),
        key => format!("keyed by {}", key.join(", ")),
    };
    match crate::bounded::is_bounded(job) {
        true => format!(
            "file {}.ndjson or standard output, {keyed}: once, at the end of a run that succeeds",
            table.contract.name
        ),
        false => format!("topic {}, {keyed}, exactly once (rows and offsets in one transaction)", table.contract.name),
    }
}

fn in_json(job: &JobPlan) -> Value {
    let source = |source: &SourcePlan| {
        json!({
            "source": source.contract.name,
            "kind": kind_of(source),
            "place": place_of(source),
            "columns_decoded": source.columns,
            "columns_of_contract": source.contract.columns.len(),
            "deduplicate_by": source.contract.deduplicate_by,
            "repeats_dropped_within_micros": source.delay_micros,
        })
    };
    let table = |table: &TablePlan| {
        let watermarks = table.streams.iter().filter_map(|stream| {
            let (column, delay) = stream.watermark.as_ref()?;
            Some(json!({ "source": stream.source, "column": column, "delay_micros": delay }))
        });
        json!({
            "table": table.contract.name,
            "description": table.contract.description,
            "reads": table.streams.iter().map(|stream| &stream.source).collect::<Vec<_>>(),
            "watermarks": watermarks.collect::<Vec<_>>(),
            "state": match table.state {
                TableState::Nothing => "none",
                TableState::Windows => "until the watermark passes",
                TableState::Groups => "for ever",
            },
            "plan": table.explanation,
            "output_mode": table.output_mode.name(),
            "key": table.contract.key,
            "sink": delivery(job, table),
        })
    };
    json!({
        "job": job.name,
        "consumer_group": crate::roles::job::group_of(&job.name),
        "sources": job.sources.iter().map(source).collect::<Vec<_>>(),
        "tables": job.tables.iter().map(table).collect::<Vec<_>>(),
    })
}
