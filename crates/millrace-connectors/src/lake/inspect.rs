//! What the lake holds, from the footers of its files: for the audit, which holds it against the topics.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt};
use millrace_model::ErrorKind;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::catalog::{self, Stored};
use super::storage::Storage;
use crate::sink::SinkError;

/// Bytes that are read from the end of a file at first: most footers are shorter.
const FOOTER_BYTES: u64 = 32 * 1024;
/// Footers that are read side by side.
const READS_MAX: usize = 8;
/// Times it begins anew because a file was merged or removed meanwhile.
const TRIES: usize = 5;

/// What the lake holds of one topic.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct LakeTopic {
    /// Data files.
    pub files: u64,
    /// Records in them.
    pub rows: u64,
    /// Their size, bytes.
    pub bytes: u64,
    /// Next offset of each partition, by the names of its files; group and claims are the truth.
    pub next_offsets: BTreeMap<i32, i64>,
}

/// Reads the footers of all files that count, by topic. The lake is a folder, or `s3://BUCKET/PREFIX`.
///
/// # Errors
/// The lake, or a file of it that cannot be read, named in the text.
pub async fn inspect(place: &Path) -> Result<BTreeMap<String, LakeTopic>, SinkError> {
    let storage = Storage::open(place, false)?;
    for _ in 0..TRIES {
        if let Some(topics) = look(&storage).await? {
            return Ok(topics);
        }
    }
    Err(SinkError::new(ErrorKind::Unavailable, "lake: its files change faster than they are read"))
}

async fn look(storage: &Storage) -> Result<Option<BTreeMap<String, LakeTopic>>, SinkError> {
    let files = catalog::current(storage, "").await?;
    let read = futures_util::stream::iter(&files).map(|file| footer(storage, file)).buffered(READS_MAX);
    let footers: Vec<Option<ParquetMetaData>> = read.try_collect().await?;
    let mut topics: BTreeMap<String, LakeTopic> = BTreeMap::new();
    for (file, footer) in files.iter().zip(footers) {
        let Some(footer) = footer else { return Ok(None) };
        let entry = topics.entry(file.topic().to_owned()).or_default();
        entry.files += 1;
        entry.rows += u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        entry.bytes += file.bytes;
        let next = entry.next_offsets.entry(file.name.partition).or_default();
        *next = (*next).max(file.name.last + 1);
    }
    Ok(Some(topics))
}

/// The footer of a file; `None`: the file is gone.
pub(super) async fn footer(storage: &Storage, file: &Stored) -> Result<Option<ParquetMetaData>, SinkError> {
    let broken = |e: &dyn std::fmt::Display| SinkError::new(ErrorKind::Invalid, format!("lake: {}: {e}", file.path));
    let mut wanted = FOOTER_BYTES;
    loop {
        let Some(tail) = storage.read(&file.path, file.bytes.saturating_sub(wanted)..file.bytes).await? else {
            return Ok(None);
        };
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&tail, file.bytes) {
            Ok(()) => return reader.finish().map(Some).map_err(|e| broken(&e)),
            Err(ParquetError::NeedMoreData(more)) if more as u64 > wanted => wanted = more as u64,
            Err(e) => return Err(broken(&e)),
        }
    }
}
