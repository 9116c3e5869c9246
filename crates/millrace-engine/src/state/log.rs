//! The epoch log: which offsets each epoch read, and where its watermarks went.
//!
//! An entry is a length, a CRC-32C and a JSON text. A torn or damaged entry ends the log there: it can only be the last one,
//! whose transaction was never committed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{io_error, sync_dir};
use crate::error::EngineError;
use crate::job::Watermarks;

/// Offsets an epoch read from one partition: from (inclusive) to (exclusive).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The source's name in SQL.
    pub source: String,
    /// Partition.
    pub partition: i32,
    /// First offset.
    pub from: i64,
    /// Offset after the last.
    pub to: i64,
}

/// An epoch as it was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochEntry {
    /// Its number, from 1.
    pub epoch: u64,
    /// What it read.
    pub ranges: Vec<Range>,
    /// Where event time stood at its end.
    pub watermarks: Watermarks,
}

/// Longest entry, bytes.
const ENTRY_BYTES_MAX: usize = 16 << 20;

/// The log files of a job, by their first epoch.
pub(super) struct EpochLog {
    folder: PathBuf,
    segments: Vec<u64>,
    open: Option<File>,
    range: Option<(u64, u64)>,
}

fn file(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("epochs-{first:016}.log"))
}

impl EpochLog {
    pub(super) fn open(folder: &Path) -> Result<Self, EngineError> {
        let mut segments = Vec::new();
        let entries = fs::read_dir(folder).map_err(io_error(format!("cannot read {}", folder.display())))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let first: Option<u64> =
                name.strip_prefix("epochs-").and_then(|n| n.strip_suffix(".log")).and_then(|n| n.parse().ok());
            segments.extend(first);
        }
        segments.sort_unstable();
        let mut log = EpochLog { folder: folder.to_owned(), segments, open: None, range: None };
        let entries = log.read()?;
        log.range = entries.first().zip(entries.last()).map(|(first, last)| (first.epoch, last.epoch));
        Ok(log)
    }

    /// First and last epoch of the entries without a gap, counted from the last one back.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    /// The entries without a gap, counted from the last one back.
    pub(super) fn read(&self) -> Result<Vec<EpochEntry>, EngineError> {
        let mut entries: Vec<EpochEntry> = Vec::new();
        for first in &self.segments {
            let path = file(&self.folder, *first);
            let mut bytes = Vec::new();
            File::open(&path)
                .and_then(|mut file| file.read_to_end(&mut bytes))
                .map_err(io_error(format!("cannot read {}", path.display())))?;
            let (read, _) = parse(&bytes);
            for entry in read {
                if entries.last().is_some_and(|last| last.epoch + 1 != entry.epoch) {
                    entries.clear();
                }
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    pub(super) fn append(&mut self, entries: &[EpochEntry]) -> Result<(), EngineError> {
        let (Some(begin), Some(end)) = (entries.first(), entries.last()) else { return Ok(()) };
        if self.open.is_none() {
            let first = match self.segments.last() {
                Some(first) => *first,
                None => {
                    self.segments.push(begin.epoch);
                    begin.epoch
                }
            };
            self.open = Some(self.open_segment(first)?);
        }
        let file = self.open.as_mut().expect("opened above");
        let mut bytes = Vec::new();
        for entry in entries {
            let text = serde_json::to_vec(entry).expect("numbers and names");
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(crc32c::crc32c(&text).to_le_bytes());
            bytes.extend(text);
        }
        file.write_all(&bytes).and_then(|()| file.sync_data()).map_err(io_error("cannot write the epoch log"))?;
        let first = self.range.map_or(begin.epoch, |(first, _)| first);
        self.range = Some((first, end.epoch));
        Ok(())
    }

    fn open_segment(&self, first: u64) -> Result<File, EngineError> {
        let path = file(&self.folder, first);
        let open = || -> io::Result<File> {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            sync_dir(&self.folder)?;
            Ok(file)
        };
        open().map_err(io_error(format!("cannot open {}", path.display())))
    }

    /// Goes on in a new file that begins with this epoch.
    pub(super) fn roll(&mut self, first: u64) -> Result<(), EngineError> {
        if self.segments.last() != Some(&first) {
            self.open = Some(self.open_segment(first)?);
            self.segments.push(first);
        }
        Ok(())
    }

    /// Removes files whose epochs all lie before this one.
    pub(super) fn drop_before(&mut self, epoch: u64) -> Result<(), EngineError> {
        while self.segments.get(1).is_some_and(|next| *next <= epoch) {
            let path = file(&self.folder, self.segments.remove(0));
            fs::remove_file(&path).map_err(io_error(format!("cannot remove {}", path.display())))?;
        }
        self.range = self.range.map(|(first, last)| (first.max(self.segments.first().copied().unwrap_or(first)), last));
        Ok(())
    }

    /// Cuts off entries after this epoch, and anything torn.
    pub(super) fn truncate_after(&mut self, epoch: u64) -> Result<(), EngineError> {
        self.open = None;
        while let Some(first) = self.segments.last().copied() {
            let path = file(&self.folder, first);
            let cut = || -> io::Result<bool> {
                let bytes = fs::read(&path)?;
                let (entries, ends) = parse(&bytes);
                let kept = entries.iter().take_while(|entry| entry.epoch <= epoch).count();
                if kept == 0 && first > epoch {
                    fs::remove_file(&path)?;
                    sync_dir(&self.folder)?;
                    return Ok(true);
                }
                let length = kept.checked_sub(1).map_or(0, |last| ends[last]);
                let file = OpenOptions::new().write(true).open(&path)?;
                file.set_len(length as u64)?;
                file.sync_all()?;
                Ok(false)
            };
            let removed = cut().map_err(io_error(format!("cannot cut {}", path.display())))?;
            if !removed {
                break;
            }
            self.segments.pop();
        }
        let entries = self.read()?;
        self.range = entries.first().zip(entries.last()).map(|(first, last)| (first.epoch, last.epoch));
        Ok(())
    }
}

/// The whole entries of a file, and where each ends.
fn parse(bytes: &[u8]) -> (Vec<EpochEntry>, Vec<usize>) {
    let (mut entries, mut ends) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let sum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let text = bytes.get(at + 8..at + 8 + length);
        let Some(text) = text.filter(|text| length <= ENTRY_BYTES_MAX && crc32c::crc32c(text) == sum) else { break };
        let Ok(entry) = serde_json::from_slice(text) else { break };
        at += 8 + length;
        entries.push(entry);
        ends.push(at);
    }
    (entries, ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(epoch: u64) -> EpochEntry {
        let ranges = vec![Range { source: "s".into(), partition: 0, from: epoch as i64, to: epoch as i64 + 1 }];
        EpochEntry { epoch, ranges, watermarks: Watermarks { tables: vec![i64::MIN], sources: vec![] } }
    }

    fn epochs(log: &EpochLog) -> Vec<u64> {
        log.read().expect("readable").iter().map(|entry| entry.epoch).collect()
    }

    #[test]
    fn survives_a_torn_end_and_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = EpochLog::open(folder.path()).expect("open");
        for epoch in 1..=3 {
            log.append(&[entry(epoch)]).expect("append");
        }
        let path = file(folder.path(), 1);
        let whole = fs::read(&path).expect("the file");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("write");
            let mut log = EpochLog::open(folder.path()).expect("open");
            let kept = log.range().map_or(0, |(_, last)| last);
            log.truncate_after(kept).expect("truncate");
            log.append(&[entry(kept + 1)]).expect("append");
            assert_eq!(epochs(&log), (1..=kept + 1).collect::<Vec<_>>(), "cut at {cut}");
        }
    }

    #[test]
    fn rolls_and_drops() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = EpochLog::open(folder.path()).expect("open");
        for epoch in 1..=6 {
            if epoch % 2 == 1 {
                log.roll(epoch).expect("roll");
            }
            log.append(&[entry(epoch)]).expect("append");
        }
        log.drop_before(4).expect("drop");
        assert_eq!((epochs(&log), log.range()), (vec![3, 4, 5, 6], Some((3, 6))));
        log.truncate_after(4).expect("truncate");
        assert_eq!((epochs(&log), log.range()), (vec![3, 4], Some((3, 4))));
        log.append(&[entry(5)]).expect("append");
        let again = EpochLog::open(folder.path()).expect("open");
        assert_eq!((epochs(&again), again.range()), (vec![3, 4, 5], Some((3, 5))));
    }
}
