//! A batch builder for the tests of this crate's log.

use crate::storage::batch::{BatchHeader, NO_PRODUCER_ID, NewBatch};
use crate::storage::codec::Codec;
use crate::storage::record::write_record;

/// One record to build: time, key, value.
type TestRecord = (i64, Option<&'static str>, Option<&'static str>);

/// Builds a batch as a client would send it.
#[derive(Clone)]
pub(crate) struct BatchBuilder {
    codec: Codec,
    base_offset: i64,
    producer: (i64, i16, i32),
    transactional: bool,
    records: Vec<TestRecord>,
}

pub(crate) fn batch() -> BatchBuilder {
    BatchBuilder {
        codec: Codec::None,
        base_offset: 0,
        producer: (NO_PRODUCER_ID, -1, -1),
        transactional: false,
        records: vec![],
    }
}

impl BatchBuilder {
    pub(crate) fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    pub(crate) fn base_offset(mut self, offset: i64) -> Self {
        self.base_offset = offset;
        self
    }

    pub(crate) fn producer(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        self.producer = (id, epoch, sequence);
        self
    }

    pub(crate) fn transactional(mut self) -> Self {
        self.transactional = true;
        self
    }

    pub(crate) fn record(mut self, timestamp_ms: i64, key: Option<&'static str>, value: Option<&'static str>) -> Self {
        self.records.push((timestamp_ms, key, value));
        self
    }

    pub(crate) fn build(self) -> Vec<u8> {
        let base = self.records[0].0;
        let mut plain = Vec::new();
        for (index, (time, key, value)) in self.records.iter().enumerate() {
            write_record(&mut plain, time - base, index as i64, key.map(str::as_bytes), value.map(str::as_bytes));
        }
        let header = BatchHeader {
            base_offset: self.base_offset,
            length: 0,
            crc: 0,
            attributes: if self.transactional { 0x10 } else { 0 },
            last_offset_delta: self.records.len() as i32 - 1,
            base_timestamp_ms: base,
            max_timestamp_ms: self.records.iter().map(|r| r.0).max().expect("a batch of at least one record"),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            base_sequence: self.producer.2,
            record_count: self.records.len() as i32,
        };
        NewBatch { header, codec: self.codec }.encode(&self.codec.compress(&plain).expect("records compress"))
    }
}
