//! A table as an index: its template from the contract, and of each row the document's id and the index it belongs in.
//!
//! A table whose key has a time (`window_start`) has an index a day, `PREFIXTABLE-2026.11.23`: its rows never move to another
//! day, and old days are deleted whole when the topic's retention is over. Any other table has one index, because a row that
//! is updated across midnight would be in two; of it documents are deleted, by their event time. Without one a document is the
//! state of something (`stock_levels`), which does not become old.

use millrace_model::time::DAY_MICROS;
use millrace_model::{ColumnType, Contract, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Longest id a server takes, bytes.
const ID_BYTES_MAX: usize = 512;
/// Longest text that is indexed, characters: longer ones are kept, but not found by.
const KEYWORD_CHARS_MAX: usize = 1_024;

/// An index, or one a day.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Index {
    pub(super) table: String,
    name: String,
    key: Vec<String>,
    /// The column whose day an index is for.
    day: Option<String>,
    /// The column that says how old a document is.
    event_time: Option<String>,
    properties: Map<String, Value>,
    /// How long the topic keeps a row, milliseconds; `None`: for ever.
    retention_ms: Option<i64>,
}

/// Where a row goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Target {
    pub(super) index: String,
    pub(super) id: String,
}

impl Index {
    pub(super) fn of(contract: &Contract, prefix: &str) -> Self {
        let is_time = |name: &String| {
            let column = contract.columns.iter().find(|column| column.name == *name);
            column.is_some_and(|column| column.column_type == ColumnType::Timestamp)
        };
        let day = match contract.key.is_empty() {
            false => contract.key.iter().find(|name| is_time(name)).cloned(),
            true => contract.event_time.clone(),
        };
        let properties = contract.columns.iter().map(|column| (column.name.clone(), mapping(&column.column_type)));
        let config = &contract.topic.config;
        let deletes = config.get("cleanup.policy").is_none_or(|policy| policy.contains("delete"));
        let retention = config.get("retention.ms").and_then(|text| text.parse().ok()).filter(|ms: &i64| *ms > 0);
        Index {
            table: contract.name.clone(),
            name: format!("{prefix}{}", contract.name),
            key: contract.key.clone(),
            day,
            event_time: contract.event_time.clone(),
            properties: properties.collect(),
            retention_ms: retention.filter(|_| deletes),
        }
    }

    /// Its name, or what the names of its days begin with; and its template's.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The fields of its documents, as its template maps them.
    pub(super) fn properties(&self) -> &Map<String, Value> {
        &self.properties
    }

    /// The column that says how old a document is.
    pub(super) fn event_time(&self) -> Option<&str> {
        self.event_time.as_deref()
    }

    /// Its template: mappings by the contract; fields that are not in it are kept, and not indexed.
    pub(super) fn template(&self, replicas: Option<u32>) -> Value {
        // The pattern of days begins with a digit: another table's name cannot.
        let patterns = if self.day.is_some() { json!([format!("{}-2*", self.name)]) } else { json!([self.name]) };
        let mut settings = json!({ "number_of_shards": 1 });
        if let Some(replicas) = replicas {
            settings["number_of_replicas"] = replicas.into();
        }
        json!({
            "index_patterns": patterns,
            "priority": 200,
            "template": {
                "settings": settings,
                "mappings": { "dynamic": false, "properties": self.properties },
            },
            "_meta": { "made_by": "millrace", "table": self.table },
        })
    }

    /// Index and id of a row; `Err`: the row lacks the time that says its day.
    pub(super) fn target(&self, row: &Map<String, Value>, partition: i32, offset: i64) -> Result<Target, String> {
        let id = match self.key.is_empty() {
            true => format!("{partition}-{offset}"),
            false => {
                let values: Vec<&Value> = self.key.iter().map(|name| row.get(name).unwrap_or(&Value::Null)).collect();
                short(Value::from_iter(values.into_iter().cloned()).to_string())
            }
        };
        let Some(day) = &self.day else { return Ok(Target { index: self.name.clone(), id }) };
        let time = row.get(day).and_then(Value::as_str).and_then(|text| Timestamp::parse(text.as_bytes()));
        let time = time
            .ok_or_else(|| format!("field `{day}`: it must be a time, as it says which day's index the row is in"))?;
        Ok(Target { index: self.of_day(time), id })
    }

    fn of_day(&self, time: Timestamp) -> String {
        let date = time.to_string();
        // 2026-11-23T… as 2026.11.23.
        let date = date.split('T').next().unwrap_or_default().replace('-', ".");
        format!("{}-{date}", self.name)
    }

    /// Which of these indices are past their retention: days all of whose rows the topic would have deleted.
    pub(super) fn past<'a>(&self, names: &'a [String], now: Timestamp) -> Vec<&'a str> {
        let (Some(kept), Some(_)) = (self.kept_since(now), &self.day) else { return Vec::new() };
        let oldest = self.of_day(Timestamp(kept.0.saturating_sub(DAY_MICROS)));
        let is_day = |name: &str| {
            let date = name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('-'));
            date.is_some_and(|date| date.len() == 10 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
        };
        names.iter().map(String::as_str).filter(|name| is_day(name) && **name < *oldest).collect()
    }

    /// Which documents of its one index are past their retention, this many at most; `None`: none ever is.
    pub(super) fn past_documents(&self, now: Timestamp, at_most: u64) -> Option<Value> {
        let (Some(kept), Some(column), None) = (self.kept_since(now), &self.event_time, &self.day) else { return None };
        Some(json!({ "query": { "range": { column: { "lt": kept.to_string() } } }, "max_docs": at_most }))
    }

    fn kept_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.retention_ms.map(|retention| Timestamp(now.0.saturating_sub(retention.saturating_mul(1_000))))
    }

    /// The pattern of its days; `None`: it has one index.
    pub(super) fn days(&self) -> Option<String> {
        self.day.as_ref().map(|_| format!("{}-2*", self.name))
    }
}

fn mapping(column_type: &ColumnType) -> Value {
    match column_type {
        ColumnType::Text => json!({ "type": "keyword", "ignore_above": KEYWORD_CHARS_MAX }),
        ColumnType::Integer => json!({ "type": "long" }),
        ColumnType::Number => json!({ "type": "double" }),
        ColumnType::Boolean => json!({ "type": "boolean" }),
        ColumnType::Timestamp => json!({ "type": "date", "format": "strict_date_optional_time_nanos" }),
        // A list is its elements: every field may have several values.
        ColumnType::List(element) => mapping(element),
        // Kept as it is, not taken apart: its fields are without number.
        ColumnType::Struct(_) | ColumnType::Map(_) => json!({ "type": "object", "enabled": false }),
    }
}

fn short(id: String) -> String {
    if id.len() <= ID_BYTES_MAX {
        return id;
    }
    Sha256::digest(id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn row(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).expect("an object")
    }

    #[test]
    fn windows_have_an_index_a_day() {
        let mut contract = samples::contract(&["window_start", "store_id"]);
        contract.topic.config.insert("retention.ms".into(), (2 * 86_400_000).to_string());
        let index = Index::of(&contract, "shop-");
        let target = index.target(&row(r#"{"window_start":"2026-11-23T23:59:00Z","store_id":"a"}"#), 0, 7);
        let expected = Target { index: "shop-sample-2026.11.23".into(), id: r#"["2026-11-23T23:59:00Z","a"]"#.into() };
        assert_eq!(target, Ok(expected));
        assert!(index.target(&row(r#"{"store_id":"a"}"#), 0, 7).is_err());
        let template = index.template(Some(0));
        assert_eq!(template["index_patterns"], json!(["shop-sample-2*"]));
        let mappings = &template["template"]["mappings"];
        for (column, expected) in [("store_id", "keyword"), ("orders", "long"), ("share", "double"), ("lines", "long")]
        {
            assert_eq!(mappings["properties"][column]["type"], expected, "{column}");
        }
        let names = [
            "shop-sample-2026.11.19",
            "shop-sample-2026.11.20",
            "shop-sample-x",
            "shop-sample",
            "shop-other-2026.01.01",
        ];
        let now = Timestamp::parse(b"2026-11-23T12:00:00Z").expect("a time");
        assert_eq!(index.past(&names.map(str::to_owned), now), ["shop-sample-2026.11.19"]);
    }

    #[test]
    fn other_tables_have_one_index() {
        let index = Index::of(&samples::contract(&["store_id"]), "shop-");
        let target = index.target(&row(r#"{"store_id":"a"}"#), 0, 7);
        assert_eq!(target, Ok(Target { index: "shop-sample".into(), id: r#"["a"]"#.into() }));
        assert_eq!((index.days(), index.template(None)["index_patterns"].clone()), (None, json!(["shop-sample"])));
        let long = index.target(&row(&format!(r#"{{"store_id":"{}"}}"#, "x".repeat(600))), 0, 7).expect("a target");
        assert_eq!(long.id.len(), 64);
        let now = Timestamp::parse(b"2026-11-23T12:00:00Z").expect("a time");
        assert_eq!(index.past_documents(now, 9), None, "a state does not become old");
        let mut contract = samples::contract(&["store_id"]);
        contract.event_time = Some("window_start".into());
        contract.topic.config.insert("retention.ms".into(), (2 * 86_400_000).to_string());
        let expected =
            json!({ "query": { "range": { "window_start": { "lt": "2026-11-21T12:00:00.000000Z" } } }, "max_docs": 9 });
        assert_eq!(Index::of(&contract, "shop-").past_documents(now, 9), Some(expected));
        contract.topic.config.insert("cleanup.policy".into(), "compact".into());
        assert_eq!(Index::of(&contract, "shop-").past_documents(now, 9), None, "the topic keeps it too");
        let placed = Index::of(&samples::contract(&[]), "shop-");
        assert_eq!(placed.target(&row("{}"), 3, 42).expect("a target").id, "3-42");
    }
}
