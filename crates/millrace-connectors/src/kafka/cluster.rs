//! Questions to the cluster about partitions: which there are, what they hold, what a group has committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_model::ErrorKind;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::settings::request_timeout;
use super::{ClientSettings, Context, KafkaError};

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

/// Asks on behalf of one consumer group, of which it never becomes a member. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    consumer: Arc<BaseConsumer<Context>>,
}

impl Cluster {
    /// A client of its own that asks for this group.
    ///
    /// # Errors
    /// `Invalid`: the settings.
    pub fn new(settings: &ClientSettings, group: &str) -> Result<Self, KafkaError> {
        settings.check()?;
        let consumer = settings
            .consumer(group)
            .create_with_context(Context::default())
            .map_err(|e| KafkaError::of(format_args!("make consumer `{group}`"), &e))?;
        Ok(Cluster::of(Arc::new(consumer)))
    }

    /// Asks with this client.
    pub(super) fn of(consumer: Arc<BaseConsumer<Context>>) -> Self {
        Cluster { consumer }
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
        if places.is_empty() {
            return Ok(HashMap::new());
        }
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

    /// The offsets committed to this group, for those partitions that have one.
    ///
    /// # Errors
    /// `Unavailable`: the cluster is away.
    pub async fn committed(&self, places: &[Place]) -> Result<HashMap<Place, i64>, KafkaError> {
        self.committed_within(places, request_timeout()).await
    }

    /// As [`committed`](Self::committed), with a limit of its own for the wait.
    pub(super) async fn committed_within(
        &self,
        places: &[Place],
        wait: Duration,
    ) -> Result<HashMap<Place, i64>, KafkaError> {
        let list = list(places.iter().map(|place| (place, Offset::Invalid)))?;
        self.blocking(move |consumer| {
            let committed =
                consumer.committed_offsets(list, wait).map_err(|e| KafkaError::of("read the committed offsets", &e))?;
            Ok(by_place(&committed))
        })
        .await
    }

    /// Commits next offsets to this group and waits for the answer.
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

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BaseConsumer<Context>) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let consumer = Arc::clone(&self.consumer);
        blocking(move || work(&consumer)).await
    }
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
fn offsets(
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

pub(super) fn list<'a>(offsets: impl Iterator<Item = (&'a Place, Offset)>) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (place, offset) in offsets {
        list.add_partition_offset(&place.topic, place.partition, offset)
            .map_err(|e| KafkaError::of(format_args!("topic `{}` partition {}", place.topic, place.partition), &e))?;
    }
    Ok(list)
}

pub(super) fn by_place(list: &TopicPartitionList) -> HashMap<Place, i64> {
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
