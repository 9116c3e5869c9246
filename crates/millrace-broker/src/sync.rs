//! One way to take a lock, the wake-up of waiting fetches, and keeping writes off the runtime's workers while the disk is busy.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Notify;

/// Takes a lock. A panic elsewhere while it was held poisons only the request that panicked: every critical section
/// of this crate changes its state in one last step, so what the lock guards is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forced writes under way in this process.
static FSYNCS: AtomicUsize = AtomicUsize::new(0);

/// Says that a file is being forced to disk, until dropped.
#[derive(Debug)]
pub(crate) struct FsyncUnderWay;

impl FsyncUnderWay {
    pub(crate) fn begin() -> Self {
        FSYNCS.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for FsyncUnderWay {
    fn drop(&mut self) {
        FSYNCS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs something that writes to the page cache or takes a lock under which others do. That takes microseconds, except
/// while some file is being forced to disk: then the file system may hold it up for as long as that takes. So then it
/// runs where it does not hold up a worker of the runtime.
pub(crate) fn free_worker<T>(work: impl FnOnce() -> T) -> T {
    let may_wait = FSYNCS.load(Ordering::Relaxed) > 0;
    let has_workers =
        || Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if may_wait && has_workers() { tokio::task::block_in_place(work) } else { work() }
}

/// Wakes fetches that wait for a partition to grow.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Mutex<HashMap<u64, Arc<Notify>>>,
}

/// A fetch's place among the waiters of one partition; leaving is dropping it.
#[derive(Debug)]
pub(crate) struct Waiting {
    id: u64,
    waiters: Arc<Waiters>,
}

static NEXT_WAITER: AtomicU64 = AtomicU64::new(0);

impl Waiters {
    /// From now on `notify` is told of every growth.
    pub(crate) fn enter(self: &Arc<Self>, notify: &Arc<Notify>) -> Waiting {
        let id = NEXT_WAITER.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(id, notify.clone());
        Waiting { id, waiters: self.clone() }
    }

    /// Tells all waiters to look again.
    pub(crate) fn wake(&self) {
        for notify in lock(&self.waiting).values() {
            notify.notify_one();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.waiters.waiting).remove(&self.id);
    }
}
