//! What librdkafka tells beside the records: its log and its errors go to `tracing`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError as NativeError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{NoCustomPartitioner, ProducerContext};
use rdkafka::statistics::Statistics;
use tokio::sync::watch;

use super::{KafkaError, Place};

/// The broker of this process is about to end.
static BROKER_ENDS: AtomicBool = AtomicBool::new(false);

/// From now on a lost connection is no news: the broker of this process ends, and clients that are still being taken down
/// will notice. What they tell goes to the log's debug level.
pub fn broker_ends() {
    BROKER_ENDS.store(true, Ordering::Relaxed);
}

/// The context of every client of this crate.
#[derive(Clone, Debug, Default)]
pub struct Context(Arc<Deliveries>);

#[derive(Debug, Default)]
struct Deliveries {
    failed: AtomicU64,
    first_error: Mutex<Option<KafkaError>>,
    /// Who is told which partitions a group has given.
    share: Option<watch::Sender<Option<Vec<Place>>>>,
}

impl Context {
    /// Tells which partitions a group has given; they are paused.
    pub(super) fn telling(share: watch::Sender<Option<Vec<Place>>>) -> Self {
        Context(Arc::new(Deliveries { share: Some(share), ..Deliveries::default() }))
    }

    /// Records that the producer could not deliver, so far.
    pub fn deliveries_failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Why the first of them was not delivered.
    pub fn first_delivery_error(&self) -> Option<KafkaError> {
        self.0.first_error.lock().ok().and_then(|first| first.clone())
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if BROKER_ENDS.load(Ordering::Relaxed) {
            tracing::debug!(target: "kafka", facility, "{text}");
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(target: "kafka", facility, "{text}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: "kafka", facility, "{text}"),
            RDKafkaLogLevel::Debug => tracing::debug!(target: "kafka", facility, "{text}"),
        }
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: NativeError, reason: &str) {
        // The end of a partition comes this way too; it is no error.
        if BROKER_ENDS.load(Ordering::Relaxed) {
            tracing::debug!(target: "kafka", %error, "{reason}");
            return;
        }
        if !matches!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::PartitionEOF)) {
            tracing::warn!(target: "kafka", %error, "{reason}");
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        // Whatever comes: from now on the share is not what it was.
        if let Some(share) = &self.0.share {
            share.send_replace(None);
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let (Some(share), Rebalance::Assign(given)) = (&self.0.share, rebalance) else { return };
        if let Err(error) = consumer.pause(given) {
            tracing::debug!(target: "kafka", %error, "partitions not paused");
        }
        let mut places = places(given);
        places.sort();
        tracing::info!(partitions = places.len(), "the group has given a share");
        share.send_replace(Some(places));
    }
}

fn places(list: &TopicPartitionList) -> Vec<Place> {
    list.elements().iter().map(|element| Place::new(element.topic(), element.partition())).collect()
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, delivery: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        if let Err((error, message)) = delivery {
            self.0.failed.fetch_add(1, Ordering::Relaxed);
            if let Ok(mut first) = self.0.first_error.lock() {
                first.get_or_insert_with(|| {
                    let topic = rdkafka::Message::topic(message);
                    KafkaError::of(format_args!("deliver a record to topic `{topic}`"), error)
                });
            }
        }
    }
}
