//! Alerts of the moving shop as the role `notify` would have kept them: some open, one over, some answered.

use std::sync::Arc;

use millrace_connectors::alerts::Tables;
use millrace_connectors::store::{Store, StoreError, Table, WriteBatch};
use millrace_model::Timestamp;
use serde_json::{Value, json};

use super::param;

const MINUTE: i64 = 60_000_000;

/// Keeps rows of a table about alerts.
///
/// # Errors
/// As [`Store::write`].
pub async fn keep(store: &Store, table: &Arc<Table>, rows: &[Value]) -> Result<(), StoreError> {
    let mut write = WriteBatch::new("fixture");
    for row in rows {
        let cells = table.columns().iter();
        write.upsert(table, cells.map(|column| param(column.sql_type, &row[&column.name])).collect::<Vec<_>>())?;
    }
    store.write(&write).await
}

/// An occurrence that fired so many minutes ago by this row, and is open.
pub fn fired(
    now: Timestamp,
    minutes: i64,
    route: &str,
    table: &str,
    entity: &str,
    severity: &str,
    row: &Value,
) -> Value {
    let at = Timestamp(now.0 - minutes * MINUTE);
    let key = ["signal_id", "product_id", "session_id"].iter().find_map(|name| row[*name].as_str()).unwrap_or(entity);
    let title = row["rule"].as_str().map_or_else(|| format!("{table}: {entity}"), |rule| format!("{rule}: {entity}"));
    json!({
        "alert_id": format!("{route}/{key}"), "occurrence": 1, "route": route, "source_table": table, "entity": entity,
        "severity": severity, "title": title, "evidence": row, "hits": 1, "event_time": at, "fired_at": at, "updated_at": at,
        "resolved_at": null,
    })
}

/// Everything there is at `now`.
///
/// # Errors
/// As [`Store::write`].
pub async fn fill(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let ago = |minutes: i64| Timestamp(now.0 - minutes * MINUTE);
    let signal = |rule: &str, entity: &str, kind: &str, n: i64| {
        json!({"signal_id": format!("{rule}:{entity}:{n}"), "rule": rule, "entity_kind": kind, "entity": entity,
               "payments": 6 + n, "declines": n, "cards": 1, "amount_minor": 12_900 * n, "currency": "EUR",
               "payment_ids": ["pay-0001", "pay-0002"]})
    };
    let stock = |id: &str, name: &str, status: &str, available: i64| json!({"product_id": id, "product_name": name, "status": status, "available": available, "reorder_point": 10});
    let (card, device, visitor) = ("card_7f3e9a1c44b2", "device_91ab34ce77d0", "visitor-000841");
    let fraud = |minutes, rule, entity, kind, severity, n| {
        fired(now, minutes, "fraud", "fraud_signals", entity, severity, &signal(rule, entity, kind, n))
    };
    let mut again = fired(
        now,
        9,
        "stock",
        "stock_levels",
        "p-1007",
        "high",
        &stock("p-1007", "Shell chair, black", "out_of_stock", 0),
    );
    again["occurrence"] = json!(2);
    again["title"] = json!("Shell chair, black is out of stock");
    let mut over = fired(
        now,
        300,
        "stock",
        "stock_levels",
        "p-1007",
        "medium",
        &stock("p-1007", "Shell chair, black", "in_stock", 40),
    );
    over["resolved_at"] = json!(ago(200));
    let cart = json!({"session_id": "s-000841", "visitor_id": visitor, "value_minor": 48_900, "currency": "EUR", "reason": "payment declined"});
    let rows = [
        fraud(2, "velocity", card, "card_token", "critical", 9),
        fraud(12, "velocity", card, "card_token", "high", 4),
        fraud(55, "declines_then_success", card, "card_token", "medium", 3),
        fraud(26, "card_testing", device, "device_id", "high", 7),
        again,
        over,
        fired(now, 95, "stock", "stock_levels", "p-1011", "low", &stock("p-1011", "Pendant lamp, brass", "low", 4)),
        fired(now, 130, "carts", "abandoned_carts", visitor, "info", &cart),
        fraud(4_500, "refund_abuse", "user-000112", "user_id", "medium", 2),
    ];
    let tables = Tables::new()?;
    keep(store, &tables.fired, &rows).await?;
    let delivery = |alert: &Value, cause: &str, channel: &str, state: &str, error: Option<&str>| {
        json!({"alert_id": alert["alert_id"], "occurrence": alert["occurrence"], "cause": cause, "channel": channel,
               "route": alert["route"], "state": state, "message_id": "m", "queued_at": alert["fired_at"],
               "sent_at": if state == "sent" { alert["fired_at"].clone() } else { Value::Null }, "error": error})
    };
    let refused = "email 127.0.0.1:2525: RCPT TO is answered 550: no such mailbox";
    let deliveries = [
        delivery(&rows[0], "fired", "ops", "sent", None),
        delivery(&rows[0], "fired", "mail", "failed", Some(refused)),
        delivery(&rows[0], "escalated", "ops", "waiting", None),
        delivery(&rows[1], "fired", "ops", "sent", None),
        delivery(&rows[3], "fired", "ops", "waiting", None),
        delivery(&rows[4], "fired", "mail", "sent", None),
        delivery(&rows[5], "resolved", "mail", "sent", None),
        delivery(&rows[6], "fired", "mail", "acknowledged", None),
    ];
    keep(store, &tables.deliveries, &deliveries).await?;
    let acks = [json!({"alert_id": rows[6]["alert_id"], "occurrence": 1, "acked_at": ago(90), "acked_by": "ada"})];
    keep(store, &tables.acks, &acks).await?;
    let snoozes =
        [json!({"source_table": "abandoned_carts", "entity": visitor, "until": Timestamp(now.0 + 90 * MINUTE),
                          "snoozed_at": ago(100), "snoozed_by": "grace"})];
    keep(store, &tables.snoozes, &snoozes).await
}
