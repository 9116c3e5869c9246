//! The lake: every record of the source topics as Parquet, typed and raw, once.
//!
//! ```text
//!  lake/TOPIC/date=2026-01-31/hour=09/p00003-000000001000-000000001999.parquet     by event time; partition, offsets
//!
//!  topics ──▶ buffer ──(rows, bytes, age)──▶ decode, split by hour, Parquet ──▶ files, durable ──▶ commit offsets
//!                                                                                  │
//!  at start: files whose first offset ≥ the committed one ◀── left by a crash here ┘    are deleted, and read again
//! ```
//!
//! A file is visible under its name only when it is complete and on disk: the local object store writes to a staging
//! name, fsyncs, renames and fsyncs the folder. S3 gives the same with one PUT, so the code above it stays as it is;
//! only the lock on the folder (one archiver a lake) would need another form there.
//!
//! Columns: the contract's, typed (null where a record breaks the contract), then `_partition`, `_offset`, `_timestamp`
//! (Kafka's), `_key`, `_raw` (the bytes as received, with fields no contract knows) and `_error` (why the typed columns
//! are null). A record without a credible event time lies under its Kafka time.
//!
//! Reading order: `settings` (limits) → `layout` (names) → `recovery` (what a start may delete) → `buffer` → `encode`
//! (records to files) → `files` (the folder) → `session` (the loop) → `inspect` (what is there).

mod buffer;
mod encode;
mod files;
mod inspect;
mod layout;
mod recovery;
mod session;
mod settings;

use std::sync::Arc;

use millrace_model::Contract;

pub use inspect::{LakeTopic, inspect};
pub use settings::{LAKE_GROUP, LakeLimits, LakeSettings};

use crate::shutdown::{Ending, Shutdown};
use crate::sink::{Ended, Retries, SinkError, SinkReport, SinkStats};
use files::Files;
use session::Session;

/// Archives the topics of these contracts until it is asked to end. It waits for a broker that is away as long as it
/// takes. With [`Ending::Drain`] it ends after what was in the topics when it was asked is in files; with
/// [`Ending::Stop`] what is not yet in files is read again after the next start.
///
/// # Errors
/// `Invalid`: the folder, another archiver of this folder, or offsets and files that contradict each other (the text
/// says what to do; nothing is deleted then). `Unavailable` is waited for. `Internal`: a defect.
pub async fn run(
    settings: LakeSettings,
    contracts: Vec<Contract>,
    stats: SinkStats,
    mut shutdown: Shutdown,
) -> Result<SinkReport, SinkError> {
    settings.client.check()?;
    let files = Arc::new(Files::open(&settings.folder).await?);
    let mut retries = Retries::of("lake");
    loop {
        let mut began = false;
        let life = async {
            let mut session = Session::open(&settings, &contracts, &files, &stats).await?;
            began = true;
            session.run(&mut shutdown).await
        };
        match life.await {
            Ok(Ended::Asked) => return Ok(stats.report()),
            Ok(Ended::Changed) => {}
            Err(error) => retries.wait(error, began, &stats, &mut shutdown).await?,
        }
        if shutdown.asked() == Ending::Stop {
            return Ok(stats.report());
        }
    }
}
