//! What a broker does on its own: flushing, keeping time for groups and transactions, retention.

use crate::error::BrokerError;
use crate::node::Node;
use crate::storage::cleaner::CompactionLimits;
use crate::storage::partition::Partition;
use crate::txn::coordinator::World;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// How often transactions are looked at.
const TRANSACTIONS_INTERVAL_MS: u64 = 1_000;

/// Starts all background tasks; they end when `stop` becomes true.
pub(crate) fn spawn_all(tasks: &mut JoinSet<()>, node: &Arc<Node>, stop: &watch::Receiver<bool>) {
    let settings = &node.settings;
    let flush_ms = settings.fsync.interval_ms();
    let maintenance_ms = settings.maintenance_interval_ms;
    tasks.spawn(until(stop.clone(), every(flush_ms, node.clone(), |node| blocking(node, flush))));
    tasks.spawn(until(stop.clone(), every(maintenance_ms, node.clone(), |node| blocking(node, maintain))));
    tasks.spawn(until(stop.clone(), every(TRANSACTIONS_INTERVAL_MS, node.clone(), tidy_transactions)));
    let timed = node.clone();
    tasks.spawn(until(stop.clone(), async move {
        timed.groups.keep_time(|| timed.now_ms()).await;
    }));
}

async fn until(mut stop: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn every<F: Future<Output = ()>>(interval_ms: u64, node: Arc<Node>, work: impl Fn(Arc<Node>) -> F) {
    let mut interval = tokio::time::interval(Duration::from_millis(interval_ms));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval.tick().await;
    loop {
        interval.tick().await;
        work(node.clone()).await;
    }
}

async fn blocking(node: Arc<Node>, work: fn(&Node)) {
    if let Err(error) = tokio::task::spawn_blocking(move || work(&node)).await {
        tracing::error!(%error, "a background round ended early");
    }
}

/// Forces everything to disk.
///
/// # Errors
/// The first failure; the rest is tried nevertheless.
pub(crate) fn flush_all(node: &Node) -> Result<(), BrokerError> {
    let mut result = Ok(());
    for partition in node.topics.partitions() {
        result = result.and(partition.flush_and_checkpoint().map_err(BrokerError::from));
    }
    let journal = node.journal.sync();
    result.and(journal.map_err(|source| BrokerError::Io {
        action: "flush the journal in",
        path: node.settings.data_dir.clone(),
        source,
    }))
}

fn flush(node: &Node) {
    if let Err(error) = flush_all(node) {
        tracing::error!(%error, "cannot flush");
    }
    if let Err(error) = node.journal.rewrite_if_due() {
        tracing::error!(%error, "cannot rewrite the journal");
    }
}

fn maintain(node: &Node) {
    let now_ms = node.now_ms();
    for partition in node.topics.partitions() {
        maintain_partition(node, &partition, now_ms);
    }
    node.groups.expire_offsets(now_ms - node.settings.offsets_retention_ms);
    node.topics.empty_trash();
}

fn maintain_partition(node: &Node, partition: &Partition, now_ms: i64) {
    match partition.retain(now_ms) {
        Ok(retained) if retained.segments_dropped > 0 => {
            tracing::info!(partition = %partition.id, segments = retained.segments_dropped, bytes = retained.bytes_dropped, "dropped old segments");
        }
        Ok(_) => {}
        Err(error) => tracing::error!(partition = %partition.id, %error, "cannot drop old segments"),
    }
    let limits = &node.settings.limits;
    let limits = CompactionLimits {
        keys_max: limits.compaction_keys_max,
        decompressed_bytes_max: limits.decompressed_batch_bytes_max,
    };
    match partition.compact(limits, now_ms) {
        Ok(Some(done)) => {
            tracing::info!(partition = %partition.id, bytes_before = done.bytes_before, bytes_after = done.bytes_after, "compacted");
        }
        Ok(None) => {}
        Err(error) => tracing::error!(partition = %partition.id, %error, "cannot compact"),
    }
    partition.expire_producers(now_ms - node.settings.producer_id_expiration_ms);
}

async fn tidy_transactions(node: Arc<Node>) {
    let now_ms = node.now_ms();
    let world = World { topics: &node.topics, groups: &node.groups, now_ms };
    node.transactions.tidy(world, now_ms - node.settings.transactional_id_expiration_ms).await;
}
