//! The store sink: what the result topics say goes into the store's tables, each record counted exactly once.
//!
//! ```text
//!  result topics ──▶ Reader ──▶ row (fits its table?) ──▶ batch ──▶ one transaction: rows + offsets ──▶ store
//!  dead_letters        ▲             │ no                             │ store away: again, with back-off
//!  job_progress        │             ▼                                │ a row refused: halves, until it is alone
//!                      │        dead_letters ◀────────────────────────┘
//!                      └── starts where the store's offsets say; group `millrace-store` shows the lag and, when several
//!                          sinks share the work, divides the partitions
//! ```
//!
//! Reading order: `settings` (limits) → `row` (a record as a row, its `cells`) → `session` (the loop) → `write` (retries, halves) →
//! `letters` (records set aside) → `history` (progress for trends) → `retention` (what leaves).

mod cells;
mod history;
mod letters;
mod retention;
mod row;
mod session;
mod settings;
mod write;

use std::sync::Arc;

use millrace_model::{Classified, Contract, ErrorKind};

pub use retention::Retention;
pub use settings::{BatchLimits, STORE_GROUP, StoreSinkSettings};

use super::{Ended, Retries, SinkError, SinkReport, SinkStats};
use crate::kafka::member::Member;
use crate::shutdown::{Ending, Shutdown};
use crate::store::Store;
use session::Session;

/// Runs the sink until it is asked to end: consumes the topic of each table, from where the store says, and writes.
/// It waits for a store or broker that is away as long as it takes. With [`Ending::Drain`] it ends after what was in
/// the topics when it was asked.
///
/// # Errors
/// `Invalid`: a table that cannot be made, or a topic that is not the one that was read before (the text says what to
/// do). `Fenced`: another sink writes to this store, and they do not share it. `Internal`: a defect.
pub async fn run(
    settings: StoreSinkSettings,
    tables: Vec<Contract>,
    store: Store,
    stats: SinkStats,
    mut shutdown: Shutdown,
) -> Result<SinkReport, SinkError> {
    settings.client.check()?;
    let mut retries = Retries::of("store sink");
    let mut made = false;
    let topics: Vec<Arc<str>> = tables.iter().map(|table| Arc::from(table.name.as_str())).collect();
    let member = match settings.shared {
        true => Some(Member::join(&settings.client, STORE_GROUP, &topics)?),
        false => None,
    };
    loop {
        let mut began = false;
        let life = async {
            if !made {
                store.ensure_tables(&tables).await?;
                made = true;
            }
            let session = Session::open(&settings, &tables, &store, &stats, member.as_ref(), &mut shutdown).await?;
            let Some(mut session) = session else { return Ok(Ended::Asked) };
            began = true;
            session.run(&mut shutdown).await
        };
        match life.await {
            Ok(Ended::Asked) => return Ok(stats.report()),
            Ok(Ended::Changed) => {}
            // The partition's last owner was still writing: its offsets are read again.
            Err(error) if member.is_some() && error.kind() == ErrorKind::Fenced => {
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
