//! Opening a partition: from its checkpoint plus what was written since, or from its files alone.
//!
//! A tail that a crash tore (its checksum fails) is cut. Damage in the middle of an older segment, which only a full scan
//! can meet, costs the rest of that segment and nothing after it.

use crate::storage::batch::{BatchHeader, HEADER_BYTES};
use crate::storage::cache::SegmentCache;
use crate::storage::checkpoint::Checkpoint;
use crate::storage::error::LogError;
use crate::storage::index::{ENTRY_BYTES, Index};
use crate::storage::log::{Active, Log};
use crate::storage::marker::Marker;
use crate::storage::segment::{SegmentMeta, parse_file_name};
use crate::topics::config::LogSettings;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes read at once while scanning.
const SCAN_BYTES: usize = 1 << 20;

/// Segment files on disk: length by base offset and generation.
type Files = BTreeMap<(i64, u32), u64>;

impl Log {
    /// Opens the log in `dir`, which is made if need be, and cuts a torn tail.
    ///
    /// # Errors
    /// A file that cannot be read, written or removed.
    pub(crate) fn open(
        dir: PathBuf,
        settings: Arc<LogSettings>,
        cache: Arc<SegmentCache>,
        now_ms: i64,
    ) -> Result<Self, LogError> {
        fs::create_dir_all(&dir).map_err(LogError::io("create", &dir))?;
        crate::storage::rewrite::remove_temporary(&dir)?;
        let files = list(&dir)?;
        let mut log = Self::empty(dir, settings, cache);
        match Checkpoint::load(&log.dir)? {
            Some(checkpoint) if is_whole(&checkpoint, &files) => log.resume(checkpoint, files, now_ms)?,
            Some(_) => {
                tracing::warn!(dir = %log.dir.display(), "files named by the checkpoint are missing; reading the whole log");
                log.rebuild(files, now_ms)?;
            }
            None => log.rebuild(files, now_ms)?,
        }
        Ok(log)
    }

    /// The state a checkpoint describes.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            log_start_offset: self.log_start_offset,
            cleaned_until: self.cleaned_until,
            sealed: self.sealed.clone(),
            active: self.active.meta,
            first_append_ms: self.active.first_append_ms,
            producers: self.producers.clone(),
            aborted: self.aborted.clone(),
        }
    }

    /// Continues from a checkpoint.
    fn resume(&mut self, checkpoint: Checkpoint, mut files: Files, now_ms: i64) -> Result<(), LogError> {
        for segment in &checkpoint.sealed {
            files.remove(&(segment.base_offset, segment.generation));
        }
        self.log_start_offset = checkpoint.log_start_offset;
        self.cleaned_until = checkpoint.cleaned_until;
        self.sealed = checkpoint.sealed;
        self.producers = checkpoint.producers;
        self.aborted = checkpoint.aborted;
        let meta = checkpoint.active;
        let index =
            fs::read(meta.index_path(&self.dir)).map(|stored| Index::decode(&stored, meta.bytes)).unwrap_or_default();
        let index_stored = index.len();
        let first_append_ms = checkpoint.first_append_ms;
        self.active = Active { meta, index, index_stored, first_append_ms, ..Active::new(meta.base_offset) };
        if let Some(length) = files.remove(&(meta.base_offset, meta.generation)) {
            self.scan_tail(length, now_ms)?;
        }
        for ((base_offset, generation), length) in files {
            if generation == 0 && base_offset == self.next_offset() && self.active.meta.bytes > 0 {
                self.seal()?;
                self.scan_tail(length, now_ms)?;
            } else {
                self.remove_leftover(base_offset, generation)?;
            }
        }
        Ok(())
    }

    /// Builds everything anew from the segment files.
    fn rebuild(&mut self, files: Files, now_ms: i64) -> Result<(), LogError> {
        let mut first = true;
        let mut newest = files
            .iter()
            .map(|((base, generation), length)| (*base, (*generation, *length)))
            .collect::<BTreeMap<_, _>>();
        for (base_offset, generation) in files.keys() {
            if newest.get(base_offset).is_some_and(|(kept, _)| kept != generation) {
                self.remove_leftover(*base_offset, *generation)?;
            }
        }
        while let Some((base_offset, (generation, length))) = newest.pop_first() {
            if !first && base_offset < self.next_offset() {
                self.remove_leftover(base_offset, generation)?;
                continue;
            }
            if first {
                self.log_start_offset = base_offset;
            } else {
                self.seal()?;
            }
            first = false;
            let mut active = Active::new(base_offset);
            active.meta.generation = generation;
            self.active = active;
            self.scan_tail(length, now_ms)?;
            if self.active.meta.generation > 0 {
                // A rewritten segment is never written to again.
                self.seal()?;
            }
        }
        self.sealed.retain(|segment| segment.bytes > 0);
        self.changed = true;
        Ok(())
    }

    /// Reads the active file from where its description ends, and cuts what is not whole.
    fn scan_tail(&mut self, length: u64, now_ms: i64) -> Result<(), LogError> {
        if length == u64::from(self.active.meta.bytes) {
            return Ok(());
        }
        let file = self.active_file()?;
        let path = self.active.meta.log_path(&self.dir);
        self.scan(&file, length, now_ms).map_err(LogError::io("read", &path))?;
        let whole = u64::from(self.active.meta.bytes);
        if whole < length {
            tracing::warn!(path = %path.display(), bytes = length - whole, "cut a torn tail");
            file.set_len(whole).map_err(LogError::io("truncate", &path))?;
        }
        // Entries of the tail that was cut must not come back behind new ones.
        let path = self.active.meta.index_path(&self.dir);
        let stored = (self.active.index_stored * ENTRY_BYTES) as u64;
        match File::options().write(true).open(&path).and_then(|file| file.set_len(stored)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(LogError::io("truncate", &path)(error));
            }
            _ => {}
        }
        self.active.dirty = true;
        Ok(())
    }

    fn scan(&mut self, file: &File, length: u64, now_ms: i64) -> std::io::Result<()> {
        let mut buffer = Vec::new();
        let mut buffer_at = u64::from(self.active.meta.bytes);
        loop {
            let at = u64::from(self.active.meta.bytes);
            let mut used = (at - buffer_at) as usize;
            let mut need = HEADER_BYTES;
            // Read on until the next batch is whole in the buffer.
            let batch = loop {
                if buffer.len() < used + need {
                    let want = need.max(SCAN_BYTES).min((length - at) as usize);
                    if want < need {
                        return Ok(());
                    }
                    buffer.resize(want, 0);
                    file.read_exact_at(&mut buffer, at)?;
                    (buffer_at, used) = (at, 0);
                }
                let Ok(header) = BatchHeader::parse(&buffer[used..]) else { return Ok(()) };
                if buffer.len() >= used + header.total_bytes() {
                    break used..used + header.total_bytes();
                }
                need = header.total_bytes();
            };
            let batch = &buffer[batch];
            let Ok(header) = BatchHeader::parse(batch) else { return Ok(()) };
            if header.check_crc(batch).is_err() || header.base_offset < self.next_offset() {
                return Ok(());
            }
            let marker = Marker::decode(&header, batch);
            self.stored(&header, now_ms);
            match marker {
                Some(marker) => self.marked(&header, marker, now_ms),
                None if header.is_control() => {}
                None => self.producers.stored(&header, now_ms),
            }
        }
    }

    fn remove_leftover(&self, base_offset: i64, generation: u32) -> Result<(), LogError> {
        let meta = SegmentMeta { base_offset, generation, ..SegmentMeta::default() };
        tracing::info!(path = %meta.log_path(&self.dir).display(), "removed a segment that was no longer part of the log");
        remove_segment(&self.dir, &meta)
    }
}

/// Removes a segment's files; that they are gone already is fine.
pub(crate) fn remove_segment(dir: &Path, meta: &SegmentMeta) -> Result<(), LogError> {
    for path in [meta.log_path(dir), meta.index_path(dir)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(LogError::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn list(dir: &Path) -> Result<Files, LogError> {
    let mut files = Files::new();
    let read = |files: &mut Files| {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let Some(segment) = entry.file_name().to_str().and_then(parse_file_name) {
                files.insert(segment, entry.metadata()?.len());
            }
        }
        Ok(())
    };
    read(&mut files).map_err(LogError::io("list", dir))?;
    Ok(files)
}

/// Whether every byte that the checkpoint describes is there.
fn is_whole(checkpoint: &Checkpoint, files: &Files) -> bool {
    checkpoint.sealed.iter().chain([&checkpoint.active]).all(|segment| {
        let length = files.get(&(segment.base_offset, segment.generation)).copied().unwrap_or(0);
        length >= u64::from(segment.bytes)
    })
}
