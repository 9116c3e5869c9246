//! Many small files of an hour become one: read, written as one file beside them, then deleted.
//!
//! ```text
//!  p00003-…1000-…1999  p00003-…2000-…2750  p00003-…2751-…4000     one hour, one partition, one million of offsets
//!            └───────────────────┴──────────────────┘
//!  q00003-…1000-…4000                                             from the moment it is there, those above do not count
//! ```
//!
//! Which files go together follows from their names alone, so whatever two archivers merge at once, one result holds the
//! other and replaces it (decision 14). Only archived batches take part: no file of theirs is written any more.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use bytes::Bytes;
use millrace_model::time::HOUR_MICROS;
use millrace_model::{ErrorKind, Timestamp};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use tokio::task::spawn_blocking;

use super::catalog::{self, Stored};
use super::encode;
use super::layout::{FileName, Hour};
use super::settings::MergeSettings;
use super::storage::Storage;
use crate::kafka::Place;
use crate::sink::SinkError;

/// Files go together whose first offsets lie in the same span of so many.
const SPAN_OFFSETS: i64 = 1_000_000;
/// Files that are worth a merge.
const FILES_MIN: usize = 4;
/// Bytes that are merged at once, and held in memory; more stay as they are.
const BYTES_MAX: u64 = 256 << 20;

/// What a pass did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Merged {
    /// Files that were merged into others, and deleted.
    pub(super) files: u64,
    /// Files they became.
    pub(super) into: u64,
    /// Files that did not count any more, deleted.
    pub(super) left_over: u64,
}

/// Merges what can be, of these partitions, whose batches are archived up to these offsets.
///
/// # Errors
/// The storage; a file that cannot be read, named in the text. What is half done then does no harm.
pub(super) async fn pass(
    storage: &Storage,
    settings: MergeSettings,
    archived: &HashMap<Place, i64>,
    now: Timestamp,
) -> Result<Merged, SinkError> {
    let mut done = Merged::default();
    let mut topics: Vec<&Arc<str>> = archived.keys().map(|place| &place.topic).collect();
    topics.sort();
    topics.dedup();
    for topic in topics {
        let (files, replaced) = catalog::divide(catalog::all(storage, topic).await?);
        let next = |file: &Stored| archived.get(&Place::new(Arc::clone(topic), file.name.partition)).copied();
        for file in replaced.iter().filter(|file| next(file).is_some()) {
            storage.delete(&file.path).await?;
            done.left_over += 1;
        }
        let mut groups: BTreeMap<(String, i32, i64), Vec<Stored>> = BTreeMap::new();
        for file in files.into_iter().filter(|file| next(file).is_some_and(|next| file.name.last < next)) {
            let key = (file.folder().to_owned(), file.name.partition, file.name.first / SPAN_OFFSETS);
            groups.entry(key).or_default().push(file);
        }
        for ((folder, ..), mut group) in groups {
            let old = Hour::of_folder(&folder).is_some_and(|hour| {
                let wait = i64::try_from(settings.after.as_micros()).unwrap_or(i64::MAX);
                hour.start().0.saturating_add(HOUR_MICROS).saturating_add(wait) <= now.0
            });
            let bytes: u64 = group.iter().map(|file| file.bytes).sum();
            if !old || group.len() < FILES_MIN || bytes > BYTES_MAX {
                continue;
            }
            group.sort_by_key(|file| file.name.first);
            if merge(storage, &folder, &group).await? {
                done.files += group.len() as u64;
                done.into += 1;
            }
        }
    }
    Ok(done)
}

/// Merges one group; `false`: it was left as it is.
async fn merge(storage: &Storage, folder: &str, group: &[Stored]) -> Result<bool, SinkError> {
    let [first, .., last] = group else { return Ok(false) };
    let mut parts = Vec::with_capacity(group.len());
    for file in group {
        // Another archiver has merged it meanwhile.
        let Some(bytes) = storage.read(&file.path, 0..file.bytes).await? else { return Ok(false) };
        parts.push(bytes);
    }
    let made = spawn_blocking(move || join(parts)).await;
    let made = made.map_err(|e| SinkError::new(ErrorKind::Internal, format!("merge files: {e}")))?;
    let made =
        made.map_err(|why| SinkError::new(ErrorKind::Invalid, format!("lake: {folder} cannot be merged: {why}")))?;
    let Some(bytes) = made else {
        tracing::warn!(folder, "files of different column types are not merged");
        return Ok(false);
    };
    let name =
        FileName { merged: true, partition: first.name.partition, first: first.name.first, last: last.name.last };
    let path = format!("{folder}/{}", name.text());
    storage.put(&path, bytes).await?;
    for file in group.iter().filter(|file| file.path != path) {
        storage.delete(&file.path).await?;
    }
    Ok(true)
}

/// The rows of these files, in their order, as one; `None`: a column has two types.
fn join(parts: Vec<Bytes>) -> Result<Option<Vec<u8>>, String> {
    let mut readers = Vec::with_capacity(parts.len());
    let mut rows = 0;
    for part in parts {
        let reader = ParquetRecordBatchReaderBuilder::try_new(part).map_err(|e| e.to_string())?;
        rows += reader.metadata().file_metadata().num_rows();
        readers.push((Arc::clone(reader.schema()), reader.build().map_err(|e| e.to_string())?));
    }
    let Some(schema) = union(readers.iter().map(|(schema, _)| schema)) else { return Ok(None) };
    let mut writer = encode::Merging::new(&schema, rows.unsigned_abs()).map_err(|e| e.to_string())?;
    for (_, reader) in readers {
        copy(reader, &schema, &mut writer)?;
    }
    let (bytes, written) = writer.end().map_err(|e| e.to_string())?;
    if written != rows {
        return Err(format!("{rows} rows became {written}; nothing was changed"));
    }
    Ok(Some(bytes))
}

fn copy(reader: ParquetRecordBatchReader, schema: &SchemaRef, writer: &mut encode::Merging) -> Result<(), String> {
    for batch in reader {
        let batch = batch.and_then(|batch| under(schema, &batch)).map_err(|e| e.to_string())?;
        writer.write(&batch).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// A batch with all of these columns; those it has not are null.
fn under(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |field: &Arc<Field>| -> ArrayRef {
        let own = batch.column_by_name(field.name());
        own.map_or_else(|| new_null_array(field.data_type(), batch.num_rows()), Arc::clone)
    };
    RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().map(column).collect())
}

/// All columns of these schemas: a contract grows, and files of before and after lie in one hour.
fn union<'a>(schemas: impl Iterator<Item = &'a SchemaRef>) -> Option<SchemaRef> {
    let mut fields: Vec<Field> = Vec::new();
    let mut widths = Vec::new();
    for schema in schemas {
        widths.push(schema.fields().len());
        for field in schema.fields() {
            match fields.iter_mut().find(|known| known.name() == field.name()) {
                None => fields.push(field.as_ref().clone()),
                Some(known) if known.data_type() != field.data_type() => return None,
                Some(known) => known.set_nullable(known.is_nullable() || field.is_nullable()),
            }
        }
    }
    if widths.iter().any(|width| *width != fields.len()) {
        fields.iter_mut().for_each(|field| field.set_nullable(true));
    }
    Some(Arc::new(Schema::new(fields)))
}
