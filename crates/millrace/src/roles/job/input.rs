//! A job's records: assigned partitions of its source topics, taken epoch by epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use millrace_connectors::kafka::rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use millrace_connectors::kafka::rdkafka::message::BorrowedMessage;
use millrace_connectors::kafka::rdkafka::{Message, Offset, TopicPartitionList};
use millrace_connectors::kafka::{ClientSettings, Context, KafkaError};
use millrace_engine::job::{SourceBatch, SourceRecord};
use millrace_model::{Classified, ErrorKind, Timestamp};

/// Longest wait for an answer of the cluster.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Records taken at once while replaying, at most.
const TAKE_ANY_MAX: usize = 10_000;

/// A partition of a topic.
pub(crate) type Place = (String, i32);

/// The consumer of a job.
pub(crate) struct Input {
    consumer: BaseConsumer<Context>,
    /// Source name in SQL, by topic.
    names: BTreeMap<String, String>,
    next: BTreeMap<Place, i64>,
    ends: BTreeMap<Place, i64>,
    /// When each partition last gave a record.
    heard: BTreeMap<Place, Instant>,
    ends_read: Option<Instant>,
}

/// What was committed for a partition.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// Bounds on the records of one epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpochBounds {
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
}

impl Input {
    /// A consumer that commits to this group (in transactions) and reads these sources: topic and name in SQL.
    pub(crate) fn new(
        settings: &ClientSettings,
        group: &str,
        sources: &[(String, String)],
    ) -> Result<Self, KafkaError> {
        settings.check()?;
        let consumer = settings
            .consumer(group)
            .create_with_context(Context::default())
            .map_err(|error| KafkaError::of(format_args!("make consumer `{group}`"), &error))?;
        let names = sources.iter().cloned().collect();
        Ok(Input {
            consumer,
            names,
            next: BTreeMap::new(),
            ends: BTreeMap::new(),
            heard: BTreeMap::new(),
            ends_read: None,
        })
    }

    /// Calls this when a record may have come after there was none.
    pub(super) fn when_not_empty(&mut self, call: impl Fn() + Send + Sync + 'static) {
        self.consumer.set_nonempty_callback(call);
    }

    /// The partitions of all its topics.
    pub(crate) fn places(&self) -> Result<Vec<Place>, KafkaError> {
        let metadata = self
            .consumer
            .fetch_metadata(None, REQUEST_MAX)
            .map_err(|error| KafkaError::of("read the list of topics", &error))?;
        let mut places = Vec::new();
        for topic in self.names.keys() {
            let found = metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
            let Some(found) = found else {
                let text = format!("topic `{topic}` does not exist yet");
                return Err(KafkaError::new(ErrorKind::Unavailable, text));
            };
            places.extend(found.partitions().iter().map(|partition| (topic.clone(), partition.id())));
        }
        places.sort();
        Ok(places)
    }

    /// The name in SQL of a topic.
    pub(crate) fn source<'a>(&'a self, topic: &'a str) -> &'a str {
        self.names.get(topic).map_or(topic, String::as_str)
    }

    /// What the group has committed.
    pub(crate) fn committed(&self, places: &[Place]) -> Result<BTreeMap<Place, Committed>, KafkaError> {
        let list = list(places.iter().map(|place| (place, Offset::Invalid)))?;
        let found = self
            .consumer
            .committed_offsets(list, REQUEST_MAX)
            .map_err(|error| KafkaError::of("read the committed offsets", &error))?;
        let elements = found.elements();
        let committed = elements.iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((
                (element.topic().to_owned(), element.partition()),
                Committed { offset, metadata: element.metadata().to_owned() },
            )),
            _ => None,
        });
        Ok(committed.collect())
    }

    /// First offsets (earliest) or ends (last stable offset) of partitions.
    pub(crate) fn offsets(&self, places: &[Place], which: Offset) -> Result<BTreeMap<Place, i64>, KafkaError> {
        offsets(&self.consumer, places, which)
    }

    /// Reads from these offsets on.
    pub(crate) fn assign(&mut self, starts: BTreeMap<Place, i64>) -> Result<(), KafkaError> {
        let list = list(starts.iter().map(|(place, offset)| (place, Offset::Offset(*offset))))?;
        self.consumer.assign(&list).map_err(|error| KafkaError::of("assign partitions", &error))?;
        let now = Instant::now();
        self.heard = starts.keys().map(|place| (place.clone(), now)).collect();
        self.next = starts;
        Ok(())
    }

    /// The next record, waiting at most this long.
    pub(super) fn poll(&self, wait: Duration) -> Result<Option<BorrowedMessage<'_>>, KafkaError> {
        match self.consumer.poll(wait) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(message)),
            Some(Err(error)) => {
                let error = KafkaError::of("read records", &error);
                if error.kind() == ErrorKind::Unavailable {
                    tracing::debug!(target: "kafka", "{error}");
                    return Ok(None);
                }
                Err(error)
            }
        }
    }

    /// Reads only these partitions, from where it has come to; the offsets of the others stay known.
    pub(super) fn read_only(&self, wanted: impl Fn(&Place) -> bool) -> Result<(), KafkaError> {
        let places = self.next.iter().filter(|(place, _)| wanted(place));
        let list = list(places.map(|(place, offset)| (place, Offset::Offset(*offset))))?;
        self.consumer.assign(&list).map_err(|error| KafkaError::of("assign partitions", &error))
    }

    /// The next offsets of a topic, by partition.
    pub(super) fn next_of(&self, topic: &str) -> BTreeMap<i32, i64> {
        let of_topic = self.next.iter().filter(|(place, _)| place.0 == topic);
        of_topic.map(|(place, next)| (place.1, *next)).collect()
    }

    /// Takes records, at most the bounds: waits for the first one until `idle`, then gathers until `gather`, and takes what
    /// is there by then. Ordered by topic, partition and offset.
    pub(crate) fn take(
        &self,
        idle: Instant,
        gather: Instant,
        bounds: EpochBounds,
    ) -> Result<Vec<BorrowedMessage<'_>>, KafkaError> {
        let mut gathered = Gathered::default();
        while gathered.records < bounds.records_max && gathered.bytes < bounds.bytes_max {
            let message = match self.poll(Duration::ZERO)? {
                Some(message) => message,
                None => {
                    let deadline = if gathered.records == 0 { idle } else { gather };
                    let wait = deadline.saturating_duration_since(Instant::now());
                    if wait.is_zero() {
                        break;
                    }
                    let Some(message) = self.poll(wait)? else { continue };
                    message
                }
            };
            gathered.push(message);
        }
        Ok(gathered.by_place().into_iter().flatten().collect())
    }

    /// Takes what is there, waiting only when nothing is. In the order received: by partition that is the order of offsets.
    pub(crate) fn take_any(&self, wait: Duration) -> Result<Vec<BorrowedMessage<'_>>, KafkaError> {
        let mut taken = Vec::new();
        taken.extend(self.poll(wait)?);
        while taken.len() < TAKE_ANY_MAX
            && let Some(message) = self.poll(Duration::ZERO)?
        {
            taken.push(message);
        }
        Ok(taken)
    }

    /// Notes how far an epoch's records go.
    pub(crate) fn note(&mut self, epoch: &[(Place, i64)]) {
        let now = Instant::now();
        for (place, last) in epoch {
            self.next.insert(place.clone(), last + 1);
            self.heard.insert(place.clone(), now);
        }
    }

    /// The next offset of every partition: after the last record taken and the transaction markers behind it.
    pub(crate) fn positions(&self) -> BTreeMap<Place, i64> {
        let mut positions = self.next.clone();
        if let Ok(list) = self.consumer.position() {
            for (place, position) in by_place(&list) {
                positions.entry(place).and_modify(|known| *known = position.max(*known));
            }
        }
        positions
    }

    /// Asks where the partitions end, at most once in `every`.
    pub(crate) fn refresh_ends(&mut self, every: Duration) -> Result<(), KafkaError> {
        if self.ends_read.is_none_or(|at| at.elapsed() >= every) {
            let places: Vec<Place> = self.next.keys().cloned().collect();
            match self.offsets(&places, Offset::End) {
                Ok(ends) => self.ends = ends,
                Err(error) if error.kind() == ErrorKind::Unavailable => tracing::debug!(target: "kafka", "{error}"),
                Err(error) => return Err(error),
            }
            self.ends_read = Some(Instant::now());
        }
        Ok(())
    }

    /// Takes in where the partitions end.
    pub(crate) fn know_ends(&mut self, ends: BTreeMap<Place, i64>) {
        self.ends = ends;
    }

    /// The end of a partition when it was last asked for.
    pub(crate) fn end(&self, place: &Place) -> Option<i64> {
        self.ends.get(place).copied()
    }

    /// Partitions that are caught up at these positions and have been silent this long.
    pub(crate) fn idle(&self, silent: Duration, positions: &BTreeMap<Place, i64>) -> BTreeSet<Place> {
        let idle = self.heard.iter().filter(|(place, heard)| {
            let caught_up = self.end(place).is_some_and(|end| positions.get(place).is_some_and(|next| *next >= end));
            caught_up && heard.elapsed() >= silent
        });
        idle.map(|(place, _)| place.clone()).collect()
    }

    /// Records between these positions and the ends.
    pub(crate) fn lag(&self, positions: &BTreeMap<Place, i64>) -> i64 {
        self.ends.iter().map(|(place, end)| (end - positions.get(place).copied().unwrap_or(0)).max(0)).sum()
    }

    /// For the transaction that commits this consumer's offsets.
    pub(crate) fn group(&self) -> Result<ConsumerGroupMetadata, KafkaError> {
        self.consumer
            .group_metadata()
            .ok_or_else(|| KafkaError::new(ErrorKind::Internal, "the consumer has no group metadata"))
    }
}

/// First offsets (earliest) or ends (last stable offset) of partitions.
pub(super) fn offsets(
    consumer: &BaseConsumer<Context>,
    places: &[Place],
    which: Offset,
) -> Result<BTreeMap<Place, i64>, KafkaError> {
    // ListOffsets reads -1 and -2 in the place of a timestamp as the end and the beginning.
    let asked = list(places.iter().map(|place| (place, which)))?;
    let answer = consumer
        .offsets_for_times(asked, REQUEST_MAX)
        .map_err(|error| KafkaError::of("read the ends of the partitions", &error))?;
    Ok(by_place(&answer))
}

/// Records taken, by partition.
#[derive(Default)]
pub(super) struct Gathered<'a> {
    // A partition's records come in order, so only the partitions are sorted.
    parts: Vec<Vec<BorrowedMessage<'a>>>,
    last: usize,
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl<'a> Gathered<'a> {
    pub(super) fn push(&mut self, message: BorrowedMessage<'a>) {
        self.records += 1;
        self.bytes += message.payload_len() + message.key_len();
        let fits = |part: &Vec<BorrowedMessage<'_>>| part.last().is_some_and(|last| same_place(last, &message));
        if !self.parts.get(self.last).is_some_and(fits) {
            self.last = self.parts.iter().position(fits).unwrap_or(self.parts.len());
        }
        match self.parts.get_mut(self.last) {
            Some(part) => part.push(message),
            None => self.parts.push(vec![message]),
        }
    }

    /// Ordered by topic and partition, each partition by offset.
    pub(super) fn by_place(self) -> Vec<Vec<BorrowedMessage<'a>>> {
        let mut parts = self.parts;
        parts.sort_by(|a, b| (a[0].topic(), a[0].partition()).cmp(&(b[0].topic(), b[0].partition())));
        for part in parts.iter_mut().filter(|part| !part.is_sorted_by_key(Message::offset)) {
            part.sort_by_key(Message::offset);
        }
        parts
    }
}

/// Are two records of one topic? Its name is read only when the client's own note of it is another one.
fn same_topic(a: &BorrowedMessage<'_>, b: &BorrowedMessage<'_>) -> bool {
    a.topic_ptr() == b.topic_ptr() || a.topic() == b.topic()
}

fn same_place(a: &BorrowedMessage<'_>, b: &BorrowedMessage<'_>) -> bool {
    a.partition() == b.partition() && same_topic(a, b)
}

/// A record as the engine takes it.
pub(super) fn source_record<'a>(message: &'a BorrowedMessage<'_>) -> SourceRecord<'a> {
    SourceRecord {
        partition: message.partition(),
        offset: message.offset(),
        time: message.timestamp().to_millis().map(Timestamp::from_millis),
        value: message.payload(),
    }
}

/// The records of an epoch as the engine takes them: by source, each by partition and offset. `messages` are sorted.
pub(crate) fn batches<'a>(input: &'a Input, messages: &'a [BorrowedMessage<'a>]) -> Vec<SourceBatch<'a>> {
    let topics = messages.chunk_by(same_topic);
    let batch = |of_topic: &'a [BorrowedMessage<'a>]| {
        SourceBatch::new(input.source(of_topic[0].topic()), of_topic.iter().map(source_record).collect())
    };
    topics.map(batch).collect()
}

/// First and last offset taken from each partition.
pub(crate) fn ranges(messages: &[BorrowedMessage<'_>]) -> Vec<(Place, i64, i64)> {
    let range = |of_place: &[BorrowedMessage<'_>]| {
        let (first, last) = (&of_place[0], &of_place[of_place.len() - 1]);
        ((first.topic().to_owned(), first.partition()), first.offset(), last.offset())
    };
    messages.chunk_by(same_place).map(range).collect()
}

pub(crate) fn list<'a>(offsets: impl Iterator<Item = (&'a Place, Offset)>) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in offsets {
        list.add_partition_offset(topic, *partition, offset)
            .map_err(|error| KafkaError::of(format_args!("topic `{topic}` partition {partition}"), &error))?;
    }
    Ok(list)
}

fn by_place(list: &TopicPartitionList) -> BTreeMap<Place, i64> {
    let elements = list.elements();
    let offsets = elements.iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
        _ => None,
    });
    offsets.collect()
}
