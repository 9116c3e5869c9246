//! Alerts as the store keeps them (migration 4): what fired, what channels were told, and what people said about it.
//!
//! ```text
//!  role notify ──▶ alerts_fired, alert_deliveries ──▶ AlertFilter ──▶ lists: the command, the page, the API
//!  command, page, API ──▶ Alerts::acknowledge, snooze ──▶ alert_acks, alert_snoozes ──▶ role notify
//! ```
//!
//! Who decides what fires is the role `notify`; this is what it shares with those who read and answer: the tables, and the
//! four things a person can say. Saying one of them again changes nothing but who said it last.
//!
//! Reading order: here (tables, what people say) → `list` (what is asked).

mod list;

use std::sync::Arc;

use millrace_model::Timestamp;
use serde_json::Value;

use crate::store::{JsonRow, Param, SqlType, Store, StoreError, Table, WriteBatch};

pub use list::{AlertFilter, Facet, Standing, Undelivered};

/// Alerts a person acknowledges with one word, at most.
pub const ACKS_AT_ONCE_MAX: usize = 10_000;
/// Ids in one question.
const IDS_AT_ONCE: usize = 500;
/// Delivery that waits for its channel.
pub const WAITING: &str = "waiting";
/// Delivery that was called off because somebody looks after the alert.
pub const ACKNOWLEDGED: &str = "acknowledged";

/// The tables that are written.
#[derive(Clone, Debug)]
pub struct Tables {
    /// `alerts_fired`: an occurrence of an alert a row.
    pub fired: Arc<Table>,
    /// `alert_deliveries`: what is to be told, was told, or need not be.
    pub deliveries: Arc<Table>,
    /// `alert_acks`: somebody looks after it.
    pub acks: Arc<Table>,
    /// `alert_snoozes`: nothing about this entity until then.
    pub snoozes: Arc<Table>,
}

impl Tables {
    /// As migration 4 makes them.
    ///
    /// # Errors
    /// None of these names is too long.
    pub fn new() -> Result<Self, StoreError> {
        use SqlType::{Integer, Json, Text, Time};
        let fired = [
            ("alert_id", Text),
            ("occurrence", Integer),
            ("route", Text),
            ("source_table", Text),
            ("entity", Text),
            ("severity", Text),
            ("title", Text),
            ("evidence", Json),
            ("hits", Integer),
            ("event_time", Time),
            ("fired_at", Time),
            ("updated_at", Time),
            ("resolved_at", Time),
        ];
        let deliveries = [
            ("alert_id", Text),
            ("occurrence", Integer),
            ("cause", Text),
            ("channel", Text),
            ("route", Text),
            ("state", Text),
            ("message_id", Text),
            ("queued_at", Time),
            ("sent_at", Time),
            ("error", Text),
        ];
        let acks = [("alert_id", Text), ("occurrence", Integer), ("acked_at", Time), ("acked_by", Text)];
        let snoozes =
            [("source_table", Text), ("entity", Text), ("until", Time), ("snoozed_at", Time), ("snoozed_by", Text)];
        let table = |name, columns: &[_], key: &[&str]| Table::kept(name, columns, key).map(Arc::new);
        Ok(Tables {
            fired: table("alerts_fired", &fired, &["alert_id", "occurrence"])?,
            deliveries: table("alert_deliveries", &deliveries, &["alert_id", "occurrence", "cause", "channel"])?,
            acks: table("alert_acks", &acks, &["alert_id", "occurrence"])?,
            snoozes: table("alert_snoozes", &snoozes, &["source_table", "entity"])?,
        })
    }
}

/// One occurrence of an alert, and whom it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Occurrence {
    /// ROUTE/KEY.
    pub alert_id: String,
    /// 1 for the first.
    pub occurrence: i64,
    /// Table of the row that fired it.
    pub source_table: String,
    /// Whom or what it is about.
    pub entity: String,
}

impl Occurrence {
    fn of(row: &JsonRow) -> Self {
        let text = |column: &str| row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned();
        Occurrence {
            alert_id: text("alert_id"),
            occurrence: row.get("occurrence").and_then(Value::as_i64).unwrap_or(0),
            source_table: text("source_table"),
            entity: text("entity"),
        }
    }
}

/// What people say about alerts, and what there is to say it about.
#[derive(Clone, Debug)]
pub struct Alerts {
    store: Store,
    tables: Tables,
}

impl Alerts {
    /// Of this store.
    ///
    /// # Errors
    /// As [`Tables::new`].
    pub fn new(store: Store) -> Result<Self, StoreError> {
        Ok(Alerts { store, tables: Tables::new()? })
    }

    /// The last occurrence of an alert.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub async fn last(&self, alert_id: &str) -> Result<Option<Occurrence>, StoreError> {
        let sql = "SELECT alert_id, occurrence, source_table, entity FROM alerts_fired WHERE alert_id = $1 \
                   ORDER BY occurrence DESC LIMIT 1";
        let rows = self.store.query(sql, &[Param::Text(alert_id.into())]).await?;
        Ok(rows.first().map(Occurrence::of))
    }

    /// What fired at this moment, the last occurrences first.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub async fn fired_at(&self, time: Timestamp) -> Result<Vec<Occurrence>, StoreError> {
        let sql = "SELECT alert_id, occurrence, source_table, entity FROM alerts_fired WHERE fired_at = $1 \
                   ORDER BY occurrence DESC, alert_id";
        Ok(self.store.query(sql, &[Param::Time(time)]).await?.iter().map(Occurrence::of).collect())
    }

    /// Everything about this entity of this table that is neither over nor acknowledged, newest first.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub async fn unanswered(&self, of: &Occurrence) -> Result<Vec<Occurrence>, StoreError> {
        self.about(of, "k.acked_at IS NULL").await
    }

    /// Everything about this entity of this table that is acknowledged and not over, newest first.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub async fn acknowledged(&self, of: &Occurrence) -> Result<Vec<Occurrence>, StoreError> {
        self.about(of, "k.acked_at IS NOT NULL").await
    }

    async fn about(&self, of: &Occurrence, condition: &str) -> Result<Vec<Occurrence>, StoreError> {
        let sql = format!(
            "SELECT a.alert_id, a.occurrence, a.source_table, a.entity FROM alerts_fired AS a \
             LEFT JOIN alert_acks AS k ON k.alert_id = a.alert_id AND k.occurrence = a.occurrence \
             WHERE a.source_table = $1 AND a.entity = $2 AND a.resolved_at IS NULL AND {condition} \
             ORDER BY a.fired_at DESC LIMIT {ACKS_AT_ONCE_MAX}"
        );
        let params = [Param::Text(of.source_table.clone()), Param::Text(of.entity.clone())];
        Ok(self.store.query(&sql, &params).await?.iter().map(Occurrence::of).collect())
    }

    /// Somebody looks after these occurrences: they are told no more.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn acknowledge(&self, of: &[Occurrence], by: &str, at: Timestamp) -> Result<(), StoreError> {
        let mut batch = WriteBatch::new("alerts");
        for occurrence in of {
            batch.upsert(&self.tables.acks, ack(occurrence, Some(at), by))?;
        }
        self.store.write(&batch).await
    }

    /// Nobody looks after these occurrences after all: what was called off for it waits to be told again.
    ///
    /// # Errors
    /// As [`Store::query`] and [`Store::write`].
    pub async fn take_back(&self, of: &[Occurrence], by: &str) -> Result<(), StoreError> {
        let mut batch = WriteBatch::new("alerts");
        for some in of.chunks(IDS_AT_ONCE) {
            let places: Vec<String> = (2..some.len() + 2).map(|at| format!("${at}")).collect();
            let columns: Vec<String> =
                self.tables.deliveries.columns().iter().map(|column| crate::store::quoted(&column.name)).collect();
            let sql = format!(
                "SELECT {} FROM alert_deliveries WHERE state = $1 AND alert_id IN ({})",
                columns.join(", "),
                places.join(", ")
            );
            let called_off = std::iter::once(ACKNOWLEDGED).chain(some.iter().map(|of| of.alert_id.as_str()));
            let params: Vec<Param> = called_off.map(|text| Param::Text(text.into())).collect();
            for row in self.store.query(&sql, &params).await? {
                let of_row = |of: &&Occurrence| {
                    row.get("alert_id").and_then(Value::as_str) == Some(of.alert_id.as_str())
                        && row.get("occurrence").and_then(Value::as_i64) == Some(of.occurrence)
                };
                if some.iter().any(|of| of_row(&of)) {
                    batch.upsert(&self.tables.deliveries, waiting_again(&self.tables.deliveries, &row))?;
                }
            }
        }
        for occurrence in of {
            batch.upsert(&self.tables.acks, ack(occurrence, None, by))?;
        }
        self.store.write(&batch).await
    }

    /// Nothing about the entities of these occurrences until then; what fires meanwhile is told afterwards. A time that has come
    /// already ends a snooze.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn snooze(&self, of: &[Occurrence], until: Timestamp, by: &str, at: Timestamp) -> Result<(), StoreError> {
        let mut batch = WriteBatch::new("alerts");
        for occurrence in of {
            let row = vec![
                Param::Text(occurrence.source_table.clone()),
                Param::Text(occurrence.entity.clone()),
                Param::Time(until),
                Param::Time(at),
                Param::Text(by.into()),
            ];
            batch.upsert(&self.tables.snoozes, row)?;
        }
        self.store.write(&batch).await
    }
}

fn ack(of: &Occurrence, at: Option<Timestamp>, by: &str) -> Vec<Param> {
    vec![
        Param::Text(of.alert_id.clone()),
        Param::Integer(of.occurrence),
        at.map_or(Param::Null, Param::Time),
        Param::Text(by.into()),
    ]
}

/// A delivery as it was queued: nothing of it was sent.
fn waiting_again(table: &Table, row: &JsonRow) -> Vec<Param> {
    let cell = |name: &str| match (name, row.get(name)) {
        ("state", _) => Param::Text(WAITING.into()),
        ("message_id" | "sent_at" | "error", _) => Param::Null,
        ("queued_at", Some(Value::String(text))) => Timestamp::parse(text.as_bytes()).map_or(Param::Null, Param::Time),
        (_, Some(Value::String(text))) => Param::Text(text.clone()),
        (_, Some(Value::Number(number))) => number.as_i64().map_or(Param::Null, Param::Integer),
        _ => Param::Null,
    };
    table.columns().iter().map(|column| cell(&column.name)).collect()
}
