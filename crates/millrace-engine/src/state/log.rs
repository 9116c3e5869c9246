//! The epoch log: which offsets each epoch read, and where its watermarks went.
//!
//! An entry is a length, a CRC-32C and a JSON text. A torn or damaged entry ends its file: it can only be the last one, whose
//! transaction was never committed.
//!
//! Every process that runs the job writes files of its own life, and never into those of another: one that was paused, and whose
//! transactional id another has taken over meanwhile, may write an entry before it learns that its transaction is refused. A
//! later life says with the name of its first file from which epoch on nothing of the earlier ones counts.

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

impl EpochEntry {
    /// What is committed with the epoch, so that a copy of the log with another entry for it is known: CRC-32C of its text.
    fn mark(&self) -> u32 {
        crc32c::crc32c(&self.text())
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and names")
    }
}

/// Longest entry, bytes.
const ENTRY_BYTES_MAX: usize = 16 << 20;

/// A file of the log: who wrote it, and the first epoch it may hold. Ordered as the log is read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Segment {
    life: u64,
    first: u64,
}

impl Segment {
    fn file(self, folder: &Path) -> PathBuf {
        folder.join(format!("epochs-{:016}-{:08}.log", self.first, self.life))
    }

    fn named(name: &str) -> Option<Self> {
        let (first, life) = name.strip_prefix("epochs-")?.strip_suffix(".log")?.split_once('-')?;
        Some(Segment { life: life.parse().ok()?, first: first.parse().ok()? })
    }
}

/// The log files of a job.
pub(super) struct EpochLog {
    folder: PathBuf,
    segments: Vec<Segment>,
    open: Option<File>,
    /// Epoch of the first entry.
    first: u64,
    /// Marks of the entries without a gap, counted from the last one back.
    marks: Vec<u32>,
}

impl EpochLog {
    pub(super) fn open(folder: &Path) -> Result<Self, EngineError> {
        let mut segments = Vec::new();
        let entries = fs::read_dir(folder).map_err(io_error(format!("cannot read {}", folder.display())))?;
        for entry in entries.flatten() {
            segments.extend(Segment::named(&entry.file_name().to_string_lossy()));
        }
        segments.sort_unstable();
        let mut log = EpochLog { folder: folder.to_owned(), segments, open: None, first: 0, marks: Vec::new() };
        log.measure()?;
        Ok(log)
    }

    fn measure(&mut self) -> Result<(), EngineError> {
        let entries = self.read()?;
        self.first = entries.first().map_or(0, |entry| entry.epoch);
        self.marks = entries.iter().map(EpochEntry::mark).collect();
        Ok(())
    }

    /// First and last epoch of the entries without a gap, counted from the last one back.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        let after = self.first + self.marks.len() as u64;
        (!self.marks.is_empty()).then(|| (self.first, after - 1))
    }

    /// Marks of these entries.
    pub(super) fn marks(&self) -> &[u32] {
        &self.marks
    }

    /// The life that writes now.
    pub(super) fn life(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.life)
    }

    /// Of a segment's epochs, those from here on were written in vain: a later life had begun before them.
    fn void_from(&self, segment: Segment) -> u64 {
        let later = self.segments.iter().filter(|other| other.life > segment.life);
        later.map(|other| other.first).min().unwrap_or(u64::MAX)
    }

    /// The entries without a gap, counted from the last one back.
    pub(super) fn read(&self) -> Result<Vec<EpochEntry>, EngineError> {
        let mut entries: Vec<EpochEntry> = Vec::new();
        for segment in &self.segments {
            let void = self.void_from(*segment);
            if segment.first >= void {
                continue;
            }
            let path = segment.file(&self.folder);
            let mut bytes = Vec::new();
            File::open(&path)
                .and_then(|mut file| file.read_to_end(&mut bytes))
                .map_err(io_error(format!("cannot read {}", path.display())))?;
            for entry in parse(&bytes).into_iter().filter(|entry| entry.epoch < void) {
                if entries.last().is_some_and(|last| last.epoch + 1 != entry.epoch) {
                    entries.clear();
                }
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    pub(super) fn append(&mut self, entries: &[EpochEntry]) -> Result<(), EngineError> {
        let Some(begin) = entries.first() else { return Ok(()) };
        if self.open.is_none() {
            self.begin_life(begin.epoch)?;
        }
        let file = self.open.as_mut().expect("opened above");
        let (mut bytes, mut marks) = (Vec::new(), Vec::with_capacity(entries.len()));
        for entry in entries {
            let text = entry.text();
            let mark = crc32c::crc32c(&text);
            marks.push(mark);
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(mark.to_le_bytes());
            bytes.extend(text);
        }
        file.write_all(&bytes).and_then(|()| file.sync_data()).map_err(io_error("cannot write the epoch log"))?;
        if self.range().is_none_or(|(_, last)| last + 1 != begin.epoch) {
            self.marks.clear();
            self.first = begin.epoch;
        }
        self.marks.extend(marks);
        Ok(())
    }

    fn begin_segment(&mut self, segment: Segment) -> Result<(), EngineError> {
        let path = segment.file(&self.folder);
        let made = OpenOptions::new().create_new(true).append(true).open(&path);
        let made = made.and_then(|file| sync_dir(&self.folder).map(|()| file));
        self.open = Some(made.map_err(io_error(format!("cannot make {}", path.display())))?);
        self.segments.push(segment);
        Ok(())
    }

    /// Begins a life whose first epoch is this one. Entries of earlier lives from there on count no more, and those an
    /// earlier life may still write do not either.
    pub(super) fn begin_life(&mut self, first: u64) -> Result<(), EngineError> {
        let life = self.life() + 1;
        let (kept, void): (Vec<Segment>, Vec<Segment>) =
            self.segments.iter().partition(|segment| segment.first < first);
        self.begin_segment(Segment { life, first })?;
        for segment in void {
            remove(&segment.file(&self.folder))?;
        }
        self.segments = kept;
        self.segments.push(Segment { life, first });
        self.measure()
    }

    /// Goes on in a new file that begins with this epoch.
    pub(super) fn roll(&mut self, first: u64) -> Result<(), EngineError> {
        match self.segments.last() {
            Some(last) if last.first == first => Ok(()),
            last => {
                let life = last.map_or(1, |last| last.life);
                self.begin_segment(Segment { life, first })
            }
        }
    }

    /// Removes files whose epochs all lie before this one.
    pub(super) fn drop_before(&mut self, epoch: u64) -> Result<(), EngineError> {
        while self.segments.get(1).is_some_and(|next| next.first <= epoch) {
            remove(&self.segments.remove(0).file(&self.folder))?;
        }
        if let (Some(segment), Some((from, last))) = (self.segments.first(), self.range())
            && segment.first > from
        {
            let gone = segment.first.min(last + 1) - from;
            self.marks.drain(..gone as usize);
            self.first = from + gone;
        }
        Ok(())
    }
}

/// Removes a file; one that an earlier life has removed is as good as removed.
pub(super) fn remove(path: &Path) -> Result<(), EngineError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(format!("cannot remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// The whole entries of a file.
fn parse(bytes: &[u8]) -> Vec<EpochEntry> {
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let sum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let text = bytes.get(at + 8..at + 8 + length);
        let Some(text) = text.filter(|text| length <= ENTRY_BYTES_MAX && crc32c::crc32c(text) == sum) else { break };
        let Ok(entry) = serde_json::from_slice(text) else { break };
        at += 8 + length;
        entries.push(entry);
    }
    entries
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
        let path = Segment { life: 1, first: 1 }.file(folder.path());
        let whole = fs::read(&path).expect("the file");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("write");
            let mut log = EpochLog::open(folder.path()).expect("open");
            let kept = log.range().map_or(0, |(_, last)| last);
            log.begin_life(kept + 1).expect("a life");
            log.append(&[entry(kept + 1)]).expect("append");
            assert_eq!(epochs(&log), (1..=kept + 1).collect::<Vec<_>>(), "cut at {cut}");
            remove(&Segment { life: 2, first: kept + 1 }.file(folder.path())).expect("removed");
        }
    }

    #[test]
    fn rolls_and_drops() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = EpochLog::open(folder.path()).expect("open");
        log.begin_life(1).expect("a life");
        for epoch in 1..=6 {
            if epoch % 2 == 1 {
                log.roll(epoch).expect("roll");
            }
            log.append(&[entry(epoch)]).expect("append");
        }
        log.drop_before(4).expect("drop");
        assert_eq!((epochs(&log), log.range()), (vec![3, 4, 5, 6], Some((3, 6))));
        log.begin_life(5).expect("a life");
        assert_eq!((epochs(&log), log.range()), (vec![3, 4], Some((3, 4))));
        log.append(&[entry(5)]).expect("append");
        let again = EpochLog::open(folder.path()).expect("open");
        assert_eq!((epochs(&again), again.range(), again.life()), (vec![3, 4, 5], Some((3, 5)), 2));
    }

    #[test]
    fn what_an_earlier_life_writes_later_counts_for_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut old = EpochLog::open(folder.path()).expect("open");
        for epoch in 1..=4 {
            old.append(&[entry(epoch)]).expect("append");
        }
        let mut new = EpochLog::open(folder.path()).expect("open");
        new.begin_life(5).expect("a life");
        let stray = EpochEntry { ranges: Vec::new(), ..entry(5) };
        old.append(std::slice::from_ref(&stray)).expect("append");
        new.append(&[entry(5)]).expect("append");
        old.roll(6).expect("roll");
        old.append(&[EpochEntry { epoch: 6, ..stray }]).expect("append");
        let again = EpochLog::open(folder.path()).expect("open");
        assert_eq!(again.read().expect("readable"), (1..=5).map(entry).collect::<Vec<_>>());
        new.append(&[entry(6)]).expect("append");
        let mut again = EpochLog::open(folder.path()).expect("open");
        assert_eq!(again.read().expect("readable"), (1..=6).map(entry).collect::<Vec<_>>());
        again.begin_life(7).expect("a life");
        assert_eq!((again.life(), epochs(&again)), (3, vec![1, 2, 3, 4, 5, 6]));
    }
}
