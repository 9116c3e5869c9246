//! Event time: the latest seen in every partition, and the watermarks that follow from it.
//!
//! ```text
//!  partition 0  ───────────────●  latest 12:00:07          watermark of a table = the smallest over its streams and
//!  partition 1  ────────●         latest 12:00:03          their active partitions, of latest − delay; it never falls
//!  partition 2  ──●   (idle: caught up and silent; left out)
//! ```
//!
//! Spark takes the maximum over partitions; the minimum keeps every row that Spark would keep, and more.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::PrimitiveArray;
use arrow_array::types::TimestampMicrosecondType;
use serde::{Deserialize, Serialize};

use super::Partitions;
use crate::operator::NO_WATERMARK;
use crate::plan::StreamRef;

/// How event time moves at the end of an epoch.
#[derive(Clone, Debug)]
pub enum Advance {
    /// By what the records say.
    Live {
        /// Partitions (source, partition) that are caught up, and silent for the idle time-out: they hold nothing back.
        idle: BTreeSet<(String, i32)>,
        /// Bounded sources that are over: windows wait for them no longer.
        ended: BTreeSet<String>,
    },
    /// To what the epoch log recorded.
    Recorded(Watermarks),
}

/// Where event time stands: what an epoch log records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks {
    /// Table by table.
    pub tables: Vec<i64>,
    /// Source by source: what repeats are forgotten by.
    pub sources: Vec<i64>,
}

/// Latest event times by source, column and partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct EventTimes {
    latest: BTreeMap<String, BTreeMap<i32, i64>>,
    #[serde(skip)]
    partitions: Partitions,
    /// Event-time columns that statements watch, by source.
    #[serde(skip)]
    watched: BTreeMap<String, BTreeSet<String>>,
}

/// One name for a source's column.
fn entry_name(source: &str, column: &str) -> String {
    format!("{source}.{column}")
}

impl EventTimes {
    pub(crate) fn watch(&mut self, streams: &[StreamRef]) {
        for stream in streams {
            if let Some((column, _)) = &stream.watermark {
                self.watch_column(&stream.source, column);
            }
        }
    }

    pub(crate) fn watch_column(&mut self, source: &str, column: &str) {
        self.watched.entry(source.to_owned()).or_default().insert(column.to_owned());
    }

    pub(crate) fn watched(&self, source: &str) -> Vec<String> {
        self.watched.get(source).into_iter().flatten().cloned().collect()
    }

    pub(crate) fn set_partitions(&mut self, source: &str, partitions: impl IntoIterator<Item = i32>) {
        self.partitions.entry(source.to_owned()).or_default().extend(partitions);
    }

    /// Takes over the times of a saved job; what is watched stays.
    pub(crate) fn restore(&mut self, saved: EventTimes) {
        self.latest = saved.latest;
    }

    /// Notes the times of a batch of one partition.
    pub(crate) fn observe(
        &mut self,
        source: &str,
        column: &str,
        partition: i32,
        times: &PrimitiveArray<TimestampMicrosecondType>,
    ) {
        let Some(latest) = times.iter().flatten().max() else { return };
        let entry = self.latest.entry(entry_name(source, column)).or_default().entry(partition).or_insert(latest);
        *entry = (*entry).max(latest);
    }

    /// The watermark of one stream, and whether any of its partitions is active.
    fn of_stream(&self, source: &str, column: &str, delay: i64, idle: &BTreeSet<(String, i32)>) -> (i64, bool) {
        let empty = BTreeMap::new();
        let latest = self.latest.get(&entry_name(source, column)).unwrap_or(&empty);
        let known = self.partitions.get(source).into_iter().flatten().chain(latest.keys());
        let active: BTreeSet<i32> =
            known.copied().filter(|partition| !idle.contains(&(source.to_owned(), *partition))).collect();
        let time = |partition: &i32| latest.get(partition).copied().unwrap_or(NO_WATERMARK);
        // When all are idle, event time stands where the furthest of them left it.
        let reached = active.iter().map(time).min().or_else(|| latest.values().copied().max()).unwrap_or(NO_WATERMARK);
        let watermark = if reached == NO_WATERMARK { NO_WATERMARK } else { reached.saturating_sub(delay) };
        (watermark, !active.is_empty())
    }

    /// The watermark of a table after this epoch.
    pub(crate) fn watermark(&self, table: usize, streams: &[StreamRef], before: i64, advance: &Advance) -> i64 {
        match advance {
            Advance::Recorded(recorded) => recorded.tables.get(table).copied().unwrap_or(before),
            Advance::Live { idle, ended } => {
                let stands: Vec<(i64, bool)> = streams
                    .iter()
                    .filter_map(|stream| {
                        let (column, delay) = stream.watermark.as_ref()?;
                        if ended.contains(&stream.source) {
                            return Some((i64::MAX, true));
                        }
                        Some(self.of_stream(&stream.source, column, *delay, idle))
                    })
                    .collect();
                // The slowest active stream decides; when all are idle, the one that came furthest.
                let active = stands.iter().filter(|(_, active)| *active).map(|(watermark, _)| *watermark).min();
                let furthest = stands.iter().map(|(watermark, _)| *watermark).max();
                active.or(furthest).unwrap_or(NO_WATERMARK).max(before)
            }
        }
    }

    /// How far event time has come in one source: what its repeats are forgotten by.
    pub(crate) fn source_watermark(
        &self,
        place: usize,
        source: &str,
        column: Option<&str>,
        delay: i64,
        before: i64,
        advance: &Advance,
    ) -> i64 {
        match (advance, column) {
            (_, None) => NO_WATERMARK,
            (Advance::Recorded(recorded), _) => recorded.sources.get(place).copied().unwrap_or(before),
            (Advance::Live { idle, .. }, Some(column)) => self.of_stream(source, column, delay, idle).0.max(before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(latest: &[(i32, i64)], partitions: &[i32]) -> EventTimes {
        let mut times = EventTimes::default();
        times.set_partitions("s", partitions.iter().copied());
        for (partition, at) in latest {
            times.observe("s", "t", *partition, &PrimitiveArray::from_iter_values([*at]));
        }
        times
    }

    #[test]
    fn the_slowest_active_partition_decides() {
        let streams = [StreamRef { source: "s".into(), watermark: Some(("t".into(), 10)) }];
        let idle = |partitions: &[i32]| Advance::Live {
            idle: partitions.iter().map(|p| ("s".into(), *p)).collect(),
            ended: BTreeSet::new(),
        };
        let ended = Advance::Live { idle: BTreeSet::new(), ended: BTreeSet::from(["s".into()]) };
        let none = NO_WATERMARK;
        for (latest, known, advance, before, expected) in [
            (&[(0, 100), (1, 50)][..], &[0, 1][..], idle(&[]), none, 40),
            (&[(0, 100)], &[0, 1], idle(&[]), none, none),
            (&[(0, 100)], &[0, 1], idle(&[1]), none, 90),
            (&[(0, 100), (1, 50)], &[0, 1], idle(&[0, 1]), none, 90),
            (&[(0, 100), (1, 50)], &[0, 1], idle(&[]), 70, 70),
            (&[], &[0, 1], idle(&[0, 1]), none, none),
            (&[(0, 100)], &[0], Advance::Recorded(Watermarks { tables: vec![33], sources: vec![] }), none, 33),
            (&[(0, 100)], &[0], ended, none, i64::MAX),
        ] {
            let result = times(latest, known).watermark(0, &streams, before, &advance);
            assert_eq!(result, expected, "{latest:?} {known:?} {advance:?}");
        }
    }
}
