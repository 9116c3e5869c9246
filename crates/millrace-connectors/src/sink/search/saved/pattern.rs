//! A table as an index pattern (Kibana 8: data view): which indices, which fields, which of them is the time.

use serde_json::{Map, Value, json};

use super::{INDEX_PATTERN, Names, object};
use crate::sink::search::index::Index;

/// Columns that are a table's time before its event time is. The event time of a window is its end, which of a long one is days
/// ahead: what is shown of the last hour would lack the present.
const TIMES: [&str; 2] = ["last_seen", "window_start"];

/// What every document has besides its fields.
const META: [(&str, &str, bool); 4] =
    [("_id", "string", true), ("_index", "string", true), ("_score", "number", false), ("_source", "_source", false)];

/// What a chart asks of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// Something to add up.
    Number,
    /// Something to divide by.
    Keyword,
}

pub(super) struct Pattern {
    pub(super) table: String,
    pub(super) id: String,
    title: String,
    time: Option<String>,
    /// As the template of the index maps them.
    fields: Map<String, Value>,
}

impl Pattern {
    pub(super) fn of(index: &Index, names: &Names) -> Self {
        let fields = index.properties().clone();
        let is_date = |name: &&str| fields.get(*name).is_some_and(|field| field["type"] == "date");
        let time = TIMES.into_iter().find(is_date).or(index.event_time().filter(is_date)).map(str::to_owned);
        Pattern {
            table: index.table.clone(),
            id: names.id(INDEX_PATTERN, &index.table),
            title: index.days().unwrap_or_else(|| index.name().to_owned()),
            time,
            fields,
        }
    }

    /// The name of a field, if it is one of that type.
    pub(super) fn field(&self, name: &str, wanted: Wanted) -> Result<String, String> {
        let found = self.fields.get(name).and_then(|field| field["type"].as_str());
        let fits = match wanted {
            Wanted::Number => matches!(found, Some("long" | "double")),
            Wanted::Keyword => found == Some("keyword"),
        };
        match (fits, found) {
            (true, _) => Ok(name.to_owned()),
            (false, Some(other)) => Err(format!("field `{name}` of `{}` is {other}", self.table)),
            (false, None) => Err(format!("`{}` has no field `{name}`", self.table)),
        }
    }

    /// The field of its time.
    pub(super) fn time(&self) -> Result<String, String> {
        self.time.clone().ok_or_else(|| format!("`{}` has no time", self.table))
    }

    pub(super) fn to_object(&self) -> Value {
        let meta = META.iter().map(|(name, kind, usable)| described(name, kind, name, *usable, false));
        // What is kept and not indexed can be neither searched nor counted: it is no field.
        let fields = self.fields.iter().filter_map(|(name, field)| {
            let mapped = field["type"].as_str()?;
            let kind = match mapped {
                "keyword" => "string",
                "long" | "double" => "number",
                "boolean" | "date" => mapped,
                _ => return None,
            };
            Some(described(name, kind, mapped, true, true))
        });
        let fields: Value = meta.chain(fields).collect();
        let mut attributes = json!({ "title": self.title, "fields": fields.to_string() });
        if let Some(time) = &self.time {
            attributes["timeFieldName"] = time.as_str().into();
        }
        object(INDEX_PATTERN, self.id.clone(), attributes, json!([]))
    }
}

fn described(name: &str, kind: &str, mapped: &str, usable: bool, columnar: bool) -> Value {
    json!({
        "count": 0, "name": name, "type": kind, "esTypes": [mapped], "scripted": false,
        "searchable": usable, "aggregatable": usable, "readFromDocValues": columnar,
    })
}
