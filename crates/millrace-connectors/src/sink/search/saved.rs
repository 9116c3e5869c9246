//! Saved objects for Kibana and OpenSearch Dashboards: of each table an index pattern, charts of what one looks at first, and a
//! dashboard of the charts.
//!
//! ```text
//!  Contract ─▶ Index ─▶ Pattern: the fields of its mapping ─▶ index-pattern ◀─┐
//!                          │                                                  │ by id
//!              Chart ──────┴─▶ asked for by name and type ──▶ visualization ──┘ ◀── dashboard
//! ```
//!
//! A chart names fields, and each is looked up in the mapping that the sink's template has; a chart of a table or field that is
//! not there is left out, with the reason. So nothing here can name what the indices lack.
//!
//! The form is what OpenSearch Dashboards 1 and 2 export (`migrationVersion` 7.x). Kibana 7.17 and 8 take it for the export of an
//! older one, and bring it up to their own form as they import.
//!
//! Reading order: `pattern` (fields) → `charts` (what is shown) → `visualization` (how it is written down) → `dashboard`.

mod charts;
mod dashboard;
mod pattern;
#[cfg(test)]
mod tests;
mod visualization;

use millrace_model::Contract;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::index::Index;
use super::settings::{PREFIX, SearchSettings};
use charts::CHARTS;
use dashboard::{Panel, dashboard};
use pattern::Pattern;
use visualization::visualization;

/// The objects for the tables a sink writes.
#[derive(Clone, PartialEq, Debug)]
pub struct SavedObjects {
    /// In the order of import: what refers to others comes after them.
    pub objects: Vec<Value>,
    /// Charts that are not among them, each with the reason.
    pub left_out: Vec<String>,
}

impl SavedObjects {
    /// Those of these tables, with the indices named as these settings say.
    pub fn of(search: &SearchSettings, tables: &[Contract]) -> Self {
        let prefix = search.prefix();
        let brand = if prefix == PREFIX { "Millrace".into() } else { format!("Millrace {prefix}") };
        let names = Names { prefix, brand };
        let patterns: Vec<Pattern> =
            tables.iter().map(|table| Pattern::of(&Index::of(table, prefix), &names)).collect();
        let (mut charts, mut panels, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for chart in CHARTS {
            let pattern = patterns.iter().find(|pattern| pattern.table == chart.table);
            let pattern = pattern.ok_or_else(|| format!("no table `{}` is written", chart.table));
            match pattern.and_then(|pattern| visualization(chart, pattern, &names)) {
                Ok(made) => {
                    panels.push(Panel { id: names.id(VISUALIZATION, chart.name), height: chart.form.height() });
                    charts.push(made);
                }
                Err(why) => left_out.push(format!("{}: {why}", chart.title)),
            }
        }
        let overview = (!panels.is_empty()).then(|| dashboard(&panels, &names));
        let objects = patterns.iter().map(Pattern::to_object).chain(charts).chain(overview).collect();
        SavedObjects { objects, left_out }
    }

    /// As a file to import: one object a line.
    pub fn to_ndjson(&self) -> String {
        self.objects.iter().map(|object| format!("{object}\n")).collect()
    }
}

const INDEX_PATTERN: &str = "index-pattern";
const VISUALIZATION: &str = "visualization";
const DASHBOARD: &str = "dashboard";

/// What objects are called.
struct Names<'a> {
    prefix: &'a str,
    /// What titles begin with: whose they are.
    brand: String,
}

impl Names<'_> {
    /// The same for the same prefix and name, so that importing again replaces. In the form that the servers give ids, because
    /// OpenSearch Dashboards takes what is before a `_` for the name of a data source.
    fn id(&self, kind: &str, name: &str) -> String {
        let digest = Sha256::digest(format!("{kind}\n{}\n{name}", self.prefix));
        let mut id = String::with_capacity(36);
        for (at, byte) in digest.iter().take(16).enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                id.push('-');
            }
            id.push_str(&format!("{byte:02x}"));
        }
        id
    }
}

/// An object, of the last form both servers know.
fn object(kind: &str, id: String, attributes: Value, references: Value) -> Value {
    let version = match kind {
        INDEX_PATTERN => "7.6.0",
        VISUALIZATION => "7.10.0",
        _ => "7.9.3",
    };
    json!({
        "type": kind,
        "id": id,
        "attributes": attributes,
        "references": references,
        "migrationVersion": { kind: version },
    })
}

/// A search of everything, of the index pattern that a reference names, or of none.
fn search_source(reference: Option<&str>) -> Value {
    let mut source = json!({ "query": { "query": "", "language": "kuery" }, "filter": [] });
    if let Some(reference) = reference {
        source["indexRefName"] = reference.into();
    }
    json!({ "searchSourceJSON": source.to_string() })
}
