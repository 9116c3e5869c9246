//! Reading a partition: planning under the lock, reading file bytes outside it.

use crate::storage::aborted::Aborted;
use crate::storage::batch::whole_batches;
use crate::storage::error::LogError;
use crate::storage::log::Log;
use crate::storage::segment::{OpenSegment, SegmentMeta, Span, Wanted, read};
use bytes::Bytes;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Which records a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    Uncommitted,
    Committed,
}

/// The offsets a partition has at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) log_start: i64,
    pub(crate) last_stable: i64,
    pub(crate) high_watermark: i64,
}

impl Offsets {
    /// First offset that a reader may not see.
    pub(crate) fn end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::Uncommitted => self.high_watermark,
            Isolation::Committed => self.last_stable,
        }
    }
}

/// What a read gave.
#[derive(Debug, Clone)]
pub(crate) struct ReadOutcome {
    pub(crate) offsets: Offsets,
    /// Whole batches, the first of which may begin before the offset asked for.
    pub(crate) records: Bytes,
    /// Aborted transactions among the records; only for [`Isolation::Committed`].
    pub(crate) aborted: Vec<Aborted>,
    /// The offset asked for is not in the log.
    pub(crate) out_of_range: bool,
}

/// One segment to look into.
pub(crate) enum Source {
    Active { file: Arc<File>, span: Span },
    Sealed { meta: SegmentMeta, dir: PathBuf },
}

/// What was decided under the lock.
struct Plan {
    offsets: Offsets,
    source: Option<Source>,
    aborted: Vec<Aborted>,
    out_of_range: bool,
}

impl Log {
    /// The offsets of this moment.
    pub(crate) fn offsets(&self) -> Offsets {
        Offsets {
            log_start: self.log_start_offset,
            last_stable: self.last_stable_offset(),
            high_watermark: self.next_offset(),
        }
    }

    /// The segment that holds `offset`, or the next one after it.
    pub(crate) fn source(&mut self, offset: i64) -> Result<Option<Source>, LogError> {
        let sealed = self.sealed.partition_point(|segment| segment.next_offset <= offset);
        if let Some(meta) = self.sealed.get(sealed) {
            return Ok(Some(Source::Sealed { meta: *meta, dir: self.dir.clone() }));
        }
        let active = self.active.meta;
        if active.bytes == 0 || offset >= active.next_offset {
            return Ok(None);
        }
        let relative = (offset - active.base_offset).clamp(0, i64::from(u32::MAX)) as u32;
        let start = self.active.index.floor(relative).map_or(0, |entry| entry.position);
        Ok(Some(Source::Active { file: self.active_file()?, span: Span { start, end: active.bytes } }))
    }

    fn plan(&mut self, from_offset: i64, isolation: Isolation) -> Result<Plan, LogError> {
        let offsets = self.offsets();
        if from_offset < offsets.log_start || from_offset > offsets.high_watermark {
            return Ok(Plan { offsets, source: None, aborted: vec![], out_of_range: true });
        }
        let end = offsets.end(isolation);
        if from_offset >= end {
            return Ok(Plan { offsets, source: None, aborted: vec![], out_of_range: false });
        }
        let source = self.source(from_offset)?;
        let aborted = match isolation {
            Isolation::Committed => self.aborted.overlapping(from_offset, end),
            Isolation::Uncommitted => vec![],
        };
        Ok(Plan { offsets, source, aborted, out_of_range: false })
    }
}

impl Source {
    /// Opens a sealed segment if need be and says where to begin.
    pub(crate) fn open(self, log: &Mutex<Log>, offset: i64) -> Result<Opened, LogError> {
        match self {
            Self::Active { file, span } => Ok(Opened { file: Handle::Active(file), span }),
            Self::Sealed { meta, dir } => {
                let (uid, cache) = {
                    let log = crate::sync::lock(log);
                    (log.uid, log.cache.clone())
                };
                let open = cache.get(uid, &dir, &meta).map_err(LogError::io("open", &meta.log_path(&dir)))?;
                let relative = (offset - meta.base_offset).clamp(0, i64::from(u32::MAX)) as u32;
                let start = open.index.floor(relative).map_or(0, |entry| entry.position);
                Ok(Opened { file: Handle::Sealed(open), span: Span { start, end: meta.bytes } })
            }
        }
    }

    /// First offset after the segment.
    fn next_offset(&self) -> Option<i64> {
        match self {
            Self::Active { .. } => None,
            Self::Sealed { meta, .. } => Some(meta.next_offset),
        }
    }
}

/// Keeps a segment's file open while it is read.
pub(crate) enum Handle {
    Active(Arc<File>),
    Sealed(Arc<OpenSegment>),
}

impl Handle {
    pub(crate) fn file(&self) -> &File {
        match self {
            Self::Active(file) => file,
            Self::Sealed(open) => &open.file,
        }
    }
}

/// An open segment and where to look in it.
pub(crate) struct Opened {
    pub(crate) file: Handle,
    pub(crate) span: Span,
}

/// Reads batches from `from_offset` on, from one segment.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn read_log(
    log: &Mutex<Log>,
    from_offset: i64,
    isolation: Isolation,
    bytes_max: usize,
    at_least_one: bool,
) -> Result<ReadOutcome, LogError> {
    let mut offset = from_offset;
    let mut retried = false;
    loop {
        let plan = crate::sync::lock(log).plan(offset, isolation)?;
        let nothing =
            |out_of_range| ReadOutcome { offsets: plan.offsets, records: Bytes::new(), aborted: vec![], out_of_range };
        let Some(source) = plan.source else { return Ok(nothing(plan.out_of_range && offset == from_offset)) };
        let next_segment = source.next_offset();
        let opened = match source.open(log, offset) {
            // Dropped or rewritten since it was planned: plan anew, once.
            Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound && !retried => {
                retried = true;
                continue;
            }
            other => other?,
        };
        let wanted = Wanted { from_offset: offset, until_offset: plan.offsets.end(isolation), bytes_max, at_least_one };
        let path = || crate::sync::lock(log).dir.clone();
        match read(opened.file.file(), opened.span, wanted).map_err(|e| LogError::io("read", &path())(e))? {
            Some(records) => {
                let end = whole_batches(&records).last().map_or(offset, |(_, header)| header.next_offset());
                let mut aborted = plan.aborted;
                aborted.retain(|aborted| aborted.first_offset < end);
                return Ok(ReadOutcome { offsets: plan.offsets, records, aborted, out_of_range: false });
            }
            // Compaction can leave nothing at the end of a segment.
            None => match next_segment {
                Some(next) if next > offset => offset = next,
                _ => return Ok(nothing(false)),
            },
        }
    }
}
