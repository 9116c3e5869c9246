//! Records on their way to a file: one block of bytes a partition, no allocation a record.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use millrace_model::Timestamp;

use crate::kafka::Place;

/// What is not yet in files.
#[derive(Default)]
pub(super) struct Buffer {
    places: BTreeMap<Place, Records>,
    rows: usize,
    bytes: usize,
    first: Option<Instant>,
}

/// Records of one partition, in the order of their offsets.
#[derive(Clone, Default, Debug)]
pub(super) struct Records {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    offset: i64,
    time: Option<Timestamp>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

/// A record as it was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RawRecord<'a> {
    pub(super) offset: i64,
    pub(super) time: Option<Timestamp>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
}

impl Buffer {
    pub(super) fn push(&mut self, place: &Place, record: RawRecord<'_>) {
        if !self.places.contains_key(place) {
            self.places.insert(place.clone(), Records::default());
        }
        if let Some(records) = self.places.get_mut(place) {
            self.bytes += records.push(record);
            self.rows += 1;
            self.first.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Time since the first record came.
    pub(super) fn age(&self) -> Duration {
        self.first.map_or(Duration::ZERO, |first| first.elapsed())
    }

    /// All of it, by partition; the buffer is empty again.
    pub(super) fn take(&mut self) -> BTreeMap<Place, Records> {
        std::mem::take(self).places
    }
}

impl Records {
    /// Appends a record; how many bytes it took.
    pub(super) fn push(&mut self, record: RawRecord<'_>) -> usize {
        let before = self.bytes.len();
        let key = record.key.map(|key| self.append(key));
        let value = record.value.map(|value| self.append(value));
        self.entries.push(Entry { offset: record.offset, time: record.time, key, value });
        self.bytes.len() - before
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The record at this place in the buffer.
    pub(super) fn get(&self, at: usize) -> RawRecord<'_> {
        let entry = &self.entries[at];
        let bytes = |range: &Option<Range<usize>>| range.clone().map(|range| &self.bytes[range]);
        RawRecord { offset: entry.offset, time: entry.time, key: bytes(&entry.key), value: bytes(&entry.value) }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = RawRecord<'_>> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// Offset of the first record.
    pub(super) fn first_offset(&self) -> Option<i64> {
        self.entries.first().map(|entry| entry.offset)
    }

    /// Offset after the last record.
    pub(super) fn next_offset(&self) -> Option<i64> {
        self.entries.last().map(|entry| entry.offset + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut buffer = Buffer::default();
        let (a, b) = (Place::new("t", 0), Place::new("t", 1));
        let record = |offset, key, value| RawRecord { offset, time: Some(Timestamp(offset)), key, value };
        let records =
            [record(7, Some(&b"k"[..]), Some(&b"value"[..])), record(9, None, Some(&b""[..])), record(10, None, None)];
        for one in records {
            buffer.push(&a, one);
        }
        buffer.push(&b, records[0]);
        assert_eq!((buffer.rows(), buffer.bytes()), (4, 12));
        let taken = buffer.take();
        assert_eq!(taken[&a].iter().collect::<Vec<_>>(), records);
        assert_eq!((taken[&a].first_offset(), taken[&a].next_offset(), taken[&b].len()), (Some(7), Some(11), 1));
        assert_eq!((buffer.rows(), buffer.bytes(), buffer.age()), (0, 0, Duration::ZERO));
    }
}
