//! The transaction that sends letters again: each record and the row that tells of it become visible together.
//!
//! One transactional id for all: a second `redrive` fences the first, whose open transaction is aborted, before it reads what
//! was sent already. So two at once send nothing twice.

use std::time::{Duration, Instant};

use millrace_connectors::kafka::producer::{settled, take_over};
use millrace_connectors::kafka::rdkafka::error::{KafkaError as NativeError, RDKafkaErrorCode};
use millrace_connectors::kafka::rdkafka::message::{Header, OwnedHeaders};
use millrace_connectors::kafka::rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use millrace_connectors::kafka::{ClientSettings, Context, KafkaError};
use millrace_model::{ErrorKind, Timestamp};
use serde::{Deserialize, Serialize};

/// The topic that tells what was sent again.
pub(super) const REDRIVES: &str = "dead_letter_redrives";
/// Who may write it: one at a time.
const TRANSACTIONAL_ID: &str = "millrace-redrive";
/// Longest wait for the coordinator: to take the id over, to commit.
const TRANSACTION_MAX: Duration = Duration::from_secs(30);
/// Longest wait for room in the producer's queue.
const QUEUE_MAX: Duration = Duration::from_secs(30);
/// Wait between two tries to enter a full queue.
const QUEUE_STEP: Duration = Duration::from_millis(2);

/// One row of `dead_letter_redrives`; the fields are the contract's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Redrive {
    pub(super) dead_letter_id: String,
    pub(super) attempt: u64,
    pub(super) topic: String,
    pub(super) source_partition: i32,
    pub(super) source_offset: i64,
    pub(super) code: String,
    pub(super) repaired: bool,
    pub(super) value_bytes: usize,
    pub(super) redriven_at: Timestamp,
    pub(super) redriven_by: String,
}

/// A letter ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct Outbound {
    pub(super) redrive: Redrive,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// As received; ours are added.
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Holds the transactional id.
pub(super) struct Sender {
    producer: ThreadedProducer<Context>,
    context: Context,
}

impl Sender {
    /// Takes the transactional id over.
    ///
    /// # Errors
    /// Kafka.
    pub(super) fn new(settings: &ClientSettings) -> Result<Self, KafkaError> {
        settings.check()?;
        let context = Context::default();
        let producer: ThreadedProducer<Context> = settings
            .transactional_producer(TRANSACTIONAL_ID)
            .create_with_context(context.clone())
            .map_err(|error| KafkaError::of(format_args!("make producer `{TRANSACTIONAL_ID}`"), &error))?;
        take_over(&producer, TRANSACTION_MAX)
            .map_err(|error| KafkaError::of(format_args!("take over transactional id `{TRANSACTIONAL_ID}`"), &error))?;
        Ok(Sender { producer, context })
    }

    /// Sends letters in one transaction: all of them are there, with their rows, or none.
    ///
    /// # Errors
    /// Kafka; `Fenced` when another redrive has begun.
    pub(super) fn send(&self, letters: &[Outbound]) -> Result<(), KafkaError> {
        let committed = self.commit(letters);
        if committed.is_err() {
            // What was begun must not hold readers back until it times out; when this fails too, the timeout does it.
            let _ = self.producer.abort_transaction(TRANSACTION_MAX);
        }
        committed
    }

    fn commit(&self, letters: &[Outbound]) -> Result<(), KafkaError> {
        self.producer.begin_transaction().map_err(|error| KafkaError::of("begin a transaction", &error))?;
        for letter in letters {
            let row = serde_json::to_vec(&letter.redrive).map_err(|error| {
                KafkaError::new(ErrorKind::Internal, format!("encode a row of `{REDRIVES}`: {error}"))
            })?;
            let headers = headers(letter);
            self.queue(&letter.redrive.topic, letter.key.as_deref(), letter.value.as_deref(), Some(headers))?;
            self.queue(REDRIVES, Some(letter.redrive.dead_letter_id.as_bytes()), Some(&row), None)?;
        }
        // Records that are not acknowledged by then make the commit fail.
        settled(&self.producer, TRANSACTION_MAX);
        self.producer
            .commit_transaction(TRANSACTION_MAX)
            .map_err(|error| KafkaError::of("commit a transaction", &error))?;
        self.context.first_delivery_error().map_or(Ok(()), Err)
    }

    fn queue(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
    ) -> Result<(), KafkaError> {
        let start = Instant::now();
        let mut record = BaseRecord::<[u8], [u8]>::to(topic);
        (record.key, record.payload, record.headers) = (key, value, headers);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((NativeError::MessageProduction(RDKafkaErrorCode::QueueFull), again))
                    if start.elapsed() < QUEUE_MAX =>
                {
                    record = again;
                    std::thread::park_timeout(QUEUE_STEP);
                }
                Err((error, _)) => return Err(KafkaError::of(format_args!("produce to topic `{topic}`"), &error)),
            }
        }
    }
}

/// The headers as received, then where the record comes from, who sent it again and when. Those of an earlier redrive go.
fn headers(letter: &Outbound) -> OwnedHeaders {
    let Redrive { dead_letter_id, attempt, source_partition, source_offset, redriven_at, redriven_by, topic, .. } =
        &letter.redrive;
    let ours = [
        ("millrace.redriven.id", dead_letter_id.clone()),
        ("millrace.redriven.from", format!("{topic}/{source_partition}/{source_offset}")),
        ("millrace.redriven.at", redriven_at.to_string()),
        ("millrace.redriven.by", redriven_by.clone()),
        ("millrace.redriven.attempt", attempt.to_string()),
    ];
    let received = letter.headers.iter().filter(|(name, _)| !name.starts_with("millrace."));
    let headers = received
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }));
    ours.iter().fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_bytes()) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_connectors::kafka::rdkafka::message::Headers as _;

    #[test]
    fn headers_say_where_from_who_and_when() {
        let redrive = Redrive {
            dead_letter_id: "t/1/2".into(),
            attempt: 3,
            topic: "t".into(),
            source_partition: 1,
            source_offset: 2,
            code: "not_json".into(),
            repaired: true,
            value_bytes: 2,
            redriven_at: Timestamp(0),
            redriven_by: "ada".into(),
        };
        let old = vec![("trace".to_owned(), Some(b"x".to_vec())), ("millrace.redriven.by".to_owned(), None)];
        let headers = headers(&Outbound { redrive, key: None, value: None, headers: old });
        let found: Vec<(&str, &str)> = headers
            .iter()
            .map(|header| (header.key, std::str::from_utf8(header.value.unwrap_or_default()).expect("text")))
            .collect();
        let expected = [
            ("trace", "x"),
            ("millrace.redriven.id", "t/1/2"),
            ("millrace.redriven.from", "t/1/2"),
            ("millrace.redriven.at", "1970-01-01T00:00:00.000000Z"),
            ("millrace.redriven.by", "ada"),
            ("millrace.redriven.attempt", "3"),
        ];
        assert_eq!(found, expected);
    }
}
