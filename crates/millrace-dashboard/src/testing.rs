//! For tests, here and in the product: the result tables by hand, a moving shop of fixture rows, a headless browser.
//!
//! Reading order: [`tables`] (contracts) → [`shop`], [`held`], [`alerts`] (rows) → [`fill`] (rows into a store) → [`browser`] (a
//! page, driven).

pub mod alerts;
pub mod browser;
pub mod held;
pub mod shop;
pub mod tables;

use std::collections::HashMap;
use std::sync::Arc;

use millrace_connectors::store::{Param, SqlType, Store, StoreError, Table, WriteBatch};
use millrace_model::{Contract, Timestamp};
use serde_json::Value;

use crate::LiveBatch;

/// Writes batches into a store as the product's sink would. Tables without a key are left out: they need the place of
/// each record, which fixture rows do not have.
///
/// # Errors
/// As [`Store::write`].
pub async fn fill(store: &Store, tables: &[Contract], batches: &[LiveBatch]) -> Result<(), StoreError> {
    let mut known: HashMap<&str, Arc<Table>> = HashMap::new();
    for contract in tables {
        known.insert(&contract.name, Arc::new(Table::of(contract)?));
    }
    let mut write = WriteBatch::new("fixture");
    for batch in batches {
        let Some(table) = known.get(batch.table.as_str()).filter(|table| !table.placed()) else { continue };
        for row in &batch.rows {
            let cells = table.columns().iter();
            let cells = cells.map(|column| param(column.sql_type, row.get(&column.name).unwrap_or(&Value::Null)));
            write.upsert(table, cells.collect::<Vec<_>>())?;
        }
    }
    store.write(&write).await
}

fn param(sql_type: SqlType, value: &Value) -> Param {
    match (sql_type, value) {
        (_, Value::Null) => Param::Null,
        (SqlType::Time, Value::String(text)) => Timestamp::parse(text.as_bytes()).map_or(Param::Null, Param::Time),
        (SqlType::Integer, Value::Number(number)) => Param::Integer(number.as_i64().unwrap_or(0)),
        (SqlType::Number, Value::Number(number)) => Param::Number(number.as_f64().unwrap_or(0.0)),
        (SqlType::Boolean, Value::Bool(bool)) => Param::Boolean(*bool),
        (_, Value::String(text)) => Param::Text(text.clone()),
        (_, other) => Param::Text(other.to_string()),
    }
}
