//! The lake's folder as an object store: what lies in it, new files made durable, left-over ones deleted.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path as FsPath, PathBuf};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use millrace_model::ErrorKind;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::encode::DataFile;
use super::layout::FileName;
use crate::sink::SinkError;

/// The file whose lock says that an archiver is at work.
const LOCK: &str = "_lock";
/// Longest wait for an archiver that is about to end, milliseconds.
const LOCK_MS_MAX: u64 = 5_000;

/// The folder, held by one archiver.
pub(super) struct Files {
    store: Box<dyn ObjectStore>,
    folder: PathBuf,
    /// The lock goes with the file.
    _lock: File,
}

impl Files {
    /// Opens the folder, making it when it is missing. Another archiver that is about to end is waited for.
    ///
    /// # Errors
    /// `Invalid`: it cannot be made or written, or another archiver is at work in it.
    pub(super) async fn open(folder: &FsPath) -> Result<Self, SinkError> {
        let invalid =
            |detail: String| SinkError::new(ErrorKind::Invalid, format!("lake folder {}: {detail}", folder.display()));
        std::fs::create_dir_all(folder).map_err(|e| invalid(e.to_string()))?;
        let lock = File::create(folder.join(LOCK)).map_err(|e| invalid(e.to_string()))?;
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if start.elapsed() < Duration::from_millis(LOCK_MS_MAX) => {
                    tokio::time::sleep(Duration::from_millis(LOCK_MS_MAX / 50)).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let detail = "another archiver is at work in it; stop that one, or choose another folder";
                    return Err(invalid(detail.into()));
                }
                Err(TryLockError::Error(e)) => return Err(invalid(e.to_string())),
            }
        }
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|e| invalid(e.to_string()))?.with_fsync(true);
        Ok(Files { store: Box::new(store), folder: folder.to_owned(), _lock: lock })
    }

    /// The data files of a topic, with their paths. Files of other names are not ours and are left alone.
    pub(super) async fn list(&self, topic: &str) -> Result<BTreeMap<FileName, Vec<Path>>, SinkError> {
        let mut found: BTreeMap<FileName, Vec<Path>> = BTreeMap::new();
        let prefix = Path::from(topic);
        let mut objects = self.store.list(Some(&prefix));
        while let Some(object) = objects.try_next().await.map_err(|e| self.failed("list", &prefix, &e))? {
            if let Some(name) = object.location.filename().and_then(FileName::parse) {
                found.entry(name).or_default().push(object.location);
            }
        }
        Ok(found)
    }

    /// Writes a file. When this returns, the whole file is on disk under its name.
    pub(super) async fn put(&self, file: DataFile) -> Result<(), SinkError> {
        let path = Path::from(file.path);
        let put = self.store.put(&path, PutPayload::from(file.bytes)).await;
        put.map(|_| ()).map_err(|e| self.failed("write", &path, &e))
    }

    /// Deletes a file.
    pub(super) async fn delete(&self, path: &Path) -> Result<(), SinkError> {
        self.store.delete(path).await.map_err(|e| self.failed("delete", path, &e))
    }

    /// Deletes what a crash left of files that were never finished: their staging names, which no listing shows.
    pub(super) fn delete_staged(&self, topic: &str) -> Result<usize, SinkError> {
        let mut deleted = 0;
        let mut folders = vec![self.folder.join(topic)];
        let failed = |path: &FsPath, e: std::io::Error| {
            SinkError::new(ErrorKind::Unavailable, format!("lake: {}: {e}", path.display()))
        };
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(&folder, e)),
            };
            for entry in entries {
                let path = entry.map_err(|e| failed(&folder, e))?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if is_staged(&path) {
                    std::fs::remove_file(&path).map_err(|e| failed(&path, e))?;
                    deleted += 1;
                }
            }
        }
        Ok(deleted)
    }

    fn failed(&self, what: &str, path: &Path, error: &object_store::Error) -> SinkError {
        // A full or missing disk may be mended while the archiver waits; nothing is lost meanwhile.
        SinkError::new(ErrorKind::Unavailable, format!("lake: {what} {}/{path}: {error}", self.folder.display()))
    }
}

/// `p…​.parquet#1`: the name under which the local object store writes a file before it renames it.
fn is_staged(path: &FsPath) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let Some((name, upload)) = name.rsplit_once('#') else {
        return false;
    };
    FileName::parse(name).is_some() && upload.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> DataFile {
        DataFile { path: path.into(), rows: 1, bytes: b"x".to_vec() }
    }

    #[tokio::test]
    async fn one_archiver_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = Files::open(folder.path()).await.expect("free");
        let error = Files::open(folder.path()).await.err().expect("held").to_string();
        assert!(error.contains("another archiver"), "{error}");
        drop(held);
        Files::open(folder.path()).await.expect("free again");
    }

    #[tokio::test]
    async fn lists_and_deletes_what_is_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files::open(folder.path()).await.expect("a folder");
        let path = "t/date=2026-01-31/hour=09/p00001-000000000005-000000000009.parquet";
        files.put(file(path)).await.expect("written");
        files.put(file("t/notes.txt")).await.expect("written");
        std::fs::write(folder.path().join(format!("{path}#1")), "half").expect("a staged file");
        std::fs::write(folder.path().join("t/notes.txt#1"), "not ours").expect("another file");
        let listed = files.list("t").await.expect("listed");
        assert_eq!(listed.keys().collect::<Vec<_>>(), [&FileName { partition: 1, first: 5, last: 9 }]);
        assert_eq!(files.delete_staged("t").expect("swept"), 1);
        assert_eq!(files.delete_staged("no_such_topic").expect("nothing"), 0);
        for path in listed.values().flatten() {
            files.delete(path).await.expect("deleted");
        }
        assert!(files.list("t").await.expect("listed").is_empty());
        assert!(folder.path().join("t/notes.txt#1").exists());
    }
}
