//! `millrace dead-letters list`: the letters a filter lets through, newest first, with what was done about them.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use millrace_connectors::dead_letters::{LetterFilter, Letters, Listed};
use millrace_connectors::store::JsonRow;
use serde_json::Value;

use super::filter::Filter;
use crate::commands::role::ClusterOptions;
use crate::roles::notify::tables::text;
use crate::settings::Settings;

/// Options of `list`.
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    filter: Filter,
    /// Only those that were not sent again
    #[arg(long)]
    open: bool,
    /// Most letters to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    cluster: ClusterOptions,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One object a line
    Json,
}

/// Runs it.
pub(super) async fn run(mut settings: Settings, options: Options) -> anyhow::Result<ExitCode> {
    let store = super::open_store(&mut settings, &options.cluster).await?;
    let filter = LetterFilter { sent: options.open.then_some(false), ..options.filter.wanted() };
    let Listed { rows, matching } = Letters::new(store.clone()).list(&filter, options.limit).await?;
    match options.format {
        Format::Json => rows.iter().for_each(|row| println!("{}", Value::Object(row.clone()))),
        Format::Table => {
            rows.iter().for_each(|row| println!("{}", line(row)));
            println!("{} of {matching} dead letters", rows.len());
        }
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

fn line(row: &JsonRow) -> String {
    let sent = row.get("sent_again").and_then(Value::as_u64).unwrap_or(0);
    let state = match (sent, row.get("repaired_at").is_some_and(|at| !at.is_null())) {
        (0, false) => "open".to_owned(),
        (0, true) => "repaired".to_owned(),
        (1, _) => "sent again".to_owned(),
        (times, _) => format!("sent again {times} times"),
    };
    let (id, code, reason) = (text(row, "dead_letter_id"), text(row, "code"), text(row, "reason"));
    format!("{}  {id:<32} {code:<16} {state:<12} {reason}", text(row, "first_seen"))
}
