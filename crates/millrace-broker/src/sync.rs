//! One way to take a lock, and the wake-up of waiting fetches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Takes a lock. A panic elsewhere while it was held poisons only the request that panicked: every critical section
/// of this crate changes its state in one last step, so what the lock guards is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
