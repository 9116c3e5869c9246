//! Rows and caches for the tests of the views.

use millrace_model::{Contract, Timestamp};
use serde_json::{Value, json};

use crate::cache::Cache;
use crate::row::Row;
use crate::settings::Limits;

/// The time text `seconds` after 1970.
pub(crate) fn at(seconds: i64) -> String {
    Timestamp(seconds * 1_000_000).to_string()
}

/// Rows from JSON objects.
pub(crate) fn json_rows(rows: Vec<Value>) -> Vec<Row> {
    rows.into_iter().map(|row| row.as_object().expect("an object").clone()).collect()
}

/// A cache of these tables, keyed as the shipped ones are.
pub(crate) fn cache_of(tables: Vec<(&str, Vec<Row>)>) -> Cache {
    let contracts = tables.iter().map(|(name, rows)| contract(name, rows)).collect();
    let mut cache = Cache::new(contracts, &Limits::default());
    for (name, rows) in tables {
        cache.apply(name, rows, Some(Timestamp(0)));
    }
    cache
}

fn contract(name: &str, rows: &[Row]) -> Contract {
    let key: &[&str] = match name {
        "store_metrics" | "vitals" => &["window_start", "store_id"],
        "revenue_daily" => &["window_start", "store_id", "currency"],
        "category_metrics" => &["window_start", "category"],
        "fraud_signals" => &["signal_id"],
        "stock_levels" => &["product_id"],
        "stock_cover" | "trending" => &["window_start", "product_id"],
        "sessions" | "abandoned_carts" => &["visitor_id", "session_start"],
        "seen_together" | "bought_together" => &["product_id", "other_id"],
        "job_progress" => &["table"],
        "dead_letters" => &["dead_letter_id"],
        "fraud_verdicts" => &["payment_id"],
        "fraud_lists" => &["kind", "entity"],
        "fraud_rules" => &["name"],
        _ => &[],
    };
    let mut properties = serde_json::Map::new();
    for (column, value) in rows.iter().flatten() {
        let is_time = value.as_str().is_some_and(|text| Timestamp::parse(text.as_bytes()).is_some());
        let schema = if is_time { json!({"type": "string", "format": "date-time"}) } else { json!({"type": "string"}) };
        properties.insert(column.clone(), schema);
    }
    for column in key {
        properties.entry(*column).or_insert(json!({"type": "string"}));
    }
    let schema = json!({
        "$id": name, "properties": properties,
        "x-millrace": {"role": "result", "key": key, "topic": {"partitions": 1}}
    });
    Contract::parse(&schema.to_string()).expect("a contract")
}
