//! What compaction does, as pure decisions: whether a log is due, which offsets to look at, what to keep.
//!
//! ```text
//!  sealed segments                                      active
//!  [ clean: one value a key ][ dirty: newer values ]    [ never touched ]
//!                            ^ cleaned_until       ^ until: sealed, stable, old enough
//! ```
//! A record goes if the dirty part has a newer one with its key, or if its transaction was aborted. Tombstones and
//! transaction markers stay for `delete.retention.ms` after compaction first met them, so that a reader that is on its
//! way through the clean part meets them too; each batch notes its own such time, the delete horizon (KIP-534).

use crate::storage::segment::SegmentMeta;
use crate::topics::config::LogSettings;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// What the decision rests on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompactionFacts<'a> {
    /// Sealed segments, oldest first.
    pub(crate) sealed: &'a [SegmentMeta],
    /// Compaction has passed over everything below.
    pub(crate) cleaned_until: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) now_ms: i64,
}

/// What is to be compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompactionPlan {
    /// How many of the oldest sealed segments take part.
    pub(crate) segments: usize,
    /// First dirty offset.
    pub(crate) dirty_from: i64,
    /// First offset after them.
    pub(crate) until: i64,
}

/// Decides whether the log is due.
pub(crate) fn decide(facts: &CompactionFacts<'_>, settings: &LogSettings) -> Option<CompactionPlan> {
    let old_enough = |segment: &SegmentMeta| facts.now_ms - segment.max_timestamp_ms >= settings.compaction_lag_ms_min;
    let may_go = |segment: &&SegmentMeta| {
        segment.next_offset <= facts.last_stable_offset
            && (segment.next_offset <= facts.cleaned_until || old_enough(segment))
    };
    let part: Vec<&SegmentMeta> = facts.sealed.iter().take_while(may_go).collect();
    let bytes = |is_dirty: bool| {
        let counted = part.iter().filter(|segment| (segment.next_offset > facts.cleaned_until) == is_dirty);
        counted.map(|segment| u64::from(segment.bytes)).sum::<u64>()
    };
    let (clean, dirty) = (bytes(false), bytes(true));
    let until = part.last()?.next_offset;
    let ratio = dirty as f64 / (clean + dirty).max(1) as f64;
    let waits_too_long = part.iter().any(|segment| {
        segment.next_offset > facts.cleaned_until
            && facts.now_ms.saturating_sub(segment.max_timestamp_ms) > settings.compaction_lag_ms_max
    });
    let tombstones_due =
        part.iter().any(|segment| segment.delete_horizon_ms.is_some_and(|horizon_ms| horizon_ms <= facts.now_ms));
    let is_due = dirty > 0 && (ratio >= settings.dirty_ratio_min || waits_too_long) || tombstones_due;
    is_due.then_some(CompactionPlan { segments: part.len(), dirty_from: facts.cleaned_until, until })
}

/// The latest offset of each key in the dirty part. Keys are held as 128-bit keyed hashes: 24 bytes each.
#[derive(Debug)]
pub(crate) struct LatestOffsets {
    by_key: HashMap<(u64, u64), i64>,
    hashers: (RandomState, RandomState),
    keys_max: usize,
}

impl LatestOffsets {
    pub(crate) fn new(keys_max: usize) -> Self {
        Self { by_key: HashMap::new(), hashers: (RandomState::new(), RandomState::new()), keys_max }
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        (self.hashers.0.hash_one(key), self.hashers.1.hash_one(key))
    }

    /// Notes a record; false if there is no room for its key.
    pub(crate) fn note(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        if self.by_key.len() >= self.keys_max && !self.by_key.contains_key(&hash) {
            return false;
        }
        self.by_key.insert(hash, offset);
        true
    }

    /// Whether the record at `offset` is the newest known with its key.
    pub(crate) fn is_latest(&self, key: &[u8], offset: i64) -> bool {
        self.by_key.get(&self.hash(key)).is_none_or(|latest| *latest <= offset)
    }
}

/// What is known of a record when it is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordFacts<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) offset: i64,
    pub(crate) is_tombstone: bool,
    pub(crate) is_aborted: bool,
}

/// Whether compaction keeps a record.
pub(crate) fn keeps(record: RecordFacts<'_>, latest: &LatestOffsets, tombstones_may_go: bool) -> bool {
    let Some(key) = record.key else { return false };
    !record.is_aborted && latest.is_latest(key, record.offset) && !(record.is_tombstone && tombstones_may_go)
}

/// Whether compaction keeps a transaction marker: as long as data of its transaction is there, and like a tombstone.
pub(crate) fn keeps_marker(data_is_left: bool, tombstones_may_go: bool) -> bool {
    data_is_left || !tombstones_may_go
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::config::Overrides;

    fn segment(base_offset: i64, delete_horizon_ms: Option<i64>) -> SegmentMeta {
        let next_offset = base_offset + 10;
        SegmentMeta {
            base_offset,
            next_offset,
            bytes: 100,
            max_timestamp_ms: base_offset,
            delete_horizon_ms,
            ..SegmentMeta::default()
        }
    }

    #[test]
    fn a_log_is_due_by_its_dirty_share() {
        let sealed: Vec<_> = [0, 10, 20, 30].map(|base| segment(base, None)).to_vec();
        let due = |cleaned_until, last_stable_offset, configs: &[(&str, &str)]| {
            let overrides: Overrides = configs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            let facts = CompactionFacts { sealed: &sealed, cleaned_until, last_stable_offset, now_ms: 1_000 };
            decide(&facts, &LogSettings::of(&overrides)).map(|plan| (plan.segments, plan.dirty_from, plan.until))
        };
        assert_eq!(due(0, 99, &[]), Some((4, 0, 40)), "never compacted");
        assert_eq!(due(20, 99, &[]), Some((4, 20, 40)), "half is dirty");
        assert_eq!(due(30, 99, &[]), None, "a quarter is dirty");
        assert_eq!(due(30, 99, &[("min.cleanable.dirty.ratio", "0.2")]), Some((4, 30, 40)));
        assert_eq!(due(30, 99, &[("max.compaction.lag.ms", "500")]), Some((4, 30, 40)), "waits too long");
        assert_eq!(due(40, 99, &[]), None, "nothing is dirty");
        assert_eq!(due(0, 25, &[]), Some((2, 0, 20)), "an open transaction from 25 on");
        assert_eq!(due(0, 99, &[("min.compaction.lag.ms", "985")]), Some((2, 0, 20)), "the rest is too young");
        assert_eq!(due(0, 5, &[]), None);
    }

    #[test]
    fn a_log_is_due_when_its_tombstones_are() {
        let sealed = [segment(0, Some(600)), segment(10, None)];
        let due_at = |now_ms| {
            let facts = CompactionFacts { sealed: &sealed, cleaned_until: 20, last_stable_offset: 99, now_ms };
            decide(&facts, &LogSettings::of(&Overrides::new())).is_some()
        };
        assert!(!due_at(599) && due_at(600));
    }

    #[test]
    fn the_latest_value_of_each_key_stays() {
        let mut latest = LatestOffsets::new(2);
        assert!(latest.note(b"a", 5) && latest.note(b"b", 6) && latest.note(b"a", 7));
        assert!(!latest.note(b"c", 8), "no room");
        let record =
            |key: &'static [u8], offset| RecordFacts { key: Some(key), offset, is_tombstone: false, is_aborted: false };
        let table = [
            ("superseded", record(b"a", 5), false, false),
            ("latest", record(b"a", 7), false, true),
            ("beyond what was looked at", record(b"a", 9), false, true),
            ("another key", record(b"z", 1), false, true),
            ("without a key", RecordFacts { key: None, ..record(b"", 1) }, false, false),
            ("aborted", RecordFacts { is_aborted: true, ..record(b"a", 7) }, false, false),
            ("fresh tombstone", RecordFacts { is_tombstone: true, ..record(b"a", 7) }, false, true),
            ("old tombstone", RecordFacts { is_tombstone: true, ..record(b"a", 7) }, true, false),
        ];
        for (what, record, may_go, kept) in table {
            assert_eq!(keeps(record, &latest, may_go), kept, "{what}");
        }
        assert!(keeps_marker(true, true) && keeps_marker(false, false) && !keeps_marker(false, true));
    }
}
