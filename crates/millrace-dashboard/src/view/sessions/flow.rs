//! The ways of many sessions as one picture: source → landing page → furthest stage → how it ended.

use std::collections::BTreeMap;

use serde::Serialize;

use super::stage_label;
use crate::row::{Read, Row};

/// Kinds of pages told apart in a layer; the rest is "other".
const KINDS_MAX: usize = 6;

/// Nodes in layers from left to right, and how many sessions went from one to the next.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Flow {
    /// The nodes.
    pub(crate) nodes: Vec<FlowNode>,
    /// The links.
    pub(crate) links: Vec<FlowLink>,
}

/// Sessions that share a property.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct FlowNode {
    /// For people.
    pub(crate) label: String,
    /// 0 source, 1 landing page, 2 furthest stage, 3 end.
    pub(crate) layer: usize,
    /// Sessions.
    pub(crate) sessions: usize,
}

/// Sessions that have both properties.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct FlowLink {
    /// Index of the left node.
    pub(crate) source: usize,
    /// Index of the right node.
    pub(crate) target: usize,
    /// Sessions.
    pub(crate) sessions: usize,
}

/// Adds up the ways of these sessions.
pub(super) fn flow(rows: &[&Row]) -> Flow {
    let ways: Vec<[String; 4]> = rows.iter().map(|row| way(row)).collect();
    let kept: Vec<Vec<String>> = (0..4).map(|layer| largest(ways.iter().map(|way| &way[layer]))).collect();
    let name = |layer: usize, label: &String| {
        if kept[layer].contains(label) { label.clone() } else { "Other".to_owned() }
    };
    let mut nodes: BTreeMap<(usize, String), usize> = BTreeMap::new();
    let mut links: BTreeMap<(usize, String, String), usize> = BTreeMap::new();
    for way in &ways {
        for layer in 0..4 {
            *nodes.entry((layer, name(layer, &way[layer]))).or_default() += 1;
            if layer < 3 {
                *links.entry((layer, name(layer, &way[layer]), name(layer + 1, &way[layer + 1]))).or_default() += 1;
            }
        }
    }
    let order: Vec<&(usize, String)> = nodes.keys().collect();
    let index = |layer: usize, label: &String| order.iter().position(|node| node.0 == layer && node.1 == *label);
    let links = links
        .iter()
        .filter_map(|((layer, from, to), sessions)| {
            Some(FlowLink { source: index(*layer, from)?, target: index(layer + 1, to)?, sessions: *sessions })
        })
        .collect();
    let nodes = nodes
        .iter()
        .map(|((layer, label), sessions)| FlowNode { label: label.clone(), layer: *layer, sessions: *sessions })
        .collect();
    Flow { nodes, links }
}

fn way(row: &Row) -> [String; 4] {
    let channel = match row.text("channel") {
        "" => "unknown source",
        channel => channel,
    };
    let stage = row.text("stage");
    let end = match stage {
        "purchase" => "Bought".to_owned(),
        _ if row.get("cart_abandoned").and_then(serde_json::Value::as_bool) == Some(true) => "Left a cart".to_owned(),
        _ => format!("Left from {}", page_kind(row.text("exit_path")).to_lowercase()),
    };
    let capital = |text: &str| crate::view::fraud::rule_label(text);
    [
        capital(channel),
        format!("Lands on {}", page_kind(row.text("landing_path")).to_lowercase()),
        stage_label(stage).to_owned(),
        end,
    ]
}

/// The most frequent labels of a layer.
fn largest<'a>(labels: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    labels.for_each(|label| *counts.entry(label).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    counts.into_iter().take(KINDS_MAX).map(|(label, _)| label.clone()).collect()
}

/// What kind of page a path is: its first segment. `/product/17?x=1` → `Product`, `/` → `Home`.
pub(super) fn page_kind(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    match path.split('/').find(|segment| !segment.is_empty()) {
        None if path.is_empty() => "Unknown page".to_owned(),
        None => "Home".to_owned(),
        // As many shops shorten them.
        Some("p") => "Product".to_owned(),
        Some("c") => "Category".to_owned(),
        Some(segment) => crate::view::fraud::rule_label(&segment.replace('-', "_")),
    }
}
