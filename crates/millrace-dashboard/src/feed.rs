//! Live rows on their way into the cache, and the clock that samples the tables' progress.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::history::SAMPLE_MS;
use crate::shared::{Shared, now};

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
