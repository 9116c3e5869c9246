//! A job's transaction: result rows, dead letters, progress and the offsets they came from become visible together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millrace_connectors::kafka::producer::{settled, take_over};
use millrace_connectors::kafka::rdkafka::consumer::ConsumerGroupMetadata;
use millrace_connectors::kafka::rdkafka::error::{KafkaError as NativeError, RDKafkaErrorCode};
use millrace_connectors::kafka::rdkafka::message::{BorrowedMessage, Headers};
use millrace_connectors::kafka::rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use millrace_connectors::kafka::rdkafka::{Message, Offset, TopicPartitionList};
use millrace_connectors::kafka::{ClientSettings, Context, KafkaError};
use millrace_engine::job::TableRows;
use millrace_model::dead_letter::{DeadLetter, DeadLetterHeader};
use millrace_model::{ErrorKind, Timestamp};

use super::input::{Place, list};

/// Longest wait for the coordinator: to begin, to commit.
const TRANSACTION_MAX: Duration = Duration::from_secs(30);
/// Longest wait until the group's coordinator has the offsets; after a broker's death the next one is there within ten seconds.
const OFFSETS_MAX: Duration = Duration::from_secs(15);
/// Longest wait for the answer to a transaction that is given up.
const ABORT_MAX: Duration = Duration::from_secs(5);
/// Longest wait for room in the producer's queue.
const QUEUE_MAX: Duration = Duration::from_secs(30);
/// Wait between two tries to enter a full queue.
const QUEUE_STEP: Duration = Duration::from_millis(2);

/// Most bytes of a record's value that a dead letter holds: with its base64 it still fits a record of `dead_letters`. Of a
/// longer one the beginning is kept, and header `millrace.value_bytes` says how long it was; the lake has all of it.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// The transactional producer of a job.
pub(crate) struct Output {
    producer: Arc<ThreadedProducer<Context>>,
    context: Context,
}

/// An open transaction. It must be committed; dropping it leaves it to be aborted by the job's next start.
pub(crate) struct Transaction<'a>(&'a Output);

impl Output {
    /// Takes over the transactional id: a producer that still holds it is fenced, what it left open is aborted.
    pub(crate) fn new(settings: &ClientSettings, transactional_id: &str) -> Result<Self, KafkaError> {
        settings.check()?;
        let context = Context::default();
        let producer: ThreadedProducer<Context> = settings
            .transactional_producer(transactional_id)
            .create_with_context(context.clone())
            .map_err(|error| KafkaError::of(format_args!("make producer `{transactional_id}`"), &error))?;
        take_over(&producer, TRANSACTION_MAX)
            .map_err(|error| KafkaError::of(format_args!("take over transactional id `{transactional_id}`"), &error))?;
        Ok(Output { producer: Arc::new(producer), context })
    }

    pub(crate) fn begin(&self) -> Result<Transaction<'_>, KafkaError> {
        self.producer.begin_transaction().map_err(|error| KafkaError::of("begin a transaction", &error))?;
        Ok(Transaction(self))
    }
}

impl Transaction<'_> {
    /// A record, as bytes.
    pub(crate) fn send(&self, topic: &str, key: Option<&[u8]>, value: &[u8]) -> Result<(), KafkaError> {
        let start = Instant::now();
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(value);
        if let Some(key) = key {
            record = record.key(key);
        }
        loop {
            match self.0.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((NativeError::MessageProduction(RDKafkaErrorCode::QueueFull), again))
                    if start.elapsed() < QUEUE_MAX =>
                {
                    record = again;
                    std::thread::park_timeout(QUEUE_STEP);
                }
                Err((error, _)) => {
                    return Err(KafkaError::of(format_args!("produce to topic `{topic}`"), &self.reason(error)));
                }
            }
        }
    }

    /// Why a record was not taken. A producer that another one has fenced only says here that it is of no more use; were that
    /// taken for a fault that passes, the job would start again and fence the other.
    fn reason(&self, error: NativeError) -> NativeError {
        let producer = &self.0.producer;
        let of_no_use = [RDKafkaErrorCode::Fatal, RDKafkaErrorCode::State].map(Some);
        if !of_no_use.contains(&error.rdkafka_error_code()) {
            return error;
        }
        match (producer.client().fatal_error(), producer.abort_transaction(ABORT_MAX)) {
            (Some((code, _)), _) => NativeError::MessageProduction(code),
            (None, Err(refused)) => refused,
            (None, Ok(())) => error,
        }
    }

    /// The rows of a table, keyed.
    pub(crate) fn rows(&self, rows: &TableRows) -> Result<(), KafkaError> {
        self.rows_but(rows, |_| false)
    }

    /// The same, but for the rows that are to be left out, of a table with keys.
    pub(crate) fn rows_but(&self, rows: &TableRows, mut out: impl FnMut(&[u8]) -> bool) -> Result<(), KafkaError> {
        match &rows.keys {
            None => rows.rows.iter().try_for_each(|value| self.send(&rows.table, None, value)),
            Some(keys) => keys
                .iter()
                .zip(rows.rows.iter())
                .filter(|(_, value)| !out(value))
                .try_for_each(|(key, value)| self.send(&rows.table, Some(key), value)),
        }
    }

    /// A row of one of the product's own topics, keyed by a text.
    pub(crate) fn own(&self, topic: &str, key: &str, value: &impl serde::Serialize) -> Result<(), KafkaError> {
        let value = serde_json::to_vec(value)
            .map_err(|error| KafkaError::new(ErrorKind::Internal, format!("encode a row of `{topic}`: {error}")))?;
        self.send(topic, Some(key.as_bytes()), &value)
    }

    /// Adds the offsets. librdkafka (2.12) forgets its time limit here, and may wait for ever for a coordinator that has
    /// died; so a thread of its own waits. When that takes too long the job starts again: its new producer fences this
    /// one, whose call ends when it ends.
    fn send_offsets(&self, offsets: TopicPartitionList, group: ConsumerGroupMetadata) -> Result<(), KafkaError> {
        let (tell, told) = mpsc::sync_channel(1);
        let producer = Arc::clone(&self.0.producer);
        let send = move || {
            let sent = producer.send_offsets_to_transaction(&offsets, &group, OFFSETS_MAX);
            // Nobody listens any more when it took too long.
            let _ = tell.send(sent);
        };
        std::thread::Builder::new()
            .name("offsets".into())
            .spawn(send)
            .map_err(|error| KafkaError::new(ErrorKind::Unavailable, format!("start a thread: {error}")))?;
        match told.recv_timeout(OFFSETS_MAX) {
            Ok(sent) => sent.map_err(|error| KafkaError::of("add offsets to a transaction", &error)),
            Err(_) => {
                let text =
                    format!("add offsets to a transaction: the group's coordinator gave no answer in {OFFSETS_MAX:?}");
                Err(KafkaError::new(ErrorKind::Unavailable, text))
            }
        }
    }

    /// Commits rows that tell themselves what they were made from.
    pub(crate) fn publish(self) -> Result<(), KafkaError> {
        let producer = &self.0.producer;
        if !settled(producer.as_ref(), TRANSACTION_MAX) {
            let text = format!("commit a transaction: not all of its rows were acknowledged in {TRANSACTION_MAX:?}");
            return Err(KafkaError::new(ErrorKind::Unavailable, text));
        }
        let committed = producer.commit_transaction(TRANSACTION_MAX);
        committed.map_err(|error| KafkaError::of("commit a transaction", &error))?;
        self.0.context.first_delivery_error().map_or(Ok(()), Err)
    }

    /// Commits the rows with the offsets they were made from. `epoch`, and the mark of its entry in the log, are kept in the offsets'
    /// metadata.
    pub(crate) fn commit(
        self,
        group: ConsumerGroupMetadata,
        offsets: &BTreeMap<Place, i64>,
        epoch: u64,
        mark: Option<u32>,
    ) -> Result<(), KafkaError> {
        let offsets = list(offsets.iter().map(|(place, next)| (place, Offset::Offset(*next))))?;
        let metadata = epoch_metadata(epoch, mark);
        for mut element in offsets.elements() {
            element.set_metadata(&metadata);
        }
        self.send_offsets(offsets, group)?;
        self.publish()
    }
}

/// What committed offsets say of the epoch they belong to, and of its entry in the log.
pub(crate) fn epoch_metadata(epoch: u64, mark: Option<u32>) -> String {
    match mark {
        Some(mark) => format!("millrace epoch={epoch} entry={mark:08x}"),
        None => format!("millrace epoch={epoch}"),
    }
}

/// The epoch, and the mark of its entry, named by an offset's metadata; `None` when it is not ours.
pub(crate) fn epoch_of(metadata: &str) -> Option<(u64, Option<u32>)> {
    let text = metadata.strip_prefix("millrace epoch=")?;
    match text.split_once(" entry=") {
        Some((epoch, mark)) => Some((epoch.parse().ok()?, Some(u32::from_str_radix(mark, 16).ok()?))),
        None => Some((text.parse().ok()?, None)),
    }
}

/// A record as it was received, wherever it is kept.
pub(crate) struct Received<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Kafka's time.
    pub(crate) time: Option<Timestamp>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<DeadLetterHeader>,
}

/// A record of a consumer.
pub(crate) fn received<'a>(message: &'a BorrowedMessage<'_>) -> Received<'a> {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Received {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        time: message.timestamp().to_millis().map(Timestamp::from_millis),
        key: message.key(),
        value: message.payload(),
        headers: headers
            .map(|header| DeadLetterHeader {
                name: header.key.to_owned(),
                value_base64: header.value.map(|value| BASE64.encode(value)),
            })
            .collect(),
    }
}

/// A dead letter of a record: its bytes, its place, and when it came.
pub(crate) fn dead_letter(received: Received<'_>, job: &str, table: Option<&str>, now: Timestamp) -> DeadLetter {
    let Received { topic, partition, offset, time, key, value, mut headers } = received;
    if let Some(length) = value.map(<[u8]>::len).filter(|length| *length > KEPT_BYTES_MAX) {
        let value_base64 = Some(BASE64.encode(length.to_string()));
        headers.push(DeadLetterHeader { name: "millrace.value_bytes".into(), value_base64 });
    }
    let kept = value.map(|value| &value[..value.len().min(KEPT_BYTES_MAX)]);
    DeadLetter {
        dead_letter_id: DeadLetter::id(topic, partition, offset, table),
        kind: String::new(),
        code: String::new(),
        reason: String::new(),
        field: None,
        topic: topic.to_owned(),
        partition,
        offset,
        record_time: time,
        event_time: None,
        watermark: None,
        table: table.map(str::to_owned),
        job: job.to_owned(),
        first_seen: now,
        key_base64: key.map(|key| BASE64.encode(key)),
        value_base64: kept.map(|value| BASE64.encode(value)),
        headers: (!headers.is_empty()).then_some(headers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_goes_round() {
        for mark in [None, Some(0), Some(u32::MAX)] {
            assert_eq!(epoch_of(&epoch_metadata(42, mark)), Some((42, mark)));
        }
        assert_eq!(epoch_of("millrace epoch=42 entry="), None);
        assert_eq!(epoch_of(""), None);
        assert_eq!(epoch_of("moved by hand"), None);
    }
}
