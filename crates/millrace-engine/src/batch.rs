//! Batch queries: Spark's SQL over files and tables at rest, by DataFusion as it stands.
//!
//! `millrace query` uses it over lake and results; tests use it as the oracle of the streaming engine.

mod at_rest;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::ListingOptions;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionConfig};
use datafusion::sql::parser::Statement as DfStatement;
use sqlparser::ast::Statement;
use sqlparser::tokenizer::Location;

pub use at_rest::{BytesRead, FileAtRest, FilesAtRest};

use crate::SqlError;
use crate::sql;
use at_rest::Listed;

/// Options of a static table from a Parquet file.
const FILE_OPTIONS: [&str; 2] = ["path", "refresh"];
/// Options of a static table from a CSV file, in lower case.
const CSV_OPTIONS: [&str; 6] = ["path", "refresh", "header", "sep", "delimiter", "inferschema"];

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

    /// A topic of the lake: these Parquet files, `TOPIC/date=…/hour=…/NAME.parquet`, read from wherever they are.
    ///
    /// # Errors
    /// The files cannot be read.
    pub async fn register_lake(
        &self,
        name: &str,
        topic: &str,
        files: Vec<FileAtRest>,
        from: Arc<dyn FilesAtRest>,
    ) -> Result<(), SqlError> {
        let failed = |error| SqlError::planning(&error, Location { line: 0, column: 0 });
        let store = ObjectStoreUrl::parse(format!("lake://{topic}")).map_err(failed)?;
        self.context.register_object_store(store.as_ref(), Arc::new(Listed::new(files, from)));
        let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
            .with_file_extension(".parquet")
            .with_table_partition_cols(vec![("date".into(), DataType::Utf8), ("hour".into(), DataType::Utf8)]);
        let path = format!("lake://{topic}/{topic}/");
        self.context.register_listing_table(name, path, options, None, None).await.map_err(failed)
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

/// Reads a whole CSV or Parquet file (or folder of them), as Spark's reader options (names in lower case) say.
///
/// # Errors
/// A sentence for the user.
pub async fn read_file(
    format: &str,
    options: &BTreeMap<String, String>,
) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let path = options.get("path").ok_or("option `path` is missing")?;
    let context = SessionContext::new();
    let known: &[&str] = if format == "parquet" { &FILE_OPTIONS } else { &CSV_OPTIONS };
    if let Some(unknown) = options.keys().find(|option| !known.contains(&option.as_str())) {
        return Err(format!(
            "option `{unknown}` of {format} is not known to the embedded engine: it knows {}",
            known.join(", ")
        ));
    }
    let is_true = |option: &str| options.get(option).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let header = is_true("header");
    let frame = match format {
        "parquet" => context.read_parquet(path, ParquetReadOptions::default()).await,
        _ => {
            let delimiter = options.get("sep").or(options.get("delimiter")).and_then(|sep| sep.bytes().next());
            // As on Spark: every column is a STRING unless all rows are to be looked at for a type.
            let looked_at = if is_true("inferschema") { usize::MAX } else { 0 };
            let read = CsvReadOptions::new()
                .has_header(header)
                .delimiter(delimiter.unwrap_or(b','))
                .schema_infer_max_records(looked_at);
            context.read_csv(path, read).await
        }
    };
    let frame = frame.map_err(|error| format!("cannot read {path}: {}", error.strip_backtrace()))?;
    let mut schema = Arc::new(frame.schema().as_arrow().clone());
    let mut batches =
        frame.collect().await.map_err(|error| format!("cannot read {path}: {}", error.strip_backtrace()))?;
    if format == "csv" && !header {
        // Spark's names for columns that have none.
        let fields = schema.fields().iter().enumerate();
        let fields = fields.map(|(n, field)| field.as_ref().clone().with_name(format!("_c{n}"))).collect::<Vec<_>>();
        schema = Arc::new(Schema::new(fields));
        batches = batches
            .into_iter()
            .map(|batch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()))
            .collect::<Result<_, _>>()
            .map_err(|error| format!("cannot read {path}: {error}"))?;
    }
    Ok((schema, batches))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_csv_file_is_read_as_spark_reads_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("prices.csv");
        std::fs::write(&path, "id,price\np1,1.5\np2,\n").expect("written");
        let read = |options: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let mut options: BTreeMap<String, String> = options.iter().map(pair).collect();
            options.insert("path".into(), path.display().to_string());
            async move { read_file("csv", &options).await }
        };
        let types = |schema: SchemaRef| {
            schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect::<Vec<_>>()
        };
        let (schema, rows) = read(&[("header", "true")]).await.expect("read");
        assert_eq!(types(schema), ["id Utf8", "price Utf8"]);
        assert_eq!((rows[0].num_rows(), rows[0].column(1).null_count()), (2, 1));
        let (schema, _) = read(&[("header", "TRUE"), ("inferschema", "true")]).await.expect("read");
        assert_eq!(types(schema), ["id Utf8", "price Float64"]);
        let (schema, rows) = read(&[]).await.expect("read");
        assert_eq!(types(schema), ["_c0 Utf8", "_c1 Utf8"]);
        assert_eq!(rows[0].num_rows(), 3);
        let refused = read(&[("quote", "'")]).await.expect_err("not known");
        assert!(refused.contains("`quote`") && refused.contains("inferschema"), "{refused}");
    }
}
