//! Counters of a running broker and the snapshot that embedders read.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a broker has done since it started, and what it holds now. Cheap to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Open connections.
    pub connections: usize,
    /// Connections closed because of a malformed frame or a limit.
    pub connections_refused: u64,
    /// Requests answered.
    pub requests: u64,
    /// Bytes of requests received.
    pub bytes_in: u64,
    /// Bytes of responses sent.
    pub bytes_out: u64,
    /// Records appended by clients, duplicates not counted.
    pub records_in: u64,
    /// Batches recognised as duplicates of stored ones.
    pub duplicate_batches: u64,
    /// Topics.
    pub topics: usize,
    /// Partitions.
    pub partitions: usize,
    /// Bytes of all logs.
    pub log_bytes: u64,
    /// Sealed segments held open.
    pub segments_open: usize,
    /// Consumer groups.
    pub groups: usize,
    /// Members of all groups.
    pub group_members: usize,
    /// Known transactional ids.
    pub transactional_ids: usize,
    /// Transactions in progress.
    pub transactions_open: usize,
}

/// The counters behind [`BrokerStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicUsize,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) records_in: AtomicU64,
    pub(crate) duplicate_batches: AtomicU64,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}

impl Counters {
    /// The part of the snapshot that is counted; what is held now is filled in by the broker.
    pub(crate) fn snapshot(&self) -> BrokerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BrokerStats {
            connections: self.connections.load(Ordering::Relaxed),
            connections_refused: read(&self.connections_refused),
            requests: read(&self.requests),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            records_in: read(&self.records_in),
            duplicate_batches: read(&self.duplicate_batches),
            ..BrokerStats::default()
        }
    }
}
