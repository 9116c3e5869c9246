//! Writing a segment aside: under a temporary name until it is whole and on disk.

use crate::storage::batch::{BatchHeader, NO_TIMESTAMP_MS};
use crate::storage::error::LogError;
use crate::storage::index::{Entry, Index};
use crate::storage::segment::SegmentMeta;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// End of the names of files that are not whole yet.
pub(crate) const TEMPORARY_SUFFIX: &str = ".new";

/// A segment being written.
#[derive(Debug)]
pub(crate) struct Rewrite {
    dir: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    meta: SegmentMeta,
    index: Index,
}

impl Rewrite {
    pub(crate) fn create(dir: &Path, base_offset: i64, generation: u32) -> io::Result<Self> {
        let meta = SegmentMeta { base_offset, generation, next_offset: base_offset, ..SegmentMeta::default() };
        let mut temporary = meta.log_path(dir).into_os_string();
        temporary.push(TEMPORARY_SUFFIX);
        let temporary = PathBuf::from(temporary);
        let file = BufWriter::with_capacity(1 << 18, File::create(&temporary)?);
        Ok(Self { dir: dir.to_owned(), temporary, file, meta, index: Index::default() })
    }

    /// Appends a whole batch.
    pub(crate) fn push(&mut self, header: &BatchHeader, batch: &[u8]) -> io::Result<()> {
        let relative_offset = (header.base_offset - self.meta.base_offset) as u32;
        let max_timestamp_before_ms = self.meta.max_timestamp_ms;
        self.index.note(Entry { relative_offset, position: self.meta.bytes, max_timestamp_before_ms });
        self.file.write_all(batch)?;
        self.meta.bytes += batch.len() as u32;
        self.meta.max_timestamp_ms = max_timestamp_before_ms.max(header.max_timestamp_ms);
        self.meta.delete_horizon_ms = self.meta.delete_horizon_ms.max(header.delete_horizon_ms());
        Ok(())
    }

    /// Forces the segment to disk and gives it its name; `None` if nothing was appended.
    pub(crate) fn finish(mut self, next_offset: i64) -> io::Result<Option<SegmentMeta>> {
        self.file.flush()?;
        if self.meta.bytes == 0 {
            fs::remove_file(&self.temporary)?;
            return Ok(None);
        }
        debug_assert!(self.meta.max_timestamp_ms >= NO_TIMESTAMP_MS);
        self.meta.next_offset = next_offset;
        self.file.get_ref().sync_data()?;
        fs::write(self.meta.index_path(&self.dir), self.index.encode(0..self.index.len()))?;
        fs::rename(&self.temporary, self.meta.log_path(&self.dir))?;
        Ok(Some(self.meta))
    }
}

/// Removes what interrupted rewrites left in `dir`.
pub(crate) fn remove_temporary(dir: &Path) -> Result<(), LogError> {
    let remove = || {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.ends_with(TEMPORARY_SUFFIX)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    remove().map_err(LogError::io("clean up", dir))
}
