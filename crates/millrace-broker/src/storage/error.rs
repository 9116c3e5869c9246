//! What can go wrong with a partition's files, and why an append is refused.

use crate::storage::batch::BatchError;
use crate::storage::record::RecordError;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file of a partition cannot be used.
#[derive(Debug, Error)]
pub(crate) enum LogError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the log took no write since {0}; restart the broker once the disk is well")]
    Failed(String),
}

impl LogError {
    /// Adds to an I/O error what was being done to which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Why a batch is not appended. The protocol error for each is chosen where produce requests are answered.
#[derive(Debug, Error)]
pub(crate) enum AppendError {
    #[error("the batch is {bytes} bytes, more than max.message.bytes = {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the batch is {bytes} bytes, more than segment.bytes = {limit}")]
    LargerThanSegment { bytes: usize, limit: usize },
    #[error("timestamp {timestamp_ms} is too far from the broker's time {now_ms}")]
    Timestamp { timestamp_ms: i64, now_ms: i64 },
    #[error("sequence {got} came where {expected} was expected")]
    OutOfOrder { expected: i32, got: i32 },
    #[error("producer epoch {got} is older than {current}")]
    Fenced { current: i16, got: i16 },
    #[error("no transaction of producer {0} was announced for this partition")]
    NoTransaction(i64),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Storage(#[from] LogError),
}
