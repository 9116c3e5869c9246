//! A fast idempotent producer for roles that only produce: no allocation and no future a record, bounded in bytes.
//!
//! ```text
//!  send ──▶ librdkafka's queue (bounded) ──▶ broker        a full queue makes `send` wait: back-pressure
//!  flush ◀── everything acknowledged, or the first delivery error
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millrace_model::{Classified, ErrorKind, Timestamp};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::settings::PRODUCER_QUEUE_KIB_MAX;
use super::{ClientSettings, Context, KafkaError};

/// Wait between two tries to enter a full queue, milliseconds.
const FULL_QUEUE_MS: u64 = 2;
/// Wait between two looks at whether everything is acknowledged, milliseconds.
const SETTLED_LOOK_MS: u64 = 1;

/// One record to produce. Key and value are copied into librdkafka's queue.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition; `None`: by the hash of the key.
    pub partition: Option<i32>,
    /// Key of the record.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Kafka timestamp, kept in milliseconds; `None`: now.
    pub time: Option<Timestamp>,
}

/// The producer. Shared by threads; each partition keeps the order of one thread's sends.
pub struct Producer {
    inner: ThreadedProducer<Context>,
    context: Context,
    sent: AtomicU64,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Producer({} sent)", self.sent())
    }
}

impl Producer {
    /// A producer that holds at most `queue_bytes_max` bytes the broker has not acknowledged.
    ///
    /// # Errors
    /// `Invalid`: the settings.
    pub fn new(settings: &ClientSettings, queue_bytes_max: Option<u64>) -> Result<Self, KafkaError> {
        settings.check()?;
        let kib = queue_bytes_max.map_or(u64::from(PRODUCER_QUEUE_KIB_MAX), |bytes| (bytes / 1024).max(1));
        let mut config = settings.producer();
        config.set("queue.buffering.max.kbytes", kib.to_string());
        let context = Context::default();
        let inner = config
            .create_with_context::<_, ThreadedProducer<_>>(context.clone())
            .map_err(|e| KafkaError::of("make a producer", &e))?;
        Ok(Producer { inner, context, sent: AtomicU64::new(0) })
    }

    /// Hands a record over. Blocks while the queue is full, at most `patience`: call it from a thread that may wait,
    /// and [`try_send`](Self::try_send) from async code.
    ///
    /// # Errors
    /// The first delivery error, if one has happened. `Unavailable`: the queue stayed full. `Data`: the record is too
    /// large. `Fenced` or `Internal`: the producer is of no more use.
    pub fn send(&self, record: Outgoing<'_>, patience: Duration) -> Result<(), KafkaError> {
        let start = Instant::now();
        loop {
            if self.try_send(record)? {
                return Ok(());
            }
            if start.elapsed() >= patience {
                let text = format!("produce to topic `{}`: the queue stayed full for {patience:?}", record.topic);
                return Err(KafkaError::new(ErrorKind::Unavailable, text));
            }
            std::thread::park_timeout(Duration::from_millis(FULL_QUEUE_MS));
        }
    }

    /// Hands a record over if there is room. `false`: the queue is full, try again later.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn try_send(&self, record: Outgoing<'_>) -> Result<bool, KafkaError> {
        if self.context.deliveries_failed() > 0 {
            return Err(self.delivery_error());
        }
        let mut base = BaseRecord::<[u8], [u8]>::to(record.topic);
        base.key = record.key;
        base.payload = record.value;
        base.partition = record.partition;
        base.timestamp = record.time.map(Timestamp::millis);
        match self.inner.send(base) {
            Ok(()) => {
                self.sent.fetch_add(1, Ordering::Relaxed);
                Ok(true)
            }
            Err((error, _)) if error.rdkafka_error_code() == Some(Code::QueueFull) => Ok(false),
            Err((error, _)) => Err(KafkaError::of(format_args!("produce to topic `{}`", record.topic), &error)),
        }
    }

    /// Waits until the broker has acknowledged everything that was sent.
    ///
    /// # Errors
    /// The first delivery error. `Unavailable`: not within `patience`; the records stay in the queue.
    pub fn flush(&self, patience: Duration) -> Result<(), KafkaError> {
        let all = settled(&self.inner, patience);
        if self.context.deliveries_failed() > 0 {
            return Err(self.delivery_error());
        }
        if all {
            return Ok(());
        }
        let text = format!("flush the producer: {} records not acknowledged within {patience:?}", self.in_flight());
        Err(KafkaError::new(ErrorKind::Unavailable, text))
    }

    /// Records handed over so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Records the broker has not acknowledged yet.
    pub fn in_flight(&self) -> u64 {
        u64::try_from(self.inner.in_flight_count()).unwrap_or(0)
    }

    fn delivery_error(&self) -> KafkaError {
        let failed = self.context.deliveries_failed();
        let first = self.context.first_delivery_error();
        let kind = first.as_ref().map_or(ErrorKind::Internal, Classified::kind);
        let text = first.map_or_else(String::new, |error| error.to_string());
        KafkaError::new(kind, format!("{failed} records were not delivered; first: {text}"))
    }
}

/// Waits until all that was handed to a producer is acknowledged or has failed; `false`: not within `patience`.
///
/// The client library's own `flush`, and the one inside its `commit_transaction`, look again every 100 ms only, which was most
/// of a result's way to its topic; after this they find nothing to wait for. The producer must be polled by a thread of its own.
pub fn settled<P: rdkafka::producer::Producer<Context>>(producer: &P, patience: Duration) -> bool {
    let began = Instant::now();
    // Wakes the threads that send: what waits for a batch to fill goes now.
    let _ = producer.flush(Duration::ZERO);
    while producer.in_flight_count() > 0 {
        if began.elapsed() >= patience {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(SETTLED_LOOK_MS));
    }
    true
}

/// Takes over the producer's transactional id: whoever held it is fenced, what that one left open is aborted.
///
/// The client library looks for the coordinator as soon as it is asked; without a connection it looks again half a second later,
/// at every start of every job. So there is a connection first.
///
/// # Errors
/// The library's own.
pub fn take_over<P: rdkafka::producer::Producer<Context>>(
    producer: &P,
    patience: Duration,
) -> rdkafka::error::KafkaResult<()> {
    let began = Instant::now();
    // Whether it was answered is told better by what comes next.
    let _ = producer.client().fetch_metadata(None, patience);
    producer.init_transactions(patience.saturating_sub(began.elapsed()))
}

/// A producer of transactions with this crate's context. Its calls block; use it from a thread of its own.
///
/// # Errors
/// `Invalid`: the settings.
pub fn transactional(settings: &ClientSettings, transactional_id: &str) -> Result<BaseProducer<Context>, KafkaError> {
    settings.check()?;
    settings
        .transactional_producer(transactional_id)
        .create_with_context(Context::default())
        .map_err(|e| KafkaError::of(format_args!("make producer `{transactional_id}`"), &e))
}
