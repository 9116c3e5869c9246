//! What is remembered of a transactional id, and how it is stored.

use crate::fields::{Malformed, Reader, Writer};
use crate::groups::offsets::{Committed, OffsetMap};
use crate::journal::Change;
use crate::storage::marker::Marker;
use crate::storage::partition::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};

/// First byte of the journal keys of transactional ids.
pub(crate) const TRANSACTION_SPACE: u8 = b'x';

/// Where a transactional id is in its cycle.
///
/// ```text
///  Empty ──▶ Ongoing ──▶ Prepared(how) ──▶ Complete(how) ──▶ Ongoing …
///                            │ once stored, the outcome stands: a restart writes the markers that are missing
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TxnState {
    Empty,
    Ongoing,
    Prepared(Marker),
    Complete(Marker),
}

impl TxnState {
    /// Kafka's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::Prepared(Marker::Commit) => "PrepareCommit",
            Self::Prepared(Marker::Abort) => "PrepareAbort",
            Self::Complete(Marker::Commit) => "CompleteCommit",
            Self::Complete(Marker::Abort) => "CompleteAbort",
        }
    }

    pub(crate) const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::Prepared(Marker::Commit),
        Self::Prepared(Marker::Abort),
        Self::Complete(Marker::Commit),
        Self::Complete(Marker::Abort),
    ];
}

/// One transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    /// The epoch before the last bump that the producer itself asked for; -1 if none. Lets it ask again.
    pub(crate) last_epoch: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) state: TxnState,
    pub(crate) partitions: BTreeSet<TopicPartition>,
    /// Groups whose offsets may be committed in the transaction.
    pub(crate) groups: BTreeSet<String>,
    /// Offsets to be committed with the transaction, by group.
    pub(crate) offsets: BTreeMap<String, OffsetMap>,
    /// Wall time of its begin; -1 outside a transaction.
    pub(crate) started_at_ms: i64,
    pub(crate) updated_at_ms: i64,
}

impl Record {
    pub(crate) fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            epoch: 0,
            last_epoch: -1,
            timeout_ms,
            state: TxnState::Empty,
            partitions: BTreeSet::new(),
            groups: BTreeSet::new(),
            offsets: BTreeMap::new(),
            started_at_ms: -1,
            updated_at_ms: now_ms,
        }
    }

    /// Has run longer than it may.
    pub(crate) fn is_overdue(&self, now_ms: i64) -> bool {
        self.state == TxnState::Ongoing && now_ms - self.started_at_ms > i64::from(self.timeout_ms)
    }
}

fn key(id: &str) -> Vec<u8> {
    [&[TRANSACTION_SPACE], id.as_bytes()].concat()
}

/// The journal entry of a transactional id.
pub(crate) fn put(id: &str, record: &Record) -> Change {
    let mut out = Writer::new();
    let state = TxnState::ALL.iter().position(|state| *state == record.state).unwrap_or(0);
    out.i64(record.producer_id).i16(record.epoch).i16(record.last_epoch).i32(record.timeout_ms).u8(state as u8);
    out.i64(record.started_at_ms).i64(record.updated_at_ms);
    out.count(record.partitions.len());
    for partition in &record.partitions {
        out.string(&partition.topic).i32(partition.partition);
    }
    out.count(record.groups.len());
    for group in &record.groups {
        out.string(group);
    }
    out.count(record.offsets.len());
    for (group, offsets) in &record.offsets {
        out.string(group).count(offsets.len());
        for (partition, committed) in offsets {
            out.string(&partition.topic).i32(partition.partition);
            committed.write(&mut out);
        }
    }
    Change::put(key(id), out.finish())
}

/// The journal entry that forgets a transactional id.
pub(crate) fn remove(id: &str) -> Change {
    Change::remove(key(id))
}

/// Reads what [`put`] wrote.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<(String, Record), Malformed> {
    let id = std::str::from_utf8(&key[1..]).map_err(|_| Malformed)?.to_owned();
    let mut fields = Reader::new(value);
    let mut record = Record::new(fields.i64()?, 0, 0);
    (record.epoch, record.last_epoch, record.timeout_ms) = (fields.i16()?, fields.i16()?, fields.i32()?);
    record.state = *TxnState::ALL.get(usize::from(fields.u8()?)).ok_or(Malformed)?;
    (record.started_at_ms, record.updated_at_ms) = (fields.i64()?, fields.i64()?);
    let partition = |fields: &mut Reader<'_>| {
        Ok::<_, Malformed>(TopicPartition { topic: fields.string()?.into(), partition: fields.i32()? })
    };
    for _ in 0..fields.count()? {
        record.partitions.insert(partition(&mut fields)?);
    }
    for _ in 0..fields.count()? {
        record.groups.insert(fields.string()?.to_owned());
    }
    for _ in 0..fields.count()? {
        let offsets = record.offsets.entry(fields.string()?.to_owned()).or_default();
        for _ in 0..fields.count()? {
            let partition = partition(&mut fields)?;
            offsets.insert(partition, Committed::read(&mut fields)?);
        }
    }
    Ok((id, record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_in_every_state() {
        for state in TxnState::ALL {
            let mut record = Record::new(9, 60_000, 5);
            record.state = state;
            record.epoch = 3;
            let partition = TopicPartition { topic: "t".into(), partition: 1 };
            let committed = Committed { offset: 8, leader_epoch: 0, metadata: "m".into(), committed_at_ms: 2 };
            record.partitions.insert(partition.clone());
            record.groups.insert("g".into());
            record.offsets.entry("g".into()).or_default().insert(partition, committed);
            let change = put("id", &record);
            assert_eq!(read(&change.key, &change.value.unwrap()).unwrap(), ("id".into(), record));
        }
    }
}
