//! Tests of whole pipelines.

mod functions_page;
mod join_rate;
mod matrix;
mod oracle;
mod refusals;
mod refused;
mod scenario;
mod shipped;
mod simulation;
mod state_faults;
mod state_rate;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::SchemaRef;

use crate::sql::StaticTable;
use crate::{PipelineFile, StaticTables};

/// For pipelines without static tables.
pub(crate) struct NoStatics;

impl StaticTables for NoStatics {
    fn load(&self, table: &StaticTable) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
        Err(format!("{} is not there", table.name))
    }
}

/// Static tables from rows of texts, by name: their columns and rows. A column of numbers is a BIGINT, any other a STRING.
#[derive(Default)]
pub(crate) struct RowsAsStatics(pub(crate) BTreeMap<String, (Vec<String>, Vec<Vec<String>>)>);

impl StaticTables for RowsAsStatics {
    fn load(&self, table: &StaticTable) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
        let (columns, rows) = self.0.get(&table.name).ok_or_else(|| format!("{} is not there", table.name))?;
        let columns = columns.iter().enumerate().map(|(at, name)| {
            let cells: Vec<&str> = rows.iter().map(|row| row[at].as_str()).collect();
            let numbers: Result<Vec<i64>, _> = cells.iter().map(|cell| cell.parse()).collect();
            let column: ArrayRef = match numbers {
                Ok(numbers) => Arc::new(Int64Array::from(numbers)),
                Err(_) => Arc::new(StringArray::from(cells)),
            };
            (name.as_str(), column)
        });
        let batch = RecordBatch::try_from_iter(columns).map_err(|error| error.to_string())?;
        Ok((batch.schema(), vec![batch]))
    }
}

/// The files of the repository's `pipelines/`.
pub(crate) fn shipped_files() -> Vec<PipelineFile> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines");
    let mut files: Vec<PipelineFile> = std::fs::read_dir(folder)
        .expect("the folder of pipelines")
        .flatten()
        .map(|entry| PipelineFile {
            path: entry.path().display().to_string(),
            text: std::fs::read_to_string(entry.path()).expect("a pipeline"),
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
