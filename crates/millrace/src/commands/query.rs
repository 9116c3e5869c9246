//! `millrace query`: SQL over the lake, the results and the product's own tables.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use arrow_array::{RecordBatch, StringArray};
use arrow_cast::pretty::pretty_format_batches;
use arrow_schema::{DataType, Field, Schema};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use millrace_codec::{DecodeLimits, Decoder, Needed};
use millrace_connectors::store::{Store, StoreError};
use millrace_engine::batch::{Answer, BatchSession, tables_of};
use millrace_model::names::did_you_mean;
use millrace_model::{Contract, ErrorKind, Role};

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
  millrace query \"SELECT * FROM transactions WHERE date = '2026-01-31'\" --format parquet --output january.parquet
  millrace query \"SHOW TABLES\"")]
pub(crate) struct Options {
    /// The query, in Spark's SQL; SHOW TABLES lists what there is
    sql: String,
    /// Form of the answer [default: by the ending of the file, else a table]
    #[arg(long, value_enum)]
    format: Option<Format>,
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
    bar: ProgressBar,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// With a header line
    Csv,
    /// One object a line
    Json,
    /// A Parquet file, with the columns' types; needs --output
    Parquet,
}

impl Format {
    /// As asked for, else as the file's name says.
    fn of(asked: Option<Format>, output: Option<&Path>) -> anyhow::Result<Self> {
        let ending = output.and_then(Path::extension).and_then(|ending| ending.to_str());
        let format = asked.unwrap_or(match ending {
            Some("csv") => Format::Csv,
            Some("json" | "ndjson" | "jsonl") => Format::Json,
            Some("parquet") => Format::Parquet,
            _ => Format::Table,
        });
        match (format, output) {
            (Format::Parquet, None) => {
                Err(Invalid("Parquet is for a file: name one with --output FILE.parquet".into()).into())
            }
            (format, _) => Ok(format),
        }
    }
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let format = Format::of(options.format, options.output.as_deref())?;
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
            let bar = crate::progress::bytes("querying");
            let mut kept = Kept { lake: &lake, tables: None, store_url: &url, store: None, bar: bar.clone() };
            let answered = ask(&options.sql, &contracts, &mut kept).await;
            bar.finish_and_clear();
            match answered {
                // Files that were merged meanwhile are asked for again, as they are now.
                Err(_) if tries < TRIES && kept.tables.as_ref().is_some_and(LakeTables::changed) => {}
                answered => break answered?,
            }
        };
        let text = render(&answer, format)?;
        match &options.output {
            Some(path) => {
                std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
                let rows: usize = answer.batches.iter().map(RecordBatch::num_rows).sum();
                eprintln!("{rows} {} in {}", if rows == 1 { "row" } else { "rows" }, path.display());
            }
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
    Ok(session.query(sql).await.map_err(invalid)?)
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
            kept.tables =
                Some(LakeTables::open_with(kept.lake, kept.bar.clone()).map_err(|error| Invalid(error.to_string()))?);
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
    let mut decoder = Decoder::new(
        &lenient(contract),
        &Needed::All,
        DecodeLimits { value_bytes_max: usize::MAX, ..DecodeLimits::default() },
    );
    let mut take = |row| {
        let wrong = |error: &dyn std::fmt::Display| {
            StoreError::new(ErrorKind::Data, format!("a row of table `{table}`: {error}"))
        };
        let text = serde_json::to_vec(&row).map_err(|error| wrong(&error))?;
        decoder.push(Some(&text), None).map_err(|error| wrong(&error))
    };
    store.each_row(table, &mut take).await?;
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

/// The batch with lists and structs as JSON texts: CSV has no form of them.
fn flat(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !field.data_type().is_nested() {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
            continue;
        }
        let named = Arc::new(Field::new("v", field.data_type().clone(), true));
        let alone = RecordBatch::try_new(Arc::new(Schema::new(vec![named])), vec![Arc::clone(column)])?;
        let text = |row: &[u8]| {
            let value = row.strip_prefix(br#"{"v":"#).and_then(|row| row.strip_suffix(b"}")).unwrap_or(row);
            (value != b"null").then(|| String::from_utf8_lossy(value).into_owned())
        };
        let texts: StringArray = millrace_codec::encode_rows(&alone)?.iter().map(text).collect();
        fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
        columns.push(Arc::new(texts));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
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
            // The header, also where there are no rows.
            let empty = [RecordBatch::new_empty(answer.schema.clone())];
            for batch in if answer.batches.is_empty() { &empty[..] } else { &answer.batches } {
                writer.write(&flat(batch)?)?;
            }
            writer.into_inner()
        }
        Format::Parquet => millrace_connectors::lake::to_parquet(&answer.schema, &answer.batches)?,
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
