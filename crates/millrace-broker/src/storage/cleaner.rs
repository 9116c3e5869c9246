//! Compaction at work: reads the dirty part, writes new segments aside, swaps them in.

use crate::storage::aborted::AbortedList;
use crate::storage::batch::{BatchHeader, NewBatch};
use crate::storage::compaction::{
    CompactionFacts, CompactionPlan, LatestOffsets, RecordFacts, decide, keeps, keeps_marker,
};
use crate::storage::error::LogError;
use crate::storage::partition::Partition;
use crate::storage::record::{RecordView, Records, write_rebased};
use crate::storage::rewrite::Rewrite;
use crate::storage::segment::{HeadScan, OpenSegment, SegmentMeta, Span, read_batch};
use crate::sync::lock;
use crate::topics::config::LogSettings;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What one round of compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Compacted {
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
}

/// Bounds of one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompactionLimits {
    pub(crate) keys_max: usize,
    pub(crate) decompressed_bytes_max: usize,
}

/// What a round works on: a copy taken under the lock, since the work itself is done without it.
struct Job {
    plan: CompactionPlan,
    sources: Vec<SegmentMeta>,
    aborted: AbortedList,
    settings: Arc<LogSettings>,
    dir: PathBuf,
    now_ms: i64,
    limits: CompactionLimits,
}

impl Partition {
    /// One round of compaction, if it is due. Blocks; appends and fetches go on meanwhile.
    ///
    /// # Errors
    /// Files that cannot be read or written; the log stays as it was.
    pub(crate) fn compact(&self, limits: CompactionLimits, now_ms: i64) -> Result<Option<Compacted>, LogError> {
        let Some(job) = self.compaction_job(limits, now_ms)? else { return Ok(None) };
        let failed = |error| LogError::io("compact", &job.dir)(error);
        let (latest, until) = job.latest_offsets().map_err(failed)?;
        let rewritten = match job.rewrite(&latest) {
            Ok(rewritten) => rewritten,
            Err(error) => {
                crate::storage::rewrite::remove_temporary(&job.dir)?;
                return Err(failed(error));
            }
        };
        self.swap(&job, rewritten, until)
    }

    fn compaction_job(&self, limits: CompactionLimits, now_ms: i64) -> Result<Option<Job>, LogError> {
        let _maintenance = lock(&self.maintenance);
        let mut log = lock(&self.log);
        let settings = log.settings.clone();
        if !settings.compact || self.is_deleted() {
            return Ok(None);
        }
        let waits_too_long = log
            .active
            .first_append_ms
            .is_some_and(|first| now_ms.saturating_sub(first) > settings.compaction_lag_ms_max);
        if log.active.meta.bytes > 0 && (log.is_old(now_ms) || waits_too_long) {
            log.seal()?;
        }
        let last_stable_offset = log.last_stable_offset();
        let facts =
            CompactionFacts { sealed: &log.sealed, cleaned_until: log.cleaned_until, last_stable_offset, now_ms };
        Ok(decide(&facts, &settings).map(|plan| Job {
            plan,
            sources: log.sealed[..plan.segments].to_vec(),
            aborted: log.aborted.clone(),
            settings: settings.clone(),
            dir: log.dir.clone(),
            now_ms,
            limits,
        }))
    }

    /// Puts the new segments in the place of the old, unless those are no longer what they were.
    fn swap(&self, job: &Job, rewritten: Vec<SegmentMeta>, until: i64) -> Result<Option<Compacted>, LogError> {
        let _maintenance = lock(&self.maintenance);
        {
            let mut log = lock(&self.log);
            let count = job.sources.len();
            if self.is_deleted() || log.sealed.get(..count) != Some(&job.sources[..]) {
                drop(log);
                self.remove_dropped(&rewritten)?;
                return Ok(None);
            }
            log.sealed.splice(..count, rewritten.iter().copied());
            log.cleaned_until = until;
            // No data of theirs is left, and a reader must not look for what is not there.
            log.aborted.forget_before(until);
            log.changed = true;
        }
        self.save_manifest()?;
        self.remove_dropped(&job.sources)?;
        let bytes = |segments: &[SegmentMeta]| segments.iter().map(|segment| u64::from(segment.bytes)).sum();
        Ok(Some(Compacted { bytes_before: bytes(&job.sources), bytes_after: bytes(&rewritten) }))
    }
}

impl Job {
    /// Reads the dirty part: the latest offset of each key, and the offset up to which there was room for all keys.
    fn latest_offsets(&self) -> io::Result<(LatestOffsets, i64)> {
        let mut latest = LatestOffsets::new(self.limits.keys_max);
        for source in self.sources.iter().filter(|source| source.next_offset > self.plan.dirty_from) {
            let open = OpenSegment::open(&self.dir, source)?;
            let mut heads = HeadScan::new(&open.file, Span { start: 0, end: source.bytes });
            while let Some((position, header)) = heads.next()? {
                let is_data = !header.is_control() && !self.is_aborted(&header);
                if header.last_offset() < self.plan.dirty_from || !is_data {
                    continue;
                }
                let batch = read_batch(&open.file, position, &header)?;
                // A batch that cannot be unpacked is kept as it is.
                let Ok(records) = Records::unpack(&header, &batch, self.limits.decompressed_bytes_max) else {
                    continue;
                };
                for record in records.iter().map_while(Result::ok) {
                    if record.key.is_some_and(|key| !latest.note(key, record.offset)) {
                        tracing::info!(dir = %self.dir.display(), keys = self.limits.keys_max, "compaction_keys_max is reached; the rest waits");
                        return Ok((latest, header.base_offset));
                    }
                }
            }
        }
        Ok((latest, self.plan.until))
    }

    fn is_aborted(&self, header: &BatchHeader) -> bool {
        header.is_transactional() && self.aborted.covers(header.producer_id, header.base_offset)
    }

    /// Writes what stays of the sources into new segments, joining small ones.
    fn rewrite(&self, latest: &LatestOffsets) -> io::Result<Vec<SegmentMeta>> {
        let mut done = Vec::new();
        let mut group: Vec<SegmentMeta> = Vec::new();
        let mut with_data = HashSet::new();
        for source in &self.sources {
            let bytes: u64 = group.iter().chain([source]).map(|segment| u64::from(segment.bytes)).sum();
            let first = group.first().map_or(source.base_offset, |first| first.base_offset);
            let too_wide = source.next_offset - first > i64::from(i32::MAX);
            if !group.is_empty() && (bytes > u64::from(self.settings.segment_bytes) || too_wide) {
                done.extend(self.rewrite_group(&group, latest, &mut with_data)?);
                group.clear();
            }
            group.push(*source);
        }
        done.extend(self.rewrite_group(&group, latest, &mut with_data)?);
        Ok(done)
    }

    /// Writes one new segment; `None` if nothing stays. `with_data` holds the producers whose last transaction still
    /// has data and no marker yet.
    fn rewrite_group(
        &self,
        group: &[SegmentMeta],
        latest: &LatestOffsets,
        with_data: &mut HashSet<i64>,
    ) -> io::Result<Option<SegmentMeta>> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(None) };
        let generation = group.iter().map(|segment| segment.generation).max().unwrap_or(0) + 1;
        let mut out = Rewrite::create(&self.dir, first.base_offset, generation)?;
        for source in group {
            let open = OpenSegment::open(&self.dir, source)?;
            let mut heads = HeadScan::new(&open.file, Span { start: 0, end: source.bytes });
            while let Some((position, header)) = heads.next()? {
                let batch = read_batch(&open.file, position, &header)?;
                // A damaged batch must not get a fresh checksum.
                header.check_crc(&batch).map_err(io::Error::other)?;
                let kept = if header.is_control() {
                    self.filter_marker(&header, batch, with_data.remove(&header.producer_id))
                } else {
                    self.filter(&header, batch, latest).inspect(|_| {
                        if header.is_transactional() {
                            with_data.insert(header.producer_id);
                        }
                    })
                };
                // A reader must be able to get past the last offset, even if nothing of its batch stays.
                let is_last = header.next_offset() == self.plan.until;
                let kept = kept.or_else(|| is_last.then(|| header.emptied().encode(&[])));
                if let Some(kept) = kept
                    && let Ok(header) = BatchHeader::parse(&kept)
                {
                    out.push(&header, &kept)?;
                }
            }
        }
        out.finish(last.next_offset)
    }

    /// Whether the tombstones or the marker of a batch have been kept for long enough.
    fn horizon_has_passed(&self, header: &BatchHeader) -> bool {
        header.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= self.now_ms)
    }

    /// The delete horizon of a batch: its own, or one from now on.
    fn horizon_ms(&self, header: &BatchHeader) -> i64 {
        let from_now = self.now_ms.saturating_add(self.settings.delete_retention_ms);
        header.delete_horizon_ms().unwrap_or(from_now)
    }

    /// What stays of a transaction marker.
    fn filter_marker(&self, header: &BatchHeader, batch: Vec<u8>, data_is_left: bool) -> Option<Vec<u8>> {
        if !keeps_marker(data_is_left, self.horizon_has_passed(header)) {
            return None;
        }
        if header.delete_horizon_ms().is_some() {
            return Some(batch);
        }
        let Ok(records) = Records::unpack(header, &batch, self.limits.decompressed_bytes_max) else {
            return Some(batch);
        };
        let kept: Vec<_> = records.iter().map_while(Result::ok).collect();
        rebuilt(header.with_delete_horizon(self.horizon_ms(header)), &records, &kept).or(Some(batch))
    }

    /// What stays of a batch of data: all of it unchanged, a new batch, or nothing.
    fn filter(&self, header: &BatchHeader, batch: Vec<u8>, latest: &LatestOffsets) -> Option<Vec<u8>> {
        let is_aborted = self.is_aborted(header);
        if is_aborted {
            return None;
        }
        let Ok(records) = Records::unpack(header, &batch, self.limits.decompressed_bytes_max) else {
            return Some(batch);
        };
        let horizon_has_passed = self.horizon_has_passed(header);
        let mut kept = Vec::new();
        for record in records.iter() {
            let Ok(record) = record else { return Some(batch) };
            let is_tombstone = record.value.is_none();
            let facts = RecordFacts { key: record.key, offset: record.offset, is_tombstone, is_aborted };
            if keeps(facts, latest, horizon_has_passed) {
                kept.push(record);
            }
        }
        let gets_horizon = header.delete_horizon_ms().is_none() && kept.iter().any(|record| record.value.is_none());
        match kept.len() {
            0 => None,
            count if count == header.record_count as usize && !gets_horizon => Some(batch),
            _ if gets_horizon => rebuilt(header.with_delete_horizon(self.horizon_ms(header)), &records, &kept),
            _ => rebuilt(*header, &records, &kept),
        }
    }
}

/// A batch of the records that stay. Offsets and sequences stay as they are; times too, relative to the new base.
fn rebuilt(header: BatchHeader, records: &Records, kept: &[RecordView<'_>]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    for record in kept {
        write_rebased(&mut plain, record.raw, record.timestamp_ms.wrapping_sub(header.base_timestamp_ms)).ok()?;
    }
    let max_timestamp_ms = kept.iter().map(|record| record.timestamp_ms).max()?;
    let header = BatchHeader { record_count: kept.len() as i32, max_timestamp_ms, ..header };
    let packed = records.codec().compress(&plain).ok()?;
    Some(NewBatch { header, codec: records.codec() }.encode(&packed))
}
