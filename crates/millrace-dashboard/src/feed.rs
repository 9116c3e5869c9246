//! Live rows on their way into the cache, what the store got late, and the clock that samples the tables' progress.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::history::SAMPLE_MS;
use crate::shared::{Shared, now};
use crate::store::recent_rows;

/// After this long the store has what was still on its way to it when the cache was filled.
const SETTLED_MS: u64 = 20_000;
/// Batches taken under one lock.
const BATCHES_AT_ONCE_MAX: usize = 64;

/// Committed result rows of one table, as they come.
#[derive(Clone, PartialEq, Debug)]
pub struct LiveBatch {
    /// Table the rows are of.
    pub table: String,
    /// The rows, in the order they were written.
    pub rows: Vec<Map<String, Value>>,
}

/// Takes batches until the sender is gone or the dashboard closes.
pub(crate) async fn follow(shared: Arc<Shared>, mut live: mpsc::Receiver<LiveBatch>) {
    let mut closing = shared.closing.subscribe();
    loop {
        let batch = tokio::select! {
            batch = live.recv() => batch,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        let Some(batch) = batch else { break };
        let version = {
            let mut cache = shared.cache_mut();
            cache.apply(&batch.table, batch.rows, Some(now()));
            // More may be waiting: one lock for it, but not so long that readers starve.
            for _ in 0..BATCHES_AT_ONCE_MAX {
                let Ok(batch) = live.try_recv() else { break };
                cache.apply(&batch.table, batch.rows, Some(now()));
            }
            cache.version()
        };
        shared.changed.send_replace(version);
    }
    tracing::warn!("live rows have ended; pages show what was there");
    shared.feed_open.store(false, Ordering::Relaxed);
}

/// Asks the store once more, after a while. A row that was committed before the live rows began, but reached the store
/// after the cache was filled, is in neither; a crash can leave some.
pub(crate) async fn complete(shared: Arc<Shared>) {
    let mut closing = shared.closing.subscribe();
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(SETTLED_MS)) => {}
        _ = closing.wait_for(|closing| *closing) => return,
    }
    let tables = shared.cache().policies();
    for (contract, policy) in tables {
        match recent_rows(&shared.store, &contract, &policy).await {
            Ok(rows) => shared.cache_mut().complete(&contract.name, rows),
            Err(error) => tracing::warn!(table = %contract.name, %error, "rows the store got late are not shown"),
        }
    }
    let version = shared.cache().version();
    shared.changed.send_replace(version);
}

/// Samples the progress of every table at a steady pace.
pub(crate) async fn sample(shared: Arc<Shared>) {
    let mut closing = shared.closing.subscribe();
    let mut ticks = tokio::time::interval(Duration::from_millis(SAMPLE_MS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
        let cache = shared.cache();
        shared.history().sample(&cache, now());
    }
}
