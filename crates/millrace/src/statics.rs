//! Static tables of pipelines: CSV and Parquet files, and tables of a database by URL.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use millrace_connectors::store::foreign;
use millrace_engine::sql::StaticTable;
use millrace_engine::{StaticTables, batch};

/// Reads static tables where they are. Blocks: for threads that may wait.
pub(crate) struct Statics {
    runtime: tokio::runtime::Handle,
}

impl Statics {
    pub(crate) fn new(runtime: tokio::runtime::Handle) -> Self {
        Statics { runtime }
    }
}

impl StaticTables for Statics {
    fn load(&self, table: &StaticTable) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
        let (format, options) = (table.format.clone(), table.options.clone());
        let load = async move {
            match format.as_str() {
                "jdbc" => database(&options).await,
                _ => batch::read_file(&format, &options).await,
            }
        };
        // The caller may itself be a task of this runtime (planning at start): then another thread waits.
        let handle = self.runtime.clone();
        let waiting = std::thread::spawn(move || handle.block_on(load));
        waiting.join().map_err(|_| "reading it panicked".to_owned())?
    }
}

/// `jdbc:postgresql://host/db` with `dbtable` (or `query`), `user` and `password`, as Spark writes it.
async fn database(options: &BTreeMap<String, String>) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let url = options.get("url").ok_or("option `url` is missing")?;
    let url = url.strip_prefix("jdbc:").unwrap_or(url).replacen("postgresql://", "postgres://", 1);
    let url = match (options.get("user"), url.split_once("://")) {
        (Some(user), Some((scheme, rest))) if !rest.contains('@') => match options.get("password") {
            Some(password) => format!("{scheme}://{user}:{password}@{rest}"),
            None => format!("{scheme}://{user}@{rest}"),
        },
        _ => url,
    };
    let select = match (options.get("query"), options.get("dbtable")) {
        (Some(query), _) => query.clone(),
        (None, Some(table)) => format!("SELECT * FROM {table}"),
        (None, None) => return Err("option `dbtable` is missing".into()),
    };
    foreign::read(&url, &select).await.map_err(|error| error.to_string())
}
