//! Where the records of the past are cut into epochs, so that each is judged by the event time it would have met live.
//!
//! Event time moves at the end of an epoch. Live an epoch ends every trigger (20 ms); a past of months has too many of those.
//! But only a record behind the watermark can be judged differently by an earlier or a later one. So epochs are large, and
//! one ends before a record that is behind the watermark as it would have been at the last trigger:
//!
//! ```text
//!  arrival   ├── tick ──┼── tick ──┼── tick ──┼── tick ──┤
//!  records   ● ● ●  ● ●   ● ●  ● ●   ● ○ ●  ○   ● ● ● ●      ○ behind the watermark at the last tick
//!  epochs    ╰──────────────────────╯ ╰───────────────────…  one cut a tick is enough
//! ```
//!
//! The watermark used here is the furthest any table's could be: of each source the smallest of its active partitions, less
//! the shortest delay; of the sources the largest. A partition that is silent for the idle time-out holds nothing back, by
//! the clock of arrivals; when it is at its end, as long as the first record after it had not arrived.

use arrow_array::Array;
use millrace_connectors::lake::{LakeRun, LakeSpan};

use super::arrivals::{Arrivals, Feed, Lane};

/// No event time has been seen.
const NONE: i64 = i64::MIN;

/// What a source is watched by: a column of times (its place among those read), and the shortest delay, microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    /// Place of the column.
    pub(crate) column: usize,
    /// Shortest delay of a watermark on it.
    pub(crate) delay: i64,
}

/// How epochs are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpochLimits {
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
    /// How often event time would move live, microseconds.
    pub(crate) tick: i64,
    /// A partition without records for so long holds event time back no longer, microseconds.
    pub(crate) idle: i64,
}

/// The records of an epoch.
#[derive(Debug, Default)]
pub(crate) struct PastEpoch {
    /// By place of the partition.
    pub(crate) runs: Vec<(usize, Vec<LakeRun>)>,
    pub(crate) records: usize,
    /// Places of partitions that hold event time back no longer at its end.
    pub(crate) idle: Vec<usize>,
}

/// A partition of the past.
pub(crate) struct PastLane<F> {
    /// Place of its source.
    pub(crate) source: usize,
    pub(crate) lane: Lane<F>,
    /// When the first record after its last one arrived; `None`: there is none yet.
    pub(crate) more: Option<i64>,
}

/// Cuts epochs.
pub(crate) struct Epochs<F> {
    arrivals: Arrivals<F>,
    limits: EpochLimits,
    /// Source of each partition.
    source: Vec<usize>,
    /// What each source is watched by.
    watched: Vec<Vec<Watched>>,
    /// Latest event time of each partition, for each column its source is watched by.
    latest: Vec<Vec<i64>>,
    /// When the first record after each partition's last one arrived.
    more: Vec<Option<i64>>,
    began: Option<i64>,
    tick: i64,
    cut_in: i64,
    furthest: i64,
}

impl<F: Feed> Epochs<F> {
    /// Over these partitions, each of a source; event time stands at `furthest` at most.
    ///
    /// # Errors
    /// The feeds'.
    pub(crate) fn new(
        lanes: Vec<PastLane<F>>,
        watched: Vec<Vec<Watched>>,
        span: LakeSpan,
        limits: EpochLimits,
        furthest: i64,
    ) -> Result<Self, F::Error> {
        let source: Vec<usize> = lanes.iter().map(|lane| lane.source).collect();
        let more = lanes.iter().map(|lane| lane.more).collect();
        let latest = source.iter().map(|source| vec![NONE; watched[*source].len()]).collect();
        let arrivals = Arrivals::new(lanes.into_iter().map(|lane| lane.lane).collect(), span)?;
        Ok(Epochs { arrivals, limits, source, watched, latest, more, began: None, tick: NONE, cut_in: NONE, furthest })
    }

    /// The next epoch; `None` when every partition is at its end.
    ///
    /// # Errors
    /// The feeds'.
    pub(crate) fn next(&mut self) -> Result<Option<PastEpoch>, F::Error> {
        let mut taken: Vec<Vec<LakeRun>> = vec![Vec::new(); self.source.len()];
        let (mut records, mut bytes) = (0, 0);
        let mut clock = NONE;
        while let Some((arrival, lane)) = self.arrivals.next() {
            self.began.get_or_insert(arrival);
            let tick = arrival.div_euclid(self.limits.tick.max(1));
            if tick != self.tick {
                self.tick = tick;
                self.furthest = self.furthest.max(self.watermark(arrival));
            }
            if records > 0 && self.cut_in != tick && self.is_behind(lane) {
                clock = arrival;
                self.cut_in = tick;
                break;
            }
            clock = arrival;
            bytes += self.note(lane);
            self.arrivals.take(&mut taken[lane])?;
            records += 1;
            if records >= self.limits.records_max || bytes >= self.limits.bytes_max {
                break;
            }
        }
        if records == 0 {
            return Ok(None);
        }
        let idle = (0..self.source.len()).filter(|lane| self.is_idle(*lane, clock)).collect();
        let runs = taken.into_iter().enumerate().filter(|(_, runs)| !runs.is_empty()).collect();
        Ok(Some(PastEpoch { runs, records, idle }))
    }

    /// Notes the event times of the next record of a partition; its bytes.
    fn note(&mut self, lane: usize) -> usize {
        let Some((batch, row)) = self.arrivals.record(lane) else { return 0 };
        for (watched, latest) in self.watched[self.source[lane]].iter().zip(&mut self.latest[lane]) {
            let column = batch.columns.get(watched.column).and_then(Option::as_ref);
            if let Some(column) = column.filter(|column| column.is_valid(row)) {
                *latest = (*latest).max(column.value(row));
            }
        }
        batch.values.value_length(row) as usize
    }

    /// Whether the next record of a partition may be behind the watermark. Where a file lacks the column it may.
    fn is_behind(&self, lane: usize) -> bool {
        let Some((batch, row)) = self.arrivals.record(lane) else { return false };
        let mut watched = self.watched[self.source[lane]].iter();
        watched.any(|watched| match batch.columns.get(watched.column).and_then(Option::as_ref) {
            Some(column) => column.is_valid(row) && column.value(row) < self.furthest,
            None => self.furthest != NONE,
        })
    }

    fn is_idle(&self, lane: usize, clock: i64) -> bool {
        let has_more = self.more[lane].is_some_and(|more| clock >= more) && self.arrivals.record(lane).is_none();
        let since = self.arrivals.last(lane).or(self.began).unwrap_or(clock);
        !has_more && clock.saturating_sub(since) >= self.limits.idle
    }

    /// The furthest that event time of any table can have come when a record arrives.
    fn watermark(&self, clock: i64) -> i64 {
        let mut furthest = NONE;
        for (source, watched) in self.watched.iter().enumerate() {
            for (at, watched) in watched.iter().enumerate() {
                let lanes = || (0..self.source.len()).filter(|lane| self.source[*lane] == source);
                let active = lanes().filter(|lane| !self.is_idle(*lane, clock)).map(|lane| self.latest[lane][at]).min();
                let reached = active.or_else(|| lanes().map(|lane| self.latest[lane][at]).max()).unwrap_or(NONE);
                if reached != NONE {
                    furthest = furthest.max(reached.saturating_sub(watched.delay));
                }
            }
        }
        furthest
    }
}

#[cfg(test)]
mod tests {
    use super::super::arrivals::tests::lane;
    use super::*;

    const LIMITS: EpochLimits = EpochLimits { records_max: 100, bytes_max: 1 << 20, tick: 10, idle: 50 };

    /// Event times of the records of each epoch, by partition, and who is idle at its end.
    fn epochs(lanes: &[(usize, &[(i64, i64)])], limits: EpochLimits) -> Vec<(Vec<Vec<i64>>, Vec<usize>)> {
        epochs_before(lanes, limits, None)
    }

    /// The same; the last partition goes on at a time.
    fn epochs_before(
        lanes: &[(usize, &[(i64, i64)])],
        limits: EpochLimits,
        more: Option<i64>,
    ) -> Vec<(Vec<Vec<i64>>, Vec<usize>)> {
        let sources = lanes.iter().map(|(source, _)| source + 1).max().unwrap_or(0);
        let count = lanes.len();
        let past = |(at, (source, records)): (usize, &(usize, &[(i64, i64)]))| PastLane {
            source: *source,
            lane: lane(records),
            more: more.filter(|_| at + 1 == count),
        };
        let lanes = lanes.iter().enumerate().map(past).collect();
        let watched = vec![vec![Watched { column: 0, delay: 20 }]; sources];
        let Ok(mut epochs) = Epochs::new(lanes, watched, LakeSpan::default(), limits, NONE);
        let mut found = Vec::new();
        while let Ok(Some(epoch)) = epochs.next() {
            let mut times = vec![Vec::new(); count];
            for (lane, runs) in epoch.runs {
                for run in runs {
                    let column = run.batch.columns[0].as_ref().expect("the column");
                    times[lane].extend(run.rows.map(|row| column.value(row)));
                }
            }
            found.push((times, epoch.idle));
        }
        found
    }

    #[test]
    fn an_epoch_ends_before_a_record_that_may_be_late() {
        // In order, or out of order by less than the delay: one epoch.
        let calm: &[(i64, i64)] = &[(100, 100), (110, 105), (120, 118), (130, 111), (140, 140)];
        assert_eq!(epochs(&[(0, calm)], LIMITS), [(vec![vec![100, 105, 118, 111, 140]], vec![])]);
        // At 140 the watermark is 130 - 20: 105 is behind it, 115 is not.
        let late: &[(i64, i64)] = &[(100, 100), (130, 130), (140, 115), (141, 105), (150, 150)];
        let cut = [(vec![vec![100, 130, 115]], vec![]), (vec![vec![105, 150]], vec![])];
        assert_eq!(epochs(&[(0, late)], LIMITS), cut);
        // Several of one tick are judged by one watermark.
        let burst: &[(i64, i64)] = &[(100, 100), (200, 200), (211, 101), (212, 102), (213, 103), (221, 104)];
        let cut = [(vec![vec![100, 200]], vec![]), (vec![vec![101, 102, 103]], vec![]), (vec![vec![104]], vec![])];
        assert_eq!(epochs(&[(0, burst)], LIMITS), cut);
    }

    #[test]
    fn the_slowest_partition_decides_until_it_is_idle() {
        let fast: &[(i64, i64)] = &[(100, 100), (120, 120), (140, 140), (145, 90), (160, 160), (170, 95)];
        let slow: &[(i64, i64)] = &[(101, 101)];
        // At 145 the slow one still holds the watermark at 81; at 170 it is idle.
        let cut = [(vec![vec![100, 120, 140, 90, 160], vec![101]], vec![1]), (vec![vec![95], vec![]], vec![1])];
        assert_eq!(epochs(&[(0, fast), (0, slow)], LIMITS), cut);
        // Of another source too: a table that does not read it is not held back by it.
        let cut = [
            (vec![vec![100, 120, 140], vec![101]], vec![]),
            (vec![vec![90, 160], vec![]], vec![1]),
            (vec![vec![95], vec![]], vec![1]),
        ];
        assert_eq!(epochs(&[(0, fast), (1, slow)], LIMITS), cut);
        // The slow one has a record that arrived at 165 and is not among these: it is not idle, and holds event time back.
        let one = [(vec![vec![100, 120, 140, 90, 160, 95], vec![101]], vec![])];
        let before = epochs_before(&[(0, fast), (0, slow)], LIMITS, Some(165));
        assert_eq!(before, [(vec![vec![100, 120, 140, 90, 160], vec![101]], vec![]), (vec![vec![95], vec![]], vec![])]);
        assert_eq!(epochs_before(&[(0, fast), (0, slow)], LIMITS, Some(150)), one);
    }

    #[test]
    fn epochs_have_limits() {
        let records: Vec<(i64, i64)> = (0..5).map(|at| (100 + at, 100 + at)).collect();
        let limits = EpochLimits { records_max: 2, ..LIMITS };
        let sizes =
            |limits| epochs(&[(0, &records)], limits).iter().map(|(times, _)| times[0].len()).collect::<Vec<_>>();
        assert_eq!(sizes(limits), [2, 2, 1]);
        assert_eq!(sizes(EpochLimits { bytes_max: 9, ..LIMITS }), [3, 2]);
    }
}
