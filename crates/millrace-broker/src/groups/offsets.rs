//! Committed offsets of a group, those pending in transactions, and how they are stored.

use crate::fields::{Malformed, Reader, Writer};
use crate::journal::Change;
use crate::storage::partition::TopicPartition;
use std::collections::BTreeMap;

/// First byte of the journal keys of committed offsets.
pub(crate) const OFFSET_SPACE: u8 = b'o';

/// A committed offset as the client gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    /// Wall time of the commit.
    pub(crate) committed_at_ms: i64,
}

impl Committed {
    pub(crate) fn write(&self, out: &mut Writer) {
        out.i64(self.offset).i32(self.leader_epoch).string(&self.metadata).i64(self.committed_at_ms);
    }

    pub(crate) fn read(fields: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            offset: fields.i64()?,
            leader_epoch: fields.i32()?,
            metadata: fields.string()?.to_owned(),
            committed_at_ms: fields.i64()?,
        })
    }
}

/// Offsets by partition.
pub(crate) type OffsetMap = BTreeMap<TopicPartition, Committed>;

fn key(group: &str, partition: &TopicPartition) -> Vec<u8> {
    let mut out = Writer::new();
    out.u8(OFFSET_SPACE).string(group).string(&partition.topic).i32(partition.partition);
    out.finish()
}

/// The journal entry of a commit.
pub(crate) fn put(group: &str, partition: &TopicPartition, committed: &Committed) -> Change {
    let mut out = Writer::new();
    committed.write(&mut out);
    Change::put(key(group, partition), out.finish())
}

/// The journal entry that forgets a commit.
pub(crate) fn remove(group: &str, partition: &TopicPartition) -> Change {
    Change::remove(key(group, partition))
}

/// Reads what [`put`] wrote.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<(String, TopicPartition, Committed), Malformed> {
    let mut fields = Reader::new(key);
    fields.u8()?;
    let group = fields.string()?.to_owned();
    let partition = TopicPartition { topic: fields.string()?.into(), partition: fields.i32()? };
    Ok((group, partition, Committed::read(&mut Reader::new(value))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_back() {
        let partition = TopicPartition { topic: "orders".into(), partition: 3 };
        let committed = Committed { offset: 42, leader_epoch: -1, metadata: "mine".into(), committed_at_ms: 7 };
        let change = put("g", &partition, &committed);
        let read = read(&change.key, &change.value.unwrap()).unwrap();
        assert_eq!(read, ("g".into(), partition.clone(), committed));
        assert_eq!(remove("g", &partition).key, change.key);
    }
}
