//! What every sink has in common: its error, its report, its counters, its retries, and the watch over its partitions.
//!
//! Reading order: this file → `stats` → `watch` (lag, new partitions) → [`store`] (tables) → [`search`] (indices). The lake ([`crate::lake`])
//! is a sink too.

pub mod search;
pub mod store;

mod stats;
pub(crate) mod watch;

use std::fmt;

use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::{Classified, ErrorKind};

pub use stats::{SinkSnapshot, SinkStats};
pub(crate) use watch::Watch;

use crate::kafka::cluster::{StartDecision, start_at};
use crate::kafka::{Extent, KafkaError, Place};
use crate::retry::jitter;
use crate::shutdown::{Ending, Shutdown};
use crate::store::StoreError;

/// Why the sink cannot go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SinkError {
    kind: ErrorKind,
    text: String,
}

impl SinkError {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        SinkError { kind, text: text.into() }
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for SinkError {}

impl Classified for SinkError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<StoreError> for SinkError {
    fn from(error: StoreError) -> Self {
        SinkError::new(error.kind(), error.to_string())
    }
}

impl From<KafkaError> for SinkError {
    fn from(error: KafkaError) -> Self {
        SinkError::new(error.kind(), error.to_string())
    }
}

/// What a sink has done when it ends. In a run without a crash `records_read = rows_written + records_set_aside`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SinkReport {
    /// Records read from the topics.
    pub records_read: u64,
    /// Records that are rows now; in a table a later row of the same key has replaced an earlier one.
    pub rows_written: u64,
    /// Records that fit no row and went to `dead_letters`. The lake sets none aside: it keeps them as they are.
    pub records_set_aside: u64,
    /// Records that retention deleted before they were read.
    pub records_missed: u64,
}

/// Why a session of a sink ended without an error.
pub(crate) enum Ended {
    /// The sink was asked to end.
    Asked,
    /// Topics or positions are not what they were: begin again.
    Changed,
}

/// The back-off of a sink whose sessions fail.
pub(crate) struct Retries {
    sink: &'static str,
    policy: RetryPolicy,
    failures: u32,
}

impl Retries {
    /// For the sink of this name.
    pub(crate) fn of(sink: &'static str) -> Self {
        Retries { sink, policy: RetryPolicy::default(), failures: 0 }
    }

    /// Waits before the next session, or not at all when asked to stop. A session that had begun to read failed for the
    /// first time.
    ///
    /// # Errors
    /// The error, when trying again does not help.
    pub(crate) async fn wait(
        &mut self,
        error: SinkError,
        had_begun: bool,
        stats: &SinkStats,
        shutdown: &mut Shutdown,
    ) -> Result<(), SinkError> {
        self.failures = if had_begun { 1 } else { self.failures + 1 };
        let RetryDecision::After(wait) = after_failure(&self.policy, error.kind, self.failures, jitter()) else {
            return Err(SinkError::new(error.kind, format!("{}: {}", self.sink, error.text)));
        };
        tracing::warn!(sink = self.sink, %error, wait_ms = wait.as_millis() as u64, "waits and tries again");
        stats.waits_for(&error.text);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.at_least(Ending::Stop) => {}
        }
        Ok(())
    }
}

/// Where to start in a partition, from what the store and the cluster say.
pub(crate) fn start(
    place: &Place,
    stored: Option<i64>,
    extent: Option<Extent>,
    stats: &SinkStats,
    remedy: &str,
) -> Result<i64, SinkError> {
    let Place { topic, partition } = place;
    let Some(extent) = extent else {
        return Err(SinkError::new(
            ErrorKind::Unavailable,
            format!("topic `{topic}` partition {partition} has no end"),
        ));
    };
    match start_at(stored, extent) {
        StartDecision::At(at) => Ok(at),
        StartDecision::Gap { at, missed } => {
            tracing::warn!(topic = &**topic, partition, missed, "records were deleted before they were read");
            stats.missed(missed.unsigned_abs());
            Ok(at)
        }
        StartDecision::Ahead { stored, end } => Err(SinkError::new(
            ErrorKind::Invalid,
            format!(
                "topic `{topic}` partition {partition} ends at offset {end}, but it was read up to {stored} before: the \
                 topic is not the one that was read; {remedy}"
            ),
        )),
    }
}
