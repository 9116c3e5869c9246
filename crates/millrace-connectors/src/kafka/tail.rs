//! Committed records of topics as they come, for a page that shows them: no group, no commits, best effort in order.
//!
//! ```text
//!  topics ──▶ Reader ──▶ bounded channel ──▶ page       a slow page holds the reader back; nothing is skipped
//!               ▲  └ broker away: waits, goes on after the last record given
//!               └ start: Latest (end when opened) · Earliest · At(next offsets)
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::{Classified, ErrorKind, Timestamp};
use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::cluster::{Cluster, Place, StartDecision, start_at};
use super::reader::{Reader, is_out_of_range};
use super::{ClientSettings, KafkaError};
use crate::retry::jitter;

/// Records that wait for the page, at most.
pub const TAIL_RECORDS_MAX: usize = 4_096;
/// Group name of the client; nothing is ever committed to it.
const GROUP: &str = "millrace-tail";

/// Where a tail starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// With the first record after now.
    Latest,
    /// With the first record that is there.
    Earliest,
    /// At these next offsets; partitions that are not named start at the first record.
    At(HashMap<Place, i64>),
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Topic and partition.
    pub place: Place,
    /// Offset.
    pub offset: i64,
    /// Kafka timestamp, if the record has one.
    pub time: Option<Timestamp>,
    /// Key as received.
    pub key: Option<Vec<u8>>,
    /// Value as received.
    pub value: Option<Vec<u8>>,
}

/// What a tail gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tailed {
    /// A record.
    Record(Record),
    /// It cannot go on now, or not at all: `Unavailable` is tried again, after any other the tail ends.
    Trouble(KafkaError),
}

/// Starts to read. Dropping the receiver ends it.
///
/// # Errors
/// `Invalid`: the settings.
pub fn tail(settings: &ClientSettings, topics: &[&str], from: Start) -> Result<mpsc::Receiver<Tailed>, KafkaError> {
    settings.check()?;
    let (give, take) = mpsc::channel(TAIL_RECORDS_MAX);
    let names: Vec<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
    let tail = Tail { settings: settings.clone(), topics: names, from, next: HashMap::new(), give };
    tokio::spawn(tail.run());
    Ok(take)
}

struct Tail {
    settings: ClientSettings,
    topics: Vec<Arc<str>>,
    from: Start,
    /// Next offset of each partition that has been opened.
    next: HashMap<Place, i64>,
    give: mpsc::Sender<Tailed>,
}

impl Tail {
    async fn run(mut self) {
        let policy = RetryPolicy::default();
        let mut failures = 0;
        while !self.give.is_closed() {
            let before = self.next.clone();
            let Err(error) = self.read().await else {
                return;
            };
            failures = if self.next == before { failures + 1 } else { 1 };
            let kind = if is_out_of_range(&error) { ErrorKind::Unavailable } else { error.kind() };
            let decision = after_failure(&policy, kind, failures, jitter());
            if self.give.send(Tailed::Trouble(error)).await.is_err() {
                return;
            }
            match decision {
                RetryDecision::GiveUp => return,
                RetryDecision::After(wait) => tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = self.give.closed() => return,
                },
            }
        }
    }

    /// Reads until the receiver is gone.
    async fn read(&mut self) -> Result<(), KafkaError> {
        let mut reader = Reader::new(&self.settings, GROUP)?;
        let cluster = Cluster::new(&self.settings, GROUP)?;
        let places = cluster.places(&self.topics).await?;
        let extents = cluster.extents(&places).await?;
        for (place, extent) in &extents {
            let wanted = match (self.next.get(place), &self.from) {
                (Some(next), _) => Some(*next),
                (None, Start::Latest) => Some(extent.end),
                (None, Start::Earliest) => None,
                (None, Start::At(starts)) => starts.get(place).copied(),
            };
            let next = match start_at(wanted, *extent) {
                StartDecision::At(at) | StartDecision::Gap { at, .. } => at,
                // Another topic of the same name: from its start.
                StartDecision::Ahead { .. } => extent.low,
            };
            self.next.insert(place.clone(), next);
        }
        let starts = places.iter().filter_map(|place| Some((place.clone(), *self.next.get(place)?))).collect();
        reader.assign(starts)?;
        loop {
            let Some(record) = reader.next()?.map(|message| self.owned(&message)) else {
                tokio::select! {
                    () = reader.ready() => continue,
                    () = self.give.closed() => return Ok(()),
                }
            };
            let (place, next) = (record.place.clone(), record.offset + 1);
            // Waiting for room costs a turn of the runtime for every 128 records, even where there is room: a busy one gave
            // so few turns that pages fell seconds behind. So only a full channel is waited for.
            match self.give.try_send(Tailed::Record(record)) {
                Ok(()) => {}
                Err(TrySendError::Full(record)) => {
                    if self.give.send(record).await.is_err() {
                        return Ok(());
                    }
                }
                Err(TrySendError::Closed(_)) => return Ok(()),
            }
            self.next.insert(place, next);
        }
    }

    fn owned(&self, message: &BorrowedMessage<'_>) -> Record {
        let known = self.topics.iter().find(|topic| ***topic == *message.topic());
        let topic = known.map_or_else(|| Arc::from(message.topic()), Arc::clone);
        Record {
            place: Place { topic, partition: message.partition() },
            offset: message.offset(),
            time: message.timestamp().to_millis().map(Timestamp::from_millis),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
        }
    }
}
