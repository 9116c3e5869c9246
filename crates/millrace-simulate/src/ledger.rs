//! The sums of each minute of event time, as far as regular records make them.

use std::collections::VecDeque;

use millrace_model::Timestamp;
use millrace_model::time::MINUTE_MICROS;

/// What a record adds to its minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tally {
    Nothing,
    Event,
    Order(i64),
    Refund(i64),
    Decline,
}

/// What a minute of event time holds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct MinuteSums {
    pub(crate) events: u64,
    pub(crate) orders: u64,
    pub(crate) gross_minor: i64,
    pub(crate) refunds: u64,
    pub(crate) refunded_minor: i64,
    pub(crate) declines: u64,
}

/// The open minutes. Counted on arrival, so that a shop that is dropped has counted exactly what it sent.
#[derive(Clone, Default, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ledger {
    /// Start and sums of each, oldest first.
    minutes: VecDeque<(Timestamp, MinuteSums)>,
}

impl Ledger {
    /// Adds a record to the minute of its event time.
    pub(crate) fn count(&mut self, event_time: Timestamp, tally: Tally) {
        if tally == Tally::Nothing {
            return;
        }
        let minute = event_time.floor(MINUTE_MICROS);
        let at = match self.minutes.iter().rposition(|(start, _)| *start <= minute) {
            Some(at) if self.minutes[at].0 == minute => at,
            earlier => {
                let at = earlier.map_or(0, |at| at + 1);
                self.minutes.insert(at, (minute, MinuteSums::default()));
                at
            }
        };
        let sums = &mut self.minutes[at].1;
        match tally {
            Tally::Nothing => {}
            Tally::Event => sums.events += 1,
            Tally::Order(amount) => {
                sums.orders += 1;
                sums.gross_minor += amount;
            }
            Tally::Refund(amount) => {
                sums.refunds += 1;
                sums.refunded_minor += amount;
            }
            Tally::Decline => sums.declines += 1,
        }
    }

    /// The minutes still open, oldest first.
    pub(crate) fn open_minutes(&self) -> Vec<(Timestamp, MinuteSums)> {
        self.minutes.iter().copied().collect()
    }

    /// Takes the oldest minute that ended at or before `end`.
    pub(crate) fn close(&mut self, end: Timestamp) -> Option<(Timestamp, MinuteSums)> {
        let (start, _) = self.minutes.front()?;
        if start.0 + MINUTE_MICROS > end.0 { None } else { self.minutes.pop_front() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_close_in_order() {
        let mut ledger = Ledger::default();
        for (second, tally) in
            [(61, Tally::Event), (59, Tally::Order(250)), (60, Tally::Decline), (5, Tally::Refund(9))]
        {
            ledger.count(Timestamp(second * 1_000_000), tally);
        }
        assert_eq!(ledger.close(Timestamp(59_999_999)), None);
        let first = MinuteSums { orders: 1, gross_minor: 250, refunds: 1, refunded_minor: 9, ..MinuteSums::default() };
        assert_eq!(ledger.close(Timestamp(60_000_000)), Some((Timestamp(0), first)));
        let second = MinuteSums { events: 1, declines: 1, ..MinuteSums::default() };
        assert_eq!(ledger.close(Timestamp(120_000_000)), Some((Timestamp(60_000_000), second)));
        assert_eq!(ledger.close(Timestamp(i64::MAX)), None);
    }
}
