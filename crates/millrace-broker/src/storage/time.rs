//! Finding records by time: the first at or after a moment, and the latest of all. Looks inside batches, as clients expect.

use crate::storage::error::LogError;
use crate::storage::log::Log;
use crate::storage::partition::Partition;
use crate::storage::read::Source;
use crate::storage::record::Records;
use crate::storage::segment::{HeadScan, SegmentMeta, Span, read_batch};
use crate::sync::lock;
use std::io;

/// A record found by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
enum Sought {
    FirstFrom(i64),
    Exactly(i64),
}

impl Partition {
    /// The first record at or after `timestamp_ms`. Blocks: it may read and unpack old batches.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn first_at_or_after(
        &self,
        timestamp_ms: i64,
        decompressed_bytes_max: usize,
    ) -> Result<Option<Found>, LogError> {
        let (segments, log_start) = self.snapshot();
        let candidates = segments.iter().filter(|s| s.max_timestamp_ms >= timestamp_ms && s.next_offset > log_start);
        for segment in candidates {
            let found = self.look(segment, Sought::FirstFrom(timestamp_ms), log_start, decompressed_bytes_max)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first record that carries the latest time of all. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn latest_time(&self, decompressed_bytes_max: usize) -> Result<Option<Found>, LogError> {
        let (segments, log_start) = self.snapshot();
        let live = || segments.iter().filter(|segment| segment.next_offset > log_start && segment.bytes > 0);
        let Some(max) = live().map(|segment| segment.max_timestamp_ms).max() else { return Ok(None) };
        for segment in live().filter(|segment| segment.max_timestamp_ms == max) {
            let found = self.look(segment, Sought::Exactly(max), log_start, decompressed_bytes_max)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn snapshot(&self) -> (Vec<SegmentMeta>, i64) {
        let log = lock(&self.log);
        (log.segments().collect(), log.log_start_offset)
    }

    fn look(
        &self,
        segment: &SegmentMeta,
        sought: Sought,
        log_start: i64,
        limit: usize,
    ) -> Result<Option<Found>, LogError> {
        let (source, path) = {
            let mut log = lock(&self.log);
            (source_of(&mut log, segment)?, segment.log_path(&log.dir))
        };
        let target_ms = match sought {
            Sought::FirstFrom(target_ms) | Sought::Exactly(target_ms) => target_ms,
        };
        let opened = source.open(&self.log, segment.base_offset)?;
        let start = match &opened.file {
            crate::storage::read::Handle::Sealed(open) => open.index.position_for_time(target_ms),
            crate::storage::read::Handle::Active(_) => lock(&self.log).active.index.position_for_time(target_ms),
        };
        // The active segment may have been sealed since; a start past its end finds nothing and falls back to 0.
        let mut found = scan(opened.file.file(), Span { start, end: segment.bytes }, sought, log_start, limit);
        if start > 0 && matches!(found, Ok(None)) {
            found = scan(opened.file.file(), Span { start: 0, end: segment.bytes }, sought, log_start, limit);
        }
        found.map_err(LogError::io("read", &path))
    }
}

fn source_of(log: &mut Log, segment: &SegmentMeta) -> Result<Source, LogError> {
    if log.active.meta.base_offset == segment.base_offset {
        let file = log.active_file()?;
        return Ok(Source::Active { file, span: Span { start: 0, end: segment.bytes } });
    }
    Ok(Source::Sealed { meta: *segment, dir: log.dir.clone() })
}

fn scan(file: &std::fs::File, span: Span, sought: Sought, log_start: i64, limit: usize) -> io::Result<Option<Found>> {
    let (Sought::FirstFrom(target_ms) | Sought::Exactly(target_ms)) = sought;
    let mut heads = HeadScan::new(file, span);
    while let Some((position, header)) = heads.next()? {
        if header.max_timestamp_ms < target_ms || header.last_offset() < log_start {
            continue;
        }
        let batch = read_batch(file, position, &header)?;
        let Ok(records) = Records::unpack(&header, &batch, limit) else {
            // Unreadable inside: the batch as a whole is the best answer there is.
            return Ok(Some(Found {
                offset: header.base_offset.max(log_start),
                timestamp_ms: header.max_timestamp_ms,
            }));
        };
        let hit = records.iter().map_while(Result::ok).find(|record| {
            let in_time = match sought {
                Sought::FirstFrom(target_ms) => record.timestamp_ms >= target_ms,
                Sought::Exactly(target_ms) => record.timestamp_ms == target_ms,
            };
            in_time && record.offset >= log_start
        });
        if let Some(record) = hit {
            return Ok(Some(Found { offset: record.offset, timestamp_ms: record.timestamp_ms }));
        }
    }
    Ok(None)
}
