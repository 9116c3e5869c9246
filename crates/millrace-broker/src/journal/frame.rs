//! The bytes of a journal entry: a length and a checksum before its changes.

use crate::fields::{Malformed, Reader, Writer};
use crate::journal::Change;

/// Bytes of an entry with one change, beyond its key and value.
pub(super) const OVERHEAD_BYTES: usize = 8 + 4 + 1 + 4 + 4;

/// One entry.
pub(super) fn encode_frame(changes: &[Change]) -> Vec<u8> {
    let mut body = Writer::new();
    body.count(changes.len());
    for change in changes {
        match &change.value {
            Some(value) => body.u8(1).bytes(&change.key).bytes(value),
            None => body.u8(0).bytes(&change.key),
        };
    }
    let body = body.finish();
    let length = u32::try_from(body.len()).expect("an entry is bounded by the request that caused it");
    [&length.to_be_bytes()[..], &crc32c::crc32c(&body).to_be_bytes(), &body].concat()
}

/// Reads entries until the first that is not whole, and gives the bytes up to there.
pub(super) fn decode_frames(stored: &[u8], mut each: impl FnMut(Change)) -> usize {
    let mut at = 0;
    while let Some((length, changes)) = decode_frame(&stored[at..]) {
        changes.into_iter().for_each(&mut each);
        at += length;
    }
    at
}

fn decode_frame(stored: &[u8]) -> Option<(usize, Vec<Change>)> {
    let (length, rest) = stored.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let body = rest.get(..length)?;
    if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
        return None;
    }
    Some((length + 8, decode_changes(body).ok()?))
}

fn decode_changes(body: &[u8]) -> Result<Vec<Change>, Malformed> {
    let mut fields = Reader::new(body);
    let mut changes = Vec::new();
    for _ in 0..fields.count()? {
        let is_put = fields.u8()? == 1;
        let key = fields.bytes()?.to_vec();
        let value = if is_put { Some(fields.bytes()?.to_vec()) } else { None };
        changes.push(Change { key, value });
    }
    if fields.is_empty() && !changes.is_empty() { Ok(changes) } else { Err(Malformed) }
}
