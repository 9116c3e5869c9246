//! Where a lake lies: a folder or a bucket, both an object store of the library, through the same few requests.
//!
//! Both promise what the lake is built on: a file is there whole or not at all, is durable when the request returns, and
//! is in every listing from then on; of several that create a file of one name, exactly one does.

use std::fmt;
use std::ops::Range;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use millrace_model::{Classified, ErrorKind};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};

use super::bucket::{self, Bucket, Environment};
use super::{durable, failure};
use crate::sink::SinkError;

/// Tries to create a file, when the answer of one is lost or another creation of this name is under way.
const CREATE_TRIES: u32 = 4;
/// Wait before the second of them, milliseconds; doubled for each further one.
const CREATE_WAIT_MS: u64 = 100;

/// A folder, or `s3://BUCKET/PREFIX`.
pub(super) struct Storage {
    store: Arc<dyn ObjectStore>,
    kind: Kind,
    name: String,
}

/// What is not the same of both.
enum Kind {
    /// It has folders that become empty, and unfinished files.
    Folder(PathBuf),
    /// It can be away, or refuse.
    Bucket { bucket: String, server: String },
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
fn bucket_of(place: &FsPath) -> Option<(String, String)> {
    let text = place.to_str()?;
    // Paths that were put together or shortened may have lost the second slash.
    let rest = text.strip_prefix("s3://").or_else(|| text.strip_prefix("s3:/"))?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    Some((bucket.to_owned(), prefix.trim_matches('/').to_owned()))
}

impl Storage {
    /// Opens it; a folder that is missing is made when it is to be written. A bucket is asked with the first request.
    ///
    /// # Errors
    /// `Invalid`: it cannot be made or read, or S3's settings.
    pub(super) fn open(place: &FsPath, to_write: bool) -> Result<Self, SinkError> {
        let name = place.display().to_string();
        let opened = match bucket_of(place) {
            Some((bucket, prefix)) => Storage::of_bucket(&bucket, &prefix, &Environment::of_process()),
            None => Storage::of_folder(place, to_write),
        };
        opened.map_err(|why| SinkError::new(ErrorKind::Invalid, format!("lake {name}: {why}")))
    }

    fn of_bucket(bucket: &str, prefix: &str, environment: &Environment) -> Result<Self, String> {
        let prefix = Path::parse(prefix).map_err(|e| e.to_string())?;
        let Bucket { store, server } = bucket::open(bucket, environment)?;
        let name = format!("s3://{bucket}/{prefix}");
        let kind = Kind::Bucket { bucket: bucket.to_owned(), server };
        Ok(Storage { store: Arc::new(PrefixStore::new(store, prefix)), kind, name })
    }

    fn of_folder(place: &FsPath, to_write: bool) -> Result<Self, String> {
        if to_write {
            std::fs::create_dir_all(place).map_err(|e| e.to_string())?;
        } else if !place.is_dir() {
            return Err("nothing is archived yet: there is no such folder".into());
        }
        let store = LocalFileSystem::new_with_prefix(place).map_err(|e| e.to_string())?;
        let name = place.display().to_string();
        Ok(Storage { store: Arc::new(store), kind: Kind::Folder(place.to_owned()), name })
    }

    /// The files below `folder/`, by name; all of them for an empty `folder`.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Object>, SinkError> {
        let listed = async {
            let folder = Path::parse(folder)?;
            self.store.list(Some(&folder)).try_collect::<Vec<ObjectMeta>>().await
        };
        let listed = listed.await.map_err(|e| self.failed("list", folder, &e))?;
        let object = |meta: ObjectMeta| Object { path: meta.location.into(), bytes: meta.size };
        let mut objects: Vec<Object> = listed.into_iter().map(object).collect();
        objects.retain(|object| !durable::is_staged(FsPath::new(&object.path)));
        objects.sort();
        Ok(objects)
    }

    /// Writes a file, over one of this name. When this returns, it is durable.
    pub(super) async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), SinkError> {
        self.write(path, bytes.into(), PutMode::Overwrite).await.map_err(|e| self.failed("write", path, &e))
    }

    /// Writes a file unless there is one of this name; whether the one that is there is this one.
    pub(super) async fn create(&self, path: &str, bytes: Vec<u8>) -> Result<bool, SinkError> {
        let bytes = Bytes::from(bytes);
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.write(path, bytes.clone(), PutMode::Create).await {
                Ok(()) => return Ok(true),
                // A creation whose answer was lost finds what it wrote itself.
                Err(error @ Error::AlreadyExists { .. }) => match self.whole(path).await? {
                    Some(there) => return Ok(there == bytes),
                    // Another creation of this name is under way: it may fail.
                    None => SinkError::new(ErrorKind::Unavailable, self.failed("create", path, &error).to_string()),
                },
                Err(error) => self.failed("create", path, &error),
            };
            if error.kind() != ErrorKind::Unavailable || tries >= CREATE_TRIES {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(CREATE_WAIT_MS << (tries - 1))).await;
        }
    }

    /// Bytes of a file; `None`: there is none of this name (any more).
    pub(super) async fn read(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>, SinkError> {
        if range.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        let wanted = range.end - range.start;
        let read = async { self.store.get_range(&Path::parse(path)?, range).await };
        let read = self.unless_missing("read", path, read.await)?;
        if let Some(bytes) = read.as_ref().filter(|bytes| bytes.len() as u64 != wanted) {
            let text = format!("lake: read {}/{path}: {} bytes of a range of {wanted}", self.name, bytes.len());
            return Err(SinkError::new(ErrorKind::Unavailable, text));
        }
        Ok(read)
    }

    /// Deletes a file; one that is not there is as good as deleted.
    pub(super) async fn delete(&self, path: &str) -> Result<(), SinkError> {
        let deleted = async { self.store.delete(&Path::parse(path)?).await };
        self.unless_missing("delete", path, deleted.await).map(|_| ())
    }

    async fn whole(&self, path: &str) -> Result<Option<Bytes>, SinkError> {
        let read = async { self.store.get(&Path::parse(path)?).await?.bytes().await };
        self.unless_missing("read", path, read.await)
    }

    async fn write(&self, path: &str, bytes: Bytes, mode: PutMode) -> object_store::Result<()> {
        match &self.kind {
            Kind::Folder(folder) => durable::put(folder, path, bytes, mode).await,
            Kind::Bucket { .. } => {
                self.store.put_opts(&Path::parse(path)?, bytes.into(), mode.into()).await.map(|_| ())
            }
        }
    }

    fn unless_missing<T>(
        &self,
        what: &str,
        path: &str,
        outcome: object_store::Result<T>,
    ) -> Result<Option<T>, SinkError> {
        match outcome {
            Ok(found) => Ok(Some(found)),
            Err(error) if failure::is_object_missing(&error) => Ok(None),
            Err(error) => Err(self.failed(what, path, &error)),
        }
    }

    /// Deletes a folder of an hour, and that of its day, when nothing is in them any more. A bucket has no folders.
    pub(super) fn delete_empty(&self, hour: &str) {
        let Kind::Folder(folder) = &self.kind else { return };
        let hour = folder.join(hour);
        // Refused while a file is in it; who writes one the moment after makes the folder again.
        if std::fs::remove_dir(&hour).is_ok()
            && let Some(day) = hour.parent()
        {
            let _ = std::fs::remove_dir(day);
        }
    }

    /// Deletes what a crash left of files that were never finished: their staging names, which no listing shows. A bucket
    /// has none.
    pub(super) fn delete_staged(&self, topic: &str) -> Result<usize, SinkError> {
        let Kind::Folder(folder) = &self.kind else { return Ok(0) };
        durable::delete_staged(&folder.join(topic))
            .map_err(|e| SinkError::new(ErrorKind::Unavailable, format!("lake {}: {e}", self.name)))
    }

    fn failed(&self, what: &str, path: &str, error: &Error) -> SinkError {
        let (kind, why) = match &self.kind {
            // A full or missing disk may be mended while the archiver waits; nothing is lost meanwhile.
            Kind::Folder(_) => (ErrorKind::Unavailable, error.to_string()),
            Kind::Bucket { bucket, server } => failure::read(error, bucket, server),
        };
        SinkError::new(kind, format!("lake: {what} {}/{path}: {why}", self.name))
    }
}

#[cfg(test)]
mod tests;
