//! What a partition remembers of each producer: its last five batches (duplicates), its epoch (fencing), its open
//! transaction (last stable offset). The decision on a batch is pure.
//!
//! Rules after KIP-98 (idempotence) and KIP-890 (a transactional batch needs an announced transaction).

use crate::storage::batch::{BatchHeader, sequence_plus};
use std::collections::{HashMap, VecDeque};

/// Batches remembered per producer: as many as a producer may have in flight.
pub(crate) const BATCHES_REMEMBERED: usize = 5;

/// Where an earlier batch of a producer went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeenBatch {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: i64,
    pub(crate) max_timestamp_ms: i64,
}

/// One producer as one partition knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    pub(crate) seen: VecDeque<SeenBatch>,
    /// First offset of its open transaction.
    pub(crate) open_from: Option<i64>,
    /// The coordinator has announced a transaction here, so transactional batches are welcome. Not stored: told again
    /// at start from the transaction state.
    pub(crate) announced: bool,
    /// When it last wrote, broker time.
    pub(crate) last_write_ms: i64,
}

/// What to do with a batch of an idempotent producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SequenceDecision {
    Append,
    /// It is already stored here: answer as the first time.
    Duplicate(SeenBatch),
    OutOfOrder {
        expected: i32,
    },
    /// A producer with a newer epoch has taken over.
    Fenced {
        current: i16,
    },
    /// Transactional, but no transaction was announced for this partition.
    NoTransaction,
}

/// Decides on `batch` of a producer the partition may know.
pub(crate) fn decide(known: Option<&Producer>, batch: &BatchHeader) -> SequenceDecision {
    use SequenceDecision::*;
    let Some(producer) = known else {
        // Retention may have dropped an idle producer's state, so any sequence may start anew.
        return if batch.is_transactional() { NoTransaction } else { Append };
    };
    if batch.producer_epoch < producer.epoch {
        return Fenced { current: producer.epoch };
    }
    if batch.producer_epoch == producer.epoch {
        let duplicate = |seen: &&SeenBatch| {
            seen.first_sequence == batch.base_sequence && seen.last_sequence == batch.last_sequence()
        };
        if let Some(seen) = producer.seen.iter().find(duplicate) {
            return Duplicate(*seen);
        }
    }
    if batch.is_transactional() && !producer.announced {
        return NoTransaction;
    }
    let last = producer.seen.back().filter(|_| batch.producer_epoch == producer.epoch);
    // A producer known only by an announcement or a marker, with nothing seen in its epoch, starts wherever it is:
    // what it wrote before may be gone by retention.
    let expected = match last {
        Some(seen) => sequence_plus(seen.last_sequence, 1),
        None if batch.producer_epoch > producer.epoch && !producer.seen.is_empty() => 0,
        None => return Append,
    };
    if batch.base_sequence == expected { Append } else { OutOfOrder { expected } }
}

/// All producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    pub(crate) fn get(&self, id: i64) -> Option<&Producer> {
        self.by_id.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    pub(crate) fn insert(&mut self, id: i64, producer: Producer) {
        self.by_id.insert(id, producer);
    }

    /// The coordinator announces that `id` may write transactionally.
    pub(crate) fn announce(&mut self, id: i64, epoch: i16, now_ms: i64) {
        let producer = self.by_id.entry(id).or_insert_with(|| Producer { epoch, ..Producer::default() });
        if epoch > producer.epoch {
            // From now on a predecessor with the same id and an older epoch is fenced here too.
            producer.epoch = epoch;
            producer.seen.clear();
        }
        producer.last_write_ms = producer.last_write_ms.max(now_ms);
        producer.announced = true;
    }

    /// Remembers a data batch that was just stored.
    pub(crate) fn stored(&mut self, batch: &BatchHeader, now_ms: i64) {
        if !batch.has_producer() {
            return;
        }
        let producer = self.by_id.entry(batch.producer_id).or_default();
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.seen.clear();
        }
        if producer.seen.len() == BATCHES_REMEMBERED {
            producer.seen.pop_front();
        }
        producer.seen.push_back(SeenBatch {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            base_offset: batch.base_offset,
            max_timestamp_ms: batch.max_timestamp_ms,
        });
        producer.last_write_ms = producer.last_write_ms.max(now_ms);
        if batch.is_transactional() {
            producer.open_from.get_or_insert(batch.base_offset);
        }
    }

    /// Remembers a marker that was just stored; gives the first offset of the transaction it closed.
    pub(crate) fn closed(&mut self, marker: &BatchHeader, now_ms: i64) -> Option<i64> {
        let producer = self.by_id.entry(marker.producer_id).or_default();
        if producer.epoch != marker.producer_epoch {
            producer.epoch = marker.producer_epoch;
            producer.seen.clear();
        }
        producer.announced = false;
        producer.last_write_ms = producer.last_write_ms.max(now_ms);
        producer.open_from.take()
    }

    /// First offset that an open transaction still holds back.
    pub(crate) fn first_open_offset(&self) -> Option<i64> {
        self.by_id.values().filter_map(|producer| producer.open_from).min()
    }

    /// Forgets producers idle since before `before_ms`, except those in a transaction.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.by_id.retain(|_, p| p.open_from.is_some() || p.announced || p.last_write_ms >= before_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::batch;

    /// Three batches of two records in epoch 1: sequences 0-1, 2-3, 4-5.
    fn known() -> Producers {
        let mut producers = Producers::default();
        for index in 0..3 {
            let sent = header(1, index * 2, false, i64::from(index) * 10);
            producers.stored(&sent, 0);
        }
        producers
    }

    fn header(epoch: i16, sequence: i32, transactional: bool, offset: i64) -> BatchHeader {
        let built =
            batch().producer(7, epoch, sequence).base_offset(offset).record(1, None, None).record(2, None, None);
        let built = if transactional { built.transactional() } else { built };
        BatchHeader::parse(&built.build()).unwrap()
    }

    #[test]
    fn sequences_are_decided_as_the_protocol_says() {
        use SequenceDecision::*;
        let producers = known();
        let seen = |index: usize| Duplicate(producers.get(7).unwrap().seen[index]);
        // (what, epoch, first sequence, decision)
        let table = [
            ("next in line", 1, 6, Append),
            ("the last again", 1, 4, seen(2)),
            ("the oldest remembered again", 1, 0, seen(0)),
            ("a gap", 1, 8, OutOfOrder { expected: 6 }),
            ("an overlap that is no duplicate", 1, 3, OutOfOrder { expected: 6 }),
            ("an old epoch", 0, 6, Fenced { current: 1 }),
            ("a new epoch from the start", 2, 0, Append),
            ("a new epoch from the middle", 2, 6, OutOfOrder { expected: 0 }),
        ];
        for (what, epoch, sequence, decision) in table {
            assert_eq!(decide(producers.get(7), &header(epoch, sequence, false, 0)), decision, "{what}");
        }
        assert_eq!(decide(None, &header(0, 55, false, 0)), Append, "unknown producer");
    }

    #[test]
    fn only_five_batches_are_remembered() {
        let mut producers = Producers::default();
        for index in 0..7 {
            producers.stored(&header(0, index * 2, false, 0), 0);
        }
        let decision = |sequence| decide(producers.get(7), &header(0, sequence, false, 0));
        assert!(matches!(decision(4), SequenceDecision::Duplicate(_)), "third is remembered");
        assert_eq!(decision(2), SequenceDecision::OutOfOrder { expected: 14 }, "second is forgotten");
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut producers = Producers::default();
        producers.stored(&header(0, i32::MAX - 1, false, 0), 0);
        assert_eq!(decide(producers.get(7), &header(0, 0, false, 0)), SequenceDecision::Append);
    }

    #[test]
    fn a_transaction_needs_announcing_and_holds_back_its_first_offset() {
        let mut producers = Producers::default();
        assert_eq!(decide(producers.get(7), &header(0, 0, true, 0)), SequenceDecision::NoTransaction);
        producers.announce(7, 0, 5);
        assert_eq!(decide(producers.get(7), &header(0, 0, true, 0)), SequenceDecision::Append);
        producers.stored(&header(0, 0, true, 20), 5);
        producers.stored(&header(0, 2, true, 22), 5);
        assert_eq!(producers.first_open_offset(), Some(20));
        let duplicate = decide(producers.get(7), &header(0, 2, true, 0));
        assert!(matches!(duplicate, SequenceDecision::Duplicate(_)));
        assert_eq!(producers.closed(&header(0, -1, true, 24), 6), Some(20));
        assert_eq!(producers.first_open_offset(), None);
        assert_eq!(decide(producers.get(7), &header(0, 4, true, 0)), SequenceDecision::NoTransaction, "late batch");
        assert_eq!(producers.closed(&header(0, -1, true, 25), 6), None, "an empty transaction");
    }

    #[test]
    fn a_marker_of_a_newer_epoch_fences_the_old_one() {
        let mut producers = known();
        producers.closed(&header(2, -1, true, 30), 0);
        assert_eq!(decide(producers.get(7), &header(1, 6, false, 0)), SequenceDecision::Fenced { current: 2 });
        assert_eq!(decide(producers.get(7), &header(2, 0, false, 0)), SequenceDecision::Append);
        assert_eq!(decide(producers.get(7), &header(3, 0, false, 0)), SequenceDecision::Append);
    }

    #[test]
    fn announcing_a_newer_epoch_fences_the_old_one() {
        let mut producers = Producers::default();
        producers.announce(7, 0, 0);
        producers.stored(&header(0, 0, true, 0), 0);
        producers.closed(&header(0, -1, true, 2), 0);
        producers.announce(7, 1, 0);
        assert_eq!(decide(producers.get(7), &header(0, 2, true, 0)), SequenceDecision::Fenced { current: 1 });
        assert_eq!(decide(producers.get(7), &header(1, 0, true, 0)), SequenceDecision::Append);
    }

    #[test]
    fn idle_producers_expire_but_not_open_transactions() {
        let mut producers = known();
        producers.announce(8, 0, 0);
        producers.expire(1);
        assert!(producers.get(7).is_none() && producers.get(8).is_some());
    }
}
