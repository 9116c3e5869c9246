//! One reader a topic for all jobs of a process: records are fetched once and decoded once, however many pipelines read them.
//!
//! ```text
//!                    ┌ reader of user_events ┐   window            ┌▶ job `metrics`
//!  Kafka ──records──▶│ fetch ─▶ decode       │──▶ ▇▇▇▇▇▇▇▇ ──────────┼▶ job `sessions`      each at its own pace
//!                    └───────────────────────┘   (limited)         └▶ job `recommendations`
//! ```
//!
//! A reader begins where the first job that comes stands, with every column that any pipeline of the process needs, and ends
//! when no job is left. Jobs go through the window at their own pace and keep their own offsets; which of them is where is
//! decided in [`window`]. A topic that only one job wants, the job reads for itself.

mod chunk;
mod reading;
mod window;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace_connectors::kafka::{ClientSettings, KafkaError};
use millrace_engine::JobSettings;
use millrace_engine::plan::SourcePlan;
use millrace_engine::sql::Origin;
use millrace_model::{Classified, Contract, ErrorKind};

pub(crate) use window::Slice;
use window::Window;

use super::topic_of;

/// The readers of a process.
#[derive(Debug)]
pub(crate) struct Readers {
    settings: JobSettings,
    /// What the jobs of this process want of their topics, and how many want it.
    wanted: Vec<(Wanted, usize)>,
    running: Mutex<Vec<Arc<Reader>>>,
}

/// What is read of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) topic: String,
    contract: Contract,
    columns: BTreeSet<String>,
}

impl Wanted {
    /// What a source of a job wants; `None` for a file.
    pub(crate) fn of(source: &SourcePlan) -> Option<Self> {
        let Origin::Topic(_) = &source.origin else { return None };
        let topic = topic_of(&source.contract.name, &source.origin).to_owned();
        Some(Wanted { topic, contract: source.contract.clone(), columns: source.columns.iter().cloned().collect() })
    }

    /// Are the records of both read in the same way?
    fn is_like(&self, other: &Self) -> bool {
        let shape = |wanted: &Self| (wanted.contract.role, wanted.contract.event_time.clone());
        self.topic == other.topic && self.contract.columns == other.contract.columns && shape(self) == shape(other)
    }
}

/// Rung when there may be something to take.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits until it is rung, or has been since the last wait; at most so long.
    pub(crate) fn wait(&self, most: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(rung, most, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// The reader of a topic.
struct Reader {
    wanted: Wanted,
    state: Mutex<State>,
    /// A job has taken something, or has left.
    taken: Condvar,
}

struct State {
    window: Window,
    bells: BTreeMap<u64, Arc<Bell>>,
    jobs: u64,
    /// It has ended: whoever comes needs another one.
    over: bool,
    failed: Option<(ErrorKind, String)>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("topic", &self.wanted.topic).finish_non_exhaustive()
    }
}

impl Reader {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, failed: Option<KafkaError>) {
        let mut state = self.state();
        state.over = true;
        state.failed = failed.map(|error| (error.kind(), error.to_string()));
        state.bells.values().for_each(|bell| bell.ring());
    }
}

impl Readers {
    /// Readers for jobs that read these sources.
    pub(crate) fn new<'a>(sources: impl Iterator<Item = &'a SourcePlan>, settings: JobSettings) -> Arc<Self> {
        let mut wanted: Vec<(Wanted, usize)> = Vec::new();
        for source in sources.filter_map(Wanted::of) {
            match wanted.iter_mut().find(|(known, _)| known.is_like(&source)) {
                Some((known, jobs)) => {
                    known.columns.extend(source.columns);
                    *jobs += 1;
                }
                None => wanted.push((source, 1)),
            }
        }
        Arc::new(Readers { settings, wanted, running: Mutex::default() })
    }

    /// Do several jobs want this topic?
    pub(super) fn is_shared(&self, wanted: &Wanted) -> bool {
        self.wanted.iter().any(|(known, jobs)| *jobs > 1 && known.is_like(wanted))
    }

    /// A job comes to a topic: it has read up to these offsets. A reader starts when there is none, in the name of this group.
    ///
    /// # Errors
    /// The client's settings; the system gives no more threads.
    pub(super) fn come(
        &self,
        wanted: &Wanted,
        next: &BTreeMap<i32, i64>,
        bell: &Arc<Bell>,
        kafka: &ClientSettings,
        group: &str,
    ) -> Result<Subscription, KafkaError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|reader| !reader.state().over);
        let serves =
            |reader: &&Arc<Reader>| reader.wanted.is_like(wanted) && reader.wanted.columns.is_superset(&wanted.columns);
        let found = running.iter().find(serves).and_then(|reader| Subscription::new(reader, next, bell));
        if let Some(subscription) = found {
            return Ok(subscription);
        }
        let mut all = wanted.clone();
        let known = self.wanted.iter().filter(|(known, _)| known.is_like(wanted));
        all.columns.extend(known.flat_map(|(known, _)| known.columns.iter().cloned()));
        let state =
            State { window: Window::new(next.clone()), bells: BTreeMap::new(), jobs: 0, over: false, failed: None };
        let reader = Arc::new(Reader { wanted: all, state: Mutex::new(state), taken: Condvar::new() });
        let subscription = Subscription::new(&reader, next, bell)
            .ok_or_else(|| KafkaError::new(ErrorKind::Internal, "a new reader is over"))?;
        reading::start(&reader, next, &self.settings, kafka, group)?;
        running.push(reader);
        Ok(subscription)
    }
}

/// A job's place at a reader; it leaves when dropped.
pub(super) struct Subscription {
    reader: Arc<Reader>,
    id: u64,
}

impl Subscription {
    fn new(reader: &Arc<Reader>, next: &BTreeMap<i32, i64>, bell: &Arc<Bell>) -> Option<Self> {
        let mut state = reader.state();
        if state.over {
            return None;
        }
        let id = state.jobs;
        state.jobs += 1;
        state.bells.insert(id, Arc::clone(bell));
        let now = Instant::now();
        if !state.window.join(id, next, now) {
            state.window.come(id, next, now);
        }
        drop(state);
        Some(Subscription { reader: Arc::clone(reader), id })
    }

    /// Has it joined the window, or does it now? Until then the job reads for itself.
    ///
    /// # Errors
    /// Why the reader has ended.
    pub(super) fn has_joined(&self, next: &BTreeMap<i32, i64>) -> Result<bool, KafkaError> {
        let mut state = self.reader.state();
        if state.over {
            let text =
                || (ErrorKind::Unavailable, format!("the reader of topic `{}` has ended", self.reader.wanted.topic));
            let (kind, text) = state.failed.clone().unwrap_or_else(text);
            return Err(KafkaError::new(kind, text));
        }
        Ok(state.window.has_joined(self.id) || state.window.join(self.id, next, Instant::now()))
    }

    /// The next records of one partition, from these offsets on, at most so many and so many bytes, but at least one.
    pub(super) fn take(&self, next: &BTreeMap<i32, i64>, records_max: usize, bytes_max: usize) -> Option<Slice> {
        let slice = self.reader.state().window.take(self.id, next, records_max, bytes_max, Instant::now());
        if slice.is_some() {
            self.reader.taken.notify_all();
        }
        slice
    }

    /// Where the client stands behind the last record; `None` while there are records to take.
    pub(super) fn positions(&self) -> Option<BTreeMap<i32, i64>> {
        self.reader.state().window.positions(self.id).cloned()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.reader.state();
        state.bells.remove(&self.id);
        state.window.leave(self.id);
        drop(state);
        self.reader.taken.notify_all();
    }
}
