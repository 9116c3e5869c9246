//! The store's tables about alerts (`millrace_connectors::alerts`), as this role reads and writes them.

use std::collections::HashMap;

use millrace_connectors::alerts::{ACKNOWLEDGED, WAITING};
use millrace_connectors::notify::Severity;
use millrace_connectors::store::{JsonRow, Param, Store, StoreError};
use millrace_model::Timestamp;
use serde_json::Value;

use super::rule::Known;

/// Ids asked for in one query.
const IDS_AT_ONCE: usize = 500;
/// Deliveries of a channel that are looked at together.
pub(super) const DELIVERIES_MAX: usize = 100_000;

/// One row of `alert_deliveries`, with what a message needs of its alert.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Delivery {
    pub(super) alert_id: String,
    pub(super) occurrence: i64,
    pub(super) cause: String,
    pub(super) channel: String,
    pub(super) route: String,
    pub(super) message_id: Option<String>,
    pub(super) queued_at: Timestamp,
    pub(super) source_table: String,
    pub(super) entity: String,
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) acked: bool,
    pub(super) snoozed_until: Option<Timestamp>,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum State<'a> {
    Waiting,
    Sending(&'a str),
    Sent(&'a str, Timestamp),
    Failed(&'a str, &'a str),
    Acknowledged,
}

impl Delivery {
    /// Its row in this state.
    pub(super) fn row(&self, state: State<'_>) -> Vec<Param> {
        let text = |text: &str| Param::Text(text.into());
        let (name, message_id, sent_at, error) = match state {
            State::Waiting => (WAITING, Param::Null, Param::Null, Param::Null),
            State::Sending(id) => ("sending", text(id), Param::Null, Param::Null),
            State::Sent(id, at) => ("sent", text(id), Param::Time(at), Param::Null),
            State::Failed(id, why) => ("failed", text(id), Param::Null, text(why)),
            State::Acknowledged => (ACKNOWLEDGED, Param::Null, Param::Null, Param::Null),
        };
        vec![
            text(&self.alert_id),
            Param::Integer(self.occurrence),
            text(&self.cause),
            text(&self.channel),
            text(&self.route),
            text(name),
            message_id,
            Param::Time(self.queued_at),
            sent_at,
            error,
        ]
    }
}

/// The last occurrence of each of these alerts.
pub(super) async fn known(store: &Store, ids: &[&str]) -> Result<HashMap<String, Known>, StoreError> {
    let mut known = HashMap::new();
    for ids in ids.chunks(IDS_AT_ONCE) {
        let places: Vec<String> = (1..=ids.len()).map(|at| format!("${at}")).collect();
        let sql = format!(
            "SELECT alert_id, occurrence, severity, hits, fired_at, resolved_at FROM alerts_fired \
             WHERE alert_id IN ({}) ORDER BY occurrence",
            places.join(", ")
        );
        let params: Vec<Param> = ids.iter().map(|id| Param::Text((*id).into())).collect();
        for row in store.query(&sql, &params).await? {
            let last = Known {
                occurrence: integer(&row, "occurrence"),
                open: row.get("resolved_at").is_none_or(Value::is_null),
                severity: Severity::named(&text(&row, "severity")).unwrap_or_default(),
                hits: integer(&row, "hits"),
                fired_at: time(&row, "fired_at").unwrap_or(Timestamp(0)),
            };
            known.insert(text(&row, "alert_id"), last);
        }
    }
    Ok(known)
}

/// What waits for a channel, the oldest first.
pub(super) async fn waiting(store: &Store, channel: &str) -> Result<Vec<Delivery>, StoreError> {
    let sql = format!(
        "SELECT d.alert_id, d.occurrence, d.cause, d.channel, d.route, d.message_id, d.queued_at, a.source_table, \
         a.entity, a.severity, a.title, k.acked_at, s.until AS snoozed_until \
         FROM alert_deliveries AS d \
         JOIN alerts_fired AS a ON a.alert_id = d.alert_id AND a.occurrence = d.occurrence \
         LEFT JOIN alert_acks AS k ON k.alert_id = d.alert_id AND k.occurrence = d.occurrence \
         LEFT JOIN alert_snoozes AS s ON s.source_table = a.source_table AND s.entity = a.entity \
         WHERE d.channel = $1 AND d.state IN ('waiting', 'sending') \
         ORDER BY d.queued_at, d.alert_id LIMIT {DELIVERIES_MAX}"
    );
    let rows = store.query(&sql, &[Param::Text(channel.into())]).await?;
    let read = |row: &JsonRow| Delivery {
        alert_id: text(row, "alert_id"),
        occurrence: integer(row, "occurrence"),
        cause: text(row, "cause"),
        channel: text(row, "channel"),
        route: text(row, "route"),
        message_id: row.get("message_id").and_then(Value::as_str).map(str::to_owned),
        queued_at: time(row, "queued_at").unwrap_or(Timestamp(0)),
        source_table: text(row, "source_table"),
        entity: text(row, "entity"),
        severity: Severity::named(&text(row, "severity")).unwrap_or_default(),
        title: text(row, "title"),
        acked: row.get("acked_at").is_some_and(|at| !at.is_null()),
        snoozed_until: time(row, "snoozed_until"),
    };
    Ok(rows.iter().map(read).collect())
}

/// When each route last sent to a channel.
pub(super) async fn last_sent(store: &Store, channel: &str) -> Result<HashMap<String, Timestamp>, StoreError> {
    let sql = "SELECT route, sent_at FROM alert_deliveries WHERE channel = $1 AND state = 'sent' \
               ORDER BY sent_at DESC LIMIT 1000";
    let mut last: HashMap<String, Timestamp> = HashMap::new();
    for row in store.query(sql, &[Param::Text(channel.into())]).await? {
        if let Some(at) = time(&row, "sent_at") {
            last.entry(text(&row, "route")).or_insert(at);
        }
    }
    Ok(last)
}

/// The row an alert's occurrence last fired by.
pub(super) async fn evidence(store: &Store, alert_id: &str, occurrence: i64) -> Result<JsonRow, StoreError> {
    let sql = "SELECT evidence FROM alerts_fired WHERE alert_id = $1 AND occurrence = $2";
    let rows = store.query(sql, &[Param::Text(alert_id.into()), Param::Integer(occurrence)]).await?;
    Ok(rows.first().and_then(|row| row.get("evidence")?.as_object().cloned()).unwrap_or_default())
}

/// A text of a row; empty when it is null.
pub(crate) fn text(row: &JsonRow, column: &str) -> String {
    row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// An integer of a row.
pub(crate) fn integer(row: &JsonRow, column: &str) -> i64 {
    row.get(column).and_then(Value::as_i64).unwrap_or(0)
}

fn time(row: &JsonRow, column: &str) -> Option<Timestamp> {
    Timestamp::parse(row.get(column)?.as_str()?.as_bytes())
}
