//! Alerts: rows of tables go to people, by routes.
//!
//! ```text
//!  result topics ──▶ intake: rule decides ──▶ store: alerts_fired, alert_deliveries + offsets   (one transaction)
//!                                                 │
//!           alerts ack, snooze ──▶ store ────────▶│──▶ outbox of each channel ──▶ Slack, email, webhook
//! ```
//!
//! Intake and outboxes meet in the store alone, so a channel that is away holds nobody up, and a restart goes on where it was.
//!
//! Reading order: `settings` (routes) → `rule` (the decisions) → `tables` → `intake` → `outbox`.
//!
//! **Promise:** every row that meets a route fires once an occurrence, under any crash. Each channel is told at least once;
//! a message whose answer was lost is sent again under the same id.

mod intake;
mod outbox;
mod rule;
pub(crate) mod settings;
pub(crate) mod tables;

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use millrace_connectors::Shutdown;
use millrace_connectors::alerts::Tables;
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::notify::Channel;
use millrace_connectors::store::Store;
use millrace_model::{Contract, Timestamp};
use tokio::task::JoinSet;

use intake::Intake;
use outbox::Outbox;
use rule::Rule;
use settings::Notify;

/// The role, ready to run: its settings are checked and its secrets read.
pub(crate) struct Notifier {
    settings: Notify,
    rules: Vec<Rule>,
    channels: BTreeMap<String, Channel>,
    page: Option<String>,
}

impl Notifier {
    /// Checks settings and opens channels; `None` when there is no route. `page` is where the page answers, unless the
    /// settings say where its readers reach it.
    ///
    /// # Errors
    /// What is wrong with a route or a channel.
    pub(crate) fn new(settings: &Notify, tables: &[Contract], page: Option<String>) -> Result<Option<Self>, String> {
        settings.check(tables)?;
        if settings.routes.is_empty() {
            return Ok(None);
        }
        let mut rules = Vec::new();
        for (name, route) in &settings.routes {
            let table = tables.iter().find(|table| table.name == route.table);
            rules.extend(table.map(|table| Rule::new(name, route, table)));
        }
        let mut channels = BTreeMap::new();
        for (name, channel) in &settings.channels {
            let used = settings.routes.values().any(|route| route.channels.contains(name));
            if used {
                let opened = Channel::open(channel).map_err(|error| format!("notify.channels.{name}: {error}"))?;
                channels.insert(name.clone(), opened);
            }
        }
        let page = settings.dashboard_url.clone().or(page);
        Ok(Some(Notifier { settings: settings.clone(), rules, channels, page }))
    }

    /// Runs until asked to stop; what waits then is told after the next start.
    ///
    /// # Errors
    /// What no waiting mends; `Fenced` when another process notifies from this store.
    pub(crate) async fn run(self, kafka: ClientSettings, store: Store, shutdown: Shutdown) -> anyhow::Result<()> {
        let tables = Tables::new()?;
        let mut outboxes = JoinSet::new();
        for (name, channel) in self.channels {
            let (store, tables, rules) = (store.clone(), tables.clone(), self.rules.clone());
            let outbox = Outbox { name, channel, store, tables, rules, page: self.page.clone() };
            outboxes.spawn(outbox.run(shutdown.clone()));
        }
        let intake = Intake { kafka, store, tables, rules: self.rules, age_max: self.settings.age_max };
        let read = intake.run(shutdown).await.context("alerts have stopped");
        if read.is_err() {
            outboxes.abort_all();
            return read;
        }
        while let Some(ended) = outboxes.join_next().await {
            ended.map_err(|panic| anyhow!("an outbox was cut off: {panic}"))?;
        }
        Ok(())
    }
}

/// The time by the system's clock.
fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}
