//! Which segments may go because they are too old, too many, or below the log start: a pure decision.

use crate::storage::segment::SegmentMeta;
use crate::topics::config::LogSettings;

/// What the decision rests on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetentionFacts<'a> {
    /// Sealed segments, oldest first.
    pub(crate) sealed: &'a [SegmentMeta],
    /// Bytes in the active segment.
    pub(crate) active_bytes: u64,
    /// Latest timestamp in the active segment, if it holds any record.
    pub(crate) active_max_timestamp_ms: Option<i64>,
    pub(crate) log_start_offset: i64,
    /// Retention never passes the first offset of an open transaction.
    pub(crate) last_stable_offset: i64,
    pub(crate) now_ms: i64,
}

/// What retention wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct RetentionDecision {
    /// How many of the oldest sealed segments to drop.
    pub(crate) drop_oldest: usize,
    /// Seal the active segment: it is too old as a whole and can go in the next round.
    pub(crate) seal_active: bool,
}

/// Decides by age, size and log start. Topics that are only compacted lose nothing but what lies below the log start.
pub(crate) fn decide(facts: &RetentionFacts<'_>, settings: &LogSettings) -> RetentionDecision {
    let too_old = |max_timestamp_ms: i64| {
        settings.delete && settings.retention_ms.is_some_and(|keep_ms| facts.now_ms - max_timestamp_ms > keep_ms)
    };
    let sealed_bytes: u64 = facts.sealed.iter().map(|segment| u64::from(segment.bytes)).sum();
    let mut excess = match settings.retention_bytes {
        Some(keep) if settings.delete => (sealed_bytes + facts.active_bytes).saturating_sub(keep),
        _ => 0,
    };
    let mut drop_oldest = 0;
    for segment in facts.sealed {
        if segment.next_offset > facts.last_stable_offset {
            break;
        }
        let below_start = segment.next_offset <= facts.log_start_offset;
        let over_size = excess >= u64::from(segment.bytes) && excess > 0;
        if !(below_start || too_old(segment.max_timestamp_ms) || over_size) {
            break;
        }
        excess = excess.saturating_sub(u64::from(segment.bytes));
        drop_oldest += 1;
    }
    let seal_active = drop_oldest == facts.sealed.len() && facts.active_max_timestamp_ms.is_some_and(too_old);
    RetentionDecision { drop_oldest, seal_active }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::config::Overrides;

    fn segment(base_offset: i64, max_timestamp_ms: i64) -> SegmentMeta {
        SegmentMeta {
            base_offset,
            next_offset: base_offset + 10,
            bytes: 100,
            max_timestamp_ms,
            ..SegmentMeta::default()
        }
    }

    #[test]
    fn segments_go_by_age_size_and_start_from_the_oldest() {
        let sealed = [segment(0, 1_000), segment(10, 2_000), segment(20, 3_000)];
        let drop = |sealed_bytes: &str, retention_ms: &str, log_start_offset, last_stable_offset, policy: &str| {
            let settings = LogSettings::of(&Overrides::from([
                ("retention.bytes".into(), sealed_bytes.into()),
                ("retention.ms".into(), retention_ms.into()),
                ("cleanup.policy".into(), policy.into()),
            ]));
            let facts = RetentionFacts {
                sealed: &sealed,
                active_bytes: 50,
                active_max_timestamp_ms: Some(4_000),
                log_start_offset,
                last_stable_offset,
                now_ms: 5_000,
            };
            let decision = decide(&facts, &settings);
            (decision.drop_oldest, decision.seal_active)
        };
        // (bytes to keep, ms to keep, log start, last stable, policy) -> (dropped, active sealed)
        assert_eq!(drop("-1", "-1", 0, 35, "delete"), (0, false), "no limit");
        assert_eq!(drop("-1", "2500", 0, 35, "delete"), (2, false), "older than 2.5 s");
        assert_eq!(drop("-1", "1", 0, 35, "delete"), (3, true), "everything is old");
        assert_eq!(drop("-1", "1", 0, 15, "delete"), (1, false), "an open transaction from 15 on stays");
        assert_eq!(drop("250", "-1", 0, 35, "delete"), (1, false), "350 bytes, 250 kept");
        assert_eq!(drop("251", "-1", 0, 35, "delete"), (0, false), "never below what is to be kept");
        assert_eq!(drop("-1", "-1", 20, 35, "delete"), (2, false), "deleted records");
        assert_eq!(drop("0", "1", 10, 35, "compact"), (1, false), "compacted topics keep by key, not by age");
    }
}
