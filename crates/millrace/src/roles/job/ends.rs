//! Where the partitions of a job end, asked for beside its work.
//!
//! A broker answers a connection's requests one after the other: a question behind a fetch that waits for records waits as long as
//! the fetch does, half a second. So ends are asked for over a connection of their own, by a thread of their own, and the job
//! looks at the last answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace_connectors::kafka::rdkafka::Offset;
use millrace_connectors::kafka::rdkafka::consumer::BaseConsumer;
use millrace_connectors::kafka::{ClientSettings, Context, KafkaError};
use millrace_model::ErrorKind;

use super::ENDS_INTERVAL;
use super::input::{Place, offsets};

/// Between two questions of a job that is asked to come to an end.
const HURRY_INTERVAL: Duration = Duration::from_millis(5);

/// Asks until it is dropped.
pub(super) struct Ends(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Dropped.
    is_over: bool,
    interval: Duration,
    known: Option<Known>,
}

/// An answer.
#[derive(Clone)]
pub(super) struct Known {
    /// Last stable offsets.
    pub(super) ends: BTreeMap<Place, i64>,
    /// What was written before this moment is in it.
    pub(super) asked: Instant,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends {
    /// Starts to ask about these partitions.
    ///
    /// # Errors
    /// The settings; the system gives no more threads.
    pub(super) fn new(settings: &ClientSettings, group: &str, places: Vec<Place>) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer<Context> = settings
            .consumer(group)
            .create_with_context(Context::default())
            .map_err(|error| KafkaError::of(format_args!("make a client for the ends of `{group}`"), &error))?;
        let state = State { is_over: false, interval: ENDS_INTERVAL, known: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let asked_by = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("ends".into())
            .spawn(move || ask(&asked_by, &consumer, &places))
            .map_err(|error| KafkaError::new(ErrorKind::Unavailable, format!("start a thread: {error}")))?;
        Ok(Ends(shared))
    }

    /// The last answer; `None`: there is none yet, or none after this moment.
    pub(super) fn after(&self, seen: Option<Instant>) -> Option<Known> {
        let state = self.0.state();
        state.known.as_ref().filter(|known| seen.is_none_or(|seen| known.asked > seen)).cloned()
    }

    /// Asks again and again: somebody waits for the end.
    pub(super) fn hurry(&self) {
        let mut state = self.0.state();
        if state.interval != HURRY_INTERVAL {
            state.interval = HURRY_INTERVAL;
            self.0.changed.notify_all();
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // A question may be under way, and a broker that is away is waited for: the thread ends by itself after it.
        self.0.state().is_over = true;
        self.0.changed.notify_all();
    }
}

fn ask(shared: &Shared, consumer: &BaseConsumer<Context>, places: &[Place]) {
    loop {
        let asked = Instant::now();
        let answer = offsets(consumer, places, Offset::End);
        // The client's own events: nobody else takes them in.
        while consumer.poll(Duration::ZERO).is_some() {}
        let mut state = shared.state();
        match answer {
            Ok(ends) => state.known = Some(Known { ends, asked }),
            // What lasts, the job meets itself.
            Err(error) => tracing::debug!(target: "kafka", "{error}"),
        }
        while !state.is_over && asked.elapsed() < state.interval {
            let left = state.interval.saturating_sub(asked.elapsed());
            state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.is_over {
            return;
        }
    }
}
