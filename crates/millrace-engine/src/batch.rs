//! Batch queries: Spark's SQL over files and tables at rest, by DataFusion as it stands.
//!
//! `millrace query` uses it over lake and results; tests use it as the oracle of the streaming engine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::ListingOptions;
use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionConfig};
use datafusion::sql::parser::Statement as DfStatement;
use sqlparser::ast::Statement;
use sqlparser::tokenizer::Location;

use crate::SqlError;
use crate::sql;

/// A session for batch queries.
pub struct BatchSession {
    context: SessionContext,
}

/// What a query gave.
pub struct Answer {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

impl Default for BatchSession {
    fn default() -> Self {
        BatchSession::new()
    }
}

impl BatchSession {
    /// A session without tables, using all cores.
    pub fn new() -> Self {
        let state = crate::functions::register(SessionStateBuilder::new().with_config(SessionConfig::new())).build();
        let mut config = state.config().clone();
        config.options_mut().execution.target_partitions = std::thread::available_parallelism().map_or(1, usize::from);
        let state = SessionStateBuilder::new_from_existing(state).with_config(config).build();
        BatchSession { context: SessionContext::new_with_state(state) }
    }

    /// A table of rows in memory.
    ///
    /// # Errors
    /// Batches of different columns.
    pub fn register_rows(&self, name: &str, schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<(), SqlError> {
        let start = Location { line: 0, column: 0 };
        let table = MemTable::try_new(schema, vec![batches]).map_err(|error| SqlError::planning(&error, start))?;
        let name = datafusion::common::TableReference::bare(name);
        self.context.register_table(name, Arc::new(table)).map_err(|error| SqlError::planning(&error, start))?;
        Ok(())
    }

    /// A folder of Parquet files, `date=…/hour=…` below it.
    ///
    /// # Errors
    /// The files cannot be read.
    pub async fn register_lake(&self, name: &str, folder: &Path) -> Result<(), SqlError> {
        let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
            .with_file_extension(".parquet")
            .with_table_partition_cols(vec![("date".into(), DataType::Utf8), ("hour".into(), DataType::Utf8)]);
        let path = format!("{}/", folder.display());
        let registered = self.context.register_listing_table(name, path, options, None, None).await;
        registered.map_err(|error| SqlError::planning(&error, Location { line: 0, column: 0 }))
    }

    /// Runs a query.
    ///
    /// # Errors
    /// The query's text, with line and column, or what went wrong while it ran.
    pub async fn query(&self, text: &str) -> Result<Answer, SqlError> {
        let mut query = sql::parse_query(text)?;
        sql::rewrite(&mut query)?;
        let start = Location { line: 1, column: 1 };
        let failed = |error: datafusion::common::DataFusionError| SqlError::planning(&error, start);
        let statement = DfStatement::Statement(Box::new(Statement::Query(Box::new(query))));
        let plan = self.context.state().statement_to_plan(statement).await.map_err(failed)?;
        let frame = self.context.execute_logical_plan(plan).await.map_err(failed)?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let batches = frame.collect().await.map_err(failed)?;
        Ok(Answer { schema, batches })
    }
}

/// The tables a query names, lower case unless quoted.
///
/// # Errors
/// The query's text.
pub fn tables_of(text: &str) -> Result<Vec<String>, SqlError> {
    Ok(sql::tables_of(&sql::parse_query(text)?))
}

/// Reads a whole CSV or Parquet file (or folder of them), as Spark's reader options say.
///
/// # Errors
/// A sentence for the user.
pub async fn read_file(
    format: &str,
    options: &BTreeMap<String, String>,
) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let path = options.get("path").ok_or("option `path` is missing")?;
    let context = SessionContext::new();
    let frame = match format {
        "parquet" => context.read_parquet(path, ParquetReadOptions::default()).await,
        _ => {
            let header = options.get("header").is_some_and(|header| header == "true");
            let delimiter = options.get("sep").or(options.get("delimiter")).and_then(|sep| sep.bytes().next());
            let read = CsvReadOptions::new().has_header(header).delimiter(delimiter.unwrap_or(b','));
            context.read_csv(path, read).await
        }
    };
    let frame = frame.map_err(|error| format!("cannot read {path}: {}", error.strip_backtrace()))?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.map_err(|error| format!("cannot read {path}: {}", error.strip_backtrace()))?;
    Ok((schema, batches))
}
