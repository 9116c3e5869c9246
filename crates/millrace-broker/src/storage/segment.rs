//! Segments: the files a partition is made of, what is known of each without opening it, and reading batches out of one.

use crate::storage::batch::{BatchHeader, HEADER_BYTES, NO_TIMESTAMP_MS, whole_batches};
use crate::storage::index::{INTERVAL_BYTES, Index};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What is known of a segment without opening its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    pub(crate) base_offset: i64,
    /// How often compaction has rewritten it; part of the file name, so that a rewrite never overwrites its source.
    pub(crate) generation: u32,
    /// First offset after it.
    pub(crate) next_offset: i64,
    pub(crate) bytes: u32,
    /// Latest timestamp in it, Unix milliseconds.
    pub(crate) max_timestamp_ms: i64,
    /// From when on compaction may drop all tombstones and markers in it; `None` if it has none, or compaction has not
    /// met them.
    pub(crate) delete_horizon_ms: Option<i64>,
}

impl Default for SegmentMeta {
    fn default() -> Self {
        Self {
            base_offset: 0,
            generation: 0,
            next_offset: 0,
            bytes: 0,
            max_timestamp_ms: NO_TIMESTAMP_MS,
            delete_horizon_ms: None,
        }
    }
}

impl SegmentMeta {
    pub(crate) fn log_path(&self, dir: &Path) -> PathBuf {
        dir.join(file_name(self.base_offset, self.generation, "log"))
    }

    pub(crate) fn index_path(&self, dir: &Path) -> PathBuf {
        dir.join(file_name(self.base_offset, self.generation, "index"))
    }
}

fn file_name(base_offset: i64, generation: u32, extension: &str) -> String {
    if generation == 0 {
        format!("{base_offset:020}.{extension}")
    } else {
        format!("{base_offset:020}.{generation}.{extension}")
    }
}

/// Base offset and generation of a segment file, if the name is one.
pub(crate) fn parse_file_name(name: &str) -> Option<(i64, u32)> {
    let stem = name.strip_suffix(".log")?;
    let (base, generation) =
        stem.split_once('.').map_or((stem, Ok(0)), |(base, generation)| (base, generation.parse()));
    (base.len() == 20).then(|| Some((base.parse().ok()?, generation.ok()?))).flatten()
}

/// An open sealed segment.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) file: File,
    pub(crate) index: Index,
}

impl OpenSegment {
    /// Opens a segment and its index; an index that is missing is simply empty (reads then scan from the start).
    pub(crate) fn open(dir: &Path, meta: &SegmentMeta) -> io::Result<Self> {
        let file = File::open(meta.log_path(dir))?;
        let index = match std::fs::read(meta.index_path(dir)) {
            Ok(stored) => Index::decode(&stored, meta.bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Index::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, index })
    }
}

/// Where in a segment to look, and which part of it is readable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// A batch starts here (or the index lied, which reading notices).
    pub(crate) start: u32,
    /// End of the readable bytes.
    pub(crate) end: u32,
}

/// Which offsets to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) from_offset: i64,
    /// Batches that start here or later are not given.
    pub(crate) until_offset: i64,
    /// Soft limit: one batch is given even if larger when `at_least_one`.
    pub(crate) bytes_max: usize,
    pub(crate) at_least_one: bool,
}

/// Walks the heads of the batches of a segment without reading their records.
pub(crate) struct HeadScan<'a> {
    file: &'a File,
    at: u32,
    end: u32,
    buffer: Vec<u8>,
    buffer_at: u32,
}

impl<'a> HeadScan<'a> {
    pub(crate) fn new(file: &'a File, span: Span) -> Self {
        Self { file, at: span.start, end: span.end, buffer: Vec::new(), buffer_at: 0 }
    }

    /// The next batch: its position and head. `None` at the end, or where no whole batch lies.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u32, BatchHeader)>> {
        if (self.end.saturating_sub(self.at) as usize) < HEADER_BYTES {
            return Ok(None);
        }
        let offset = self.at.wrapping_sub(self.buffer_at) as usize;
        if self.at < self.buffer_at || offset + HEADER_BYTES > self.buffer.len() {
            let length = (self.end - self.at).min(INTERVAL_BYTES * 2) as usize;
            self.buffer.resize(length, 0);
            self.file.read_exact_at(&mut self.buffer, u64::from(self.at))?;
            self.buffer_at = self.at;
        }
        let offset = (self.at - self.buffer_at) as usize;
        let Ok(header) = BatchHeader::parse(&self.buffer[offset..]) else { return Ok(None) };
        let next = u64::from(self.at) + header.total_bytes() as u64;
        if next > u64::from(self.end) {
            return Ok(None);
        }
        let position = self.at;
        self.at = next as u32;
        Ok(Some((position, header)))
    }
}

/// Position of the first batch that holds an offset at or after `offset`.
fn find(file: &File, span: Span, offset: i64) -> io::Result<Option<(u32, BatchHeader)>> {
    let mut scan = HeadScan::new(file, span);
    while let Some((position, header)) = scan.next()? {
        if header.last_offset() >= offset {
            return Ok(Some((position, header)));
        }
    }
    Ok(None)
}

/// Reads whole batches as they are stored. `None` if the span holds none that is wanted; empty if the first that is
/// wanted is larger than the limit.
pub(crate) fn read(file: &File, span: Span, wanted: Wanted) -> io::Result<Option<Bytes>> {
    let found = match find(file, span, wanted.from_offset)? {
        Some(found) => Some(found),
        // The index may be stale after a power cut: the start of a segment is always a batch.
        None if span.start > 0 => find(file, Span { start: 0, ..span }, wanted.from_offset)?,
        None => None,
    };
    let Some((position, first)) = found else { return Ok(None) };
    if first.base_offset >= wanted.until_offset {
        return Ok(None);
    }
    let mut length = (span.end - position).min(u32::try_from(wanted.bytes_max).unwrap_or(u32::MAX)) as usize;
    if length < first.total_bytes() {
        if !wanted.at_least_one {
            return Ok(Some(Bytes::new()));
        }
        length = first.total_bytes();
    }
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, u64::from(position))?;
    let whole = whole_batches(&buffer)
        .take_while(|(_, header)| header.base_offset < wanted.until_offset)
        .last()
        .map_or(0, |(at, header)| at + header.total_bytes());
    buffer.truncate(whole);
    Ok(Some(Bytes::from(buffer)))
}

/// Reads one whole batch.
pub(crate) fn read_batch(file: &File, position: u32, header: &BatchHeader) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; header.total_bytes()];
    file.read_exact_at(&mut buffer, u64::from(position))?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_read_back() {
        let meta = SegmentMeta { base_offset: 42, generation: 3, ..SegmentMeta::default() };
        for meta in [meta, SegmentMeta::default()] {
            let path = meta.log_path(Path::new("d"));
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(parse_file_name(name), Some((meta.base_offset, meta.generation)), "{name}");
        }
        for name in ["00000000000000000042.index", "42.log", "x.log", "00000000000000000042.x.log", "checkpoint"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }
}
