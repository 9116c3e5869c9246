//! Obeying retention, deleting records on request, forgetting idle producers: the changes a partition undergoes on its own.

use crate::storage::error::LogError;
use crate::storage::partition::Partition;
use crate::storage::retention::{RetentionFacts, decide};
use crate::sync::lock;

/// What one round of retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Retained {
    pub(crate) segments_dropped: usize,
    pub(crate) bytes_dropped: u64,
}

impl Partition {
    /// One round of retention. Blocks.
    ///
    /// # Errors
    /// Files that cannot be changed.
    pub(crate) fn retain(&self, now_ms: i64) -> Result<Retained, LogError> {
        let _maintenance = lock(&self.maintenance);
        if self.is_deleted() {
            return Ok(Retained::default());
        }
        let dropped = {
            let mut log = lock(&self.log);
            let settings = log.settings.clone();
            let round = |log: &crate::storage::log::Log| {
                let active = &log.active.meta;
                let facts = RetentionFacts {
                    sealed: &log.sealed,
                    active_bytes: u64::from(active.bytes),
                    active_max_timestamp_ms: (active.bytes > 0).then_some(active.max_timestamp_ms),
                    log_start_offset: log.log_start_offset,
                    last_stable_offset: log.last_stable_offset(),
                    now_ms,
                };
                decide(&facts, &settings)
            };
            let mut decision = round(&log);
            if decision.seal_active {
                log.seal()?;
                decision = round(&log);
            }
            let dropped: Vec<_> = log.sealed.drain(..decision.drop_oldest).collect();
            if let Some(last) = dropped.last() {
                log.log_start_offset = log.log_start_offset.max(last.next_offset);
                let start = log.log_start_offset;
                log.aborted.forget_before(start);
                log.changed = true;
            }
            dropped
        };
        if dropped.is_empty() {
            return Ok(Retained::default());
        }
        self.save_manifest()?;
        self.remove_dropped(&dropped)?;
        let bytes_dropped = dropped.iter().map(|segment| u64::from(segment.bytes)).sum();
        Ok(Retained { segments_dropped: dropped.len(), bytes_dropped })
    }

    /// Moves the log start up to `before_offset` and gives the new start; `None` if that offset is past the end.
    /// The space comes back with the next round of retention. Blocks.
    ///
    /// # Errors
    /// The new start cannot be stored.
    pub(crate) fn delete_records(&self, before_offset: i64) -> Result<Option<i64>, LogError> {
        let _maintenance = lock(&self.maintenance);
        {
            let mut log = lock(&self.log);
            if before_offset > log.next_offset() {
                return Ok(None);
            }
            if before_offset <= log.log_start_offset {
                return Ok(Some(log.log_start_offset));
            }
            log.log_start_offset = before_offset;
        }
        self.save_manifest()?;
        Ok(Some(before_offset))
    }

    /// Forgets producers that wrote nothing since `before_ms`.
    pub(crate) fn expire_producers(&self, before_ms: i64) {
        lock(&self.log).producers.expire(before_ms);
    }
}
