//! Everything a request may need, in one place: the components of a running broker.

use crate::clock::Clock;
use crate::groups::coordinator::Groups;
use crate::journal::Journal;
use crate::server::budget::Budget;
use crate::settings::{BrokerSettings, FsyncPolicy};
use crate::stats::Counters;
use crate::storage::cache::SegmentCache;
use crate::topics::registry::Topics;
use crate::txn::coordinator::Transactions;
use std::sync::Arc;

/// The components, shared by all connections and background tasks.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) settings: BrokerSettings,
    pub(crate) cluster_id: String,
    /// What clients are told to connect to.
    pub(crate) advertised: (String, u16),
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) cache: Arc<SegmentCache>,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) transactions: Transactions,
    pub(crate) counters: Counters,
    /// Record bytes that Fetch responses may hold at once.
    pub(crate) fetch_budget: Budget,
}

impl Node {
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub(crate) fn flushes_before_ack(&self) -> bool {
        self.settings.fsync == FsyncPolicy::BeforeAck
    }

    /// Makes journal writes durable if the policy wants that before an acknowledgement.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) async fn settle_journal(&self) -> std::io::Result<()> {
        if self.flushes_before_ack() { self.journal.flush().await } else { Ok(()) }
    }
}
