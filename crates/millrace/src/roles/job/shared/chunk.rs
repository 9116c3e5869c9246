//! Records of a partition, taken from the client and decoded: what the jobs that read a topic share.

use std::collections::BTreeMap;
use std::ops::Range;

use millrace_engine::job::{DecodedRecords, SourceRecord, TopicDecoder};
use millrace_model::Timestamp;
use millrace_model::dead_letter::DeadLetterHeader;

use super::super::output::Received;

/// Consecutive records of a partition; their bytes lie in one piece.
pub(crate) struct Chunk {
    partition: i32,
    records: Vec<Kept>,
    bytes: Vec<u8>,
    /// Of the records that have any.
    headers: BTreeMap<usize, Vec<DeadLetterHeader>>,
    decoded: DecodedRecords,
}

/// A record; its key and its value are places in the chunk's bytes.
struct Kept {
    offset: i64,
    time: Option<Timestamp>,
    key: Option<Range<u32>>,
    value: Option<Range<u32>>,
}

impl Chunk {
    /// Keeps and decodes records of one partition, in the order of their offsets.
    pub(super) fn of<'a>(received: impl Iterator<Item = Received<'a>>, decoder: &mut TopicDecoder) -> Self {
        let (mut partition, mut records, mut bytes, mut headers) = (0, Vec::new(), Vec::new(), BTreeMap::new());
        let mut keep = |part: Option<&[u8]>| {
            part.map(|part| {
                let from = bytes.len() as u32;
                bytes.extend_from_slice(part);
                from..bytes.len() as u32
            })
        };
        for received in received {
            partition = received.partition;
            if !received.headers.is_empty() {
                headers.insert(records.len(), received.headers);
            }
            let (key, value) = (keep(received.key), keep(received.value));
            records.push(Kept { offset: received.offset, time: received.time, key, value });
        }
        let values = records.iter().map(|record| (part_of(&bytes, record.value.as_ref()), record.time));
        let decoded = decoder.decode(values);
        Chunk { partition, records, bytes, headers, decoded }
    }

    /// Which partition.
    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    /// How many records.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The first record from this offset on.
    pub(super) fn first_from(&self, offset: i64) -> usize {
        self.records.partition_point(|record| record.offset < offset)
    }

    /// The offset of a record.
    pub(crate) fn offset(&self, at: usize) -> i64 {
        self.records[at].offset
    }

    /// The offset after the last record.
    pub(super) fn end(&self) -> i64 {
        self.records.last().map_or(0, |last| last.offset + 1)
    }

    /// Bytes of keys and values of some records.
    pub(super) fn bytes_of(&self, records: Range<usize>) -> usize {
        let length = |part: &Option<Range<u32>>| part.as_ref().map_or(0, |part| part.len());
        self.records[records].iter().map(|record| length(&record.key) + length(&record.value)).sum()
    }

    /// Bytes of memory, estimated.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.records.capacity() * size_of::<Kept>() + self.decoded.bytes()
    }

    /// Some records as the engine takes them.
    pub(crate) fn source_records(&self, records: Range<usize>) -> impl Iterator<Item = SourceRecord<'_>> {
        self.records[records].iter().map(|record| SourceRecord {
            partition: self.partition,
            offset: record.offset,
            time: record.time,
            value: part_of(&self.bytes, record.value.as_ref()),
        })
    }

    /// All its records, decoded.
    pub(crate) fn decoded(&self) -> &DecodedRecords {
        &self.decoded
    }

    /// A record as it was received.
    pub(crate) fn received<'a>(&'a self, topic: &'a str, at: usize) -> Received<'a> {
        let record = &self.records[at];
        Received {
            topic,
            partition: self.partition,
            offset: record.offset,
            time: record.time,
            key: part_of(&self.bytes, record.key.as_ref()),
            value: part_of(&self.bytes, record.value.as_ref()),
            headers: self.headers.get(&at).cloned().unwrap_or_default(),
        }
    }
}

fn part_of<'a>(bytes: &'a [u8], part: Option<&Range<u32>>) -> Option<&'a [u8]> {
    part.map(|part| &bytes[part.start as usize..part.end as usize])
}
