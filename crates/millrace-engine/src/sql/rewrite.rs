//! Spark's spellings that DataFusion's planner does not take, rewritten on the syntax tree.
//!
//! | Spark | becomes |
//! |---|---|
//! | `SELECT window.start … GROUP BY window(t, '5 minutes')` | `get_field(window(t, '5 minutes'), 'start') AS start` |
//! | `FROM t LATERAL VIEW explode(xs) v AS x` | `FROM (SELECT *, unnest(xs) AS x FROM t) AS t` |
//! | `SELECT explode(xs) AS x` | `SELECT unnest(xs) AS x` |
//! | `struct(a, t.b)` | `named_struct('a', a, 'b', t.b)` |

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident,
    LateralView, ObjectName, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, Value,
    ValueWithSpan, VisitMut, VisitorMut, WildcardAdditionalOptions, visit_expressions_mut,
};
use sqlparser::tokenizer::{Location, Span};

use crate::SqlError;

/// Rewrites a query in place.
///
/// # Errors
/// A LATERAL VIEW or generator in a form that is not known.
pub(crate) fn rewrite(query: &mut Query) -> Result<(), SqlError> {
    let mut rewriter = Rewriter;
    match query.visit(&mut rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = SqlError;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        window_references(select);
        match lateral_views(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if let Expr::Struct { values, fields } = expr
            && fields.is_empty()
        {
            *expr = named_struct(values);
        }
        if let Expr::Function(function) = expr {
            match function_name(function).as_str() {
                "explode" => function.name = ObjectName::from(vec![Ident::new("unnest")]),
                "explode_outer" | "posexplode" | "inline" | "stack" => {
                    let place = function.name.0.first().and_then(|part| part.as_ident()).map(|i| i.span.start);
                    let name = function_name(function);
                    return ControlFlow::Break(
                        SqlError::at(
                            place.unwrap_or(Location { line: 0, column: 0 }),
                            format!("{name}() is not available"),
                        )
                        .hint("use explode()"),
                    );
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// The lower-case name of a function, empty when it is qualified.
fn function_name(function: &Function) -> String {
    match function.name.0.as_slice() {
        [part] => part.as_ident().map(|ident| ident.value.to_lowercase()).unwrap_or_default(),
        _ => String::new(),
    }
}

/// `window` and `window.start` mean the window of this GROUP BY.
fn window_references(select: &mut Select) {
    let GroupByExpr::Expressions(groups, _) = &select.group_by else { return };
    for name in ["window", "session_window"] {
        let call = groups.iter().find(|group| matches!(group, Expr::Function(f) if function_name(f) == name)).cloned();
        let Some(call) = call else { continue };
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

fn resolve_window(expr: &mut Expr, name: &str, call: &Expr) {
    match expr {
        Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case(name) => {
            *expr = call.clone();
        }
        Expr::CompoundIdentifier(parts) if parts.len() == 2 && parts[0].value.eq_ignore_ascii_case(name) => {
            let field = text(&parts[1].value.to_lowercase());
            *expr = self::call("get_field", vec![call.clone(), field]);
        }
        _ => {}
    }
}

/// `struct(a, t.b, c AS d)` names its fields after its columns.
fn named_struct(values: &[Expr]) -> Expr {
    let mut named = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let name = match value {
            Expr::Identifier(ident) | Expr::Named { name: ident, .. } => ident.value.to_lowercase(),
            Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.to_lowercase()).unwrap_or_default(),
            _ => format!("col{}", at + 1),
        };
        let value = match value {
            Expr::Named { expr, .. } => (**expr).clone(),
            other => other.clone(),
        };
        named.extend([text(&name), value]);
    }
    call("named_struct", named)
}

/// Each LATERAL VIEW wraps the relation in a query that has one column more.
fn lateral_views(select: &mut Select) -> Result<(), SqlError> {
    for view in std::mem::take(&mut select.lateral_views) {
        let place = view.lateral_view_name.0.first().and_then(|part| part.as_ident());
        let place = place.map_or(Location { line: 0, column: 0 }, |ident| ident.span.start);
        let (column, list) = generator(&view, place)?;
        let [table] = select.from.as_mut_slice() else {
            return Err(SqlError::at(place, "LATERAL VIEW after several relations")
                .hint("put the relations into a subquery: FROM (SELECT … FROM a JOIN b ON …) t LATERAL VIEW …"));
        };
        if !table.joins.is_empty() {
            return Err(SqlError::at(place, "LATERAL VIEW after a join")
                .hint("put the join into a subquery: FROM (SELECT … FROM a JOIN b ON …) t LATERAL VIEW …"));
        }
        let alias = alias_of(&table.relation);
        let inner = std::mem::replace(&mut table.relation, placeholder());
        let unnest = call("unnest", vec![list]);
        table.relation = TableFactor::Derived {
            lateral: false,
            subquery: Box::new(star_and(
                inner,
                SelectItem::ExprWithAlias { expr: unnest, alias: column.clone() },
                select_like(),
            )),
            alias,
            sample: None,
        };
        // `view.column` is the column.
        let view_name = view.lateral_view_name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.to_lowercase());
        let mut unqualify = |expr: &mut Expr| {
            if let Expr::CompoundIdentifier(parts) = expr
                && parts.len() > 1
                && Some(parts[0].value.to_lowercase()) == view_name
                && parts[1].value.eq_ignore_ascii_case(&column.value)
            {
                parts.remove(0);
                if let [only] = parts.as_slice() {
                    *expr = Expr::Identifier(only.clone());
                }
            }
            ControlFlow::<()>::Continue(())
        };
        let _ = visit_expressions_mut(&mut select.projection, &mut unqualify);
        let _ = visit_expressions_mut(&mut select.selection, &mut unqualify);
        let _ = visit_expressions_mut(&mut select.group_by, &mut unqualify);
        let _ = visit_expressions_mut(&mut select.having, &mut unqualify);
    }
    Ok(())
}

/// Column and list of `LATERAL VIEW explode(list) view AS column`.
fn generator(view: &LateralView, place: Location) -> Result<(Ident, Expr), SqlError> {
    let wrong =
        |message: &str| Err(SqlError::at(place, message).hint("write LATERAL VIEW explode(list) name AS column"));
    if view.outer {
        return wrong("LATERAL VIEW OUTER is not available");
    }
    let Expr::Function(function) = &view.lateral_view else { return wrong("LATERAL VIEW needs explode(…)") };
    if function_name(function) != "explode" {
        return wrong("only explode() can stand after LATERAL VIEW");
    }
    let FunctionArguments::List(list) = &function.args else { return wrong("explode() takes one list") };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_slice() else {
        return wrong("explode() takes one list");
    };
    let column = match view.lateral_col_alias.as_slice() {
        [] => Ident::new("col"),
        [column] => column.clone(),
        _ => return wrong("explode() of a list gives one column"),
    };
    Ok((column, argument.clone()))
}

fn alias_of(relation: &TableFactor) -> Option<TableAlias> {
    match relation {
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => alias.clone(),
        _ => None,
    }
}

fn placeholder() -> TableFactor {
    TableFactor::Derived { lateral: false, subquery: Box::new(empty_query()), alias: None, sample: None }
}

fn select_like() -> Select {
    match *empty_query().body {
        SetExpr::Select(select) => *select,
        _ => unreachable!("written as a SELECT"),
    }
}

fn empty_query() -> Query {
    let tokens = super::tokens::tokenize("SELECT 1").expect("a fixed text");
    let mut parser = sqlparser::parser::Parser::new(&super::tokens::DIALECT).with_tokens_with_locations(tokens);
    *parser.parse_query().expect("a fixed text")
}

/// `SELECT *, item FROM relation`
fn star_and(relation: TableFactor, item: SelectItem, mut select: Select) -> Query {
    select.projection = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default()), item];
    select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    let mut query = empty_query();
    query.body = Box::new(SetExpr::Select(Box::new(select)));
    query
}

fn text(value: &str) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(value.to_owned()), span: Span::empty() })
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
