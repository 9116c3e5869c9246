//! One partition's log in memory: its segments, offsets, producers and aborted transactions; appending to it.

use crate::storage::aborted::{Aborted, AbortedList};
use crate::storage::batch::{BatchHeader, ClientBatch, HEADER_BYTES, NO_TIMESTAMP_MS, NewBatch, Placement, place};
use crate::storage::cache::SegmentCache;
use crate::storage::codec::Codec;
use crate::storage::error::{AppendError, LogError};
use crate::storage::index::{Entry, Index};
use crate::storage::marker::Marker;
use crate::storage::producers::{Producers, SequenceDecision, decide};
use crate::storage::segment::SegmentMeta;
use crate::topics::config::{LogSettings, TimestampType};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Batches up to this size are patched in a copy and written at once; of larger ones only the head is copied.
const COPY_BYTES_MAX: usize = 64 * 1024;

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) meta: SegmentMeta,
    /// Opened with the first write or read.
    pub(crate) file: Option<Arc<File>>,
    pub(crate) index: Index,
    /// Index entries that are in the index file.
    pub(crate) index_stored: usize,
    /// When the first batch came, broker time.
    pub(crate) first_append_ms: Option<i64>,
    /// Bytes and messages not known to be on disk.
    pub(crate) dirty: bool,
}

impl Active {
    pub(crate) fn new(base_offset: i64) -> Self {
        Self {
            meta: SegmentMeta { base_offset, next_offset: base_offset, ..SegmentMeta::default() },
            file: None,
            index: Index::default(),
            index_stored: 0,
            first_append_ms: None,
            dirty: false,
        }
    }
}

/// A partition's log. All of it lives behind one lock; reading file contents does not need that lock.
#[derive(Debug)]
pub(crate) struct Log {
    /// Names this log in the segment cache.
    pub(crate) uid: u64,
    pub(crate) dir: PathBuf,
    pub(crate) cache: Arc<SegmentCache>,
    pub(crate) settings: Arc<LogSettings>,
    /// Oldest first.
    pub(crate) sealed: Vec<SegmentMeta>,
    pub(crate) active: Active,
    pub(crate) log_start_offset: i64,
    pub(crate) producers: Producers,
    pub(crate) aborted: AbortedList,
    /// Sealed files not yet known to be on disk.
    pub(crate) unsynced: Vec<Arc<File>>,
    pub(crate) messages_unsynced: i64,
    /// Differs from the checkpoint on disk.
    pub(crate) changed: bool,
    /// Compaction has passed over everything below.
    pub(crate) cleaned_until: i64,
    /// Set when a write could not be undone; the log takes no more.
    pub(crate) failed: Option<String>,
}

/// Where a batch went, or had gone when it is a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// The time the broker gave it, for topics with `LogAppendTime`.
    pub(crate) log_append_time_ms: Option<i64>,
    pub(crate) duplicate: bool,
}

static NEXT_UID: AtomicU64 = AtomicU64::new(0);

impl Log {
    /// An empty log in a directory that exists.
    pub(crate) fn empty(dir: PathBuf, settings: Arc<LogSettings>, cache: Arc<SegmentCache>) -> Self {
        Self {
            uid: NEXT_UID.fetch_add(1, Ordering::Relaxed),
            dir,
            cache,
            settings,
            sealed: Vec::new(),
            active: Active::new(0),
            log_start_offset: 0,
            producers: Producers::default(),
            aborted: AbortedList::default(),
            unsynced: Vec::new(),
            messages_unsynced: 0,
            changed: false,
            cleaned_until: 0,
            failed: None,
        }
    }

    /// First offset after the log; also the high watermark, there being no replicas.
    pub(crate) fn next_offset(&self) -> i64 {
        self.active.meta.next_offset
    }

    /// First offset that an open transaction holds back, or the end of the log.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        self.producers.first_open_offset().unwrap_or_else(|| self.next_offset())
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.sealed.iter().chain([&self.active.meta]).map(|segment| u64::from(segment.bytes)).sum()
    }

    /// All segments, oldest first, the active one last.
    pub(crate) fn segments(&self) -> impl Iterator<Item = SegmentMeta> {
        self.sealed.iter().copied().chain([self.active.meta])
    }

    /// Appends a client's batch whose records were checked already, unless it is a duplicate.
    ///
    /// # Errors
    /// Why it is refused; the log is then as before.
    pub(crate) fn append(&mut self, batch: &ClientBatch, now_ms: i64) -> Result<Appended, AppendError> {
        let header = batch.header;
        self.check_size(batch.bytes.len())?;
        if header.has_producer() {
            match decide(self.producers.get(header.producer_id), &header) {
                SequenceDecision::Append => {}
                SequenceDecision::Duplicate(seen) => {
                    let stamped = self.settings.timestamp_type == TimestampType::LogAppendTime;
                    let log_append_time_ms = stamped.then_some(seen.max_timestamp_ms);
                    return Ok(Appended { base_offset: seen.base_offset, log_append_time_ms, duplicate: true });
                }
                SequenceDecision::OutOfOrder { expected } => {
                    return Err(AppendError::OutOfOrder { expected, got: header.base_sequence });
                }
                SequenceDecision::Fenced { current } => {
                    return Err(AppendError::Fenced { current, got: header.producer_epoch });
                }
                SequenceDecision::NoTransaction => return Err(AppendError::NoTransaction(header.producer_id)),
            }
        }
        let log_append_time_ms = match self.settings.timestamp_type {
            TimestampType::LogAppendTime => Some(now_ms),
            TimestampType::CreateTime => {
                self.check_time(header.max_timestamp_ms, now_ms)?;
                None
            }
        };
        self.seal_if_due(batch.bytes.len(), i64::from(header.last_offset_delta), now_ms)?;
        let base_offset = self.next_offset();
        let placement = Placement { base_offset, log_append_time_ms };
        let stored = if batch.bytes.len() <= COPY_BYTES_MAX || log_append_time_ms.is_some() {
            let mut copy = batch.bytes.to_vec();
            let stored = place(&mut copy, header, placement);
            self.write(&[&copy])?;
            stored
        } else {
            let (head, records) = batch.bytes.split_at(HEADER_BYTES);
            let mut head = head.to_vec();
            let stored = place(&mut head, header, placement);
            self.write(&[&head, records])?;
            stored
        };
        self.stored(&stored, now_ms);
        self.producers.stored(&stored, now_ms);
        Ok(Appended { base_offset, log_append_time_ms, duplicate: false })
    }

    /// Ends a transaction of `producer_id` in this partition and gives the marker's offset.
    pub(crate) fn append_marker(
        &mut self,
        producer_id: i64,
        epoch: i16,
        marker: Marker,
        now_ms: i64,
    ) -> Result<i64, LogError> {
        let base_offset = self.next_offset();
        let header = BatchHeader {
            base_offset,
            length: 0,
            crc: 0,
            attributes: NewBatch::CONTROL_ATTRIBUTES,
            last_offset_delta: 0,
            base_timestamp_ms: now_ms,
            max_timestamp_ms: now_ms,
            producer_id,
            producer_epoch: epoch,
            base_sequence: -1,
            record_count: 1,
        };
        let encoded = NewBatch { header, codec: Codec::None }.encode(&marker.encode());
        self.seal_if_due(encoded.len(), 0, now_ms)?;
        let header = BatchHeader { base_offset: self.next_offset(), length: (encoded.len() - 12) as i32, ..header };
        self.write(&[&encoded])?;
        self.stored(&header, now_ms);
        self.marked(&header, marker, now_ms);
        Ok(header.base_offset)
    }

    /// Notes what a marker in the log means for its producer.
    pub(crate) fn marked(&mut self, header: &BatchHeader, marker: Marker, now_ms: i64) {
        let first_offset = self.producers.closed(header, now_ms);
        if let (Some(first_offset), Marker::Abort) = (first_offset, marker) {
            self.aborted.push(Aborted {
                producer_id: header.producer_id,
                first_offset,
                last_offset: header.base_offset,
            });
        }
    }

    /// Notes a batch that lies at the end of the active segment's bytes.
    pub(crate) fn stored(&mut self, header: &BatchHeader, now_ms: i64) {
        let active = &mut self.active;
        let max_timestamp_before_ms = active.meta.max_timestamp_ms;
        let relative_offset = (header.base_offset - active.meta.base_offset) as u32;
        active.index.note(Entry { relative_offset, position: active.meta.bytes, max_timestamp_before_ms });
        active.meta.bytes += header.total_bytes() as u32;
        active.meta.next_offset = header.next_offset();
        active.meta.max_timestamp_ms = max_timestamp_before_ms.max(header.max_timestamp_ms);
        active.first_append_ms.get_or_insert(now_ms);
        active.dirty = true;
        self.messages_unsynced += i64::from(header.record_count);
        self.changed = true;
    }

    fn check_size(&self, bytes: usize) -> Result<(), AppendError> {
        let limit = self.settings.message_bytes_max;
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        let limit = self.settings.segment_bytes as usize;
        if bytes > limit { Err(AppendError::LargerThanSegment { bytes, limit }) } else { Ok(()) }
    }

    fn check_time(&self, timestamp_ms: i64, now_ms: i64) -> Result<(), AppendError> {
        let ahead_ms = timestamp_ms.saturating_sub(now_ms);
        let too_far = ahead_ms > self.settings.timestamp_after_ms_max
            || ahead_ms.saturating_neg() > self.settings.timestamp_before_ms_max;
        if timestamp_ms != NO_TIMESTAMP_MS && too_far {
            Err(AppendError::Timestamp { timestamp_ms, now_ms })
        } else {
            Ok(())
        }
    }

    /// Begins a new segment if a batch does not fit the active one, or that one is too old.
    fn seal_if_due(&mut self, bytes: usize, last_offset_delta: i64, now_ms: i64) -> Result<(), LogError> {
        let active = &self.active;
        let full = active.meta.bytes as usize + bytes > self.settings.segment_bytes as usize;
        let wide = self.next_offset() + last_offset_delta - active.meta.base_offset > i64::from(i32::MAX);
        if active.meta.bytes > 0 && (full || wide || self.is_old(now_ms)) { self.seal() } else { Ok(()) }
    }

    /// Whether the active segment has outlived `segment.ms`.
    pub(crate) fn is_old(&self, now_ms: i64) -> bool {
        self.active.first_append_ms.is_some_and(|first_ms| now_ms - first_ms > self.settings.segment_ms)
    }

    /// Closes the active segment and begins the next. Its fsync follows with the next flush.
    pub(crate) fn seal(&mut self) -> Result<(), LogError> {
        self.store_index()?;
        let next = Active::new(self.next_offset());
        let sealed = std::mem::replace(&mut self.active, next);
        if sealed.dirty {
            self.unsynced.extend(sealed.file);
        }
        self.sealed.push(sealed.meta);
        self.changed = true;
        Ok(())
    }

    /// Writes the index entries that are not in the index file yet.
    pub(crate) fn store_index(&mut self) -> Result<(), LogError> {
        let active = &mut self.active;
        if active.index_stored == active.index.len() {
            return Ok(());
        }
        let path = active.meta.index_path(&self.dir);
        let entries = active.index.encode(active.index_stored..active.index.len());
        let at = (active.index_stored * crate::storage::index::ENTRY_BYTES) as u64;
        let write = |path: &Path| {
            OpenOptions::new()
                .create(true)
                .append(false)
                .write(true)
                .truncate(false)
                .open(path)?
                .write_all_at(&entries, at)
        };
        write(&path).map_err(LogError::io("write", &path))?;
        active.index_stored = active.index.len();
        Ok(())
    }

    /// The active segment's file, opened on first use.
    pub(crate) fn active_file(&mut self) -> Result<Arc<File>, LogError> {
        if let Some(file) = &self.active.file {
            return Ok(file.clone());
        }
        let path = self.active.meta.log_path(&self.dir);
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = Arc::new(opened.map_err(LogError::io("open", &path))?);
        self.active.file = Some(file.clone());
        Ok(file)
    }

    /// Writes at the end of the active segment, all or nothing.
    fn write(&mut self, parts: &[&[u8]]) -> Result<(), LogError> {
        if let Some(failed) = &self.failed {
            return Err(LogError::Failed(failed.clone()));
        }
        let file = self.active_file()?;
        let start = u64::from(self.active.meta.bytes);
        let mut at = start;
        for part in parts {
            if let Err(source) = file.write_all_at(part, at) {
                if let Err(undo) = file.set_len(start) {
                    self.failed = Some(format!("a write failed ({source}) and could not be undone ({undo})"));
                }
                let path = self.active.meta.log_path(&self.dir);
                return Err(LogError::Io { action: "write", path, source });
            }
            at += part.len() as u64;
        }
        Ok(())
    }
}
