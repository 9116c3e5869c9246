//! Spark's spellings that DataFusion's planner does not take, rewritten on the syntax tree.
//!
//! | Spark | becomes |
//! |---|---|
//! | `SELECT window.start … GROUP BY window(t, '5 minutes')` | `get_field(window(t, '5 minutes'), 'start') AS start` |
//! | `GROUP BY ALL` with a field of a window | the window itself is grouped by |
//! | pipe syntax | [`super::pipe`] |
//! | LATERAL VIEW and generators | [`super::generators`] |
//! | single expressions | [`super::spellings`] |

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, Spanned, TableFactor, VisitMut, VisitorMut,
    visit_expressions, visit_expressions_mut,
};

use super::spellings::{call, respell, text};
use super::{generators, pipe};
use crate::SqlError;

/// Rewrites a query in place.
///
/// # Errors
/// A form that is not known, with its place.
pub(crate) fn rewrite(query: &mut Query) -> Result<(), SqlError> {
    let mut rewriter = Rewriter;
    match query.visit(&mut rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

fn flow(result: Result<(), SqlError>) -> ControlFlow<SqlError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl VisitorMut for Rewriter {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        window_references_in_order(query);
        flow(pipe::rewrite(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        if let Some(qualify) = &select.qualify {
            let place = qualify.span().start;
            return ControlFlow::Break(
                SqlError::at(place, "QUALIFY is not known to Spark SQL, and OVER windows not to a stream")
                    .hint("use min_by, max_by or slice(array_sort(collect_list(…)), 1, n) in a GROUP BY window(…)"),
            );
        }
        window_references(select);
        name_fields(select);
        flow(generators::rewrite(select))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        respell(expr);
        ControlFlow::Continue(())
    }
}

/// The lower-case name of a function, empty when it is qualified.
pub(super) fn function_name(function: &Function) -> String {
    match function.name.0.as_slice() {
        [part] => part.as_ident().map(|ident| ident.value.to_lowercase()).unwrap_or_default(),
        _ => String::new(),
    }
}

/// The calls of window functions a SELECT groups by, by name; those inside ROLLUP, CUBE and GROUPING SETS too.
fn grouped_windows(select: &Select) -> Vec<(&'static str, Expr)> {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return Vec::new() };
    let inner = groups.iter().flat_map(|group| match group {
        Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => sets.iter().flatten().collect(),
        one => vec![one],
    });
    let inner: Vec<&Expr> = inner.collect();
    let named = |name| inner.iter().find(|group| is_window(group, name)).map(|group| (name, (*group).clone()));
    WINDOWS.into_iter().filter_map(named).collect()
}

const WINDOWS: [&str; 2] = ["window", "session_window"];

fn is_window(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Function(function) if function_name(function) == name)
}

/// `window` and `window.start` mean the window of this GROUP BY.
fn window_references(select: &mut Select) {
    group_by_all(select);
    for (name, call) in grouped_windows(select) {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some(alias) = own_name(expr, name)
            {
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        let mut resolve = |expr: &mut Expr| {
            resolve_window(expr, name, &call);
            ControlFlow::<()>::Continue(())
        };
        let _ = visit_expressions_mut(&mut select.projection, &mut resolve);
        let _ = visit_expressions_mut(&mut select.having, &mut resolve);
    }
}

/// A field of a column without AS is named after the field, `w.start`; that of an expression, `window(…).start`, is not: Spark
/// names it by the whole expression, which is no name a column can have.
fn name_fields(select: &mut Select) {
    let relations = select.from.iter().flat_map(|table| {
        let all = [&table.relation].into_iter().chain(table.joins.iter().map(|join| &join.relation));
        // A subquery without a name cannot be what stands before the dot.
        all.filter(|relation| !matches!(relation, TableFactor::Derived { alias: None, .. })).map(relation_name)
    });
    let views =
        select.lateral_views.iter().map(|view| view.lateral_view_name.0.last().and_then(|part| part.as_ident()));
    let names: Option<Vec<String>> =
        relations.chain(views).map(|name| name.map(|ident| ident.value.to_lowercase())).collect();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let field = match &*expr {
            // `table.column` keeps its name by itself.
            Expr::CompoundIdentifier(parts) => {
                let of_table = names.as_ref().is_none_or(|names| names.contains(&parts[0].value.to_lowercase()));
                match parts.last() {
                    Some(field) if !of_table || parts.len() > 2 => field.clone(),
                    _ => continue,
                }
            }
            _ => continue,
        };
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: field };
    }
}

/// What a relation is called; nothing when it has several names, or none.
fn relation_name(relation: &TableFactor) -> Option<&Ident> {
    match relation {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(&alias.name)
        }
        TableFactor::Table { name, .. } => name.0.last().and_then(|part| part.as_ident()),
        _ => None,
    }
}

/// GROUP BY ALL with a field of a window in the SELECT list groups by the window: its fields cannot be grouped by alone.
fn group_by_all(select: &mut Select) {
    if !matches!(select.group_by, GroupByExpr::All(_)) {
        return;
    }
    let mut groups: Vec<Expr> = Vec::new();
    let mut has_window = false;
    for item in &select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return };
        let (mut window, mut aggregate) = (None, false);
        let _ = visit_expressions(expr, |part| {
            if let Expr::Function(function) = part {
                let name = function_name(function);
                aggregate |= crate::aggregate::is_aggregate(&name);
                if WINDOWS.contains(&name.as_str()) {
                    window = Some(part.clone());
                }
            }
            ControlFlow::<()>::Continue(())
        });
        has_window |= window.is_some();
        let group = window.unwrap_or_else(|| expr.clone());
        if !aggregate && !groups.contains(&group) {
            groups.push(group);
        }
    }
    if has_window {
        select.group_by = GroupByExpr::Expressions(groups, Vec::new());
    }
}

/// The column name Spark gives to `window`, `window.start` and `window(…)` without an alias.
fn own_name(expr: &Expr, window: &str) -> Option<Ident> {
    match expr {
        Expr::Identifier(ident) if ident.value.eq_ignore_ascii_case(window) => Some(ident.clone()),
        Expr::CompoundIdentifier(parts) if parts.len() == 2 && parts[0].value.eq_ignore_ascii_case(window) => {
            Some(parts[1].clone())
        }
        Expr::Function(function) if function_name(function) == window => Some(Ident::new(window)),
        _ => None,
    }
}

fn resolve_window(expr: &mut Expr, name: &str, window: &Expr) {
    match expr {
        Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case(name) => {
            *expr = window.clone();
        }
        Expr::CompoundIdentifier(parts) if parts.len() == 2 && parts[0].value.eq_ignore_ascii_case(name) => {
            let field = text(&parts[1].value.to_lowercase());
            *expr = call("get_field", vec![window.clone(), field]);
        }
        _ => {}
    }
}

/// ORDER BY may name the window of its SELECT's GROUP BY.
fn window_references_in_order(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_ref() else { return };
    for (name, window) in grouped_windows(select) {
        let _ = visit_expressions_mut(&mut query.order_by, |expr: &mut Expr| {
            resolve_window(expr, name, &window);
            ControlFlow::<()>::Continue(())
        });
    }
}
