//! From rows to alerts: reads the routes' tables and keeps, in one transaction of the store, what fired, what is to be told,
//! and how far it has read. So a crash neither loses an alert nor fires it twice.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::bail;
use millrace_connectors::alerts::Tables;
use millrace_connectors::kafka::tail::{Record, Start, Tailed, tail};
use millrace_connectors::kafka::{ClientSettings, Place};
use millrace_connectors::store::{OffsetAdvance, Param, Store, StoreError, WriteBatch};
use millrace_connectors::{Ending, Shutdown};
use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::{Classified, ErrorKind, Timestamp};
use serde_json::{Map, Value};

use super::now;
use super::rule::{Judged, Known, Rule, Step, is_old, step};
use super::tables::{Delivery, State, known};

/// Name under which the role keeps its offsets.
const NOTIFY_GROUP: &str = "millrace-notify";
/// Records decided about together.
const RECORDS_MAX: usize = 1_000;

/// The intake of all routes.
pub(super) struct Intake {
    pub(super) kafka: ClientSettings,
    pub(super) store: Store,
    pub(super) tables: Tables,
    pub(super) rules: Vec<Rule>,
    pub(super) age_max: Duration,
}

/// A row and where it was.
struct Row {
    place: Place,
    offset: i64,
    fields: Option<Map<String, Value>>,
}

impl Intake {
    /// Reads until asked to stop.
    ///
    /// # Errors
    /// `Fenced`: another process notifies from this store. What Kafka or the store say that waiting does not mend.
    pub(super) async fn run(&self, mut shutdown: Shutdown) -> anyhow::Result<()> {
        let mut names: Vec<&str> = self.rules.iter().map(|rule| rule.route.table.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mut offsets: HashMap<Place, i64> = HashMap::new();
        let mut patience = Patience::default();
        let stored = loop {
            match self.store.offsets(NOTIFY_GROUP).await {
                Ok(stored) => break stored,
                Err(error) => {
                    if !patience.wait(&error, &mut shutdown).await? {
                        return Ok(());
                    }
                }
            }
        };
        for (topic, partition, next) in stored {
            offsets.insert(Place::new(topic.as_str(), partition), next);
        }
        let mut records = tail(&self.kafka, &names, Start::At(offsets.clone()))?;
        let mut waiting = Vec::with_capacity(RECORDS_MAX);
        loop {
            let received = tokio::select! {
                received = records.recv_many(&mut waiting, RECORDS_MAX) => received,
                () = shutdown.at_least(Ending::Drain) => 0,
            };
            if received == 0 {
                return Ok(());
            }
            let mut rows = Vec::with_capacity(received);
            for tailed in waiting.drain(..) {
                match tailed {
                    Tailed::Record(record) => rows.push(row(record)),
                    Tailed::Trouble(error) if error.kind() == ErrorKind::Unavailable => {
                        tracing::warn!(%error, "notify waits for the cluster");
                    }
                    Tailed::Trouble(error) => bail!("notify: {error}"),
                }
            }
            if rows.is_empty() {
                continue;
            }
            let mut patience = Patience::default();
            while let Err(error) = self.take(&rows, &offsets).await {
                if !patience.wait(&error, &mut shutdown).await? {
                    return Ok(());
                }
            }
            for row in rows {
                offsets.insert(row.place, row.offset + 1);
            }
        }
    }

    /// Decides about these rows and keeps the decisions with the offsets.
    async fn take(&self, rows: &[Row], offsets: &HashMap<Place, i64>) -> Result<(), StoreError> {
        let mut judged: Vec<(&Rule, Judged, &Map<String, Value>)> = Vec::new();
        for row in rows {
            let Some(fields) = &row.fields else { continue };
            let of_table = self.rules.iter().filter(|rule| *rule.route.table == *row.place.topic);
            judged.extend(of_table.map(|rule| (rule, rule.judge(fields), fields)));
        }
        let mut ids: Vec<&str> = judged.iter().map(|(_, judged, _)| judged.alert_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut known = known(&self.store, &ids).await?;
        let mut batch = WriteBatch::new(NOTIFY_GROUP);
        let now = now();
        for (rule, judged, fields) in &judged {
            let last = known.get(&judged.alert_id).copied();
            let step = step(last.as_ref(), judged);
            let Some(next) = next(step, last, judged, now) else { continue };
            batch.upsert(&self.tables.fired, fired(rule, judged, fields, &next, now))?;
            let told = match step {
                Step::Fire if !is_old(judged.event_time, now, self.age_max) => Some("fired"),
                Step::Escalate => Some("escalated"),
                Step::Resolve if rule.route.resolve => Some("resolved"),
                _ => None,
            };
            for channel in told.iter().flat_map(|_| &rule.route.channels) {
                let delivery = delivery(rule, judged, next.occurrence, told.unwrap_or_default(), channel, now);
                batch.upsert(&self.tables.deliveries, delivery.row(State::Waiting))?;
            }
            known.insert(judged.alert_id.clone(), next);
        }
        let mut ends: BTreeMap<&Place, i64> = BTreeMap::new();
        ends.extend(rows.iter().map(|row| (&row.place, row.offset + 1)));
        for (place, to) in ends {
            let from = offsets.get(place).copied();
            batch.advance(OffsetAdvance { topic: place.topic.to_string(), partition: place.partition, from, to });
        }
        self.store.write(&batch).await
    }
}

/// The waits for a store that is away.
#[derive(Default)]
struct Patience {
    failures: u32,
}

impl Patience {
    /// Waits before the next try. `false`: asked to stop.
    async fn wait(&mut self, error: &StoreError, shutdown: &mut Shutdown) -> anyhow::Result<bool> {
        self.failures += 1;
        let RetryDecision::After(wait) = after_failure(&RetryPolicy::default(), error.kind(), self.failures, 0.5)
        else {
            bail!("notify: {error}");
        };
        tracing::warn!(%error, "notify waits for the store");
        Ok(tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = shutdown.at_least(Ending::Stop) => false,
        })
    }
}

fn row(record: Record) -> Row {
    let fields = record.value.as_deref().and_then(|value| match serde_json::from_slice(value) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    });
    Row { place: record.place, offset: record.offset, fields }
}

/// What is known after a step; `None`: nothing has changed.
fn next(step: Step, last: Option<Known>, judged: &Judged, now: Timestamp) -> Option<Known> {
    let severity = judged.severity;
    match (step, last) {
        (Step::Nothing, _) => None,
        (Step::Fire, last) => {
            let occurrence = last.map_or(1, |last| last.occurrence + 1);
            Some(Known { occurrence, open: true, severity, hits: 1, fired_at: now })
        }
        // The gravest it has been: a fall and a new rise are not worse.
        (_, Some(last)) => Some(Known {
            severity: severity.max(last.severity),
            hits: last.hits + 1,
            open: step != Step::Resolve,
            ..last
        }),
        (_, None) => None,
    }
}

fn fired(rule: &Rule, judged: &Judged, fields: &Map<String, Value>, next: &Known, now: Timestamp) -> Vec<Param> {
    let text = |text: &str| Param::Text(text.into());
    vec![
        text(&judged.alert_id),
        Param::Integer(next.occurrence),
        text(&rule.name),
        text(&rule.route.table),
        text(&judged.entity),
        text(next.severity.name()),
        text(&judged.title),
        Param::Text(Value::Object(fields.clone()).to_string()),
        Param::Integer(next.hits),
        judged.event_time.map_or(Param::Null, Param::Time),
        Param::Time(next.fired_at),
        Param::Time(now),
        if next.open { Param::Null } else { Param::Time(now) },
    ]
}

fn delivery(rule: &Rule, judged: &Judged, occurrence: i64, cause: &str, channel: &str, now: Timestamp) -> Delivery {
    Delivery {
        alert_id: judged.alert_id.clone(),
        occurrence,
        cause: cause.to_owned(),
        channel: channel.to_owned(),
        route: rule.name.clone(),
        message_id: None,
        queued_at: now,
        source_table: rule.route.table.clone(),
        entity: judged.entity.clone(),
        severity: judged.severity,
        title: judged.title.clone(),
        acked: false,
        snoozed_until: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_only_rises_within_an_occurrence() {
        let judged = |severity| Judged {
            alert_id: "r/1".into(),
            entity: "e".into(),
            severity,
            title: String::new(),
            event_time: None,
            meets: true,
        };
        use millrace_connectors::notify::Severity::{High, Low};
        let first = next(Step::Fire, None, &judged(High), Timestamp(5)).expect("fired");
        assert_eq!((first.occurrence, first.hits, first.fired_at), (1, 1, Timestamp(5)));
        let lower = next(Step::Touch, Some(first), &judged(Low), Timestamp(6)).expect("touched");
        assert_eq!((lower.severity, lower.hits, lower.fired_at), (High, 2, Timestamp(5)));
        assert_eq!(step(Some(&lower), &judged(High)), Step::Touch);
        let over = next(Step::Resolve, Some(lower), &judged(Low), Timestamp(7)).expect("resolved");
        assert!(!over.open);
        assert_eq!(next(Step::Fire, Some(over), &judged(Low), Timestamp(8)).expect("fired").occurrence, 2);
        assert_eq!(next(Step::Nothing, Some(over), &judged(Low), Timestamp(8)), None);
    }
}
