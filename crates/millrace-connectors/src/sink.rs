//! The store sink: what the result topics say goes into the store's tables, each record counted exactly once.
//!
//! ```text
//!  result topics ──▶ Reader ──▶ row (fits its table?) ──▶ batch ──▶ one transaction: rows + offsets ──▶ store
//!  dead_letters        ▲             │ no                             │ store away: again, with back-off
//!  job_progress        │             ▼                                │ a row refused: halves, until it is alone
//!                      │        dead_letters ◀────────────────────────┘
//!                      └── starts where the store's offsets say; group `millrace-store` only shows the lag
//! ```
//!
//! Reading order: `settings` (limits) → `row` (a record as a row) → `session` (the loop) → `write` (retries, halves) →
//! `letters` (records set aside) → `stats`.

mod history;
mod letters;
mod row;
mod session;
mod settings;
mod stats;
mod write;

use std::fmt;

use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::{Classified, Contract, ErrorKind};

pub use settings::{BatchLimits, STORE_GROUP, StoreSinkSettings};
pub use stats::{SinkSnapshot, SinkStats};

use crate::kafka::KafkaError;
use crate::retry::jitter;
use crate::shutdown::{Ending, Shutdown};
use crate::store::{Store, StoreError};
use session::{Ended, Session};

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
        write!(f, "store sink: {}", self.text)
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

/// What a sink has done when it ends: `records_read = rows_written + records_set_aside`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SinkReport {
    /// Records read from the topics.
    pub records_read: u64,
    /// Records that are rows now; a later row of the same key has replaced an earlier one.
    pub rows_written: u64,
    /// Records that fit no row and went to `dead_letters`.
    pub records_set_aside: u64,
    /// Records that retention deleted before they were read.
    pub records_missed: u64,
}

/// Runs the sink until it is asked to end: consumes the topic of each table, from where the store says, and writes.
/// It waits for a store or broker that is away as long as it takes. With [`Ending::Drain`] it ends after what was in
/// the topics when it was asked.
///
/// # Errors
/// `Invalid`: a table that cannot be made, or a topic that is not the one that was read before (the text says what to
/// do). `Fenced`: another sink writes to this store. `Internal`: a defect.
pub async fn run(
    settings: StoreSinkSettings,
    tables: Vec<Contract>,
    store: Store,
    stats: SinkStats,
    mut shutdown: Shutdown,
) -> Result<SinkReport, SinkError> {
    settings.client.check()?;
    let policy = RetryPolicy::default();
    let mut failures = 0;
    let mut made = false;
    loop {
        let outcome = async {
            if !made {
                store.ensure_tables(&tables).await?;
                made = true;
            }
            let mut session = Session::open(&settings, &tables, &store, &stats).await?;
            // It has begun to read: whatever fails now fails for the first time.
            failures = 0;
            session.run(&mut shutdown).await
        };
        match outcome.await {
            Ok(Ended::Asked) => return Ok(stats.report()),
            Ok(Ended::Changed) => {}
            Err(error) => {
                failures += 1;
                let RetryDecision::After(wait) = after_failure(&policy, error.kind, failures, jitter()) else {
                    return Err(error);
                };
                tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "store sink waits");
                stats.waits_for(&error.text);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = shutdown.at_least(Ending::Stop) => return Ok(stats.report()),
                }
            }
        }
        if shutdown.asked() == Ending::Stop {
            return Ok(stats.report());
        }
    }
}
