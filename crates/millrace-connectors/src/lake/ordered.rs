//! A partition's records in the order of their offsets, out of files that are divided by hours.
//!
//! ```text
//!  hour=08/p00001-…000-…199   0 1 2 ─── 7 ──────────── 150 ── 199
//!  hour=09/p00001-…003-…420         3 4 5 6 8 9 ─ …149 ──── 151 …       ─▶  0 1 2 3 4 5 6 7 8 9 …
//!                                                                           runs: rows of one file that follow each other
//! ```
//!
//! A file is open from its first offset on; of a large one the columns of one row group are held at a time. A file that is
//! merged into another while it is read is looked for anew, from the next offset on.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{BinaryArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use bytes::{Buf, Bytes};
use millrace_model::ErrorKind;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::catalog::Stored;
use super::inspect;
use super::past::{LakePart, LakeSpan};
use super::reader::LakeReader;
use crate::sink::SinkError;

/// Files up to this size are read whole, with one request.
const WHOLE_BYTES_MAX: u64 = 4 << 20;
/// Rows decoded at a time.
const BATCH_ROWS: usize = 8_192;
/// Times files are looked for anew without a record having come between.
const LISTINGS_MAX: usize = 5;
/// Columns that are always read.
const OWN: [&str; 4] = ["_offset", "_timestamp", "_key", "_raw"];

/// Records as they were received, in the order of their offsets.
#[derive(Clone, Debug)]
pub struct LakeBatch {
    /// Offsets.
    pub offsets: Int64Array,
    /// Kafka's times.
    pub times: TimestampMicrosecondArray,
    /// Keys.
    pub keys: BinaryArray,
    /// Bytes; null for a tombstone.
    pub values: BinaryArray,
    /// The columns of times that were asked for; `None` where the file has no such column.
    pub columns: Vec<Option<TimestampMicrosecondArray>>,
}

/// Records that follow each other: rows of one batch.
#[derive(Clone, Debug)]
pub struct LakeRun {
    /// The batch.
    pub batch: Arc<LakeBatch>,
    /// Rows of it.
    pub rows: Range<usize>,
}

/// One partition, read from an offset up to another.
pub struct LakePartition {
    lake: Arc<LakeReader>,
    topic: Arc<str>,
    partition: i32,
    span: LakeSpan,
    columns: Arc<[String]>,
    /// Files that begin later.
    waiting: VecDeque<Stored>,
    open: Vec<Open>,
    next: i64,
    end: i64,
    listings: usize,
    least_hole: i64,
}

/// What of a partition is read.
#[derive(Clone, Debug)]
pub struct LakeRange {
    /// First offset.
    pub from: i64,
    /// Offset after the last.
    pub end: i64,
    /// Only files of these hours.
    pub span: LakeSpan,
    /// Fewer missing offsets in a row than this are no loss.
    pub least_hole: i64,
}

/// A file that is being read.
struct Open {
    file: Stored,
    rest: Rest,
    batch: Option<Arc<LakeBatch>>,
    row: usize,
}

/// What of a file has not been decoded yet.
struct Rest {
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    /// The whole of a small file.
    whole: Option<Bytes>,
    group: usize,
    reader: Option<ParquetRecordBatchReader>,
}

impl LakePartition {
    /// Reads a part of a partition of a topic, with these columns of times beside what was received.
    pub fn new(
        lake: Arc<LakeReader>,
        topic: Arc<str>,
        partition: i32,
        part: LakePart,
        range: &LakeRange,
        columns: Arc<[String]>,
    ) -> Self {
        let LakeRange { from, end, span, least_hole } = range.clone();
        let mut read = LakePartition {
            lake,
            topic,
            partition,
            span,
            columns,
            waiting: VecDeque::new(),
            open: Vec::new(),
            next: from,
            end,
            listings: 0,
            least_hole,
        };
        read.take_files(part);
        read
    }

    fn take_files(&mut self, part: LakePart) {
        let (next, end) = (self.next, self.end);
        let wanted = |file: &Stored| file.name.last >= next && file.name.first < end;
        self.waiting = part.files.into_iter().filter(wanted).collect();
        self.open.clear();
    }

    /// Goes on to this offset, which is archived by now.
    ///
    /// # Errors
    /// The lake cannot be read.
    pub async fn extend(&mut self, end: i64) -> Result<(), SinkError> {
        self.end = end;
        self.list().await
    }

    /// The next records in the order of their offsets; `None` at the end.
    ///
    /// # Errors
    /// `Invalid`: a file that cannot be read, or records that are gone. `Unavailable`: the storage.
    pub async fn next(&mut self) -> Result<Option<LakeRun>, SinkError> {
        loop {
            let Some(at) = self.first_open().await? else {
                match self.waiting.pop_front() {
                    Some(file) => self.open(file).await?,
                    None => return Ok(None),
                }
                continue;
            };
            let head = self.open[at].head().unwrap_or(i64::MAX);
            if self.waiting.front().is_some_and(|file| file.name.first <= head)
                && let Some(file) = self.waiting.pop_front()
            {
                self.open(file).await?;
                continue;
            }
            if head >= self.end {
                return Ok(None);
            }
            let others = self.open.iter().enumerate().filter(|(other, _)| *other != at);
            let other = others.filter_map(|(_, open)| open.head()).min();
            let waiting = self.waiting.front().map(|file| file.name.first);
            let limit = [other, waiting].into_iter().flatten().min().unwrap_or(i64::MAX).min(self.end);
            // Two files with one offset would be a defect; the record is given once.
            let Some(run) = self.open[at].take_before(limit.max(head + 1)) else { continue };
            self.next = run.batch.offsets.value(run.rows.end - 1) + 1;
            self.listings = 0;
            return Ok(Some(run));
        }
    }

    /// The open file whose next record comes first.
    async fn first_open(&mut self) -> Result<Option<usize>, SinkError> {
        let mut at = 0;
        while at < self.open.len() {
            let (lake, columns, next) = (Arc::clone(&self.lake), Arc::clone(&self.columns), self.next);
            match self.open[at].load(&lake, &columns, next).await? {
                Loaded::Rows => at += 1,
                Loaded::Over => drop(self.open.swap_remove(at)),
                Loaded::Gone => {
                    self.list_again().await?;
                    at = 0;
                    if self.open.is_empty() {
                        return Ok(None);
                    }
                }
            }
        }
        Ok((0..self.open.len()).min_by_key(|at| self.open[*at].head()))
    }

    async fn open(&mut self, file: Stored) -> Result<(), SinkError> {
        match Rest::of(&self.lake, &file, &self.columns).await? {
            Some(rest) => self.open.push(Open { file, rest, batch: None, row: 0 }),
            None => self.list_again().await?,
        }
        Ok(())
    }

    /// A file was merged into another, or removed: what is there now from the next offset on.
    async fn list_again(&mut self) -> Result<(), SinkError> {
        self.listings += 1;
        if self.listings > LISTINGS_MAX {
            let text = format!("lake: the files of `{}` change faster than they are read", self.topic);
            return Err(SinkError::new(ErrorKind::Unavailable, text));
        }
        self.list().await
    }

    async fn list(&mut self) -> Result<(), SinkError> {
        let part = self.lake.parts(&self.topic, self.span).await?.remove(&self.partition).unwrap_or_default();
        if let Some((from, to)) = part.holes(self.next, self.end, self.least_hole).first() {
            let text = format!(
                "lake: offsets {from} to {to} of topic `{}` partition {} are gone: files were removed meanwhile",
                self.topic, self.partition
            );
            return Err(SinkError::new(ErrorKind::Invalid, text));
        }
        self.take_files(part);
        Ok(())
    }
}

/// What has become of an open file.
enum Loaded {
    Rows,
    Over,
    Gone,
}

impl Open {
    /// Offset of its next record.
    fn head(&self) -> Option<i64> {
        self.batch.as_ref().map(|batch| batch.offsets.value(self.row))
    }

    /// Decodes on until there is a row of this offset or a later one.
    async fn load(&mut self, lake: &LakeReader, columns: &[String], next: i64) -> Result<Loaded, SinkError> {
        loop {
            if let Some(batch) = &self.batch {
                self.row += batch.offsets.values()[self.row..].partition_point(|offset| *offset < next);
                if self.row < batch.offsets.len() {
                    return Ok(Loaded::Rows);
                }
                self.batch = None;
            }
            let broken = |e: &dyn std::fmt::Display| {
                SinkError::new(ErrorKind::Invalid, format!("lake: {}: {e}", self.file.path))
            };
            if self.rest.reader.is_none() {
                if self.rest.group >= self.rest.metadata.metadata().num_row_groups() {
                    return Ok(Loaded::Over);
                }
                let Some(bytes) = self.rest.bytes(lake, &self.file).await? else { return Ok(Loaded::Gone) };
                self.rest.reader = Some(self.rest.decode(bytes).map_err(|e| broken(&e))?);
                self.rest.group += 1;
            }
            match self.rest.reader.as_mut().and_then(Iterator::next) {
                None => self.rest.reader = None,
                Some(Err(e)) => return Err(broken(&e)),
                Some(Ok(batch)) => {
                    self.batch = Some(Arc::new(LakeBatch::of(&batch, columns).map_err(|e| broken(&e))?));
                    self.row = 0;
                }
            }
        }
    }

    /// The rows before this offset.
    fn take_before(&mut self, limit: i64) -> Option<LakeRun> {
        let batch = self.batch.as_ref()?;
        let rows = batch.offsets.values()[self.row..].partition_point(|offset| *offset < limit);
        let run = LakeRun { batch: Arc::clone(batch), rows: self.row..self.row + rows };
        self.row += rows;
        if self.row >= batch.offsets.len() {
            self.batch = None;
        }
        (rows > 0).then_some(run)
    }
}

impl Rest {
    /// Reads what a file says of itself; `None`: it is gone.
    async fn of(lake: &LakeReader, file: &Stored, columns: &[String]) -> Result<Option<Self>, SinkError> {
        let broken =
            |e: &dyn std::fmt::Display| SinkError::new(ErrorKind::Invalid, format!("lake: {}: {e}", file.path));
        let (whole, metadata) = if file.bytes <= WHOLE_BYTES_MAX {
            let Some(bytes) = lake.read(&file.path, 0..file.bytes).await? else { return Ok(None) };
            let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).map_err(|e| broken(&e))?;
            (Some(bytes), metadata)
        } else {
            let Some(footer) = inspect::footer(&lake.storage, file).await? else { return Ok(None) };
            let metadata = ArrowReaderMetadata::try_new(Arc::new(footer), ArrowReaderOptions::new());
            (None, metadata.map_err(|e| broken(&e))?)
        };
        let names = OWN.into_iter().chain(columns.iter().map(String::as_str));
        let mask = ProjectionMask::columns(metadata.parquet_schema(), names);
        Ok(Some(Rest { metadata, mask, whole, group: 0, reader: None }))
    }

    /// The bytes of the next row group; `None`: the file is gone.
    async fn bytes(&self, lake: &LakeReader, file: &Stored) -> Result<Option<Parts>, SinkError> {
        if let Some(bytes) = &self.whole {
            return Ok(Some(Parts { length: file.bytes, parts: vec![(0, bytes.clone())] }));
        }
        let group = self.metadata.metadata().row_group(self.group);
        let mut parts = Vec::new();
        for (_, column) in group.columns().iter().enumerate().filter(|(leaf, _)| self.mask.leaf_included(*leaf)) {
            let (start, length) = column.byte_range();
            let Some(bytes) = lake.read(&file.path, start..start + length).await? else { return Ok(None) };
            parts.push((start, bytes));
        }
        Ok(Some(Parts { length: file.bytes, parts }))
    }

    fn decode(&self, bytes: Parts) -> Result<ParquetRecordBatchReader, ParquetError> {
        ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(vec![self.group])
            .with_batch_size(BATCH_ROWS)
            .build()
    }
}

/// Some of a file's bytes.
struct Parts {
    length: u64,
    /// Where each begins.
    parts: Vec<(u64, Bytes)>,
}

impl Parts {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let holds = |(begin, bytes): &&(u64, Bytes)| (*begin..*begin + bytes.len() as u64).contains(&start);
        let part = self.parts.iter().find(holds);
        let (begin, bytes) = part.ok_or_else(|| ParquetError::General(format!("byte {start} was not read")))?;
        Ok(bytes.slice((start - begin) as usize..))
    }
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Parts {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut found = self.from(start)?;
        if found.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} on were not all read")));
        }
        Ok(found.split_to(length))
    }
}

impl LakeBatch {
    fn of(batch: &RecordBatch, columns: &[String]) -> Result<Self, String> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("column {name} is missing"));
        let time = |name: &String| batch.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>().cloned();
        Ok(LakeBatch {
            offsets: column("_offset")?.as_primitive_opt::<Int64Type>().ok_or("_offset is no number")?.clone(),
            times: column("_timestamp")?
                .as_primitive_opt::<TimestampMicrosecondType>()
                .ok_or("_timestamp is no time")?
                .clone(),
            keys: column("_key")?.as_binary_opt::<i32>().ok_or("_key is no bytes")?.clone(),
            values: column("_raw")?.as_binary_opt::<i32>().ok_or("_raw is no bytes")?.clone(),
            columns: columns.iter().map(time).collect(),
        })
    }
}
