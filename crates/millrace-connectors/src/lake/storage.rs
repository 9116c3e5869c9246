//! Where a lake lies: a folder or a bucket, through the same few requests.
//!
//! Both promise what the lake is built on: a file is there whole or not at all, is durable when the request returns, and
//! is in every listing from then on; of several that create a file of one name, exactly one does.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path as FsPath, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt;
use millrace_model::ErrorKind;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::s3::S3;
use crate::sink::SinkError;

/// How the name of a file begins that is not whole yet.
const STAGED: &str = ".staged-";
/// Tries to write a file whose folder somebody deletes because it is empty.
const WRITE_TRIES: u32 = 5;
/// What an unfinished file of the local store is left alone for, minutes: another archiver may be writing it.
const STAGED_MINUTES_MIN: u64 = 60;

/// A folder, or `s3://BUCKET/PREFIX`.
pub(super) struct Storage {
    kind: Kind,
    name: String,
}

enum Kind {
    Folder { store: LocalFileSystem, folder: PathBuf },
    Bucket(S3),
}

/// A file of the lake.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Object {
    /// Path below the lake.
    pub(super) path: String,
    /// Its size.
    pub(super) bytes: u64,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({})", self.name)
    }
}

/// Bucket and prefix of `s3://BUCKET/PREFIX`; `None`: it is a folder.
fn bucket(place: &FsPath) -> Option<(String, String)> {
    let text = place.to_str()?;
    // Paths that were put together or shortened may have lost the second slash.
    let rest = text.strip_prefix("s3://").or_else(|| text.strip_prefix("s3:/"))?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    Some((bucket.to_owned(), prefix.trim_matches('/').to_owned()))
}

impl Storage {
    /// Opens it; a folder that is missing is made when it is to be written.
    ///
    /// # Errors
    /// `Invalid`: it cannot be made or read, or S3's settings.
    pub(super) fn open(place: &FsPath, to_write: bool) -> Result<Self, SinkError> {
        let name = place.display().to_string();
        if let Some((bucket, prefix)) = bucket(place) {
            if bucket.is_empty() {
                let text = format!("lake {name}: the bucket has no name; write s3://BUCKET/PREFIX");
                return Err(SinkError::new(ErrorKind::Invalid, text));
            }
            return Ok(Storage { kind: Kind::Bucket(S3::new(&bucket, &prefix)?), name });
        }
        let invalid = |detail: &dyn fmt::Display| SinkError::new(ErrorKind::Invalid, format!("lake {name}: {detail}"));
        if to_write {
            fs::create_dir_all(place).map_err(|e| invalid(&e))?;
        } else if !place.is_dir() {
            return Err(invalid(&"nothing is archived yet: there is no such folder"));
        }
        let store = LocalFileSystem::new_with_prefix(place).map_err(|e| invalid(&e))?;
        Ok(Storage { kind: Kind::Folder { store, folder: place.to_owned() }, name })
    }

    /// The files below `folder/`, by name; all of them for an empty `folder`.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Object>, SinkError> {
        let store = match &self.kind {
            Kind::Bucket(s3) => return s3.list(folder).await,
            Kind::Folder { store, .. } => store,
        };
        let prefix = (!folder.is_empty()).then(|| Path::from(folder));
        let listed: Vec<_> =
            store.list(prefix.as_ref()).try_collect().await.map_err(|e| self.failed("list", folder, &e))?;
        let object = |meta: object_store::ObjectMeta| Object { path: meta.location.into(), bytes: meta.size };
        let mut objects: Vec<Object> = listed.into_iter().map(object).collect();
        objects.retain(|object| !is_staged(FsPath::new(&object.path)));
        objects.sort();
        Ok(objects)
    }

    /// Writes a file, over one of this name. When this returns, it is durable.
    pub(super) async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), SinkError> {
        match &self.kind {
            Kind::Bucket(s3) => s3.put(path, &bytes).await,
            Kind::Folder { folder, .. } => self.store(folder, path, bytes, false).await.map(|_| ()),
        }
    }

    /// Writes a file unless there is one of this name; whether the one that is there is this one.
    pub(super) async fn create(&self, path: &str, bytes: Vec<u8>) -> Result<bool, SinkError> {
        match &self.kind {
            Kind::Bucket(s3) => s3.create(path, &bytes).await,
            Kind::Folder { folder, .. } => self.store(folder, path, bytes, true).await,
        }
    }

    /// Bytes of a file; `None`: there is none of this name (any more).
    pub(super) async fn read(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>, SinkError> {
        match &self.kind {
            Kind::Bucket(s3) => Ok(s3.read(path, range).await?.map(Bytes::from)),
            Kind::Folder { store, .. } => match store.get_range(&Path::from(path), range).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(self.failed("read", path, &e)),
            },
        }
    }

    /// Deletes a file; one that is not there is as good as deleted.
    pub(super) async fn delete(&self, path: &str) -> Result<(), SinkError> {
        match &self.kind {
            Kind::Bucket(s3) => s3.delete(path).await,
            Kind::Folder { store, .. } => match store.delete(&Path::from(path)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(e) => Err(self.failed("delete", path, &e)),
            },
        }
    }

    /// Deletes a folder of an hour, and that of its day, when nothing is in them any more. A bucket has no folders.
    pub(super) fn delete_empty(&self, hour: &str) {
        let Kind::Folder { folder, .. } = &self.kind else { return };
        let hour = folder.join(hour);
        // Refused while a file is in it; who writes one the moment after makes the folder again.
        if fs::remove_dir(&hour).is_ok()
            && let Some(day) = hour.parent()
        {
            let _ = fs::remove_dir(day);
        }
    }

    /// Deletes what a crash left of files that were never finished: their staging names, which no listing shows. A bucket
    /// has none.
    pub(super) fn delete_staged(&self, topic: &str) -> Result<usize, SinkError> {
        let Kind::Folder { folder, .. } = &self.kind else { return Ok(0) };
        let before = SystemTime::now() - Duration::from_secs(STAGED_MINUTES_MIN * 60);
        delete_staged(&folder.join(topic), before)
            .map_err(|e| SinkError::new(ErrorKind::Unavailable, format!("lake {}: {e}", self.name)))
    }

    /// Writes into a folder; whether it was written.
    async fn store(&self, folder: &FsPath, path: &str, bytes: Vec<u8>, exclusively: bool) -> Result<bool, SinkError> {
        let (folder, name) = (folder.to_owned(), path.to_owned());
        let stored = tokio::task::spawn_blocking(move || store(&folder, &name, &bytes, exclusively)).await;
        let stored = stored.map_err(io::Error::other).flatten();
        stored.map_err(|e| self.failed("write", path, &e))
    }

    fn failed(&self, what: &str, path: &str, error: &dyn fmt::Display) -> SinkError {
        // A full or missing disk may be mended while the archiver waits; nothing is lost meanwhile.
        SinkError::new(ErrorKind::Unavailable, format!("lake: {what} {}/{path}: {error}", self.name))
    }
}

/// Writes a file that is whole and durable from the moment it has its name; `exclusively`: unless there is one of this name.
/// The local object store's own writes do not wait for the disk.
fn store(folder: &FsPath, path: &str, bytes: &[u8], exclusively: bool) -> io::Result<bool> {
    let path = folder.join(path);
    let parent = path.parent().unwrap_or(folder);
    let mut tries = 0;
    let mut staged = loop {
        tries += 1;
        fs::create_dir_all(parent)?;
        // Readable for whoever the umask lets read: the lake is shared with other programs.
        let staged =
            tempfile::Builder::new().prefix(STAGED).permissions(Permissions::from_mode(0o666)).tempfile_in(parent);
        match staged {
            Err(e) if e.kind() == io::ErrorKind::NotFound && tries < WRITE_TRIES => {}
            staged => break staged?,
        }
    };
    staged.write_all(bytes)?;
    staged.as_file().sync_all()?;
    let named = if exclusively { staged.persist_noclobber(&path) } else { staged.persist(&path) };
    match named {
        Ok(_) => {}
        Err(e) if exclusively && e.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(e) => return Err(e.error),
    }
    // Its folders may be new.
    for above in parent.ancestors().take_while(|above| above.starts_with(folder)) {
        File::open(above)?.sync_all()?;
    }
    Ok(true)
}

/// Deletes the staged files below a folder that were not touched since.
fn delete_staged(folder: &FsPath, before: SystemTime) -> std::io::Result<usize> {
    let mut deleted = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if is_staged(&path) {
                // Another archiver may have finished it meanwhile.
                let old = path.metadata().and_then(|of| of.modified()).is_ok_and(|touched| touched <= before);
                deleted += usize::from(old && fs::remove_file(&path).is_ok());
            }
        }
    }
    Ok(deleted)
}

/// A file that is being written, or was when its writer died.
fn is_staged(path: &FsPath) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(STAGED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let pair = |bucket: &str, prefix: &str| Some((bucket.to_owned(), prefix.to_owned()));
        for (text, expected) in [
            ("s3://shop/lake/", pair("shop", "lake")),
            ("s3://shop", pair("shop", "")),
            ("s3:/shop/a/b", pair("shop", "a/b")),
            ("/data/lake", None),
            ("s3", None),
        ] {
            assert_eq!(bucket(FsPath::new(text)), expected, "{text}");
        }
        let nameless = Storage::open(FsPath::new("s3:///x"), false).expect_err("no bucket");
        assert!(nameless.to_string().contains("s3://BUCKET/PREFIX"), "{nameless}");
    }

    #[tokio::test]
    async fn a_folder_keeps_the_promises() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::open(&folder.path().join("lake"), true).expect("a folder");
        let path = "t/date=2026-01-31/hour=09/p00001-000000000005-000000000009.parquet";
        storage.put(path, b"first".to_vec()).await.expect("written");
        storage.put(path, b"second".to_vec()).await.expect("written over");
        assert!(storage.create("_claims/t/1", b"a".to_vec()).await.expect("created"));
        assert!(!storage.create("_claims/t/1", b"b".to_vec()).await.expect("refused"));
        let listed = storage.list("t").await.expect("listed");
        assert_eq!(listed, [Object { path: path.into(), bytes: 6 }]);
        assert_eq!(storage.list("").await.expect("listed").len(), 2);
        assert_eq!(storage.read(path, 1..3).await.expect("read").as_deref(), Some(&b"ec"[..]));
        assert_eq!(storage.read("t/none", 0..1).await.expect("nothing to read"), None);
        storage.delete(path).await.expect("deleted");
        storage.delete(path).await.expect("deleted already");
        assert!(storage.list("t").await.expect("listed").is_empty());
    }

    #[test]
    fn only_old_unfinished_files_of_its_own_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let staged = folder.path().join(".staged-x1Y2z3");
        fs::write(&staged, "half").expect("a staged file");
        fs::write(folder.path().join("notes.txt"), "not ours").expect("another file");
        assert_eq!(delete_staged(folder.path(), SystemTime::now() - Duration::from_secs(60)).expect("swept"), 0);
        assert_eq!(delete_staged(folder.path(), SystemTime::now() + Duration::from_secs(1)).expect("swept"), 1);
        assert_eq!(delete_staged(&folder.path().join("none"), SystemTime::now()).expect("nothing"), 0);
        assert!(!staged.exists() && folder.path().join("notes.txt").exists());
    }
}
