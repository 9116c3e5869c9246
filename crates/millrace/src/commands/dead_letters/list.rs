//! `millrace dead-letters list`: the letters a filter lets through, newest first, with what was done about them.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use millrace_connectors::store::{JsonRow, Param};
use serde_json::Value;

use super::filter::Filter;
use super::letters::text;
use crate::commands::role::ClusterOptions;
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
    let mut condition = options.filter.condition();
    let sent = "SELECT count(*) FROM dead_letter_redrives AS s WHERE s.dead_letter_id = dead_letters.dead_letter_id";
    let repaired = "SELECT max(r.repaired_at) FROM dead_letter_repairs AS r \
                    WHERE r.dead_letter_id = dead_letters.dead_letter_id";
    if options.open {
        condition.sql = format!("{} AND ({sent}) = 0", condition.sql);
    }
    let count = format!("SELECT count(*) AS n FROM dead_letters WHERE {}", condition.sql);
    let matching = store.query(&count, &condition.params).await?;
    let matching = matching.first().and_then(|row| row.get("n")?.as_u64()).unwrap_or(0);
    let limit = condition.place(Param::Integer(options.limit.into()));
    let rows_sql = format!(
        "SELECT dead_letter_id, kind, code, reason, first_seen, ({sent}) AS sent_again, ({repaired}) AS repaired_at \
         FROM dead_letters WHERE {} ORDER BY first_seen DESC, dead_letter_id LIMIT {limit}",
        condition.sql,
    );
    let rows = store.query(&rows_sql, &condition.params).await?;
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
