//! The alert centre's questions to the store, and what people say about alerts: the same statements as `millrace alerts`.
//!
//! An id of an alert can hold a card or a visitor. Outside, an occurrence goes by a name that does not give it away and still
//! leads back to it without a table of names: when it fired, and a hash.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_connectors::alerts::{AlertFilter, Alerts, Occurrence};
use millrace_model::Timestamp;

use crate::answer::Problem;
use crate::row::{Read, public_id};
use crate::shared::{Shared, now};
use crate::store::{AskError, StoreError};
use crate::view::alerts::{AlertsParams, Centre, Found, centre};

/// Occurrences shown of one entity.
const OF_GROUP_MAX: usize = 8;

/// What there is to see.
pub(crate) async fn look(shared: &Shared, params: &AlertsParams) -> Result<Centre, AskError> {
    let alerts = Alerts::new(shared.store.clone())?;
    let now = now();
    let filter = params.filter(now);
    let found = within(shared, async {
        let rows = alerts.grouped(&filter, now, params.limit, OF_GROUP_MAX).await?;
        let mut ids: Vec<&str> = rows.iter().map(|row| row.text("alert_id")).collect();
        ids.sort_unstable();
        ids.dedup();
        let deliveries = alerts.deliveries(&ids).await?;
        let facets =
            alerts.facets(&AlertFilter { standing: None, severity: None, route: None, ..filter.clone() }, now).await?;
        let entities = alerts.entities(&filter, now).await?;
        let mut undelivered: BTreeMap<String, i64> = BTreeMap::new();
        for of in alerts.undelivered().await? {
            *undelivered.entry(of.state).or_default() += of.messages;
        }
        Ok(Found { rows, deliveries, facets, entities, undelivered: undelivered.into_iter().collect() })
    })
    .await?;
    Ok(centre(found, params, now))
}

/// A question within the time the store may take.
async fn within<T>(shared: &Shared, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, AskError> {
    let ms_max = shared.settings.limits.store_ms_max;
    match tokio::time::timeout(Duration::from_millis(ms_max), question).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(AskError::Slow(ms_max)),
    }
}

/// The name of an occurrence outside.
pub(crate) fn public_name(alert_id: &str, occurrence: i64, fired_at: Timestamp) -> String {
    format!("{:x}-{}", fired_at.0, public_id(&format!("{alert_id}\u{1f}{occurrence}")))
}

/// The occurrence a request names: by its name outside, or by the alert's own id, of which it is the last.
async fn named(alerts: &Alerts, name: &str) -> Result<Option<Occurrence>, StoreError> {
    let moment = name.split_once('-').and_then(|(time, _)| i64::from_str_radix(time, 16).ok());
    if let Some(time) = moment.map(Timestamp) {
        let fired = alerts.fired_at(time).await?;
        let of_name = |of: &Occurrence| public_name(&of.alert_id, of.occurrence, time) == name;
        if let Some(occurrence) = fired.into_iter().find(of_name) {
            return Ok(Some(occurrence));
        }
    }
    alerts.last(name).await
}

/// What somebody says about an alert.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// I look after it.
    Acknowledge,
    /// I do not look after it.
    TakeBack,
    /// Nothing about its entity for so long; for no time: tell of it again.
    Snooze(Duration),
}

/// What was said came to this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Done {
    /// Occurrences it is about.
    pub(crate) alerts: usize,
    /// The end of the snooze.
    pub(crate) until: Option<Timestamp>,
}

/// Keeps what somebody says about an alert, or about everything of its entity that waits.
pub(crate) async fn say(shared: &Shared, name: &str, said: Said, of_entity: bool, by: &str) -> Result<Done, Problem> {
    let alerts = Alerts::new(shared.store.clone()).map_err(AskError::from)?;
    let at = now();
    let done = within(shared, async {
        let Some(occurrence) = named(&alerts, name).await? else { return Ok(None) };
        let about = match said {
            Said::Acknowledge if of_entity => alerts.unanswered(&occurrence).await?,
            Said::TakeBack if of_entity => alerts.acknowledged(&occurrence).await?,
            _ => vec![occurrence],
        };
        let mut until = None;
        match said {
            Said::Acknowledge => alerts.acknowledge(&about, by, at).await?,
            Said::TakeBack => alerts.take_back(&about, by).await?,
            Said::Snooze(length) => {
                let micros = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
                let end = Timestamp(at.0.saturating_add(micros));
                alerts.snooze(&about, end, by, at).await?;
                until = (!length.is_zero()).then_some(end);
            }
        }
        Ok(Some(Done { alerts: about.len(), until }))
    });
    let done = done.await?;
    shared.stir();
    done.ok_or_else(|| Problem::not_found("there is no such alert; GET /v1/alerts lists them"))
}
