//! The lake: every record of the source topics as Parquet, typed and raw, once; in a folder or an S3 bucket.
//!
//! ```text
//!  lake/TOPIC/date=2026-01-31/hour=09/p00003-000000001000-000000001999.parquet     by event time; partition, offsets
//!
//!  topics ──▶ buffer ──(rows, bytes, age)──▶ decode, split by hour, Parquet ──▶ claim ──▶ files, durable ──▶ commit offsets
//!                                                                                │
//!  at start, and when a partition is taken over: the batch that is claimed but ◀─┘ not committed is written again
//! ```
//!
//! A file is visible under its name only when it is complete and durable. Several archivers divide the partitions as members
//! of a consumer group; that none of them, however late it wakes up, writes a record a second time, is what the claims are
//! for (decision 14).
//!
//! Columns: the contract's, typed (null where a record breaks the contract), then `_partition`, `_offset`, `_timestamp`
//! (Kafka's), `_key`, `_raw` (the bytes as received, with fields no contract knows) and `_error` (why the typed columns
//! are null). A record without a credible event time lies under its Kafka time.
//!
//! Reading order: `settings` (limits) → `layout` (names) → `storage` (folder: `durable`; or bucket: `bucket`, `failure`) → `catalog` (which files count)
//! → `claims` → `recovery` (what a start does) → `start` → `buffer` → `encode` (records to files) → `write` → `session` (the
//! loop) → `merge` (small files into one) → `retention` (old days) → `inspect`, `reader` (what is there) → `read` (the records again) → `past`, `ordered`
//! (the records again as the partitions had them: from where to where, in the order of offsets).

mod bucket;
mod buffer;
mod catalog;
mod claims;
mod durable;
mod encode;
mod failure;
mod inspect;
mod layout;
mod merge;
mod ordered;
mod past;
mod read;
mod reader;
mod recovery;
mod retention;
mod session;
mod settings;
mod start;
mod storage;
mod write;

use std::sync::Arc;

use millrace_model::{Classified, Contract, ErrorKind};

pub use encode::to_parquet;
pub use inspect::{LakeTopic, inspect};
pub use ordered::{LakeBatch, LakePartition, LakeRange, LakeRun};
pub use past::{LakePart, LakeSpan};
pub use read::{LakeRecord, read};
pub use reader::{LakeFile, LakeReader};
pub use settings::{LAKE_GROUP, LakeLimits, LakeSettings, MergeSettings};

use crate::kafka::member::Member;
use crate::shutdown::{Ending, Shutdown};
use crate::sink::{Ended, Retries, SinkError, SinkReport, SinkStats};
use session::{Session, Tools};
use storage::Storage;

/// Archives the topics of these contracts until it is asked to end. It waits for a broker or bucket that is away as long as
/// it takes. With [`Ending::Drain`] it ends after what was in the topics when it was asked is in files; with
/// [`Ending::Stop`] what is not yet in files is read again after the next start.
///
/// # Errors
/// `Invalid`: the folder or bucket, or offsets and files that contradict each other (the text says what to do; nothing is
/// deleted then). `Unavailable` and `Fenced` (another archiver was faster) are waited for. `Internal`: a defect.
pub async fn run(
    settings: LakeSettings,
    contracts: Vec<Contract>,
    stats: SinkStats,
    mut shutdown: Shutdown,
) -> Result<SinkReport, SinkError> {
    settings.client.check()?;
    let storage = Arc::new(Storage::open(&settings.place, true)?);
    let topics: Vec<Arc<str>> = contracts.iter().map(|contract| Arc::from(contract.name.as_str())).collect();
    let member = match settings.shared {
        true => Some(Member::join(&settings.client, LAKE_GROUP, &topics)?),
        false => None,
    };
    let mut retries = Retries::of("lake");
    loop {
        let mut began = false;
        let life = async {
            let (settings, contracts, storage, stats) = (&settings, &contracts[..], &storage, &stats);
            let tools = Tools { settings, contracts, storage, stats, member: member.as_ref() };
            let Some(mut session) = Session::open(&tools, &mut shutdown).await? else { return Ok(Ended::Asked) };
            began = true;
            session.run(&mut shutdown).await
        };
        match life.await {
            Ok(Ended::Asked) => return Ok(stats.report()),
            Ok(Ended::Changed) => {}
            // Whoever has the partition now goes on with it; the next session sees what there is to do.
            Err(error) if error.kind() == ErrorKind::Fenced => {
                let again = SinkError::new(ErrorKind::Unavailable, error.to_string());
                retries.wait(again, began, &stats, &mut shutdown).await?;
            }
            Err(error) => retries.wait(error, began, &stats, &mut shutdown).await?,
        }
        if shutdown.asked() == Ending::Stop {
            return Ok(stats.report());
        }
    }
}
