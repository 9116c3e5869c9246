//! A page's live parts, and the difference between two states of one: what a push carries.
//!
//! A section is an ordered list of items with keys. An item is HTML (made by the same function that made the first
//! page) or a row of a chart's series. A push says which items left, which came or changed, and, only if it cannot be
//! told from that, the new order.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use maud::Markup;
use serde_json::{Map, Value, json};

use crate::view::Series;

/// One live part of a page.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Section {
    /// Its name on the page.
    pub(crate) name: &'static str,
    /// Columns, when the items are rows of a series.
    pub(crate) columns: Option<Value>,
    /// Key and value, in order.
    pub(crate) items: Vec<(String, Value)>,
}

impl Section {
    /// A list of HTML elements, each with its key.
    pub(crate) fn html(name: &'static str, items: impl IntoIterator<Item = (String, Markup)>) -> Self {
        let items = items.into_iter().map(|(key, markup)| (key, Value::String(markup.into_string()))).collect();
        Section { name, columns: None, items }
    }

    /// One HTML element.
    pub(crate) fn one(name: &'static str, markup: Markup) -> Self {
        Section::html(name, [(name.to_owned(), markup)])
    }

    /// The rows of a series; the first column is the key.
    pub(crate) fn series(name: &'static str, series: &Series) -> Self {
        let key = |row: &Vec<Value>| match row.first() {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let items = series.rows.iter().map(|row| (key(row), Value::Array(row.clone()))).collect();
        Section { name, columns: Some(json!(series.columns)), items }
    }

    /// The items' HTML, for the first page.
    pub(crate) fn markup(&self) -> Markup {
        maud::PreEscaped(self.items.iter().filter_map(|(_, value)| value.as_str()).collect())
    }
}

/// What a page has been sent of its sections.
#[derive(Debug, Default)]
pub(crate) struct Sent(HashMap<&'static str, SentSection>);

#[derive(Debug, Default)]
struct SentSection {
    columns: Option<Value>,
    order: Vec<String>,
    hashes: HashMap<String, u64>,
}

impl Sent {
    /// Everything, for a page that knows nothing.
    pub(crate) fn snapshot(&mut self, sections: &[Section]) -> Value {
        self.0.clear();
        self.delta(sections).unwrap_or_else(|| json!({}))
    }

    /// What changed since the last call; none when nothing did.
    pub(crate) fn delta(&mut self, sections: &[Section]) -> Option<Value> {
        let mut changes = Map::new();
        for section in sections {
            let known = self.0.contains_key(section.name);
            let sent = self.0.entry(section.name).or_default();
            if let Some(change) = sent.change(section, known) {
                changes.insert(section.name.to_owned(), change);
            }
        }
        (!changes.is_empty()).then_some(Value::Object(changes))
    }
}

impl SentSection {
    fn change(&mut self, section: &Section, known: bool) -> Option<Value> {
        let mut set = Vec::new();
        let mut hashes = HashMap::with_capacity(section.items.len());
        for (key, value) in &section.items {
            let hash = hash(value);
            if self.hashes.get(key) != Some(&hash) {
                set.push(json!([key, value]));
            }
            hashes.insert(key.clone(), hash);
        }
        let removed: Vec<&String> = self.order.iter().filter(|key| !hashes.contains_key(*key)).collect();
        let order: Vec<String> = section.items.iter().map(|(key, _)| key.clone()).collect();
        let columns_changed = self.columns != section.columns;
        if known && set.is_empty() && removed.is_empty() && order == self.order && !columns_changed {
            return None;
        }
        let kept = || self.order.iter().filter(|key| hashes.contains_key(*key));
        let added = || order.iter().filter(|key| !self.hashes.contains_key(*key));
        let mut change = Map::new();
        // The two orders a page can work out for itself: new items at the end, or at the start.
        if !kept().chain(added()).eq(&order) {
            if added().chain(kept()).eq(&order) {
                change.insert("at".into(), json!("start"));
            } else {
                change.insert("order".into(), json!(order));
            }
        }
        if !removed.is_empty() {
            change.insert("remove".into(), json!(removed));
        }
        if !set.is_empty() {
            change.insert("set".into(), json!(set));
        }
        if columns_changed {
            change.insert("columns".into(), json!(section.columns));
        }
        *self = SentSection { columns: section.columns.clone(), order, hashes };
        Some(Value::Object(change))
    }
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(items: &[(&str, &str)]) -> [Section; 1] {
        let items = items.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        [Section { name: "list", columns: None, items }]
    }

    #[test]
    fn only_what_changed_is_sent() {
        let mut sent = Sent::default();
        for (items, expect) in [
            (vec![("a", "1"), ("b", "1")], Some(json!({"set": [["a", "1"], ["b", "1"]]}))),
            (vec![("a", "1"), ("b", "1")], None),
            (vec![("a", "2"), ("b", "1")], Some(json!({"set": [["a", "2"]]}))),
            (vec![("a", "2"), ("b", "1"), ("c", "1")], Some(json!({"set": [["c", "1"]]}))),
            (vec![("b", "1"), ("c", "1"), ("d", "1")], Some(json!({"remove": ["a"], "set": [["d", "1"]]}))),
            (vec![("e", "1"), ("b", "1"), ("c", "1"), ("d", "1")], Some(json!({"at": "start", "set": [["e", "1"]]}))),
            (vec![("b", "1"), ("e", "1"), ("d", "1")], Some(json!({"order": ["b", "e", "d"], "remove": ["c"]}))),
            (vec![], Some(json!({"remove": ["b", "e", "d"]}))),
        ] {
            let got = sent.delta(&section(&items)).map(|changes| changes["list"].clone());
            assert_eq!(got, expect, "{items:?}");
        }
        assert_eq!(sent.snapshot(&section(&[("a", "1")])), json!({"list": {"set": [["a", "1"]]}}));
    }

    #[test]
    fn an_empty_section_is_sent_once() {
        let mut sent = Sent::default();
        assert_eq!(sent.delta(&section(&[])), Some(json!({"list": {}})));
        assert_eq!(sent.delta(&section(&[])), None);
    }
}
