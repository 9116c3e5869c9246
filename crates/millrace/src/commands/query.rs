//! `millrace query`: SQL over the lake, the results and the product's own tables.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use arrow_array::RecordBatch;
use arrow_cast::pretty::pretty_format_batches;
use clap::{Args, ValueEnum};
use millrace_codec::{DecodeLimits, Decoder, Needed};
use millrace_connectors::store::Store;
use millrace_engine::batch::{Answer, BatchSession, tables_of};
use millrace_model::names::did_you_mean;
use millrace_model::{Contract, Role};

use super::{Global, Invalid};
use crate::lake::LakeTables;
use crate::product::{store_url, stored_tables};
use crate::runtime_file::RuntimeFile;
use crate::statics::Statics;

/// Options of `query`.
#[derive(Args, Debug)]
#[command(after_help = "Tables: the source streams (from the lake) and every result table (from the store).

Examples:
  millrace query \"SELECT event_type, count(*) FROM user_events GROUP BY event_type\"
  millrace query \"SELECT * FROM stock_levels WHERE status <> 'in_stock'\" --format csv
  millrace query \"SHOW TABLES\"")]
pub(crate) struct Options {
    /// The query, in Spark's SQL; SHOW TABLES lists what there is
    sql: String,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write the answer to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where results are kept [default: as `up` keeps them]
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// Times a query is run when files of the lake are merged while it runs.
const TRIES: u32 = 5;

/// Where tables come from.
struct Kept<'a> {
    lake: &'a Path,
    tables: Option<LakeTables>,
    store_url: &'a str,
    store: Option<Store>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// With a header line
    Csv,
    /// One object a line
    Json,
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings()?;
    if let Some(url) = &options.store {
        settings.store.url = url.clone();
    }
    let data_dir = settings.data_dir()?;
    let running = RuntimeFile::find(&data_dir);
    let lake = running.and_then(|r| r.lake).or(settings.lake.dir.clone()).unwrap_or_else(|| data_dir.join("lake"));
    let pipelines = super::pipelines(&settings, &[])?;
    super::runtime()?.block_on(async {
        let statics = Statics::new(tokio::runtime::Handle::current());
        let contracts: Vec<Contract> = super::check::plan(&pipelines, &statics)?.contracts.iter().cloned().collect();
        if options.sql.trim().trim_end_matches(';').eq_ignore_ascii_case("show tables") {
            return show_tables(&contracts);
        }
        let url = store_url(&settings, &data_dir);
        let mut tries = 0;
        let answer = loop {
            tries += 1;
            let mut kept = Kept { lake: &lake, tables: None, store_url: &url, store: None };
            match ask(&options.sql, &contracts, &mut kept).await {
                // Files that were merged meanwhile are asked for again, as they are now.
                Err(_) if tries < TRIES && kept.tables.as_ref().is_some_and(LakeTables::changed) => {}
                answered => break answered?,
            }
        };
        let text = render(&answer, options.format)?;
        match &options.output {
            Some(path) => std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
            None => std::io::stdout().write_all(&text)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Registers the tables of a query, and runs it.
async fn ask(sql: &str, contracts: &[Contract], kept: &mut Kept<'_>) -> anyhow::Result<Answer> {
    let session = BatchSession::new();
    let invalid = |error: millrace_engine::SqlError| Invalid(error.with_excerpt(sql));
    for table in tables_of(sql).map_err(invalid)? {
        register(&session, &table, contracts, kept).await?;
    }
    let bar = crate::progress::counter("querying");
    let answer = session.query(sql).await.map_err(invalid)?;
    bar.finish_and_clear();
    Ok(answer)
}

fn show_tables(contracts: &[Contract]) -> anyhow::Result<ExitCode> {
    for contract in contracts.iter().filter(|contract| contract.role == Role::Source || contract.is_stored()) {
        let kept = if contract.role == Role::Source { "lake" } else { "store" };
        println!("{:<28} {kept:<6} {}", contract.name, contract.description);
    }
    Ok(ExitCode::SUCCESS)
}

async fn register(
    session: &BatchSession,
    table: &str,
    contracts: &[Contract],
    kept: &mut Kept<'_>,
) -> anyhow::Result<()> {
    let Some(contract) = contracts.iter().find(|contract| contract.name == table) else {
        let known = contracts.iter().map(|contract| contract.name.as_str());
        let hint = did_you_mean(table, known);
        // A name in WITH is no table; the planner tells an unknown one.
        tracing::debug!("`{table}` is no table of the product{hint}");
        return Ok(());
    };
    if contract.role == Role::Source {
        let nothing =
            || Invalid(format!("the lake has no `{table}` yet: nothing is archived in {}", kept.lake.display()));
        if kept.tables.is_none() {
            kept.tables = Some(LakeTables::open(kept.lake).map_err(|error| Invalid(error.to_string()))?);
        }
        return match &kept.tables {
            Some(tables) if tables.register(session, table).await? => Ok(()),
            _ => Err(nothing().into()),
        };
    }
    if kept.store.is_none() {
        let opened = Store::open(kept.store_url).await?;
        opened.ensure_tables(&stored_tables(contracts)).await?;
        kept.store = Some(opened);
    }
    let Some(store) = &kept.store else { return Ok(()) };
    let rows = store.query(&format!("SELECT * FROM \"{table}\""), &[]).await?;
    let mut decoder = Decoder::new(
        &lenient(contract),
        &Needed::All,
        DecodeLimits { value_bytes_max: usize::MAX, ..DecodeLimits::default() },
    );
    for row in &rows {
        let text = serde_json::to_vec(row).context("a row of the store")?;
        decoder.push(Some(&text), None).with_context(|| format!("a row of table `{table}`"))?;
    }
    let batch = decoder.finish();
    Ok(session.register_rows(table, batch.schema(), vec![batch])?)
}

/// A row of the store may hold null where the contract asks for a value (a table widened by a newer pipeline).
fn lenient(contract: &Contract) -> Contract {
    let mut contract = contract.clone();
    for column in &mut contract.columns {
        (column.required, column.nullable) = (false, true);
    }
    contract
}

fn render(answer: &Answer, format: Format) -> anyhow::Result<Vec<u8>> {
    let rows: usize = answer.batches.iter().map(RecordBatch::num_rows).sum();
    Ok(match format {
        Format::Table => {
            let empty = [RecordBatch::new_empty(answer.schema.clone())];
            let batches = if answer.batches.is_empty() { &empty[..] } else { &answer.batches };
            format!("{}\n{rows} {}\n", pretty_format_batches(batches)?, if rows == 1 { "row" } else { "rows" })
                .into_bytes()
        }
        Format::Csv => {
            let mut writer = arrow_csv::Writer::new(Vec::new());
            for batch in &answer.batches {
                writer.write(batch)?;
            }
            writer.into_inner()
        }
        Format::Json => {
            let mut text = Vec::new();
            for batch in &answer.batches {
                for row in millrace_codec::encode_rows(batch)?.iter() {
                    text.extend_from_slice(row);
                    text.push(b'\n');
                }
            }
            text
        }
    })
}
