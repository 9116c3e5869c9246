//! The fixed 61-byte head of a record batch (format v2): parsing it, checking what a client sent, patching offsets.
//!
//! ```text
//!  0        8        12       16    17    21     23            27        35
//!  base     length   leader   magic crc   attrs  last offset   base      max
//!  offset            epoch    = 2                delta         timestamp timestamp
//!
//!  43          51             53            57            61
//!  producer id producer epoch base sequence record count  records (compressed as attrs say)
//! ```
//! The CRC-32C covers everything from `attrs` on, so the base offset and the leader epoch are patched without touching it.

use crate::storage::codec::Codec;
use bytes::Bytes;
use thiserror::Error;

/// Bytes before the first record.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes of base offset and length: what `length` does not count.
pub(crate) const LENGTH_PREFIX_BYTES: usize = 12;
const CRC_COVERS_FROM: usize = 21;

const ATTR_CODEC_MASK: i16 = 0x07;
const ATTR_LOG_APPEND_TIME: i16 = 0x08;
const ATTR_TRANSACTIONAL: i16 = 0x10;
const ATTR_CONTROL: i16 = 0x20;
/// Set by compaction: the base timestamp is the time from which tombstones and markers of the batch may go.
const ATTR_DELETE_HORIZON: i16 = 0x40;

/// No producer id: the batch is not idempotent.
pub(crate) const NO_PRODUCER_ID: i64 = -1;
/// No timestamp known.
pub(crate) const NO_TIMESTAMP_MS: i64 = -1;
/// The only leader epoch there is: one broker never loses a partition to another.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// Why bytes are not a batch this broker stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BatchError {
    #[error("the batch is cut short: {have} bytes of {need}")]
    Truncated { have: usize, need: usize },
    #[error("the batch says it is {0} bytes long, which no batch is")]
    BadLength(i32),
    #[error("message format v{0} is not stored; clients since Kafka 0.11 send v2")]
    OldFormat(i8),
    #[error("the checksum is {stored:08x} but the bytes give {computed:08x}")]
    Checksum { stored: u32, computed: u32 },
    #[error("compression codec {0} is unknown")]
    UnknownCodec(i16),
    #[error("the batch is not valid: {0}")]
    Invalid(&'static str),
}

/// A parsed batch head. Offsets are absolute, times are Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    /// As stored: counts from the leader epoch on, so 12 less than the whole batch.
    pub(crate) length: i32,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp_ms: i64,
    pub(crate) max_timestamp_ms: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) record_count: i32,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

impl BatchHeader {
    /// Parses the head; `bytes` may go on past it. Does not read the CRC-covered records.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() < HEADER_BYTES {
            return Err(BatchError::Truncated { have: bytes.len(), need: HEADER_BYTES });
        }
        let magic = bytes[16] as i8;
        if magic != 2 {
            return Err(BatchError::OldFormat(magic));
        }
        let header = Self {
            base_offset: i64::from_be_bytes(array(bytes, 0)),
            length: i32::from_be_bytes(array(bytes, 8)),
            crc: u32::from_be_bytes(array(bytes, 17)),
            attributes: i16::from_be_bytes(array(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)),
            base_timestamp_ms: i64::from_be_bytes(array(bytes, 27)),
            max_timestamp_ms: i64::from_be_bytes(array(bytes, 35)),
            producer_id: i64::from_be_bytes(array(bytes, 43)),
            producer_epoch: i16::from_be_bytes(array(bytes, 51)),
            base_sequence: i32::from_be_bytes(array(bytes, 53)),
            record_count: i32::from_be_bytes(array(bytes, 57)),
        };
        if (header.length as i64) < (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i64 {
            return Err(BatchError::BadLength(header.length));
        }
        if header.last_offset_delta < 0 {
            return Err(BatchError::Invalid("its last offset lies before its first"));
        }
        Ok(header)
    }

    /// Whole size in the log, bytes.
    pub(crate) fn total_bytes(&self) -> usize {
        self.length as usize + LENGTH_PREFIX_BYTES
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    pub(crate) fn next_offset(&self) -> i64 {
        self.last_offset().wrapping_add(1)
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & ATTR_TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & ATTR_CONTROL != 0
    }

    /// From when on compaction may drop the tombstones or the marker in this batch; `None` if compaction has not met it.
    pub(crate) fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & ATTR_DELETE_HORIZON != 0).then_some(self.base_timestamp_ms)
    }

    /// The same head with a delete horizon. Record times are relative to it, so they must be written anew.
    pub(crate) fn with_delete_horizon(self, horizon_ms: i64) -> Self {
        Self { attributes: self.attributes | ATTR_DELETE_HORIZON, base_timestamp_ms: horizon_ms, ..self }
    }

    /// A batch that only says that these offsets were here.
    pub(crate) fn emptied(&self) -> NewBatch {
        let header = Self {
            attributes: 0,
            base_timestamp_ms: NO_TIMESTAMP_MS,
            max_timestamp_ms: NO_TIMESTAMP_MS,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
            ..*self
        };
        NewBatch { header, codec: Codec::None }
    }

    pub(crate) fn has_log_append_time(&self) -> bool {
        self.attributes & ATTR_LOG_APPEND_TIME != 0
    }

    pub(crate) fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// Sequence number of the last record; sequences wrap from `i32::MAX` to 0.
    pub(crate) fn last_sequence(&self) -> i32 {
        sequence_plus(self.base_sequence, self.last_offset_delta)
    }

    pub(crate) fn codec(&self) -> Result<Codec, BatchError> {
        let id = self.attributes & ATTR_CODEC_MASK;
        Codec::from_id(id).ok_or(BatchError::UnknownCodec(id))
    }

    /// Checks the stored CRC against `batch`, which must hold the whole batch.
    pub(crate) fn check_crc(&self, batch: &[u8]) -> Result<(), BatchError> {
        let need = self.total_bytes();
        if batch.len() < need {
            return Err(BatchError::Truncated { have: batch.len(), need });
        }
        let computed = crc32c::crc32c(&batch[CRC_COVERS_FROM..need]);
        if computed != self.crc {
            return Err(BatchError::Checksum { stored: self.crc, computed });
        }
        Ok(())
    }
}

/// `sequence + delta`, wrapping from `i32::MAX` to 0 as producers do.
pub(crate) fn sequence_plus(sequence: i32, delta: i32) -> i32 {
    ((i64::from(sequence) + i64::from(delta)) % (i64::from(i32::MAX) + 1)) as i32
}

/// One batch as a client sent it: checked, not yet placed in a log.
#[derive(Debug, Clone)]
pub(crate) struct ClientBatch {
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Bytes,
}

impl ClientBatch {
    /// Takes the records field of a produce request, which must hold exactly one v2 batch, and checks all that can be
    /// checked without decompressing it.
    pub(crate) fn parse(records: Bytes) -> Result<Self, BatchError> {
        // A message set older than v2 has its magic byte at the same place but may be shorter than a v2 head.
        if records.len() > 16 && records[16] != 2 {
            return Err(BatchError::OldFormat(records[16] as i8));
        }
        let header = BatchHeader::parse(&records)?;
        header.check_crc(&records)?;
        let invalid = |why| Err(BatchError::Invalid(why));
        if records.len() != header.total_bytes() {
            return invalid("a partition takes exactly one batch a request");
        }
        header.codec()?;
        if header.is_control() {
            return invalid("clients do not write control batches");
        }
        if header.record_count <= 0 {
            return invalid("it holds no record");
        }
        if header.last_offset_delta != header.record_count - 1 {
            return invalid("its record count and last offset disagree");
        }
        if header.has_producer() && (header.producer_epoch < 0 || header.base_sequence < 0) {
            return invalid("it has a producer id without epoch or sequence");
        }
        if header.is_transactional() && !header.has_producer() {
            return invalid("it is transactional without a producer id");
        }
        Ok(Self { header, bytes: records })
    }
}

/// How a stored batch differs from the one received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    pub(crate) base_offset: i64,
    /// Set for topics with `message.timestamp.type=LogAppendTime`: rewrites the time, hence the CRC.
    pub(crate) log_append_time_ms: Option<i64>,
}

/// Patches a whole batch in place and returns its new head.
pub(crate) fn place(batch: &mut [u8], mut header: BatchHeader, placement: Placement) -> BatchHeader {
    header.base_offset = placement.base_offset;
    batch[0..8].copy_from_slice(&header.base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&LEADER_EPOCH.to_be_bytes());
    if let Some(now_ms) = placement.log_append_time_ms {
        header.attributes |= ATTR_LOG_APPEND_TIME;
        header.max_timestamp_ms = now_ms;
        batch[21..23].copy_from_slice(&header.attributes.to_be_bytes());
        batch[35..43].copy_from_slice(&now_ms.to_be_bytes());
        header.crc = crc32c::crc32c(&batch[CRC_COVERS_FROM..]);
        batch[17..21].copy_from_slice(&header.crc.to_be_bytes());
    }
    header
}

/// Whole batches at the front of `bytes`, as (position, head); stops at the first that is cut short or is no batch.
pub(crate) fn whole_batches(bytes: &[u8]) -> impl Iterator<Item = (usize, BatchHeader)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = BatchHeader::parse(&bytes[at..]).ok()?;
        let start = at;
        let end = start + header.total_bytes();
        if end > bytes.len() {
            return None;
        }
        at = end;
        Some((start, header))
    })
}

/// What a new batch head is written from, when the broker itself makes a batch (markers, compaction).
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewBatch {
    pub(crate) header: BatchHeader,
    pub(crate) codec: Codec,
}

impl NewBatch {
    /// Attributes of a control batch inside a transaction.
    pub(crate) const CONTROL_ATTRIBUTES: i16 = ATTR_TRANSACTIONAL | ATTR_CONTROL;

    /// The whole batch: head (length, attributes' codec and CRC computed here) followed by `records` as they stand.
    pub(crate) fn encode(&self, records: &[u8]) -> Vec<u8> {
        let h = &self.header;
        let attributes = (h.attributes & !ATTR_CODEC_MASK) | self.codec.id();
        let length = (HEADER_BYTES - LENGTH_PREFIX_BYTES + records.len()) as i32;
        let mut out = Vec::with_capacity(HEADER_BYTES + records.len());
        out.extend_from_slice(&h.base_offset.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&LEADER_EPOCH.to_be_bytes());
        out.push(2);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&attributes.to_be_bytes());
        out.extend_from_slice(&h.last_offset_delta.to_be_bytes());
        out.extend_from_slice(&h.base_timestamp_ms.to_be_bytes());
        out.extend_from_slice(&h.max_timestamp_ms.to_be_bytes());
        out.extend_from_slice(&h.producer_id.to_be_bytes());
        out.extend_from_slice(&h.producer_epoch.to_be_bytes());
        out.extend_from_slice(&h.base_sequence.to_be_bytes());
        out.extend_from_slice(&h.record_count.to_be_bytes());
        out.extend_from_slice(records);
        let crc = crc32c::crc32c(&out[CRC_COVERS_FROM..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        out
    }
}
