//! The sparse index of one segment: every few kilobytes, which offset lies where and how late the times before it go.
//!
//! ```text
//! segment   [batch][batch][batch][batch][batch]…
//! index      ^ 0                  ^ 17 kB            one entry (16 bytes) per INTERVAL_BYTES
//! ```
//! An entry is a hint: the reader checks that a batch with that offset lies there, and scans from the start if not.

use std::ops::Range;

/// Bytes of log between two entries.
pub(crate) const INTERVAL_BYTES: u32 = 16 * 1024;
/// Bytes of one entry on disk.
pub(crate) const ENTRY_BYTES: usize = 16;

/// A batch that starts at `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Base offset of the batch, relative to the segment's.
    pub(crate) relative_offset: u32,
    /// Byte position in the segment.
    pub(crate) position: u32,
    /// Latest timestamp of all batches before this one, Unix milliseconds.
    pub(crate) max_timestamp_before_ms: i64,
}

/// Entries in order of offset and position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Notes a batch if the last entry lies far enough back; the first batch of a segment needs no entry.
    pub(crate) fn note(&mut self, entry: Entry) {
        let last = self.entries.last().map_or(0, |last| last.position);
        if entry.position - last >= INTERVAL_BYTES {
            self.entries.push(entry);
        }
    }

    /// The last entry at or before `relative_offset`.
    pub(crate) fn floor(&self, relative_offset: u32) -> Option<Entry> {
        let after = self.entries.partition_point(|entry| entry.relative_offset <= relative_offset);
        after.checked_sub(1).map(|index| self.entries[index])
    }

    /// Byte position from which to look for the first record at or after `timestamp_ms`.
    pub(crate) fn position_for_time(&self, timestamp_ms: i64) -> u32 {
        let after = self.entries.partition_point(|entry| entry.max_timestamp_before_ms < timestamp_ms);
        after.checked_sub(1).map_or(0, |index| self.entries[index].position)
    }

    /// The entries in `range` as stored on disk.
    pub(crate) fn encode(&self, range: Range<usize>) -> Vec<u8> {
        let mut out = Vec::with_capacity(range.len() * ENTRY_BYTES);
        for entry in &self.entries[range] {
            out.extend_from_slice(&entry.relative_offset.to_be_bytes());
            out.extend_from_slice(&entry.position.to_be_bytes());
            out.extend_from_slice(&entry.max_timestamp_before_ms.to_be_bytes());
        }
        out
    }

    /// Reads stored entries up to the first that is out of order or at or past `end` (a torn or stale tail).
    pub(crate) fn decode(bytes: &[u8], end: u32) -> Self {
        let mut entries: Vec<Entry> = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
        for entry in bytes.as_chunks::<ENTRY_BYTES>().0 {
            let [o0, o1, o2, o3, p0, p1, p2, p3, time @ ..] = *entry;
            let entry = Entry {
                relative_offset: u32::from_be_bytes([o0, o1, o2, o3]),
                position: u32::from_be_bytes([p0, p1, p2, p3]),
                max_timestamp_before_ms: i64::from_be_bytes(time),
            };
            let (offset, position) = entries.last().map_or((0, 0), |last| (last.relative_offset, last.position));
            if entry.position <= position || entry.relative_offset <= offset || entry.position >= end {
                break;
            }
            entries.push(entry);
        }
        Self { entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for step in 0..100u32 {
            let entry = Entry {
                relative_offset: step * 10,
                position: step * 4096,
                max_timestamp_before_ms: i64::from(step) - 1,
            };
            index.note(entry);
        }
        index
    }

    #[test]
    fn one_entry_every_interval() {
        assert_eq!(index().len(), 24);
        assert_eq!(index().floor(39), None, "before the first entry the scan starts at 0");
        assert_eq!(index().floor(40).unwrap().position, 16_384);
        assert_eq!(index().floor(79).unwrap().position, 16_384);
        assert_eq!(index().floor(u32::MAX).unwrap().position, 96 * 4096);
    }

    #[test]
    fn time_lookups_start_before_the_first_candidate() {
        // Entry 4k says: everything before position 16384*k is at most 4k-1.
        assert_eq!(index().position_for_time(0), 0);
        assert_eq!(index().position_for_time(3), 0);
        assert_eq!(index().position_for_time(4), 16_384);
        assert_eq!(index().position_for_time(1_000), 96 * 4096);
    }

    #[test]
    fn torn_or_stale_entries_are_not_believed() {
        let index = index();
        let stored = index.encode(0..index.len());
        assert_eq!(Index::decode(&stored, u32::MAX), index);
        assert_eq!(Index::decode(&stored[..stored.len() - 3], u32::MAX).len(), 23);
        assert_eq!(Index::decode(&stored, 16_385).len(), 1, "past the end of the log");
        assert_eq!(Index::decode(&[&stored[..], &[0; 64]].concat(), u32::MAX), index, "zeros after a power cut");
    }
}
