//! What the sink has done so far, for whoever asks: counters that are cheap to read while it works.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use millrace_model::Timestamp;

use super::SinkReport;

/// Shared counters. Clones are the same counters.
#[derive(Clone, Debug, Default)]
pub struct SinkStats(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    read: AtomicU64,
    rows: AtomicU64,
    set_aside: AtomicU64,
    missed: AtomicU64,
    batches: AtomicU64,
    /// Records behind the ends of the partitions, plus one; 0: not known yet.
    lag: AtomicU64,
    /// Microseconds since 1970; 0: nothing was written yet.
    last_write: AtomicI64,
    waits_for: Mutex<Option<String>>,
}

/// The counters at one moment.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct SinkSnapshot {
    /// Records read since the start.
    pub records_read: u64,
    /// Rows written since the start.
    pub rows_written: u64,
    /// Records that went to `dead_letters`.
    pub records_set_aside: u64,
    /// Records that retention deleted before they were read.
    pub records_missed: u64,
    /// Transactions of the store.
    pub batches: u64,
    /// Committed records it has not written yet; `None`: not known yet.
    pub lag_records: Option<u64>,
    /// When it last wrote.
    pub last_write: Option<Timestamp>,
    /// What it waits for, when it does: the store or the broker is away.
    pub waits_for: Option<String>,
}

impl SinkStats {
    /// The counters now.
    pub fn snapshot(&self) -> SinkSnapshot {
        let counters = &self.0;
        let report = self.report();
        SinkSnapshot {
            records_read: report.records_read,
            rows_written: report.rows_written,
            records_set_aside: report.records_set_aside,
            records_missed: report.records_missed,
            batches: counters.batches.load(Ordering::Relaxed),
            lag_records: counters.lag.load(Ordering::Relaxed).checked_sub(1),
            last_write: Some(counters.last_write.load(Ordering::Relaxed)).filter(|time| *time != 0).map(Timestamp),
            waits_for: counters.waits_for.lock().ok().and_then(|waits| waits.clone()),
        }
    }

    pub(crate) fn report(&self) -> SinkReport {
        SinkReport {
            records_read: self.0.read.load(Ordering::Relaxed),
            rows_written: self.0.rows.load(Ordering::Relaxed),
            records_set_aside: self.0.set_aside.load(Ordering::Relaxed),
            records_missed: self.0.missed.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn read(&self, records: u64) {
        self.0.read.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn wrote(&self, rows: u64, now: Timestamp) {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
        self.0.batches.fetch_add(1, Ordering::Relaxed);
        self.0.last_write.store(now.0, Ordering::Relaxed);
        self.set_waits_for(None);
    }

    pub(crate) fn set_aside(&self) {
        self.0.set_aside.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn missed(&self, records: u64) {
        self.0.missed.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn lags(&self, records: u64) {
        self.0.lag.store(records.saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn waits_for(&self, what: &str) {
        self.set_waits_for(Some(what.to_owned()));
    }

    fn set_waits_for(&self, what: Option<String>) {
        if let Ok(mut waits) = self.0.waits_for.lock() {
            *waits = what;
        }
    }
}
