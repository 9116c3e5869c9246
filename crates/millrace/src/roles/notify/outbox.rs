//! From alerts to messages: one task a channel. What waits is put together by route, sent when it is due, and again with
//! back-off while the channel is away.
//!
//! ```text
//!  waiting ──(due)──▶ sending: message id kept ──▶ channel takes it ──▶ sent
//!                        ▲        │ away: back-off, the same message again
//!                        └────────┘        refused ──▶ failed, with the reason
//! ```

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use millrace_connectors::alerts::Tables;
use millrace_connectors::notify::{Channel, ENTITIES_MAX, EntityAlerts, Message, NotifyError};
use millrace_connectors::store::{Store, StoreError, WriteBatch};
use millrace_connectors::{Ending, Shutdown};
use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::{Classified, ErrorKind, Timestamp};

use super::now;
use super::rule::{Rule, Waiting, due};
use super::tables::{Delivery, State, evidence, last_sent, waiting};

/// How often a channel looks for something to send.
const LOOK: Duration = Duration::from_millis(500);
/// Alerts of an entity whose ids a message names.
const IDS_MAX: usize = 3;

/// The outbox of a channel.
pub(super) struct Outbox {
    pub(super) name: String,
    pub(super) channel: Channel,
    pub(super) store: Store,
    pub(super) tables: Tables,
    pub(super) rules: Vec<Rule>,
    /// Address of the page.
    pub(super) page: Option<String>,
}

/// Why a turn ended early.
enum Trouble {
    Store(StoreError),
    Channel(NotifyError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Trouble::Store(error)
    }
}

impl Outbox {
    /// Sends until asked to stop.
    pub(super) async fn run(self, mut shutdown: Shutdown) {
        let policy = RetryPolicy {
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            attempts_max: None,
        };
        let (mut last, mut failures) = (None, 0);
        loop {
            let wait = match self.turn(&mut last).await {
                Ok(()) => {
                    failures = 0;
                    LOOK
                }
                Err(trouble) => {
                    failures += 1;
                    let (text, asked) = match &trouble {
                        Trouble::Store(error) => (error.to_string(), None),
                        Trouble::Channel(error) => (error.to_string(), error.retry_after),
                    };
                    let RetryDecision::After(wait) = after_failure(&policy, ErrorKind::Unavailable, failures, 0.5)
                    else {
                        return;
                    };
                    let wait = wait.max(asked.unwrap_or_default());
                    tracing::warn!(channel = self.name, error = text, wait_ms = wait.as_millis() as u64, "alerts wait");
                    wait
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.at_least(Ending::Drain) => return,
            }
        }
    }

    /// Sends everything that is due.
    async fn turn(&self, last: &mut Option<HashMap<String, Timestamp>>) -> Result<(), Trouble> {
        let sent = match last {
            Some(sent) => sent,
            None => last.insert(last_sent(&self.store, &self.name).await?),
        };
        let now = now();
        let (acked, open): (Vec<_>, Vec<_>) =
            waiting(&self.store, &self.name).await?.into_iter().partition(|delivery| delivery.acked);
        self.keep(&acked, State::Acknowledged).await?;
        let awake = open.into_iter().filter(|delivery| {
            // A message that was being sent is sent: it may be there already.
            delivery.message_id.is_some() || delivery.snoozed_until.is_none_or(|until| until <= now)
        });
        let mut groups: BTreeMap<(String, Option<String>), Vec<Delivery>> = BTreeMap::new();
        for delivery in awake {
            groups.entry((delivery.route.clone(), delivery.message_id.clone())).or_default().push(delivery);
        }
        for ((route, message_id), deliveries) in groups {
            // A route that is gone from the settings: what it left waits until it is back.
            let Some(rule) = self.rules.iter().find(|rule| rule.name == route) else { continue };
            let message_id = match message_id {
                Some(id) => id,
                None => {
                    let since = deliveries.iter().map(|delivery| delivery.queued_at).min().unwrap_or(now);
                    let gravest = deliveries.iter().map(|delivery| delivery.severity).max().unwrap_or_default();
                    let facts = Waiting { since, gravest, last_sent: sent.get(&route).copied() };
                    if !due(&rule.route, facts, now) {
                        continue;
                    }
                    let id = message_id_of(&route, &self.name, now);
                    self.keep(&deliveries, State::Sending(&id)).await?;
                    id
                }
            };
            let message = self.message(rule, message_id, &deliveries, now).await?;
            match self.channel.send(&message).await {
                Ok(()) => {
                    self.keep(&deliveries, State::Sent(&message.id, now)).await?;
                    sent.insert(route, now);
                }
                // These alerts are refused; others may not be.
                Err(error) if error.kind() == ErrorKind::Data => {
                    tracing::error!(channel = self.name, alerts = deliveries.len(), %error, "alerts are refused");
                    self.keep(&deliveries, State::Failed(&message.id, &error.to_string())).await?;
                }
                // Away, or wrongly set up: in both cases they wait until somebody has mended it.
                Err(error) => return Err(Trouble::Channel(error)),
            }
        }
        Ok(())
    }

    async fn keep(&self, deliveries: &[Delivery], state: State<'_>) -> Result<(), StoreError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let mut batch = WriteBatch::new(self.name.clone());
        for delivery in deliveries {
            batch.upsert(&self.tables.deliveries, delivery.row(state))?;
        }
        self.store.write(&batch).await
    }

    async fn message(
        &self,
        rule: &Rule,
        id: String,
        deliveries: &[Delivery],
        time: Timestamp,
    ) -> Result<Message, StoreError> {
        let groups = by_entity(deliveries);
        let mut entities = Vec::new();
        for group in groups.iter().take(ENTITIES_MAX) {
            let Some(last) = group.last() else { continue };
            let row = evidence(&self.store, &last.alert_id, last.occurrence).await?;
            entities.push(EntityAlerts {
                entity: last.entity.clone(),
                title: last.title.clone(),
                severity: gravest(group),
                alerts: group.len() as u64,
                cause: last.cause.clone(),
                alert_ids: group.iter().rev().map(|delivery| delivery.alert_id.clone()).take(IDS_MAX).collect(),
                evidence: rule.evidence(&row),
            });
        }
        Ok(Message {
            id,
            route: rule.name.clone(),
            severity: deliveries.iter().map(|delivery| delivery.severity).max().unwrap_or_default(),
            alerts: deliveries.len() as u64,
            entities_total: groups.len() as u64,
            entities,
            link: self
                .page
                .as_ref()
                .map(|page| format!("{}{}", page.trim_end_matches('/'), page_of(&rule.route.table))),
            time,
        })
    }
}

fn gravest(group: &[&Delivery]) -> millrace_connectors::notify::Severity {
    group.iter().map(|delivery| delivery.severity).max().unwrap_or_default()
}

/// The deliveries of each entity, in order of time; the gravest entity first, then the one with the most.
fn by_entity(deliveries: &[Delivery]) -> Vec<Vec<&Delivery>> {
    let mut groups: BTreeMap<&str, Vec<&Delivery>> = BTreeMap::new();
    for delivery in deliveries {
        groups.entry(&delivery.entity).or_default().push(delivery);
    }
    let mut groups: Vec<Vec<&Delivery>> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse((gravest(group), group.len())));
    groups
}

/// The page that shows a table.
fn page_of(table: &str) -> &'static str {
    [("fraud", "/fraud"), ("stock", "/stock"), ("session", "/sessions"), ("abandoned", "/sessions")]
        .iter()
        .find(|(begin, _)| table.starts_with(begin))
        .map_or("/", |(_, page)| page)
}

/// Time, and a hash (FNV-1a) of who speaks to whom: no two messages share it, and email takes it as it is.
fn message_id_of(route: &str, channel: &str, time: Timestamp) -> String {
    let hash = route
        .bytes()
        .chain([0])
        .chain(channel.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:x}.{hash:016x}", time.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_connectors::notify::Severity;

    fn delivery(alert: u32, entity: &str, severity: Severity) -> Delivery {
        Delivery {
            alert_id: format!("r/{alert}"),
            occurrence: 1,
            cause: "fired".into(),
            channel: "ops".into(),
            route: "r".into(),
            message_id: None,
            queued_at: Timestamp(alert.into()),
            source_table: "t".into(),
            entity: entity.into(),
            severity,
            title: String::new(),
            acked: false,
            snoozed_until: None,
        }
    }

    #[test]
    fn the_gravest_come_first() {
        use Severity::{Critical, High};
        let deliveries =
            [delivery(1, "a", High), delivery(2, "b", High), delivery(3, "b", High), delivery(4, "c", Critical)];
        let groups = by_entity(&deliveries);
        let order: Vec<(&str, usize)> = groups.iter().map(|group| (group[0].entity.as_str(), group.len())).collect();
        assert_eq!(order, [("c", 1), ("b", 2), ("a", 1)]);
        assert_eq!(groups[1][1].alert_id, "r/3");
    }

    #[test]
    fn ids_and_pages() {
        let ids =
            [("a", "b"), ("ab", ""), ("b", "a")].map(|(route, channel)| message_id_of(route, channel, Timestamp(255)));
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[0].starts_with("ff."), "{ids:?}");
        assert_eq!((page_of("fraud_signals"), page_of("stock_levels"), page_of("vitals")), ("/fraud", "/stock", "/"));
    }
}
