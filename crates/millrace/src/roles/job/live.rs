//! Where a running job takes its records from: the readers it shares with others, or its own consumer while it is behind them.
//!
//! ```text
//!                 ┌──▶ reader's window (decoded already) ──┐
//!  next offsets ──┤        ▲ joins when the window         ├──▶ an epoch's records
//!                 └──▶ own │ consumer reaches back ────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::{ClientSettings, KafkaError};

use super::input::{EpochBounds, Gathered, Input, Place};
use super::shared::{Bell, Readers, Subscription, Wanted};
use super::taken::{Run, Taken};

/// Longest wait for the bell: a ring of the own consumer that was swallowed with an event costs no more.
const BELL_WAIT_MAX: Duration = Duration::from_millis(50);

/// Most records of the own consumer that are taken before the readers are looked at again.
const OWN_AT_ONCE: usize = 4_096;

/// A running job's input.
pub(super) struct Live<'a> {
    pub(super) input: Input,
    topics: Vec<Topic>,
    readers: &'a Readers,
    kafka: &'a ClientSettings,
    group: String,
    bell: Arc<Bell>,
}

/// A topic that other jobs read, too.
struct Topic {
    wanted: Wanted,
    subscription: Subscription,
    /// The own consumer reads no more of it.
    joined: bool,
}

impl<'a> Live<'a> {
    /// Goes on where the input has been assigned.
    ///
    /// # Errors
    /// Kafka.
    pub(super) fn new(
        mut input: Input,
        wanted: Vec<Wanted>,
        readers: &'a Readers,
        kafka: &'a ClientSettings,
        group: String,
    ) -> Result<Self, KafkaError> {
        let bell = Arc::new(Bell::default());
        let of_input = Arc::clone(&bell);
        input.when_not_empty(move || of_input.ring());
        let come = |wanted: Wanted| {
            let subscription = readers.come(&wanted, &input.next_of(&wanted.topic), &bell, kafka, &group)?;
            Ok(Topic { wanted, subscription, joined: false })
        };
        let shared = wanted.into_iter().filter(|wanted| readers.is_shared(wanted));
        let topics = shared.map(come).collect::<Result<_, KafkaError>>()?;
        Ok(Live { input, topics, readers, kafka, group, bell })
    }

    /// Joins the readers whose windows reach back far enough, and reads for itself what is left.
    ///
    /// # Errors
    /// Kafka; why a reader has ended.
    pub(super) fn join(&mut self) -> Result<(), KafkaError> {
        let mut changed = false;
        for topic in &mut self.topics {
            let next = self.input.next_of(&topic.wanted.topic);
            let joined = topic.subscription.has_joined(&next)?;
            if topic.joined && !joined {
                tracing::info!(
                    topic = topic.wanted.topic,
                    group = self.group,
                    "behind the others: it reads for itself"
                );
                // Another place, with another reader if it must be.
                topic.subscription = self.readers.come(&topic.wanted, &next, &self.bell, self.kafka, &self.group)?;
            }
            changed |= topic.joined != joined;
            topic.joined = joined;
        }
        if changed {
            self.input.read_only(|place| !self.has_joined(&place.0))?;
        }
        Ok(())
    }

    /// Takes an epoch's records as [`Input::take`] does: waits for the first until `idle`, then gathers until `gather`. Call
    /// [`join`](Self::join) before.
    ///
    /// # Errors
    /// Kafka.
    pub(super) fn take(&self, idle: Instant, gather: Instant, bounds: EpochBounds) -> Result<Taken<'_>, KafkaError> {
        let joined = self.topics.iter().filter(|topic| topic.joined);
        let shared: Vec<(&Topic, BTreeMap<i32, i64>)> =
            joined.map(|topic| (topic, self.input.next_of(&topic.wanted.topic))).collect();
        let mut runs = Vec::new();
        let mut own = Gathered::default();
        let (mut records, mut bytes) = (0, 0);
        loop {
            let before = records + own.records;
            // A slice of each topic in turn: none starves behind another.
            for (topic, next) in &shared {
                let records_left = bounds.records_max.saturating_sub(records + own.records);
                let bytes_left = bounds.bytes_max.saturating_sub(bytes + own.bytes);
                if records_left == 0 || bytes_left == 0 {
                    break;
                }
                if let Some(slice) = topic.subscription.take(next, records_left, bytes_left) {
                    records += slice.len();
                    bytes += slice.bytes();
                    runs.push(Run::Shared(&topic.wanted.topic, slice));
                }
            }
            let left = EpochBounds {
                records_max: bounds.records_max.saturating_sub(records).min(own.records + OWN_AT_ONCE),
                bytes_max: bounds.bytes_max.saturating_sub(bytes),
            };
            self.take_own(&mut own, left, Duration::ZERO)?;
            let taken = records + own.records;
            if taken >= bounds.records_max || bytes + own.bytes >= bounds.bytes_max {
                break;
            }
            if taken > before {
                continue;
            }
            let deadline = if taken == 0 { idle } else { gather };
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            match shared.is_empty() {
                true => {
                    let one = EpochBounds { records_max: own.records + 1, ..left };
                    self.take_own(&mut own, one, wait)?;
                }
                false => self.bell.wait(wait.min(BELL_WAIT_MAX)),
            }
        }
        runs.extend(own.by_place().into_iter().map(Run::Own));
        Ok(Taken::new(runs))
    }

    fn has_joined(&self, topic: &str) -> bool {
        self.topics.iter().any(|known| known.joined && known.wanted.topic == topic)
    }

    /// Takes what the own consumer has, waiting for the first record. The client's own events come this way, too.
    fn take_own<'b>(&'b self, own: &mut Gathered<'b>, bounds: EpochBounds, wait: Duration) -> Result<(), KafkaError> {
        let mut wait = wait;
        while own.records < bounds.records_max && own.bytes < bounds.bytes_max {
            let Some(message) = self.input.poll(wait)? else { return Ok(()) };
            // One that was under way when the topic's reader took over comes from there.
            if !self.has_joined(message.topic()) {
                own.push(message);
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    /// The next offset of every partition: after the last record taken and the transaction markers behind it.
    pub(super) fn positions(&self) -> BTreeMap<Place, i64> {
        let mut positions = self.input.positions();
        for topic in self.topics.iter().filter(|topic| topic.joined) {
            for (partition, position) in topic.subscription.positions().into_iter().flatten() {
                let place = (topic.wanted.topic.clone(), partition);
                positions.entry(place).and_modify(|known| *known = position.max(*known));
            }
        }
        positions
    }

    /// Partitions that are caught up and have been silent this long.
    pub(super) fn idle(&self, silent: Duration) -> BTreeSet<Place> {
        self.input.idle(silent, &self.positions())
    }

    /// Records between the positions and the ends.
    pub(super) fn lag(&self) -> i64 {
        self.input.lag(&self.positions())
    }
}
