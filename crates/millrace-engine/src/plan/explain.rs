//! The stateful part of a plan, as a person thinks of it.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::stateful::{Kind, Stateful};
use super::stream_join::StreamJoin;
use crate::operator::window::Windows;
use crate::sql::{OutputMode, StreamingTable};

/// How a table's rows come: mode, and what identifies a row.
pub(super) fn explain_output(table: &StreamingTable) -> String {
    let mode = table.output_mode.name();
    let key = if table.key.is_empty() { String::new() } else { format!(", one row a ({})", table.key.join(", ")) };
    format!("output: {mode} mode{key}")
}

/// A stateful node of a plan.
enum Node<'a> {
    Aggregate(&'a Stateful),
    Join(&'a StreamJoin),
}

/// The stateful nodes of a plan, each after those it reads; calls `each` for every one of them.
fn for_each_node<T>(plan: &LogicalPlan, each: impl Fn(Node<'_>) -> T) -> Vec<T> {
    let mut found = Vec::new();
    let _ = plan.apply(|node| {
        if let LogicalPlan::Extension(extension) = node {
            let node = extension.node.as_any();
            if let Some(node) = node.downcast_ref::<Stateful>() {
                found.push(each(Node::Aggregate(node)));
            } else if let Some(node) = node.downcast_ref::<StreamJoin>() {
                found.push(each(Node::Join(node)));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found.reverse();
    found
}

/// What kind of operator it is.
pub(super) fn title(kind: &Kind) -> String {
    match kind {
        Kind::Window { size, slide, .. } if size == slide => format!("tumbling window of {}", seconds(*size)),
        Kind::Window { size, slide, .. } => format!("window of {} sliding by {}", seconds(*size), seconds(*slide)),
        Kind::Session { gap: Some(gap) } => format!("session window, gap {}", seconds(*gap)),
        Kind::Session { gap: None } => "session window, its gap by row".into(),
        Kind::Timed => "groups of an event time".into(),
        Kind::Group => "running aggregate without a window".into(),
    }
}

/// What kind of join it is.
pub(super) fn title_of_join(node: &StreamJoin) -> String {
    format!("{} join of two streams", format!("{:?}", node.kind).to_lowercase())
}

/// The stateful operators of a plan in the order rows pass them, a few lines each: what they keep, and until when.
pub(super) fn explain_stateful(plan: &LogicalPlan, mode: OutputMode) -> Vec<String> {
    let lines = for_each_node(plan, |node| match node {
        Node::Aggregate(node) => explain_aggregate(node, mode),
        Node::Join(node) => explain_join(node),
    });
    lines.into_iter().flatten().collect()
}

fn explain_aggregate(node: &Stateful, mode: OutputMode) -> Vec<String> {
    let mut lines = vec![
        format!("state: {}", title(&node.kind)),
        format!("  keys: {}", if node.keys.is_empty() { "none".into() } else { names(&node.keys) }),
        format!("  aggregates: {}", names(&node.calls)),
    ];
    match node.lag {
        None if node.kind != Kind::Group => lines.push("  no watermark moves its time: nothing is ever final".into()),
        None | Some(0) => {}
        Some(lag) => lines.push(format!("  held back by {} behind the watermark", seconds(lag))),
    }
    lines.push(format!("  bound: {}", bound(node, mode)));
    lines
}

/// When a group of an aggregate is let go, and so how much there can be.
fn bound(node: &Stateful, mode: OutputMode) -> String {
    if node.kind == Kind::Group || node.lag.is_none() || mode == OutputMode::Complete {
        let why = match (&node.kind, mode) {
            (_, OutputMode::Complete) => "complete mode gives the whole result each time",
            (Kind::Group, _) => "it has no window",
            _ => "it has no watermark",
        };
        return format!("none, {why}: a group is kept for ever, state grows with the keys");
    }
    match node.kind {
        Kind::Window { size, slide, offset } => {
            let pane = Windows { size, slide, offset }.pane();
            let held = (size + slide) / pane - 1;
            format!(
                "keys × {held} panes of {}, and those ahead of the watermark; a pane is let go when the watermark passes \
                 the end of its last window",
                seconds(pane)
            )
        }
        Kind::Session { gap } => {
            let gap = gap.map_or("its gap".into(), seconds);
            format!("open sessions; one is let go when the watermark is {gap} past its last event")
        }
        Kind::Timed | Kind::Group => "groups whose time the watermark has not passed; then they are let go".into(),
    }
}

fn explain_join(node: &StreamJoin) -> Vec<String> {
    let on: Vec<String> = node.on.iter().map(|(a, b)| format!("{} = {}", a.schema_name(), b.schema_name())).collect();
    let mut lines = vec![format!("state: {}", title_of_join(node))];
    lines.push(format!("  keys: {}", on.join(", ")));
    if let Some(range) = &node.range {
        let bound = |micros: Option<i64>, none: &str| micros.map_or(none.to_owned(), seconds);
        let (least, most) = (bound(range.least, "any time"), bound(range.most, "any time"));
        let times = format!("{} − {}", range.right.schema_name(), range.left.schema_name());
        lines.push(format!("  time: {least} ≤ {times} ≤ {most}"));
    }
    for (input, side) in ["left", "right"].into_iter().enumerate() {
        lines.push(match node.wait(input) {
            Some(wait) => {
                format!("  bound: {side} rows are kept until the watermark is {} past their time", seconds(wait))
            }
            None => {
                format!("  bound: none, {side} rows are kept for ever (no range of time and watermark bounds them)")
            }
        });
    }
    lines
}

/// What the state of each operator holds, a text each: equal texts, equal state. Filters and computed columns below are not
/// part of it: they may be edited, and count from then on.
pub(super) fn kept_in_words(plan: &LogicalPlan) -> Vec<String> {
    for_each_node(plan, |node| match node {
        Node::Aggregate(node) => {
            let (time, keys, calls) = (plain(&node.time), plain(&node.keys), plain(&node.calls));
            format!("{} by ({}) over time ({time}): {}", title_in_full(&node.kind), keys, calls)
        }
        Node::Join(node) => {
            let on: Vec<String> = node.on.iter().map(|(a, b)| format!("{} = {}", plain_one(a), plain_one(b))).collect();
            let range = node.range.as_ref().map_or(String::new(), |range| {
                let (left, right) = (plain_one(&range.left), plain_one(&range.right));
                format!(" and {:?} <= {right} - {left} <= {:?}", range.least, range.most)
            });
            let rest = node.condition.as_ref().map_or(String::new(), |rest| format!(" and {}", plain_one(rest)));
            format!("{} on {}{range}{rest}", title_of_join(node), on.join(" and "))
        }
    })
}

fn title_in_full(kind: &Kind) -> String {
    match kind {
        Kind::Window { offset, .. } if *offset != 0 => format!("{}, offset {}", title(kind), seconds(*offset)),
        _ => title(kind),
    }
}

/// Expressions without the names of the tables, which may be written differently.
fn plain(exprs: &[Expr]) -> String {
    exprs.iter().map(plain_one).collect::<Vec<_>>().join(", ")
}

fn plain_one(expr: &Expr) -> String {
    unnormalize_col(expr.clone()).schema_name().to_string()
}

fn names(exprs: &[Expr]) -> String {
    exprs.iter().map(|expr| expr.schema_name().to_string()).collect::<Vec<_>>().join(", ")
}

fn seconds(micros: i64) -> String {
    format!("{} s", micros as f64 / 1e6)
}
