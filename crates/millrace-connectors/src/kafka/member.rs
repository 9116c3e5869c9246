//! Membership of a consumer group: which partitions are this process's share, when several of a kind divide them.
//!
//! The member reads nothing: its consumer is paused at once. Who holds it reads its share with a
//! [`Reader`](super::reader::Reader) from positions of its own, and begins anew when the share changes. So a rebalance can
//! never move a position, and what two owners could both write for a moment is for the store to fence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::watch;

use super::{ClientSettings, Cluster, Context, KafkaError, Place};

/// A member that is silent this long has left, milliseconds, unless the user sets `session.timeout.ms`.
const SESSION_MS_MAX: u64 = 10_000;
/// Longest wait of the member's thread for an event.
const POLL_MAX: Duration = Duration::from_millis(100);

/// A member of a group; it leaves when dropped.
pub struct Member {
    consumer: Arc<BaseConsumer<Context>>,
    share: watch::Receiver<Option<Vec<Place>>>,
    ends: Arc<AtomicBool>,
}

impl Member {
    /// Joins the group for these topics.
    ///
    /// # Errors
    /// `Invalid`: the settings. `Internal`: no thread.
    pub fn join(settings: &ClientSettings, group: &str, topics: &[Arc<str>]) -> Result<Self, KafkaError> {
        settings.check()?;
        let (tell, share) = watch::channel(None);
        let mut config = settings.consumer(group);
        // It takes no record, so where it would begin to take them does not matter; a missing position is no error.
        config.set("auto.offset.reset", "latest");
        config.set("partition.assignment.strategy", "range");
        if !settings.properties.contains_key("session.timeout.ms") {
            config.set("session.timeout.ms", SESSION_MS_MAX.to_string());
        }
        let consumer: BaseConsumer<Context> = config
            .create_with_context(Context::telling(tell))
            .map_err(|e| KafkaError::of(format_args!("make a member of `{group}`"), &e))?;
        let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
        consumer.subscribe(&names).map_err(|e| KafkaError::of(format_args!("join group `{group}`"), &e))?;
        let (consumer, ends) = (Arc::new(consumer), Arc::new(AtomicBool::new(false)));
        let (polled, told) = (Arc::clone(&consumer), Arc::clone(&ends));
        let poll = move || {
            while !told.load(Ordering::Relaxed) {
                if let Some(Err(error)) = polled.poll(POLL_MAX) {
                    tracing::debug!(target: "kafka", %error, "member");
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("member-{group}")).spawn(poll);
        thread.map_err(|e| KafkaError::new(millrace_model::ErrorKind::Internal, format!("start a thread: {e}")))?;
        Ok(Member { consumer, share, ends })
    }

    /// Questions and commits in the member's name.
    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::of(Arc::clone(&self.consumer))
    }

    /// The share as it changes; `None` until the group has given one, and while it is being divided anew.
    pub(crate) fn share(&self) -> watch::Receiver<Option<Vec<Place>>> {
        self.share.clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // The thread lets go of the consumer within a poll; the last to let go closes it, which leaves the group.
        self.ends.store(true, Ordering::Relaxed);
        self.consumer.unsubscribe();
    }
}
