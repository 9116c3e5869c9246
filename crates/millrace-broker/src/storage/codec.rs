//! The five codecs of record batches, each decompressing into a bounded buffer so that no batch is a bomb.

use std::io::{Read, Write};
use thiserror::Error;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// A batch whose records cannot be unpacked.
#[derive(Debug, Error)]
pub(crate) enum CodecError {
    #[error("records do not decompress as {codec:?}: {detail}")]
    Broken { codec: Codec, detail: String },
    #[error("records are larger than {limit} bytes when decompressed; see decompressed_batch_bytes_max")]
    TooLarge { limit: usize },
}

/// Head of the framing that the Java and C clients put around raw snappy blocks (xerial's stream format).
const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";
const XERIAL_MAGIC_BYTES: usize = 8;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

impl Codec {
    pub(crate) fn from_id(id: i16) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd].into_iter().find(|codec| codec.id() == id)
    }

    /// The codec's number in the attributes of a batch.
    pub(crate) fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Unpacks `packed`; an error if it is broken or would exceed `limit` bytes.
    pub(crate) fn decompress(self, packed: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::None => Ok(packed.to_vec()),
            Self::Gzip => self.read_bounded(flate2::read::MultiGzDecoder::new(packed), limit),
            Self::Lz4 => self.read_bounded(lz4_flex::frame::FrameDecoder::new(packed), limit),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|e| self.broken(e))?;
                self.read_bounded(decoder, limit)
            }
            Self::Snappy => self.unsnap(packed, limit),
        }
    }

    /// Packs `plain`; used only when the broker rewrites a batch.
    pub(crate) fn compress(self, plain: &[u8]) -> Result<Vec<u8>, CodecError> {
        let broken = |e: std::io::Error| self.broken(e);
        match self {
            Self::None => Ok(plain.to_vec()),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(plain).and_then(|()| encoder.finish()).map_err(broken)
            }
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(plain).map_err(broken)?;
                encoder.finish().map_err(|e| self.broken(e))
            }
            Self::Zstd => zstd::stream::encode_all(plain, 3).map_err(broken),
            Self::Snappy => self.snap(plain),
        }
    }

    fn broken(self, detail: impl std::fmt::Display) -> CodecError {
        CodecError::Broken { codec: self, detail: detail.to_string() }
    }

    fn read_bounded(self, reader: impl Read, limit: usize) -> Result<Vec<u8>, CodecError> {
        let mut plain = Vec::new();
        reader.take(limit as u64 + 1).read_to_end(&mut plain).map_err(|e| self.broken(e))?;
        if plain.len() > limit { Err(CodecError::TooLarge { limit }) } else { Ok(plain) }
    }

    fn snap(self, plain: &[u8]) -> Result<Vec<u8>, CodecError> {
        let mut out = XERIAL_HEADER.to_vec();
        let mut encoder = snap::raw::Encoder::new();
        for block in plain.chunks(XERIAL_BLOCK_BYTES) {
            let packed = encoder.compress_vec(block).map_err(|e| self.broken(e))?;
            out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
            out.extend_from_slice(&packed);
        }
        Ok(out)
    }

    fn unsnap(self, packed: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
        let mut plain = Vec::new();
        if !packed.starts_with(&XERIAL_HEADER[..XERIAL_MAGIC_BYTES]) {
            self.unsnap_block(packed, limit, &mut plain)?;
            return Ok(plain);
        }
        let mut rest = packed.get(XERIAL_HEADER.len()..).ok_or_else(|| self.broken("the stream head is cut short"))?;
        while !rest.is_empty() {
            let (length, after) =
                rest.split_first_chunk::<4>().ok_or_else(|| self.broken("a block head is cut short"))?;
            let length = u32::from_be_bytes(*length) as usize;
            let block = after.get(..length).ok_or_else(|| self.broken("a block is cut short"))?;
            self.unsnap_block(block, limit, &mut plain)?;
            rest = &after[length..];
        }
        Ok(plain)
    }

    fn unsnap_block(self, block: &[u8], limit: usize, plain: &mut Vec<u8>) -> Result<(), CodecError> {
        let length = snap::raw::decompress_len(block).map_err(|e| self.broken(e))?;
        let start = plain.len();
        if start.saturating_add(length) > limit {
            return Err(CodecError::TooLarge { limit });
        }
        plain.resize(start + length, 0);
        snap::raw::Decoder::new().decompress(block, &mut plain[start..]).map_err(|e| self.broken(e))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn every_codec_gives_back_what_it_packed() {
        let plain: Vec<u8> = (0..100_000u32).map(|i| (i / 7) as u8).collect();
        for codec in ALL {
            let packed = codec.compress(&plain).unwrap();
            assert_eq!(codec.decompress(&packed, plain.len()).unwrap(), plain, "{codec:?}");
            assert_eq!(Codec::from_id(codec.id()), Some(codec));
        }
        assert_eq!(Codec::from_id(5), None);
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        let plain = vec![0u8; 1_000_000];
        for codec in &ALL[1..] {
            let packed = codec.compress(&plain).unwrap();
            assert!(packed.len() < 60_000, "{codec:?}");
            let refused = codec.decompress(&packed, 999_999).unwrap_err();
            assert!(matches!(refused, CodecError::TooLarge { limit: 999_999 }), "{codec:?}: {refused}");
        }
    }

    #[test]
    fn broken_input_is_an_error_for_every_codec() {
        for codec in &ALL[1..] {
            for junk in [&b"junk that is no stream"[..], &[0xff; 40], &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 1]]
            {
                assert!(codec.decompress(junk, 1 << 20).is_err(), "{codec:?} took {junk:?}");
            }
        }
    }
}
