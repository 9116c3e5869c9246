//! The checkpoint of a partition: which files make up the log and all that is known of them, so that a start reads
//! only what was written since.
//!
//! It is also the manifest: compaction and retention take effect by replacing it (write aside, sync, rename), and files
//! that it does not name and that do not follow the active segment are left-overs.

use crate::fields::{Malformed, Reader, Writer};
use crate::storage::aborted::{Aborted, AbortedList};
use crate::storage::error::LogError;
use crate::storage::producers::{Producer, Producers, SeenBatch};
use crate::storage::segment::SegmentMeta;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const FILE_NAME: &str = "checkpoint";
const ASIDE_NAME: &str = "checkpoint.new";
/// First bytes of the file: name and version of the format.
const MAGIC: &[u8; 8] = b"MRLOGCP1";

/// Everything a log knows beyond its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) log_start_offset: i64,
    pub(crate) cleaned_until: i64,
    pub(crate) sealed: Vec<SegmentMeta>,
    /// The active segment up to the point that the rest of this checkpoint describes.
    pub(crate) active: SegmentMeta,
    pub(crate) first_append_ms: Option<i64>,
    pub(crate) producers: Producers,
    pub(crate) aborted: AbortedList,
}

impl Checkpoint {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.i64(self.log_start_offset).i64(self.cleaned_until).i64(self.first_append_ms.unwrap_or(-1));
        out.count(self.sealed.len() + 1);
        for segment in self.sealed.iter().chain([&self.active]) {
            out.i64(segment.base_offset).u32(segment.generation).i64(segment.next_offset).u32(segment.bytes);
            out.i64(segment.max_timestamp_ms).i64(segment.delete_horizon_ms.unwrap_or(-1));
        }
        out.count(self.producers.iter().count());
        for (id, producer) in self.producers.iter() {
            out.i64(id).i16(producer.epoch).i64(producer.open_from.unwrap_or(-1)).i64(producer.last_write_ms);
            out.count(producer.seen.len());
            for seen in &producer.seen {
                out.i32(seen.first_sequence).i32(seen.last_sequence).i64(seen.base_offset).i64(seen.max_timestamp_ms);
            }
        }
        out.count(self.aborted.iter().count());
        for aborted in self.aborted.iter() {
            out.i64(aborted.producer_id).i64(aborted.first_offset).i64(aborted.last_offset);
        }
        let body = out.finish();
        [MAGIC, &crc32c::crc32c(&body).to_be_bytes()[..], &body].concat()
    }

    fn decode(stored: &[u8]) -> Result<Self, Malformed> {
        let body = stored.strip_prefix(MAGIC).ok_or(Malformed)?;
        let (crc, body) = body.split_first_chunk::<4>().ok_or(Malformed)?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
            return Err(Malformed);
        }
        let mut fields = Reader::new(body);
        let known = |value: i64| Some(value).filter(|value| *value >= 0);
        let (log_start_offset, cleaned_until) = (fields.i64()?, fields.i64()?);
        let first_append_ms = known(fields.i64()?);
        let mut sealed = Vec::new();
        for _ in 0..fields.count()? {
            sealed.push(SegmentMeta {
                base_offset: fields.i64()?,
                generation: fields.u32()?,
                next_offset: fields.i64()?,
                bytes: fields.u32()?,
                max_timestamp_ms: fields.i64()?,
                delete_horizon_ms: known(fields.i64()?),
            });
        }
        let active = sealed.pop().ok_or(Malformed)?;
        let mut producers = Producers::default();
        for _ in 0..fields.count()? {
            let id = fields.i64()?;
            let (epoch, open_from, last_write_ms) = (fields.i16()?, known(fields.i64()?), fields.i64()?);
            let mut producer = Producer { epoch, open_from, last_write_ms, ..Producer::default() };
            for _ in 0..fields.count()? {
                producer.seen.push_back(SeenBatch {
                    first_sequence: fields.i32()?,
                    last_sequence: fields.i32()?,
                    base_offset: fields.i64()?,
                    max_timestamp_ms: fields.i64()?,
                });
            }
            producers.insert(id, producer);
        }
        let mut aborted = AbortedList::default();
        for _ in 0..fields.count()? {
            let (producer_id, first_offset, last_offset) = (fields.i64()?, fields.i64()?, fields.i64()?);
            aborted.push(Aborted { producer_id, first_offset, last_offset });
        }
        Ok(Self { log_start_offset, cleaned_until, sealed, active, first_append_ms, producers, aborted })
    }

    /// Reads the checkpoint of a partition; `None` if there is none or it is torn, which costs a full scan.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>, LogError> {
        let path = dir.join(FILE_NAME);
        match fs::read(&path) {
            Ok(stored) => Ok(Self::decode(&stored)
                .inspect_err(
                    |_| tracing::warn!(path = %path.display(), "checkpoint is torn; the whole log will be read"),
                )
                .ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LogError::io("read", &path)(error)),
        }
    }

    /// Replaces the stored checkpoint; `durable` forces it to disk first, which a change of the set of files needs.
    pub(crate) fn save(&self, dir: &Path, durable: bool) -> Result<(), LogError> {
        let aside = dir.join(ASIDE_NAME);
        let write = || {
            let mut file = File::create(&aside)?;
            file.write_all(&self.encode())?;
            if durable {
                file.sync_data()?;
            }
            fs::rename(&aside, dir.join(FILE_NAME))?;
            if durable { File::open(dir)?.sync_all() } else { Ok(()) }
        };
        write().map_err(LogError::io("write", &aside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::batch::BatchHeader;
    use crate::storage::testing::batch;

    fn sample() -> Checkpoint {
        let mut producers = Producers::default();
        for sequence in 0..6 {
            let sent = batch().producer(9, 3, sequence).transactional().record(5, None, None).build();
            producers.stored(&BatchHeader::parse(&sent).unwrap(), 77);
        }
        let mut aborted = AbortedList::default();
        aborted.push(Aborted { producer_id: 4, first_offset: 1, last_offset: 2 });
        let segment = SegmentMeta {
            base_offset: 5,
            generation: 2,
            next_offset: 9,
            bytes: 100,
            max_timestamp_ms: 3,
            delete_horizon_ms: Some(8),
        };
        Checkpoint {
            log_start_offset: 5,
            cleaned_until: 6,
            sealed: vec![segment],
            active: SegmentMeta { base_offset: 9, next_offset: 10, ..SegmentMeta::default() },
            first_append_ms: Some(1),
            producers,
            aborted,
        }
    }

    #[test]
    fn a_checkpoint_is_read_back_from_disk() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoint::load(dir.path()).unwrap(), None);
        for durable in [false, true] {
            sample().save(dir.path(), durable).unwrap();
            assert_eq!(Checkpoint::load(dir.path()).unwrap(), Some(sample()));
        }
    }

    #[test]
    fn any_damage_is_noticed() {
        let stored = sample().encode();
        for cut in 0..stored.len() {
            assert!(Checkpoint::decode(&stored[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..stored.len() {
            let mut damaged = stored.clone();
            damaged[at] ^= 0x10;
            assert!(Checkpoint::decode(&damaged).is_err(), "damaged at {at}");
        }
    }
}
