//! A partition as the rest of the broker uses it: append, read, wait for growth, make durable.

use crate::storage::batch::ClientBatch;
use crate::storage::codec::Codec;
use crate::storage::error::{AppendError, LogError};
use crate::storage::log::{Appended, Log};
use crate::storage::marker::Marker;
use crate::storage::read::{Isolation, Offsets, ReadOutcome, read_log};
use crate::storage::record::{Records, check_records};
use crate::storage::segment::SegmentMeta;
use crate::sync::{FsyncUnderWay, Waiters, free_worker, lock};
use crate::topics::config::LogSettings;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

/// A topic's partition, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicPartition {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// One partition of a topic.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) id: TopicPartition,
    pub(crate) log: Mutex<Log>,
    pub(crate) waiters: Arc<Waiters>,
    /// Held by whoever changes the set of files or writes the checkpoint; taken before `log`.
    pub(crate) maintenance: Mutex<()>,
    /// Lets one flush serve all produce requests that wait for one.
    flush_turn: tokio::sync::Mutex<()>,
    /// Held while files are forced to disk, so that nobody takes "being written" for "written".
    syncing: Mutex<()>,
    /// Everything below is on disk.
    synced_offset: AtomicI64,
    deleted: AtomicBool,
}

impl Partition {
    pub(crate) fn new(id: TopicPartition, log: Log) -> Self {
        Self {
            id,
            log: Mutex::new(log),
            waiters: Arc::default(),
            maintenance: Mutex::default(),
            flush_turn: tokio::sync::Mutex::default(),
            syncing: Mutex::default(),
            synced_offset: AtomicI64::new(0),
            deleted: AtomicBool::new(false),
        }
    }

    pub(crate) fn settings(&self) -> Arc<LogSettings> {
        lock(&self.log).settings.clone()
    }

    pub(crate) fn offsets(&self) -> Offsets {
        lock(&self.log).offsets()
    }

    /// Checks the records of a batch and appends it; waiting fetches are told.
    ///
    /// # Errors
    /// Why the batch is refused.
    pub(crate) fn append(
        &self,
        batch: &ClientBatch,
        decompressed_bytes_max: usize,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        check_batch(batch, self.settings().compact, decompressed_bytes_max)?;
        let appended = free_worker(|| lock(&self.log).append(batch, now_ms))?;
        self.waiters.wake();
        Ok(appended)
    }

    /// Ends a transaction here, unless `only_if_open` and it has no data here (or its marker is already written).
    pub(crate) fn end_transaction(
        &self,
        producer_id: i64,
        epoch: i16,
        marker: Marker,
        only_if_open: bool,
        now_ms: i64,
    ) -> Result<(), LogError> {
        free_worker(|| {
            let mut log = lock(&self.log);
            let is_open = log.producers.get(producer_id).is_some_and(|producer| producer.open_from.is_some());
            if is_open || !only_if_open {
                log.append_marker(producer_id, epoch, marker, now_ms).map(drop)
            } else {
                Ok(())
            }
        })?;
        self.waiters.wake();
        Ok(())
    }

    /// The coordinator has added this partition to a transaction.
    pub(crate) fn announce_transaction(&self, producer_id: i64, epoch: i16, now_ms: i64) {
        lock(&self.log).producers.announce(producer_id, epoch, now_ms);
    }

    /// Whether reading at `offset` may have to wait for the disk.
    pub(crate) fn may_be_cold(&self, offset: i64) -> bool {
        let log = lock(&self.log);
        offset < log.active.meta.base_offset
    }

    /// Reads whole batches from the segment that holds `offset`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn read(
        &self,
        offset: i64,
        isolation: Isolation,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<ReadOutcome, LogError> {
        read_log(&self.log, offset, isolation, bytes_max, at_least_one)
    }

    /// Returns once everything appended before the call is on disk.
    ///
    /// # Errors
    /// The disk refused; the log then takes no more writes, since what is on disk is unknown.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<(), LogError> {
        let wanted = lock(&self.log).next_offset();
        let _turn = self.flush_turn.lock().await;
        if self.synced_offset.load(Ordering::Acquire) >= wanted {
            return Ok(());
        }
        let partition = self.clone();
        tokio::task::spawn_blocking(move || partition.sync_files())
            .await
            .unwrap_or_else(|_| Err(LogError::Failed("a flush that did not end".into())))
    }

    /// Whether `flush.messages` of the topic asks for a flush now.
    pub(crate) fn flush_is_due(&self) -> bool {
        let log = lock(&self.log);
        log.messages_unsynced >= log.settings.flush_messages
    }

    /// Forces all written bytes to disk. Blocks.
    fn sync_files(&self) -> Result<(), LogError> {
        let _syncing = lock(&self.syncing);
        let (files, next_offset, dir) = {
            let mut log = lock(&self.log);
            let mut files = std::mem::take(&mut log.unsynced);
            if log.active.dirty {
                log.active.dirty = false;
                files.extend(log.active.file.clone());
            }
            log.messages_unsynced = 0;
            (files, log.next_offset(), log.dir.clone())
        };
        let _under_way = FsyncUnderWay::begin();
        for file in files {
            if let Err(source) = file.sync_data() {
                lock(&self.log).failed = Some(format!("an fsync failed ({source})"));
                return Err(LogError::Io { action: "fsync", path: dir, source });
            }
        }
        self.synced_offset.fetch_max(next_offset, Ordering::AcqRel);
        Ok(())
    }

    /// Forces everything to disk and saves a checkpoint, if anything changed. Blocks.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn flush_and_checkpoint(&self) -> Result<(), LogError> {
        let _maintenance = lock(&self.maintenance);
        if self.is_deleted() {
            return Ok(());
        }
        let (checkpoint, dir) = {
            let mut log = lock(&self.log);
            if !log.changed {
                return Ok(());
            }
            log.store_index()?;
            log.changed = false;
            (log.checkpoint(), log.dir.clone())
        };
        // What the checkpoint describes is on disk before it is.
        self.sync_files()?;
        checkpoint.save(&dir, false)
    }

    /// Saves a checkpoint that changes the set of files or the log start; what it drops may be removed after. Blocks;
    /// the caller holds `maintenance`.
    pub(crate) fn save_manifest(&self) -> Result<(), LogError> {
        let (checkpoint, dir) = {
            let mut log = lock(&self.log);
            log.store_index()?;
            (log.checkpoint(), log.dir.clone())
        };
        self.sync_files()?;
        checkpoint.save(&dir, true)
    }

    /// Removes a sealed segment that is no longer part of the log.
    pub(crate) fn remove_dropped(&self, dropped: &[SegmentMeta]) -> Result<(), LogError> {
        let (uid, cache, dir) = {
            let log = lock(&self.log);
            (log.uid, log.cache.clone(), log.dir.clone())
        };
        for segment in dropped {
            cache.forget(uid, segment);
            crate::storage::recovery::remove_segment(&dir, segment)?;
        }
        Ok(())
    }

    /// Moves the files aside so that the name is free at once; the caller removes them. Fetches that wait are told.
    pub(crate) fn delete(&self, aside: PathBuf) -> Result<PathBuf, LogError> {
        let _maintenance = lock(&self.maintenance);
        self.deleted.store(true, Ordering::Release);
        let mut log = lock(&self.log);
        log.failed = Some("the topic was deleted".into());
        log.cache.forget_log(log.uid);
        std::fs::rename(&log.dir, &aside).map_err(LogError::io("move", &log.dir))?;
        drop(log);
        self.waiters.wake();
        Ok(aside)
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }
}

/// Checks the records inside a batch. Compressed ones are unpacked only for compacted topics, where each needs a key.
fn check_batch(batch: &ClientBatch, compacted: bool, decompressed_bytes_max: usize) -> Result<(), AppendError> {
    let header = &batch.header;
    let packed = &batch.bytes[crate::storage::batch::HEADER_BYTES..];
    match header.codec()? {
        Codec::None => check_records(header, packed, compacted)?,
        _ if compacted => {
            let records = Records::unpack(header, &batch.bytes, decompressed_bytes_max)?;
            check_records(header, records.plain(), true)?;
        }
        _ => {}
    }
    Ok(())
}
