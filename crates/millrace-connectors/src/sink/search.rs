//! The search sink: what the result topics say goes into indices of Elasticsearch or OpenSearch, each row one document.
//!
//! ```text
//!  result topics ──▶ Reader ──▶ document (id, index) ──▶ _bulk, gzip ──▶ each item: taken · older (harmless) · again · refused
//!                      ▲                                   │ 429, 503, away: again, with back-off        │
//!                      │                                   └ too large: halves                dead_letters ◀┘
//!                      └── starts where group `millrace-search` has committed; it commits what is in the indices
//! ```
//!
//! A document's id is the row's key, its version the record's offset: the same record written again changes nothing, and an
//! older one never replaces a newer. So at least once from Kafka is once in the index. Of the versions in one request only the last
//! is sent; should it be refused, the one before it.
//!
//! Reading order: `settings` → `server` → `index` (mappings, ids, dates) → `bulk` (what the answer means) → `session` (the loop) →
//! `retention` (what leaves). Beside them `saved`: what Kibana and OpenSearch Dashboards show of the indices.

mod bulk;
mod index;
mod retention;
mod saved;
mod server;
mod session;
mod settings;

use std::sync::Arc;

use millrace_model::Contract;

pub use saved::SavedObjects;
pub use settings::{SEARCH_GROUP, SearchSettings, SearchSinkSettings};

use super::{Ended, Retries, SinkError, SinkReport, SinkStats};
use crate::shutdown::{Ending, Shutdown};
use index::Index;
use session::Session;

/// Runs the sink until it is asked to end. It waits for a server or broker that is away as long as it takes.
///
/// # Errors
/// `Invalid`: credentials that are refused, a template the server does not take, a topic that is not the one read before.
pub async fn run(
    settings: SearchSinkSettings,
    tables: Vec<Contract>,
    stats: SinkStats,
    mut shutdown: Shutdown,
) -> Result<SinkReport, SinkError> {
    settings.client.check()?;
    let mut retries = Retries::of("search sink");
    let prefix = &settings.search.index_prefix;
    let indices: Vec<Arc<Index>> = tables.iter().map(|table| Arc::new(Index::of(table, prefix))).collect();
    let server = settings.server()?;
    loop {
        let mut began = false;
        let life = async {
            let mut session = Session::open(&settings, &server, &indices, &stats).await?;
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
