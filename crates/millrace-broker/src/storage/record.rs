//! Records inside a batch: walking them without copying, writing them again when compaction drops some.
//!
//! ```text
//! length attributes timestamp-delta offset-delta key-length key value-length value header-count headers…
//! zig-zag  i8         zig-zag         zig-zag      zig-zag         zig-zag
//! ```

use crate::storage::batch::{BatchHeader, HEADER_BYTES};
use crate::storage::codec::{Codec, CodecError};
use thiserror::Error;

/// Why the records of a batch cannot be read.
#[derive(Debug, Error)]
pub(crate) enum RecordError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("a record is malformed: {0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Batch(#[from] crate::storage::batch::BatchError),
}

/// One record, borrowed from its decompressed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordView<'a> {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    /// The whole record with its length, as stored: deltas are relative to the batch, so it can be copied.
    pub(crate) raw: &'a [u8],
}

/// The records of one batch, decompressed.
#[derive(Debug)]
pub(crate) struct Records {
    header: BatchHeader,
    codec: Codec,
    plain: Vec<u8>,
}

impl Records {
    /// Unpacks the records of a whole batch into at most `limit` bytes.
    pub(crate) fn unpack(header: &BatchHeader, batch: &[u8], limit: usize) -> Result<Self, RecordError> {
        let codec = header.codec()?;
        let packed =
            batch.get(HEADER_BYTES..header.total_bytes()).ok_or(RecordError::Malformed("the batch is cut short"))?;
        Ok(Self { header: *header, codec, plain: codec.decompress(packed, limit)? })
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// The records as bytes.
    pub(crate) fn plain(&self) -> &[u8] {
        &self.plain
    }

    /// The records in order.
    pub(crate) fn iter(&self) -> RecordIter<'_> {
        RecordIter { header: self.header, rest: &self.plain, left: self.header.record_count.max(0) }
    }
}

/// Walks records; ends after the first malformed one.
pub(crate) struct RecordIter<'a> {
    header: BatchHeader,
    rest: &'a [u8],
    left: i32,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let record = read_record(&self.header, &mut self.rest);
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

/// Checks every record of an uncompressed batch from its bytes: well-formed, dense offsets, nothing left over.
pub(crate) fn check_records(header: &BatchHeader, plain: &[u8], keys_required: bool) -> Result<(), RecordError> {
    let mut records = RecordIter { header: *header, rest: plain, left: header.record_count };
    for (expected, record) in (header.base_offset..).zip(records.by_ref()) {
        let record = record?;
        if record.offset != expected {
            return Err(RecordError::Malformed("offsets inside the batch have a gap"));
        }
        if keys_required && record.key.is_none() {
            return Err(RecordError::Malformed("a record of a compacted topic has no key"));
        }
    }
    if records.rest.is_empty() {
        Ok(())
    } else {
        Err(RecordError::Malformed("bytes are left over after the last record"))
    }
}

fn read_record<'a>(header: &BatchHeader, rest: &mut &'a [u8]) -> Result<RecordView<'a>, RecordError> {
    let whole = *rest;
    let length = read_length(rest)?.ok_or(RecordError::Malformed("a record has no length"))?;
    let body = take(rest, length)?;
    let raw = &whole[..whole.len() - rest.len()];
    let mut at = body;
    take(&mut at, 1)?;
    let timestamp_delta = read_varint(&mut at)?;
    let offset_delta = read_varint(&mut at)?;
    let key = read_bytes(&mut at)?;
    let value = read_bytes(&mut at)?;
    let headers = read_varint(&mut at)?;
    if headers < 0 {
        return Err(RecordError::Malformed("its header count is negative"));
    }
    for _ in 0..headers {
        read_bytes(&mut at)?.ok_or(RecordError::Malformed("a header has no name"))?;
        read_bytes(&mut at)?;
    }
    if !at.is_empty() {
        return Err(RecordError::Malformed("its length and its fields disagree"));
    }
    let timestamp_ms = if header.has_log_append_time() {
        header.max_timestamp_ms
    } else {
        header.base_timestamp_ms.wrapping_add(timestamp_delta)
    };
    Ok(RecordView { offset: header.base_offset.wrapping_add(offset_delta), timestamp_ms, key, value, raw })
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], RecordError> {
    let (taken, after) = rest.split_at_checked(count).ok_or(RecordError::Malformed("it is cut short"))?;
    *rest = after;
    Ok(taken)
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    match read_length(rest)? {
        Some(length) => take(rest, length).map(Some),
        None => Ok(None),
    }
}

/// A length, where -1 means absent.
fn read_length(rest: &mut &[u8]) -> Result<Option<usize>, RecordError> {
    match read_varint(rest)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| RecordError::Malformed("a length is negative")),
    }
}

fn read_varint(rest: &mut &[u8]) -> Result<i64, RecordError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(RecordError::Malformed("a number is cut short"))?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(RecordError::Malformed("a number is longer than ten bytes"))
}

/// Appends a zig-zag variable-length number.
pub(crate) fn write_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a stored record with another time delta.
pub(crate) fn write_rebased(out: &mut Vec<u8>, raw: &[u8], timestamp_delta: i64) -> Result<(), RecordError> {
    let mut rest = raw;
    read_varint(&mut rest)?;
    let attributes = take(&mut rest, 1)?;
    read_varint(&mut rest)?;
    let mut body = attributes.to_vec();
    write_varint(&mut body, timestamp_delta);
    body.extend_from_slice(rest);
    write_varint(out, body.len() as i64);
    out.extend_from_slice(&body);
    Ok(())
}

/// Appends one record without headers.
pub(crate) fn write_record(
    out: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    let mut body = vec![0];
    write_varint(&mut body, timestamp_delta);
    write_varint(&mut body, offset_delta);
    for field in [key, value] {
        write_varint(&mut body, field.map_or(-1, |bytes| bytes.len() as i64));
        body.extend_from_slice(field.unwrap_or_default());
    }
    write_varint(&mut body, 0);
    write_varint(out, body.len() as i64);
    out.extend_from_slice(&body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::batch;

    #[test]
    fn varints_survive_a_round_trip() {
        for value in [0, 1, -1, 63, 64, -64, -65, 300, i64::from(i32::MAX), i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            assert_eq!(read_varint(&mut &out[..]).unwrap(), value);
        }
        assert!(read_varint(&mut &[0xff; 11][..]).is_err());
    }

    #[test]
    fn records_are_read_with_keys_values_and_times() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let stored = batch()
                .codec(codec)
                .base_offset(40)
                .record(1_000, Some("k"), Some("v"))
                .record(1_005, None, None)
                .build();
            let header = BatchHeader::parse(&stored).unwrap();
            header.check_crc(&stored).unwrap();
            let records = Records::unpack(&header, &stored, 1 << 20).unwrap();
            let seen: Vec<_> =
                records.iter().map(|r| r.unwrap()).map(|r| (r.offset, r.timestamp_ms, r.key, r.value)).collect();
            assert_eq!(seen, [(40, 1_000, Some(&b"k"[..]), Some(&b"v"[..])), (41, 1_005, None, None)]);
        }
    }

    #[test]
    fn malformed_records_are_found() {
        let stored = batch().record(1, None, Some("v")).build();
        let header = BatchHeader::parse(&stored).unwrap();
        let plain = &stored[HEADER_BYTES..];
        assert!(check_records(&header, plain, false).is_ok());
        assert!(check_records(&header, plain, true).is_err(), "no key");
        assert!(check_records(&header, &plain[..plain.len() - 1], false).is_err(), "cut short");
        assert!(check_records(&header, &[plain, &[0]].concat(), false).is_err(), "left over");
    }
}
