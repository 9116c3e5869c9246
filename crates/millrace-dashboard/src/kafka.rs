//! The cluster, looked at while somebody wants to see it, and never more often than the limits say.
//!
//! ```text
//! page asks ─▶ demand ─▶ one task: look, publish, rest ─▶ newest look ─▶ all pages that are open
//!   └ waits for the first look only, and not for long
//! ```
//!
//! **Invariants**
//! - However many pages are open or reloaded, the cluster is asked by one task, at a steady pace.
//! - Nobody looks: nothing is asked, and after a while all connections are closed.

mod asker;
pub(crate) mod message;
pub(crate) mod messages;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use millrace_connectors::kafka::ClientSettings;
use millrace_model::Contract;
use tokio::sync::{Notify, watch};

use crate::settings::{KafkaSettings, Limits};
use crate::shared::now;
use crate::view::kafka::Look;
use asker::Asker;
use messages::Messages;

/// Time between two looks while somebody looks on, milliseconds.
pub(crate) const LOOK_MS_MIN: u64 = 2_000;
/// Longest wait of a page for the first look, milliseconds.
const FIRST_LOOK_MS_MAX: u64 = 5_000;
/// A look this old is not shown to a new page before another was tried, milliseconds.
const FRESH_MS_MAX: i64 = 10_000;
/// Connections are kept for so long after the last page asked, milliseconds.
const IDLE_MS_MAX: i64 = 30_000;

/// The cluster of the pages.
pub(crate) struct Kafka {
    client: ClientSettings,
    contracts: Vec<Contract>,
    latest: watch::Sender<Arc<Look>>,
    /// When a page last wanted to know, microseconds since 1970.
    asked: AtomicI64,
    wake: Notify,
    /// Records for somebody to look at.
    pub(crate) messages: Messages,
}

impl Kafka {
    /// Nothing is asked yet.
    pub(crate) fn new(settings: KafkaSettings, limits: &Limits) -> Self {
        Kafka {
            messages: Messages::new(settings.client.clone(), limits),
            client: settings.client,
            contracts: settings.contracts,
            latest: watch::Sender::default(),
            asked: AtomicI64::new(0),
            wake: Notify::new(),
        }
    }

    /// The contract of a topic of ours.
    pub(crate) fn contract(&self, topic: &str) -> Option<&Contract> {
        self.contracts.iter().find(|contract| contract.name == topic)
    }

    /// The newest look. Waits for one only when there is none, or an old one.
    pub(crate) async fn look(&self) -> Arc<Look> {
        self.asked.store(now().0, Ordering::Relaxed);
        self.wake.notify_one();
        let mut latest = self.latest.subscribe();
        let is_fresh = |look: &Arc<Look>| look.at.is_some_and(|at| now().0 - at.0 < FRESH_MS_MAX * 1_000);
        if !is_fresh(&latest.borrow_and_update()) {
            // Whatever comes next is the newest there is: also that the cluster does not answer.
            let _ = tokio::time::timeout(Duration::from_millis(FIRST_LOOK_MS_MAX), latest.changed()).await;
        }
        self.latest.borrow().clone()
    }

    /// The newest look, if somebody looks on now; nothing is asked for it.
    pub(crate) fn glance(&self) -> Option<Arc<Look>> {
        let latest = self.latest.borrow().clone();
        latest.at.is_some_and(|at| now().0 - at.0 < FRESH_MS_MAX * 1_000).then_some(latest)
    }

    fn idle_ms(&self) -> i64 {
        (now().0 - self.asked.load(Ordering::Relaxed)) / 1_000
    }
}

/// Looks while somebody wants to know, until the dashboard closes.
pub(crate) async fn watch(kafka: Arc<Kafka>, mut closing: watch::Receiver<bool>) {
    let mut asker: Option<Asker> = None;
    let rest = LOOK_MS_MIN as i64;
    loop {
        let wait = async {
            // A page that follows asks with every look it gets: silence for two means nobody is there.
            if kafka.idle_ms() > 2 * rest {
                let idle = Duration::from_millis(IDLE_MS_MAX.unsigned_abs());
                if asker.is_none() {
                    kafka.wake.notified().await;
                } else if tokio::time::timeout(idle, kafka.wake.notified()).await.is_err() {
                    return false;
                }
            }
            true
        };
        let wanted = tokio::select! {
            wanted = wait => wanted,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        if !wanted {
            asker = None;
            continue;
        }
        let before = kafka.latest.borrow().clone();
        let next = async {
            let asker = match &mut asker {
                Some(asker) => asker,
                none => none.insert(Asker::new(&kafka.client)?),
            };
            Ok::<Look, millrace_connectors::kafka::KafkaError>(asker.look(&kafka.contracts, &before).await)
        };
        let next = tokio::select! {
            next = next => next,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        let next = next.unwrap_or_else(|error| Look { trouble: vec![error.to_string()], ..Look::clone(&before) });
        kafka.latest.send_replace(Arc::new(next));
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(LOOK_MS_MIN)) => {}
            _ = closing.wait_for(|closing| *closing) => return,
        }
    }
}
