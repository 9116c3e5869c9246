//! Tests of whole pipelines.

mod scenario;
mod shipped;

use arrow_array::RecordBatch;
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
