//! Transaction markers: the control records that end a transaction in one partition.

use crate::storage::batch::{BatchHeader, HEADER_BYTES};
use crate::storage::record::{Records, write_record};

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    Abort,
    Commit,
}

/// There is one coordinator and it never moves.
const COORDINATOR_EPOCH: i32 = 0;
/// A control record is a few dozen bytes; more is not one.
const CONTROL_RECORD_BYTES_MAX: usize = 1024;

impl Marker {
    /// The single record of the control batch.
    pub(crate) fn encode(self) -> Vec<u8> {
        let kind: i16 = match self {
            Self::Abort => 0,
            Self::Commit => 1,
        };
        let key = [0i16.to_be_bytes(), kind.to_be_bytes()].concat();
        let value = [&0i16.to_be_bytes()[..], &COORDINATOR_EPOCH.to_be_bytes()].concat();
        let mut out = Vec::with_capacity(32);
        write_record(&mut out, 0, 0, Some(&key), Some(&value));
        out
    }

    /// Reads a control batch; `None` if it is another kind of control record.
    pub(crate) fn decode(header: &BatchHeader, batch: &[u8]) -> Option<Self> {
        if !header.is_control() || header.total_bytes() > HEADER_BYTES + CONTROL_RECORD_BYTES_MAX {
            return None;
        }
        let records = Records::unpack(header, batch, CONTROL_RECORD_BYTES_MAX).ok()?;
        let key = records.iter().next()?.ok()?.key?;
        match key.get(2..4)? {
            [0, 0] => Some(Self::Abort),
            [0, 1] => Some(Self::Commit),
            _ => None,
        }
    }
}
