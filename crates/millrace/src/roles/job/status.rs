//! What a job tells its supervisor while it runs.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Written by the job's thread, read by anyone.
#[derive(Debug, Default)]
pub(crate) struct JobStatus {
    seen: Mutex<Seen>,
    failure: Mutex<Option<String>>,
}

/// A moment's view of a job.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Epochs committed.
    pub(crate) epoch: u64,
    /// Records taken since the job's thread started.
    pub(crate) records: u64,
    /// Records behind the ends of its sources, when it last looked.
    pub(crate) lag: i64,
    /// When it last committed.
    pub(crate) committed_at: Option<Instant>,
    /// When it last looked at the ends and found itself caught up, progress told.
    pub(crate) caught_up_at: Option<Instant>,
    /// Time in the engine and the transaction.
    pub(crate) busy: Duration,
}

impl JobStatus {
    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    pub(crate) fn committed(&self, epoch: u64, records: usize, took: Duration) {
        self.change(|seen| {
            seen.epoch = epoch;
            seen.records += records as u64;
            seen.committed_at = Some(Instant::now());
            seen.busy += took;
        });
    }

    /// The lag behind the ends as they were at a moment.
    pub(crate) fn looked(&self, lag: i64, unpublished: bool, at: Instant) {
        self.change(|seen| {
            seen.lag = lag;
            if lag == 0 && !unpublished {
                seen.caught_up_at = Some(at);
            }
        });
    }

    /// The job has stopped for good, for this reason.
    pub(crate) fn failed(&self, why: String) {
        *self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(why);
    }

    /// Why it has stopped, if it has.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// All jobs have looked at the ends, and found nothing left, after the last of them wrote anything: what one job writes
/// another may read.
pub(crate) fn all_caught_up(jobs: &[Seen]) -> bool {
    let last_write = jobs.iter().filter_map(|seen| seen.committed_at).max();
    jobs.iter().all(|seen| seen.caught_up_at.is_some_and(|at| last_write.is_none_or(|write| at > write)))
}
