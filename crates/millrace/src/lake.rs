//! The lake's topics as tables of a batch query: a folder or a bucket, and a list of files that holds during the query.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use indicatif::ProgressBar;
use millrace_connectors::lake::LakeReader;
use millrace_engine::batch::{BatchSession, BytesRead, FileAtRest, FilesAtRest};

/// The lake as one query sees it.
#[derive(Debug)]
pub(crate) struct LakeTables {
    source: Arc<Source>,
}

#[derive(Debug)]
struct Source {
    reader: LakeReader,
    file_gone: AtomicBool,
    /// Shows the bytes read.
    bar: ProgressBar,
}

impl LakeTables {
    /// Opens a folder, or `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// There is no such folder, or S3's settings.
    pub(crate) fn open(place: &Path) -> anyhow::Result<Self> {
        LakeTables::open_with(place, ProgressBar::hidden())
    }

    /// The same; the bar shows the bytes that are read of those there are.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn open_with(place: &Path, bar: ProgressBar) -> anyhow::Result<Self> {
        let reader = LakeReader::open(place)?;
        Ok(LakeTables { source: Arc::new(Source { reader, file_gone: AtomicBool::new(false), bar }) })
    }

    /// Registers a topic under its name; `false`: nothing of it is archived yet.
    ///
    /// # Errors
    /// The lake cannot be read.
    pub(crate) async fn register(&self, session: &BatchSession, topic: &str) -> anyhow::Result<bool> {
        let files = self.source.reader.files(topic).await.context("cannot read the lake")?;
        if files.is_empty() {
            return Ok(false);
        }
        self.source.bar.inc_length(files.iter().map(|file| file.bytes).sum());
        let files = files.into_iter().map(|file| FileAtRest { path: file.path, bytes: file.bytes }).collect();
        session.register_lake(topic, topic, files, self.source.clone()).await?;
        Ok(true)
    }

    /// A file was merged into another, or removed, while it was read: what failed for it succeeds with a new list.
    pub(crate) fn changed(&self) -> bool {
        self.source.file_gone.load(Ordering::Relaxed)
    }
}

impl FilesAtRest for Source {
    fn read(&self, path: String, range: Range<u64>) -> BytesRead<'_> {
        Box::pin(async move {
            match self.reader.read(&path, range).await {
                Ok(Some(bytes)) => {
                    self.bar.inc(bytes.len() as u64);
                    Ok(bytes.into())
                }
                Ok(None) => {
                    self.file_gone.store(true, Ordering::Relaxed);
                    Err(format!("{path} is gone: it was merged into another file, or removed; ask again"))
                }
                Err(error) => Err(error.to_string()),
            }
        })
    }
}
