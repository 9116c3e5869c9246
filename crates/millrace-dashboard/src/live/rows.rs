//! Rows of tables as events: all that is recent, then those that changed.

use serde_json::{Map, Value, json};

use crate::cache::{Cache, TableCache};
use crate::mask;
use crate::row::Row;
use crate::settings::Limits;

/// What a push of rows carries.
pub(super) struct Push {
    /// By table.
    pub(super) tables: Value,
    /// It replaces what the reader has.
    pub(super) is_snapshot: bool,
}

/// The newest rows of the tables, oldest change first.
pub(super) fn snapshot(cache: &Cache, names: &[String], limits: &Limits) -> Push {
    let tables: Map<String, Value> = names
        .iter()
        .filter_map(|name| cache.table(name))
        .map(|table| {
            let mut rows: Vec<&Row> = table.newest().take(limits.sse_snapshot_rows_max).map(|(_, row)| row).collect();
            rows.reverse();
            (table.contract.name.clone(), told(table, rows))
        })
        .collect();
    Push { tables: Value::Object(tables), is_snapshot: true }
}

/// Rows changed after `version`, the last state of each; a snapshot when they are too many. None when there are none.
pub(super) fn changes(cache: &Cache, names: &[String], version: u64, limits: &Limits) -> Option<Push> {
    let mut tables = Map::new();
    let mut count = 0;
    for table in names.iter().filter_map(|name| cache.table(name)) {
        let rows: Vec<&Row> = table.changed_since(version).take(limits.sse_delta_rows_max + 1).collect();
        count += rows.len();
        if count > limits.sse_delta_rows_max {
            return Some(snapshot(cache, names, limits));
        }
        if !rows.is_empty() {
            tables.insert(table.contract.name.clone(), told(table, rows));
        }
    }
    (count > 0).then(|| Push { tables: Value::Object(tables), is_snapshot: false })
}

fn told(table: &TableCache, rows: Vec<&Row>) -> Value {
    let masked = rows.into_iter().map(|row| {
        let mut row = row.clone();
        mask::row(&mut row);
        Value::Object(row)
    });
    json!({ "key": table.contract.key, "rows": masked.collect::<Vec<_>>() })
}
