//! Which alerts are asked for, as SQL both databases understand: numbers by how they stand, the entities they are about, and
//! of each entity the newest occurrences.
//!
//! ```text
//!  alerts_fired ⟕ acks ⟕ snoozes ──▶ standing: over · acknowledged · snoozed · open
//!                                        ├─▶ facets: how many of each standing, severity, route
//!                                        └─▶ groups by (table, entity), those with something open first
//! ```

use millrace_model::Timestamp;
use serde_json::Value;

use super::{Alerts, IDS_AT_ONCE};
use crate::notify::Severity;
use crate::store::{JsonRow, Param, StoreError};

/// How an occurrence stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// It waits for somebody.
    Open,
    /// Nothing about its entity is told for a while.
    Snoozed,
    /// Somebody looks after it.
    Acknowledged,
    /// Its row meets the route's conditions no more.
    Over,
}

impl Standing {
    /// All, as they are worked through.
    pub const ALL: [Standing; 4] = [Standing::Open, Standing::Snoozed, Standing::Acknowledged, Standing::Over];

    /// For programs.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Open => "open",
            Standing::Snoozed => "snoozed",
            Standing::Acknowledged => "acknowledged",
            Standing::Over => "over",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Standing::ALL.into_iter().find(|standing| standing.name() == name)
    }
}

/// Conditions that must all hold; none: every alert.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AlertFilter {
    /// How it stands.
    pub standing: Option<Standing>,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// Route it came by.
    pub route: Option<String>,
    /// A part of the entity or of the title, in any case.
    pub text: Option<String>,
    /// Fired at this time or later.
    pub since: Option<Timestamp>,
    /// Fired before this time.
    pub until: Option<Timestamp>,
}

/// So many alerts that have these in common.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facet {
    /// How they stand.
    pub standing: Standing,
    /// How bad they are.
    pub severity: String,
    /// Route they came by.
    pub route: String,
    /// How many.
    pub alerts: i64,
}

/// So many messages of a channel that are not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undelivered {
    /// The channel.
    pub channel: String,
    /// `waiting`, `sending` or `failed`.
    pub state: String,
    /// How many.
    pub messages: i64,
}

/// A statement under construction: text, and the values of its places.
struct Statement {
    sql: String,
    params: Vec<Param>,
}

impl Statement {
    fn place(&mut self, value: Param) -> String {
        self.params.push(value);
        format!("${}", self.params.len())
    }

    /// `WITH alerts AS (…)`: everything within the time and the text, with how it stands.
    fn alerts(filter: &AlertFilter, now: Timestamp) -> Self {
        let mut statement = Statement { sql: String::new(), params: Vec::new() };
        let now = statement.place(Param::Time(now));
        let mut conditions = Vec::new();
        for (sign, time) in [(">=", filter.since), ("<", filter.until)] {
            if let Some(time) = time {
                conditions.push(format!("a.fired_at {sign} {}", statement.place(Param::Time(time))));
            }
        }
        if let Some(text) = &filter.text {
            let escaped = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            let place = statement.place(Param::Text(format!("%{escaped}%")));
            let like = |column: &str| format!("lower({column}) LIKE {place} ESCAPE '\\'");
            conditions.push(format!("({} OR {})", like("a.entity"), like("a.title")));
        }
        let conditions = if conditions.is_empty() { "TRUE".to_owned() } else { conditions.join(" AND ") };
        statement.sql = format!(
            "WITH alerts AS (SELECT a.alert_id, a.occurrence, a.route, a.source_table, a.entity, a.severity, a.title, \
             a.evidence, a.hits, a.event_time, a.fired_at, a.updated_at, a.resolved_at, k.acked_at, k.acked_by, \
             s.until AS snoozed_until, s.snoozed_by, \
             CASE WHEN a.resolved_at IS NOT NULL THEN 'over' WHEN k.acked_at IS NOT NULL THEN 'acknowledged' \
             WHEN s.until > {now} THEN 'snoozed' ELSE 'open' END AS standing \
             FROM alerts_fired AS a \
             LEFT JOIN alert_acks AS k ON k.alert_id = a.alert_id AND k.occurrence = a.occurrence \
             LEFT JOIN alert_snoozes AS s ON s.source_table = a.source_table AND s.entity = a.entity \
             WHERE {conditions})"
        );
        statement
    }

    /// The rest of the filter, as a condition on `alerts`.
    fn rest(&mut self, filter: &AlertFilter) -> String {
        let wanted = [
            ("standing", filter.standing.map(|standing| standing.name().to_owned())),
            ("severity", filter.severity.map(|severity| severity.name().to_owned())),
            ("route", filter.route.clone()),
        ];
        let mut parts = Vec::new();
        for (column, value) in wanted {
            if let Some(value) = value {
                parts.push(format!("{column} = {}", self.place(Param::Text(value))));
            }
        }
        if parts.is_empty() { "TRUE".to_owned() } else { parts.join(" AND ") }
    }
}

impl Alerts {
    /// How many alerts there are within the filter's time and text, by what they have in common.
    ///
    /// # Errors
    /// As [`Store::query`](crate::store::Store::query).
    pub async fn facets(&self, filter: &AlertFilter, now: Timestamp) -> Result<Vec<Facet>, StoreError> {
        let mut statement = Statement::alerts(filter, now);
        statement.sql.push_str(
            " SELECT standing, severity, route, count(*) AS n FROM alerts GROUP BY standing, severity, route \
             ORDER BY route, severity, standing",
        );
        let rows = self.store.query(&statement.sql, &statement.params).await?;
        let text = |row: &JsonRow, column: &str| row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
        let facet = |row: &JsonRow| Facet {
            standing: Standing::named(&text(row, "standing")).unwrap_or(Standing::Open),
            severity: text(row, "severity"),
            route: text(row, "route"),
            alerts: row.get("n").and_then(Value::as_i64).unwrap_or(0),
        };
        Ok(rows.iter().map(facet).collect())
    }

    /// How many entities the alerts of this filter are about.
    ///
    /// # Errors
    /// As [`Store::query`](crate::store::Store::query).
    pub async fn entities(&self, filter: &AlertFilter, now: Timestamp) -> Result<i64, StoreError> {
        let mut statement = Statement::alerts(filter, now);
        let rest = statement.rest(filter);
        let groups = format!("SELECT source_table, entity FROM alerts WHERE {rest} GROUP BY source_table, entity");
        statement.sql.push_str(&format!(" SELECT count(*) AS n FROM ({groups}) AS gathered"));
        let rows = self.store.query(&statement.sql, &statement.params).await?;
        Ok(rows.first().and_then(|row| row.get("n")?.as_i64()).unwrap_or(0))
    }

    /// The alerts of this filter as rows, gathered by table and entity: entities with something open first, then by their newest;
    /// of each at most so many occurrences, newest first. A row has the columns of `alerts_fired`, `acked_at`, `acked_by`,
    /// `snoozed_until`, `snoozed_by`, `standing`, and of its group `group_alerts`, `group_open`, `group_hits`.
    ///
    /// # Errors
    /// As [`Store::query`](crate::store::Store::query).
    pub async fn grouped(
        &self,
        filter: &AlertFilter,
        now: Timestamp,
        groups_max: usize,
        of_group_max: usize,
    ) -> Result<Vec<JsonRow>, StoreError> {
        let mut statement = Statement::alerts(filter, now);
        let rest = statement.rest(filter);
        let bound = |count: usize| Param::Integer(i64::try_from(count).unwrap_or(i64::MAX));
        let (groups_max, of_group_max) = (statement.place(bound(groups_max)), statement.place(bound(of_group_max)));
        let order = "CASE WHEN group_open > 0 THEN 0 ELSE 1 END, group_fired_at DESC, source_table, entity";
        statement.sql.push_str(&format!(
            ", gathered AS (SELECT source_table, entity, count(*) AS group_alerts, \
             CAST(sum(CASE WHEN standing = 'open' THEN 1 ELSE 0 END) AS BIGINT) AS group_open, \
             CAST(sum(hits) AS BIGINT) AS group_hits, max(fired_at) AS group_fired_at \
             FROM alerts WHERE {rest} GROUP BY source_table, entity), \
             shown AS (SELECT source_table, entity, group_alerts, group_open, group_hits, group_fired_at FROM gathered \
             ORDER BY {order} LIMIT {groups_max}), \
             ranked AS (SELECT alerts.*, row_number() OVER (PARTITION BY source_table, entity \
             ORDER BY fired_at DESC, alert_id, occurrence DESC) AS place FROM alerts WHERE {rest}) \
             SELECT r.alert_id, r.occurrence, r.route, r.source_table, r.entity, r.severity, r.title, r.evidence, r.hits, \
             r.event_time, r.fired_at, r.updated_at, r.resolved_at, r.acked_at, r.acked_by, r.snoozed_until, r.snoozed_by, \
             r.standing, g.group_alerts, g.group_open, g.group_hits \
             FROM shown AS g JOIN ranked AS r ON r.source_table = g.source_table AND r.entity = g.entity \
             WHERE r.place <= {of_group_max} \
             ORDER BY CASE WHEN g.group_open > 0 THEN 0 ELSE 1 END, g.group_fired_at DESC, g.source_table, g.entity, r.place"
        ));
        self.store.query(&statement.sql, &statement.params).await
    }

    /// What channels were told, or are to be, of these alerts; oldest first.
    ///
    /// # Errors
    /// As [`Store::query`](crate::store::Store::query).
    pub async fn deliveries(&self, alert_ids: &[&str]) -> Result<Vec<JsonRow>, StoreError> {
        let mut found = Vec::new();
        for ids in alert_ids.chunks(IDS_AT_ONCE) {
            let places: Vec<String> = (1..=ids.len()).map(|at| format!("${at}")).collect();
            let sql = format!(
                "SELECT alert_id, occurrence, cause, channel, state, queued_at, sent_at, error FROM alert_deliveries \
                 WHERE alert_id IN ({}) ORDER BY queued_at, channel, cause",
                places.join(", ")
            );
            let params: Vec<Param> = ids.iter().map(|id| Param::Text((*id).into())).collect();
            found.extend(self.store.query(&sql, &params).await?);
        }
        Ok(found)
    }

    /// Messages that are not done, by channel and state: `waiting`, `sending`, `failed`.
    ///
    /// # Errors
    /// As [`Store::query`](crate::store::Store::query).
    pub async fn undelivered(&self) -> Result<Vec<Undelivered>, StoreError> {
        let sql = "SELECT channel, state, count(*) AS n FROM alert_deliveries \
                   WHERE state IN ('waiting', 'sending', 'failed') GROUP BY channel, state ORDER BY channel, state";
        let rows = self.store.query(sql, &[]).await?;
        let text = |row: &JsonRow, column: &str| row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
        let read = |row: &JsonRow| Undelivered {
            channel: text(row, "channel"),
            state: text(row, "state"),
            messages: row.get("n").and_then(Value::as_i64).unwrap_or(0),
        };
        Ok(rows.iter().map(read).collect())
    }
}
