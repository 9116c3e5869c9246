//! The journal: a small crash-safe map for everything that is not records (topics, committed offsets, groups,
//! transactions). One write is one entry of any number of changes, and either all of them survive or none.
//!
//! ```text
//!  file  [length crc changes…][length crc changes…]…      appended; a torn tail is cut at start
//!  map   key → value, the latest of each                  in memory, also the source of the next rewrite
//! ```
//! When the file has grown to several times what is alive, it is rewritten aside while writes go on, and swapped.

mod frame;

use crate::sync::{FsyncUnderWay, free_worker, lock};
use frame::{decode_frames, encode_frame};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const FILE_NAME: &str = "journal";
const ASIDE_NAME: &str = "journal.new";
/// Below this size a rewrite is not worth it.
const REWRITE_BYTES_MIN: u64 = 1 << 20;
/// The file may hold so many times the bytes alive.
const REWRITE_FACTOR: u64 = 4;

/// One change of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Vec<u8>,
    /// `None` removes the key.
    pub(crate) value: Option<Vec<u8>>,
}

impl Change {
    pub(crate) fn put(key: Vec<u8>, value: Vec<u8>) -> Self {
        Self { key, value: Some(value) }
    }

    pub(crate) fn remove(key: Vec<u8>) -> Self {
        Self { key, value: None }
    }
}

type Map = BTreeMap<Vec<u8>, Arc<[u8]>>;

#[derive(Debug)]
struct State {
    file: Arc<File>,
    file_bytes: u64,
    alive_bytes: u64,
    map: Map,
    dirty: bool,
    failed: Option<String>,
}

/// The journal of one data directory.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    state: Mutex<State>,
    /// Held while the file is forced to disk or replaced; taken before `state`.
    syncing: Mutex<()>,
    flush_turn: tokio::sync::Mutex<()>,
}

impl Journal {
    /// Opens or makes the journal in `dir` and cuts a torn tail.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let _ = fs::remove_file(dir.join(ASIDE_NAME));
        let path = dir.join(FILE_NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let stored = fs::read(&path)?;
        let mut map = Map::new();
        let whole = decode_frames(&stored, |change| apply(&mut map, change));
        if whole < stored.len() {
            tracing::warn!(bytes = stored.len() - whole, "cut a torn tail off the journal");
            file.set_len(whole as u64)?;
        }
        let alive_bytes = map.iter().map(|(key, value)| alive(key, value)).sum();
        let state =
            State { file: Arc::new(file), file_bytes: whole as u64, alive_bytes, map, dirty: false, failed: None };
        Ok(Self {
            dir: dir.to_owned(),
            state: Mutex::new(state),
            syncing: Mutex::default(),
            flush_turn: tokio::sync::Mutex::default(),
        })
    }

    /// Makes `changes` as one; they are in the page cache on return.
    ///
    /// # Errors
    /// The disk refused; nothing was changed.
    pub(crate) fn write(&self, changes: &[Change]) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let frame = encode_frame(changes);
        free_worker(|| self.append(&frame, changes))
    }

    fn append(&self, frame: &[u8], changes: &[Change]) -> io::Result<()> {
        let mut state = lock(&self.state);
        if let Some(failed) = &state.failed {
            return Err(io::Error::other(failed.clone()));
        }
        let at = state.file_bytes;
        if let Err(error) = state.file.write_all_at(frame, at) {
            if let Err(undo) = state.file.set_len(at) {
                state.failed =
                    Some(format!("the journal took no write since one failed ({error}) and was not undone ({undo})"));
            }
            return Err(error);
        }
        state.file_bytes += frame.len() as u64;
        state.dirty = true;
        for change in changes {
            let before = state.map.get(&change.key).map_or(0, |value| alive(&change.key, value));
            let after = change.value.as_ref().map_or(0, |value| alive(&change.key, value));
            state.alive_bytes = state.alive_bytes + after - before;
            apply(&mut state.map, change.clone());
        }
        Ok(())
    }

    /// All entries whose key begins with `space`, in key order.
    pub(crate) fn entries(&self, space: u8) -> Vec<(Vec<u8>, Arc<[u8]>)> {
        let state = lock(&self.state);
        let range = (Bound::Included(vec![space]), Bound::Excluded(vec![space + 1]));
        state.map.range::<Vec<u8>, _>(range).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Returns once all writes made before the call are on disk.
    ///
    /// # Errors
    /// The disk refused; the journal then takes no more writes.
    pub(crate) async fn flush(self: &Arc<Self>) -> io::Result<()> {
        let _turn = self.flush_turn.lock().await;
        let journal = self.clone();
        tokio::task::spawn_blocking(move || journal.sync())
            .await
            .unwrap_or_else(|e| Err(io::Error::other(e.to_string())))
    }

    /// Forces all writes to disk. Blocks.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let _syncing = lock(&self.syncing);
        let file = {
            let mut state = lock(&self.state);
            if !std::mem::take(&mut state.dirty) {
                return Ok(());
            }
            state.file.clone()
        };
        let _under_way = FsyncUnderWay::begin();
        file.sync_data().inspect_err(|error| {
            lock(&self.state).failed = Some(format!("the journal took no write since an fsync failed ({error})"));
        })
    }

    /// Rewrites the file if most of it is dead. Blocks, but writes go on meanwhile.
    ///
    /// # Errors
    /// The disk refused; the old file stays in use.
    pub(crate) fn rewrite_if_due(&self) -> io::Result<bool> {
        let _syncing = lock(&self.syncing);
        let (alive, from) = {
            let state = lock(&self.state);
            if state.file_bytes < REWRITE_BYTES_MIN.max(state.alive_bytes * REWRITE_FACTOR) {
                return Ok(false);
            }
            (state.map.clone(), state.file_bytes)
        };
        let aside = self.dir.join(ASIDE_NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&aside)?;
        let mut written = 0;
        for (key, value) in alive {
            let frame = encode_frame(&[Change::put(key, value.to_vec())]);
            file.write_all_at(&frame, written)?;
            written += frame.len() as u64;
        }
        file.sync_data()?;
        let mut state = lock(&self.state);
        let mut tail = vec![0; (state.file_bytes - from) as usize];
        state.file.read_exact_at(&mut tail, from)?;
        file.write_all_at(&tail, written)?;
        fs::rename(&aside, self.dir.join(FILE_NAME))?;
        state.file = Arc::new(file);
        state.file_bytes = written + tail.len() as u64;
        state.dirty = true;
        drop(state);
        // Nobody can believe a write to the new file durable before this, since `syncing` is held.
        File::open(&self.dir)?.sync_all()?;
        Ok(true)
    }
}

fn alive(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len() + frame::OVERHEAD_BYTES) as u64
}

fn apply(map: &mut Map, change: Change) {
    match change.value {
        Some(value) => map.insert(change.key, value.into()),
        None => map.remove(&change.key),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Change {
        Change::put(key.into(), value.into())
    }

    fn contents(journal: &Journal) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (b'a'..=b'z').flat_map(|space| journal.entries(space)).map(|(k, v)| (text(&k), text(&v))).collect()
    }

    #[test]
    fn the_latest_value_of_each_key_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.write(&[put("a1", "x"), put("a2", "y"), put("b1", "z")]).unwrap();
        journal.write(&[put("a1", "w"), Change::remove(b"a2".to_vec())]).unwrap();
        drop(journal);
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(contents(&journal), [("a1".into(), "w".into()), ("b1".into(), "z".into())]);
        assert_eq!(journal.entries(b'a').len(), 1);
    }

    #[test]
    fn a_torn_entry_takes_all_its_changes_with_it_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let journal = Journal::open(dir.path()).unwrap();
        journal.write(&[put("a", "old")]).unwrap();
        let before = fs::metadata(&path).unwrap().len();
        journal.write(&[put("a", "new"), put("b", "new")]).unwrap();
        let after = fs::metadata(&path).unwrap().len();
        let whole = fs::read(&path).unwrap();
        for cut in before..after {
            fs::write(&path, &whole[..cut as usize]).unwrap();
            let journal = Journal::open(dir.path()).unwrap();
            assert_eq!(contents(&journal), [("a".into(), "old".into())], "cut at {cut}");
            assert_eq!(fs::metadata(&path).unwrap().len(), before);
        }
    }

    #[test]
    fn a_rewrite_keeps_what_is_alive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let journal = Journal::open(dir.path()).unwrap();
        let value = "v".repeat(10_000);
        for round in 0..300 {
            journal.write(&[put("a", &value), put("b", &round.to_string())]).unwrap();
        }
        let before = fs::metadata(&path).unwrap().len();
        assert!(journal.rewrite_if_due().unwrap());
        assert!(!journal.rewrite_if_due().unwrap(), "now it is small");
        assert!(fs::metadata(&path).unwrap().len() < before / 100);
        journal.write(&[put("c", "after")]).unwrap();
        drop(journal);
        let journal = Journal::open(dir.path()).unwrap();
        assert_eq!(contents(&journal), [("a".into(), value), ("b".into(), "299".into()), ("c".into(), "after".into())]);
    }
}
