//! A row of a table, and how its values are read: never an error, a missing value is none or zero.

use millrace_model::{ColumnType, Contract, Timestamp};
use serde_json::{Map, Value};

/// A committed row, by column name.
pub(crate) type Row = Map<String, Value>;

/// Typed reading of a row.
pub(crate) trait Read {
    /// The text in this column; empty when there is none.
    fn text(&self, column: &str) -> &str;
    /// The integer in this column; 0 when there is none.
    fn int(&self, column: &str) -> i64;
    /// The time in this column.
    fn time(&self, column: &str) -> Option<Timestamp>;
    /// The texts of a list column.
    fn texts(&self, column: &str) -> Vec<String>;
}

impl Read for Row {
    fn text(&self, column: &str) -> &str {
        self.get(column).and_then(Value::as_str).unwrap_or_default()
    }

    fn int(&self, column: &str) -> i64 {
        match self.get(column) {
            Some(Value::Number(n)) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)).unwrap_or(0),
            _ => 0,
        }
    }

    fn time(&self, column: &str) -> Option<Timestamp> {
        self.get(column).and_then(Value::as_str).and_then(|text| Timestamp::parse(text.as_bytes()))
    }

    fn texts(&self, column: &str) -> Vec<String> {
        let items = self.get(column).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

/// Brings a row into the one form the cache holds: times as canonical text (they then sort as they are), long texts cut.
pub(crate) fn normalise(contract: &Contract, row: &mut Row, text_bytes_max: usize) {
    for column in &contract.columns {
        let Some(value) = row.get_mut(&column.name) else { continue };
        if let (ColumnType::Timestamp, Value::String(text)) = (&column.column_type, &*value)
            && let Some(time) = Timestamp::parse(text.as_bytes())
        {
            *value = Value::String(time.to_string());
        }
    }
    for value in row.values_mut() {
        if let Value::String(text) = value
            && text.len() > text_bytes_max
        {
            let end = text.floor_char_boundary(text_bytes_max);
            text.truncate(end);
        }
    }
}

/// The identity of a row: its key columns, joined. `None` when the table has no key.
pub(crate) fn key_of(columns: &[String], row: &Row) -> Option<String> {
    if columns.is_empty() {
        return None;
    }
    let mut key = String::new();
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            key.push('\u{1f}');
        }
        match row.get(column) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => key.push_str(text),
            Some(other) => key.push_str(&other.to_string()),
        }
    }
    Some(key)
}

/// A short public name for a private key (a visitor, a card): the same key always gives the same name, and the name
/// does not give the key. FNV-1a, 64 bits (Fowler, Noll, Vo), in hexadecimal.
pub(crate) fn public_id(key: &str) -> String {
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(value: Value) -> Row {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn reads_without_errors() {
        let row = row(json!({"a": "x", "n": 3, "f": 2.5, "t": "2026-01-01T00:00:00Z", "l": ["p", "q"], "z": null}));
        assert_eq!((row.text("a"), row.text("n"), row.text("nowhere")), ("x", "", ""));
        assert_eq!((row.int("n"), row.int("f"), row.int("z"), row.int("a")), (3, 2, 0, 0));
        assert_eq!(row.time("t").map(|t| t.to_string()), Some("2026-01-01T00:00:00.000000Z".into()));
        assert_eq!(row.texts("l"), ["p", "q"]);
    }

    #[test]
    fn times_become_canonical_and_long_texts_are_cut() {
        let contract = Contract::parse(
            r#"{"$id":"t","properties":{"at":{"type":"string","format":"date-time"},"s":{"type":"string"}},
                "x-millrace":{"role":"result","key":["at"],"topic":{"partitions":1}}}"#,
        )
        .expect("a contract");
        let mut row = row(json!({"at": "2026-01-01 01:00:00+01:00", "s": "é".repeat(20)}));
        normalise(&contract, &mut row, 31);
        assert_eq!(row.text("at"), "2026-01-01T00:00:00.000000Z");
        assert_eq!(row.text("s"), "é".repeat(15));
        assert_eq!(key_of(&contract.key, &row).as_deref(), Some("2026-01-01T00:00:00.000000Z"));
        assert_eq!(key_of(&[], &row), None);
    }

    #[test]
    fn public_ids_are_stable() {
        assert_eq!(public_id(""), "cbf29ce484222325");
        assert_eq!(public_id("a"), "af63dc4c8601ec8c");
    }
}
