//! The lake for those who read it: which files of a topic count, and their bytes.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use super::catalog;
use super::storage::Storage;
use crate::sink::SinkError;

/// A lake that is read.
#[derive(Debug)]
pub struct LakeReader {
    pub(super) storage: Storage,
}

/// A data file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LakeFile {
    /// Path below the lake: `TOPIC/date=…/hour=…/NAME.parquet`.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

impl LakeReader {
    /// Opens a folder, or `s3://BUCKET/PREFIX` as the environment says.
    ///
    /// # Errors
    /// `Invalid`: there is no such folder, or S3's settings.
    pub fn open(place: &Path) -> Result<Self, SinkError> {
        Ok(LakeReader { storage: Storage::open(place, false)? })
    }

    /// The files of a topic that count: each record is in one of them, once. None at all: nothing is archived yet.
    ///
    /// # Errors
    /// The lake cannot be read.
    pub async fn files(&self, topic: &str) -> Result<Vec<LakeFile>, SinkError> {
        let files = catalog::current(&self.storage, topic).await?;
        Ok(files.into_iter().map(|file| LakeFile { path: file.path, bytes: file.bytes }).collect())
    }

    /// Bytes of a file; `None`: it was merged or removed since it was listed, so list again.
    ///
    /// # Errors
    /// The lake cannot be read.
    pub async fn read(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>, SinkError> {
        self.storage.read(path, range).await
    }
}
