//! Reads assigned partitions without a group's rebalances: what tail, the store sink and the lake are built on.
//!
//! Positions are the owner's (the store's offsets, the files of the lake). `next` never waits; `ready` does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::ErrorKind;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use super::settings::request_timeout;
use super::{ClientSettings, Context, KafkaError};

/// Longest sleep of [`Reader::ready`], milliseconds: a wake-up that was swallowed with an event costs no more.
const READY_MS_MAX: u64 = 50;

/// A partition of a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
}

impl Place {
    /// The partition of this topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Place { topic: topic.into(), partition }
    }
}

/// What a partition holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// First offset that is still there.
    pub low: i64,
    /// Offset after the last committed record.
    pub end: i64,
}

/// Where to start in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartDecision {
    /// At this offset.
    At(i64),
    /// At the first offset that is left; `missed` records before it were deleted unread.
    Gap {
        /// Where to go on.
        at: i64,
        /// Offsets that are gone.
        missed: i64,
    },
    /// The stored offset lies after the end: the topic is another one than the one that was read.
    Ahead {
        /// Offset stored.
        stored: i64,
        /// End of the partition.
        end: i64,
    },
}

/// Decides from the stored offset (`None`: nothing was read yet) and what the partition holds.
pub fn start_at(stored: Option<i64>, extent: Extent) -> StartDecision {
    match stored {
        None => StartDecision::At(extent.low),
        Some(stored) if stored > extent.end => StartDecision::Ahead { stored, end: extent.end },
        Some(stored) if stored < extent.low => StartDecision::Gap { at: extent.low, missed: extent.low - stored },
        Some(stored) => StartDecision::At(stored),
    }
}

/// The reader.
pub struct Reader {
    /// There until the reader is dropped.
    consumer: Option<Arc<BaseConsumer<Context>>>,
    wake: Arc<Notify>,
    starts: HashMap<Place, i64>,
}

impl Reader {
    /// A reader that commits, if at all, to this group. It never joins it.
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

    /// The partitions of these topics.
    ///
    /// # Errors
    /// `Unavailable`: the cluster is away, or a topic does not exist (yet).
    pub async fn places(&self, topics: &[Arc<str>]) -> Result<Vec<Place>, KafkaError> {
        let places = self.existing_places(topics).await?;
        match topics.iter().find(|topic| !places.iter().any(|place| place.topic == **topic)) {
            None => Ok(places),
            Some(topic) => {
                let text = format!("topic `{topic}` does not exist; topics are made when Millrace starts");
                Err(KafkaError::new(ErrorKind::Unavailable, text))
            }
        }
    }

    /// The partitions of those of these topics that exist.
    ///
    /// # Errors
    /// `Unavailable`: the cluster is away.
    pub async fn existing_places(&self, topics: &[Arc<str>]) -> Result<Vec<Place>, KafkaError> {
        let topics = topics.to_vec();
        self.blocking(move |consumer| {
            // All topics in one question: asking for one by name could create it.
            let metadata = consumer
                .fetch_metadata(None, request_timeout())
                .map_err(|e| KafkaError::of("read the list of topics", &e))?;
            let mut places = Vec::new();
            for topic in topics {
                let found = metadata.topics().iter().find(|found| found.name() == &*topic && found.error().is_none());
                let partitions = found.into_iter().flat_map(|found| found.partitions());
                places.extend(partitions.map(|partition| Place::new(Arc::clone(&topic), partition.id())));
            }
            places.sort();
            Ok(places)
        })
        .await
    }

    /// What each partition holds; its end is the last stable offset, so open transactions are not counted.
    ///
    /// # Errors
    /// `Unavailable`: the cluster is away, or a partition has no leader now.
    pub async fn extents(&self, places: &[Place]) -> Result<HashMap<Place, Extent>, KafkaError> {
        let places = places.to_vec();
        self.blocking(move |consumer| {
            let lows = offsets(consumer, &places, Offset::Beginning)?;
            let ends = offsets(consumer, &places, Offset::End)?;
            let extent = |place: &Place| {
                let (low, end) = (lows.get(place).copied()?, ends.get(place).copied()?);
                Some((place.clone(), Extent { low, end: end.max(low) }))
            };
            places.iter().map(extent).collect::<Option<_>>().ok_or_else(|| {
                KafkaError::new(ErrorKind::Unavailable, "read the ends of the partitions: the answer lacks one")
            })
        })
        .await
    }

    /// The offsets committed to this reader's group, for those partitions that have one.
    ///
    /// # Errors
    /// `Unavailable`: the cluster is away.
    pub async fn committed(&self, places: &[Place]) -> Result<HashMap<Place, i64>, KafkaError> {
        let list = list(places.iter().map(|place| (place, Offset::Invalid)))?;
        self.blocking(move |consumer| {
            let committed = consumer
                .committed_offsets(list, request_timeout())
                .map_err(|e| KafkaError::of("read the committed offsets", &e))?;
            Ok(by_place(&committed))
        })
        .await
    }

    /// Commits next offsets to this reader's group and waits for the answer.
    ///
    /// # Errors
    /// `Unavailable`: the cluster is away. `Fenced`: the group has members.
    pub async fn commit(&self, next: &HashMap<Place, i64>) -> Result<(), KafkaError> {
        if next.is_empty() {
            return Ok(());
        }
        let list = list(next.iter().map(|(place, offset)| (place, Offset::Offset(*offset))))?;
        self.blocking(move |consumer| {
            consumer.commit(&list, CommitMode::Sync).map_err(|e| KafkaError::of("commit the offsets", &e))
        })
        .await
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
    /// `Invalid`: a position is no longer in the topic (decide anew with [`start_at`]), or access is refused.
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

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BaseConsumer<Context>) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let consumer = Arc::clone(self.consumer());
        blocking(move || work(&consumer)).await
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

/// Runs a call that waits for the network on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(KafkaError::new(ErrorKind::Internal, format!("a call to kafka was cut off: {e}"))))
}

/// First or end offsets of many partitions with one question a broker.
pub(crate) fn offsets(
    consumer: &BaseConsumer<Context>,
    places: &[Place],
    which: Offset,
) -> Result<HashMap<Place, i64>, KafkaError> {
    // ListOffsets reads -1 and -2 in the place of a timestamp as the end and the beginning.
    let asked = list(places.iter().map(|place| (place, which)))?;
    let answer = consumer
        .offsets_for_times(asked, request_timeout())
        .map_err(|e| KafkaError::of("read the ends of the partitions", &e))?;
    for element in answer.elements() {
        if let Err(error) = element.error() {
            return Err(KafkaError::of(format_args!("read the ends of topic `{}`", element.topic()), &error));
        }
    }
    Ok(by_place(&answer))
}

fn list<'a>(offsets: impl Iterator<Item = (&'a Place, Offset)>) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (place, offset) in offsets {
        list.add_partition_offset(&place.topic, place.partition, offset)
            .map_err(|e| KafkaError::of(format_args!("topic `{}` partition {}", place.topic, place.partition), &e))?;
    }
    Ok(list)
}

fn by_place(list: &TopicPartitionList) -> HashMap<Place, i64> {
    let place = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some((Place::new(element.topic(), element.partition()), offset)),
        _ => None,
    };
    list.elements().iter().filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts() {
        let extent = Extent { low: 10, end: 20 };
        for (stored, expected) in [
            (None, StartDecision::At(10)),
            (Some(10), StartDecision::At(10)),
            (Some(15), StartDecision::At(15)),
            (Some(20), StartDecision::At(20)),
            (Some(3), StartDecision::Gap { at: 10, missed: 7 }),
            (Some(21), StartDecision::Ahead { stored: 21, end: 20 }),
        ] {
            assert_eq!(start_at(stored, extent), expected, "{stored:?}");
        }
    }
}
