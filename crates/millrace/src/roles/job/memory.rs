//! How much memory the state of all jobs may take together. A job that holds its share of a full memory waits: it takes no more
//! records, they stay in Kafka, and it goes on when others have let go of theirs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all jobs of this process hold.
#[derive(Debug)]
pub(crate) struct StateMemory {
    bytes_max: usize,
    held: Mutex<BTreeMap<String, usize>>,
}

impl StateMemory {
    /// `bytes_max`: of all jobs together, as they estimate their state.
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(StateMemory { bytes_max, held: Mutex::default() })
    }

    /// A job's part of it, given back when it is dropped.
    pub(crate) fn share(self: &Arc<Self>, job: &str) -> Share {
        Share { of: self.clone(), job: job.to_owned() }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one job holds.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<StateMemory>,
    job: String,
}

impl Share {
    /// Notes what the job holds now. When all together hold too much, and this job not less than half of an equal part, it says
    /// so: the job must wait. Those that hold less go on, so together they never hold more than half as much again.
    pub(crate) fn hold(&self, bytes: usize) -> Option<String> {
        let mut held = self.of.held();
        held.insert(self.job.clone(), bytes);
        let (all, most) = (held.values().sum::<usize>(), self.of.bytes_max);
        (all > most && bytes > most / (2 * held.len())).then(|| {
            format!(
                "waits for memory: the state of all jobs takes {} MiB and may take {} (engine.state_bytes_max), {} of it is this \
                 job's; its records wait in Kafka. Raise the limit, or use fewer keys or shorter windows",
                all >> 20,
                most >> 20,
                bytes >> 20
            )
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.held().remove(&self.job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_wait_and_the_small_go_on() {
        let memory = StateMemory::new(100 << 20);
        let [large, middle, small] = ["large", "middle", "small"].map(|job| memory.share(job));
        let mib = |share: &Share, mib: usize| share.hold(mib << 20);
        assert_eq!((mib(&large, 60), mib(&middle, 30), mib(&small, 10)), (None, None, None));
        let why = mib(&middle, 31).expect("full");
        assert!(why.contains("101 MiB and may take 100") && why.contains(" 31 of it"), "{why}");
        assert!(mib(&large, 60).is_some());
        assert_eq!(mib(&small, 16), None, "less than half of a third");
        assert!(mib(&small, 17).is_some());
        drop(middle);
        assert_eq!(mib(&large, 60), None);
    }
}
