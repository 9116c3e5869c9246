//! Reads assigned partitions without a group's rebalances: what tail, the store sink and the lake are built on.
//!
//! Positions are the owner's (the store's offsets, the files of the lake). `next` never waits; `ready` does. Questions
//! go through a [`Cluster`](super::Cluster), whose connections they share with nobody: behind a fetch that waits for
//! records, on one connection, an answer takes half a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::ErrorKind;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::Notify;

use super::cluster::{Place, by_place, list};
use super::{ClientSettings, Context, KafkaError};

/// Longest sleep of [`Reader::ready`], milliseconds: a wake-up that was swallowed with an event costs no more.
const READY_MS_MAX: u64 = 50;

/// The reader.
pub struct Reader {
    /// There until the reader is dropped.
    consumer: Option<Arc<BaseConsumer<Context>>>,
    wake: Arc<Notify>,
    starts: HashMap<Place, i64>,
}

impl Reader {
    /// A reader in the name of this group, which it never joins.
    ///
    /// # Errors
    /// `Invalid`: the settings.
    pub fn new(settings: &ClientSettings, group: &str) -> Result<Self, KafkaError> {
        settings.check()?;
        let mut consumer: BaseConsumer<Context> = settings
            .consumer(group)
            .create_with_context(Context::default())
            .map_err(|e| KafkaError::of(format_args!("make consumer `{group}`"), &e))?;
        let wake = Arc::new(Notify::new());
        let waker = Arc::clone(&wake);
        consumer.set_nonempty_callback(move || waker.notify_one());
        Ok(Reader { consumer: Some(Arc::new(consumer)), wake, starts: HashMap::new() })
    }

    /// Starts to read at these offsets, and only these partitions.
    ///
    /// # Errors
    /// `Internal`: the client refuses.
    pub fn assign(&mut self, starts: HashMap<Place, i64>) -> Result<(), KafkaError> {
        let list = list(starts.iter().map(|(place, offset)| (place, Offset::Offset(*offset))))?;
        self.consumer().assign(&list).map_err(|e| KafkaError::of("assign partitions", &e))?;
        self.starts = starts;
        Ok(())
    }

    /// The next record, if one is there. Errors the client recovers from by itself are logged and passed over.
    ///
    /// # Errors
    /// `Invalid`: a position is no longer in the topic (decide anew with [`start_at`](super::cluster::start_at)), or access is refused.
    /// `Internal`, `Data`: a record that cannot be read.
    pub fn next(&self) -> Result<Option<BorrowedMessage<'_>>, KafkaError> {
        loop {
            return match self.consumer().poll(Duration::ZERO) {
                None => Ok(None),
                Some(Ok(message)) => Ok(Some(message)),
                Some(Err(error)) => {
                    let error = KafkaError::of("read records", &error);
                    if millrace_model::Classified::kind(&error) == ErrorKind::Unavailable {
                        tracing::debug!(target: "kafka", "{error}");
                        continue;
                    }
                    Err(error)
                }
            };
        }
    }

    /// Gives no more records of a partition until it is resumed; its position stays.
    ///
    /// # Errors
    /// `Internal`: the partition is not assigned.
    pub fn pause(&self, place: &Place) -> Result<(), KafkaError> {
        let list = list([(place, Offset::Invalid)].into_iter())?;
        self.consumer().pause(&list).map_err(|e| KafkaError::of("pause a partition", &e))
    }

    /// Gives records of a paused partition again, from its position on.
    ///
    /// # Errors
    /// `Internal`: the partition is not assigned.
    pub fn resume(&self, place: &Place) -> Result<(), KafkaError> {
        let list = list([(place, Offset::Invalid)].into_iter())?;
        self.consumer().resume(&list).map_err(|e| KafkaError::of("resume a partition", &e))
    }

    /// Waits until a record may be there, at most 50 ms.
    pub async fn ready(&self) {
        // Time-out or wake-up: in both cases the caller looks.
        let _ = tokio::time::timeout(Duration::from_millis(READY_MS_MAX), self.wake.notified()).await;
    }

    /// The next offset of each assigned partition: after the last record `next` gave, and after the markers of
    /// transactions behind it.
    pub fn positions(&self) -> HashMap<Place, i64> {
        let mut positions = self.starts.clone();
        if let Ok(list) = self.consumer().position() {
            for (place, position) in by_place(&list) {
                positions.entry(place).and_modify(|known| *known = position.max(*known));
            }
        }
        positions
    }

    fn consumer(&self) -> &Arc<BaseConsumer<Context>> {
        self.consumer.as_ref().expect("taken only when dropped")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Closing waits for librdkafka's threads: not on a thread that drives other tasks.
        let consumer = self.consumer.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(consumer));
        }
    }
}

/// A position is no longer, or not yet, in the topic.
pub(crate) fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(error.code(), Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset))
}
