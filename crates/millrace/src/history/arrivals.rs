//! Partitions of several topics in the order in which their records arrived, as Kafka's times tell it.
//!
//! ```text
//!  user_events/0   ●1  ●4      ●7
//!  user_events/1     ●2    ●5     ●8      ─▶  1 2 3 4 5 6 7 8 9
//!  transactions/0      ●3    ●6      ●9
//! ```
//!
//! Within a partition the order is that of offsets, whatever the times say: a record arrived when the latest of those before
//! it had, or later. A single time far ahead counts only as far as the next record confirms it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow_array::Array;
use millrace_connectors::lake::{LakeBatch, LakeRun, LakeSpan};

/// Where a partition's records come from.
pub(crate) trait Feed {
    /// What can go wrong.
    type Error;

    /// The next records in the order of their offsets; `None` at the end.
    fn next(&mut self) -> Result<Option<LakeRun>, Self::Error>;
}

/// One partition on its way.
pub(crate) struct Lane<F> {
    feed: F,
    /// What has been read and not taken.
    run: Option<LakeRun>,
    /// When its next record arrived, microseconds since 1970.
    arrival: i64,
    /// When its last record arrived; `None`: none was taken yet.
    last: Option<i64>,
}

impl<F: Feed> Lane<F> {
    /// A partition, from the beginning of its feed.
    pub(crate) fn new(feed: F) -> Self {
        Lane { feed, run: None, arrival: i64::MIN, last: None }
    }

    /// The next record; `None`: there is none.
    fn head(&mut self, span: LakeSpan) -> Result<Option<(&LakeBatch, usize)>, F::Error> {
        loop {
            match &mut self.run {
                Some(run) if run.rows.is_empty() => self.run = None,
                Some(run) if span != LakeSpan::default() && !span.contains(time_of(&run.batch, run.rows.start)) => {
                    run.rows.start += 1;
                }
                Some(_) => break,
                None => match self.feed.next()? {
                    None => return Ok(None),
                    run => self.run = run,
                },
            }
        }
        Ok(self.run.as_ref().map(|run| (&*run.batch, run.rows.start)))
    }

    /// Notes when the next record arrived; `None`: there is none.
    fn look(&mut self, span: LakeSpan) -> Result<Option<i64>, F::Error> {
        if self.head(span)?.is_none() {
            return Ok(None);
        }
        if let Some(run) = &self.run {
            let (times, at) = (&run.batch.times, run.rows.start);
            let time = |at: usize| (at < run.rows.end && times.is_valid(at)).then(|| times.value(at));
            let confirmed = match (time(at), time(at + 1)) {
                (Some(time), Some(next)) => Some(time.min(next)),
                (time, _) => time,
            };
            self.arrival = self.arrival.max(confirmed.unwrap_or(i64::MIN));
        }
        Ok(Some(self.arrival))
    }

    /// Takes the next record into `taken`.
    fn take(&mut self, taken: &mut Vec<LakeRun>) {
        let Some(run) = &mut self.run else { return };
        let at = run.rows.start;
        run.rows.start += 1;
        self.last = Some(self.arrival);
        match taken.last_mut() {
            Some(last) if Arc::ptr_eq(&last.batch, &run.batch) && last.rows.end == at => last.rows.end += 1,
            _ => taken.push(LakeRun { batch: Arc::clone(&run.batch), rows: at..at + 1 }),
        }
    }

    /// Takes everything before an offset.
    ///
    /// # Errors
    /// The feed's.
    pub(crate) fn take_before(&mut self, offset: i64, span: LakeSpan) -> Result<Vec<LakeRun>, F::Error> {
        let mut taken = Vec::new();
        while self.head(span)?.is_some_and(|(batch, row)| batch.offsets.value(row) < offset) {
            self.look(span)?;
            self.take(&mut taken);
        }
        Ok(taken)
    }
}

/// The time a record lies in the past by: of the first column asked for, else Kafka's.
fn time_of(batch: &LakeBatch, row: usize) -> i64 {
    let column = batch.columns.first().and_then(Option::as_ref).filter(|column| column.is_valid(row));
    column.map_or_else(|| batch.times.value(row), |column| column.value(row))
}

/// The partitions together.
pub(crate) struct Arrivals<F> {
    lanes: Vec<Lane<F>>,
    span: LakeSpan,
    /// When the next record of each partition arrived.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
}

impl<F: Feed> Arrivals<F> {
    /// These partitions; of their records those of the span.
    ///
    /// # Errors
    /// The feeds'.
    pub(crate) fn new(lanes: Vec<Lane<F>>, span: LakeSpan) -> Result<Self, F::Error> {
        let mut arrivals = Arrivals { lanes, span, heads: BinaryHeap::new() };
        arrivals.look_again()?;
        Ok(arrivals)
    }

    /// Looks at all partitions anew: some may go on now.
    ///
    /// # Errors
    /// The feeds'.
    pub(crate) fn look_again(&mut self) -> Result<(), F::Error> {
        self.heads.clear();
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(arrival) = lane.look(self.span)? {
                self.heads.push(Reverse((arrival, at)));
            }
        }
        Ok(())
    }

    /// When the next record arrived, and its partition's place.
    pub(crate) fn next(&self) -> Option<(i64, usize)> {
        self.heads.peek().map(|Reverse(head)| *head)
    }

    /// The next record of a partition that has one.
    pub(crate) fn record(&self, lane: usize) -> Option<(&LakeBatch, usize)> {
        self.lanes[lane].run.as_ref().map(|run| (&*run.batch, run.rows.start))
    }

    /// When the last record of a partition arrived.
    pub(crate) fn last(&self, lane: usize) -> Option<i64> {
        self.lanes[lane].last
    }

    /// Takes the next record into `taken`.
    ///
    /// # Errors
    /// The feed's.
    pub(crate) fn take(&mut self, taken: &mut Vec<LakeRun>) -> Result<(), F::Error> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(()) };
        let lane = &mut self.lanes[head.0.1];
        lane.take(taken);
        match lane.look(self.span)? {
            Some(arrival) => head.0.0 = arrival,
            None => drop(std::collections::binary_heap::PeekMut::pop(head)),
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use arrow_array::{BinaryArray, Int64Array, TimestampMicrosecondArray};

    /// A partition that is read from memory: Kafka's time and event time of each record.
    pub(crate) struct FromMemory(pub(crate) std::vec::IntoIter<LakeRun>);

    impl Feed for FromMemory {
        type Error = std::convert::Infallible;

        fn next(&mut self) -> Result<Option<LakeRun>, Self::Error> {
            Ok(self.0.next())
        }
    }

    pub(crate) fn lane(records: &[(i64, i64)]) -> Lane<FromMemory> {
        let run = |(at, chunk): (usize, &[(i64, i64)])| {
            let offsets = (0..chunk.len()).map(|row| (at * 3 + row) as i64);
            let batch = LakeBatch {
                offsets: Int64Array::from_iter_values(offsets),
                times: TimestampMicrosecondArray::from_iter_values(chunk.iter().map(|(time, _)| *time)),
                keys: BinaryArray::from_iter_values(chunk.iter().map(|_| b"k")),
                values: BinaryArray::from_iter_values(chunk.iter().map(|(_, event)| event.to_string())),
                columns: vec![Some(TimestampMicrosecondArray::from_iter_values(chunk.iter().map(|(_, event)| *event)))],
            };
            LakeRun { rows: 0..chunk.len(), batch: Arc::new(batch) }
        };
        let runs: Vec<LakeRun> = records.chunks(3).enumerate().map(run).collect();
        Lane::new(FromMemory(runs.into_iter()))
    }

    fn order(lanes: &[&[i64]], span: LakeSpan) -> Vec<i64> {
        let same = |times: &&[i64]| lane(&times.iter().map(|time| (*time, *time)).collect::<Vec<_>>());
        let Ok(mut arrivals) = Arrivals::new(lanes.iter().map(same).collect(), span);
        let mut order = Vec::new();
        while let Some((_, lane)) = arrivals.next() {
            order.extend(arrivals.record(lane).map(|(batch, row)| batch.times.value(row)));
            let Ok(()) = arrivals.take(&mut Vec::new());
        }
        order
    }

    #[test]
    fn records_come_as_they_arrived() {
        let all = LakeSpan::default();
        for (lanes, expected) in [
            (&[&[1, 4, 7][..], &[2, 5, 8], &[3, 6, 9]][..], &[1, 2, 3, 4, 5, 6, 7, 8, 9][..]),
            (&[&[1, 2, 3, 4, 5], &[]], &[1, 2, 3, 4, 5]),
            // An older time does not let a record overtake those before it.
            (&[&[8, 10, 3, 20], &[5, 15]], &[5, 8, 10, 3, 15, 20]),
            // A time that the next record does not confirm holds nothing up.
            (&[&[1, 99, 3, 6], &[2, 4, 5]], &[1, 2, 99, 3, 4, 5, 6]),
        ] {
            assert_eq!(order(lanes, all), expected, "{lanes:?}");
        }
        let span = LakeSpan { since: Some(millrace_model::Timestamp(3)), until: Some(millrace_model::Timestamp(6)) };
        assert_eq!(order(&[&[1, 4, 7], &[2, 3, 5, 8]], span), [3, 4, 5]);
    }

    #[test]
    fn a_partition_is_taken_up_to_an_offset() {
        let mut lane = lane(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
        let Ok(taken) = lane.take_before(4, LakeSpan::default());
        let rows: Vec<usize> = taken.iter().map(|run| run.rows.len()).collect();
        assert_eq!((rows, lane.last), (vec![3, 1], Some(4)));
        let Ok(mut arrivals) = Arrivals::new(vec![lane], LakeSpan::default());
        assert_eq!(arrivals.next(), Some((5, 0)));
        let Ok(()) = arrivals.take(&mut Vec::new());
        assert_eq!((arrivals.next(), arrivals.last(0)), (None, Some(5)));
    }
}
