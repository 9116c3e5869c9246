//! Generators: functions that make several rows of one, after LATERAL VIEW and in the SELECT list.
//!
//! Each LATERAL VIEW wraps the relation in a query that has its columns more. What a generator takes is turned into one
//! list, of values or of structs with a field a column:
//!
//! ```text
//!  FROM t LATERAL VIEW posexplode(xs) v AS p, x
//!  FROM (SELECT * EXCEPT (item), item.pos AS p, item.col AS x
//!        FROM (SELECT *, unnest(generate_positions(xs)) AS item FROM t)) AS t
//! ```
//!
//! OUTER (and `explode_outer` …) keeps rows whose list is NULL or empty: `unnest_outer`. In a SELECT list, `explode(xs)` is
//! `unnest(xs)`; a generator of several columns becomes a LATERAL VIEW of the same SELECT.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, LateralView, ObjectName, Query, Select, SelectItem, SetExpr, Spanned,
    TableAlias, TableFactor, TableWithJoins, Value, ValueWithSpan, WildcardAdditionalOptions, visit_expressions_mut,
};
use sqlparser::tokenizer::Location;

use super::pipe::all_but;
use super::rewrite::function_name;
use super::spellings::{all_arguments, call, text};
use crate::SqlError;

/// The generators, as Spark names them.
pub(crate) const GENERATORS: [&str; 10] = [
    "explode",
    "explode_outer",
    "posexplode",
    "posexplode_outer",
    "inline",
    "inline_outer",
    "stack",
    "json_tuple",
    "unnest",
    "unnest_outer",
];

/// A generator, ready to be unnested.
struct Generator {
    /// What is unnested; not a list if `single`.
    list: Expr,
    /// Keep a row whose list is NULL or empty.
    outer: bool,
    /// One row exactly, without unnesting.
    single: bool,
    /// The fields of the structs in the list; none when the values themselves are the one column.
    fields: Vec<String>,
    /// What its columns are called.
    columns: Vec<Ident>,
}

/// Rewrites the generators of one SELECT.
///
/// # Errors
/// A generator in a form that is not known.
pub(super) fn rewrite(select: &mut Select) -> Result<(), SqlError> {
    from_select_list(select)?;
    for (number, view) in std::mem::take(&mut select.lateral_views).into_iter().enumerate() {
        lateral_view(select, &view, number)?;
    }
    Ok(())
}

/// The lower-case name of a generator call.
fn generator_name(expr: &Expr) -> Option<String> {
    let Expr::Function(function) = expr else { return None };
    let name = function_name(function);
    GENERATORS.contains(&name.as_str()).then_some(name)
}

/// Generators of several columns in the SELECT list become LATERAL VIEWs; those of one column are unnested in place.
fn from_select_list(select: &mut Select) -> Result<(), SqlError> {
    let grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(groups, _) => !groups.is_empty(),
    };
    let mut projection = Vec::with_capacity(select.projection.len());
    for item in std::mem::take(&mut select.projection) {
        let (expr, aliases) = match &item {
            SelectItem::UnnamedExpr(expr) => (expr, Vec::new()),
            SelectItem::ExprWithAlias { expr, alias } => (expr, vec![alias.clone()]),
            SelectItem::ExprWithAliases { expr, aliases } => (expr, aliases.clone()),
            _ => {
                projection.push(item);
                continue;
            }
        };
        let Some(name) = generator_name(expr) else {
            projection.push(item);
            continue;
        };
        if aliases.len() < 2 && ["explode", "explode_outer", "unnest", "unnest_outer"].contains(&name.as_str()) {
            let Expr::Function(function) = expr else { continue };
            let outer = name.ends_with("_outer");
            let list = one_argument(function, expr.span().start)?;
            let unnest = call(if outer { "unnest_outer" } else { "unnest" }, vec![list]);
            let alias = aliases.into_iter().next().unwrap_or_else(|| Ident::new("col"));
            projection.push(SelectItem::ExprWithAlias { expr: unnest, alias });
            continue;
        }
        let place = expr.span().start;
        if grouped {
            return Err(SqlError::at(place, format!("{name}() of several columns in a SELECT with GROUP BY"))
                .hint("group in a subquery: SELECT … FROM (SELECT … GROUP BY …) LATERAL VIEW …"));
        }
        let generator = generator(expr, false, &aliases, place)?;
        let number = select.lateral_views.len();
        let inner: Vec<Ident> =
            (0..generator.columns.len()).map(|at| Ident::new(format!("generated_{number}_{at}"))).collect();
        for (inner, column) in inner.iter().zip(generator.columns) {
            projection.push(SelectItem::ExprWithAlias { expr: Expr::Identifier(inner.clone()), alias: column });
        }
        select.lateral_views.push(LateralView {
            lateral_view: expr.clone(),
            lateral_view_name: ObjectName::from(vec![Ident::new(format!("generated_{number}"))]),
            lateral_col_alias: inner,
            outer: false,
        });
    }
    select.projection = projection;
    Ok(())
}

fn lateral_view(select: &mut Select, view: &LateralView, number: usize) -> Result<(), SqlError> {
    let place = view.lateral_view_name.0.first().and_then(|part| part.as_ident());
    let place = place.map_or(Location { line: 0, column: 0 }, |ident| ident.span.start);
    let generator = generator(&view.lateral_view, view.outer, &view.lateral_col_alias, place)?;
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
    let item = if generator.fields.is_empty() {
        generator.columns[0].clone()
    } else {
        Ident::new(format!("generated_item_{number}"))
    };
    let value = match (generator.single, generator.outer) {
        // In parentheses, so that it is not taken for a generator of the query that is made here.
        (true, _) => Expr::Nested(Box::new(generator.list)),
        (false, true) => call("unnest_outer", vec![generator.list]),
        (false, false) => call("unnest", vec![generator.list]),
    };
    let all = SelectItem::Wildcard(WildcardAdditionalOptions::default());
    let value = SelectItem::ExprWithAlias { expr: value, alias: item.clone() };
    let mut relation = derived(query(vec![all, value], inner), alias.clone());
    if !generator.fields.is_empty() {
        let mut items = vec![all_but(std::slice::from_ref(&item))];
        items.extend(generator.fields.iter().zip(&generator.columns).map(|(field, column)| {
            SelectItem::ExprWithAlias {
                expr: call("get_field", vec![Expr::Identifier(item.clone()), text(field)]),
                alias: column.clone(),
            }
        }));
        relation = derived(query(items, relation), alias);
    }
    table.relation = relation;
    unqualify(select, view, &generator.columns);
    Ok(())
}

/// `view.column` is the column.
fn unqualify(select: &mut Select, view: &LateralView, columns: &[Ident]) {
    let view_name = view.lateral_view_name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.to_lowercase());
    let mut unqualify = |expr: &mut Expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && parts.len() > 1
            && Some(parts[0].value.to_lowercase()) == view_name
            && columns.iter().any(|column| parts[1].value.eq_ignore_ascii_case(&column.value))
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
    for later in &mut select.lateral_views {
        let _ = visit_expressions_mut(&mut later.lateral_view, &mut unqualify);
    }
}

/// What a generator call means.
fn generator(expr: &Expr, outer: bool, aliases: &[Ident], place: Location) -> Result<Generator, SqlError> {
    let Some(name) = generator_name(expr) else {
        return Err(SqlError::at(
            place,
            "LATERAL VIEW needs a generator: explode, posexplode, inline, stack or json_tuple",
        )
        .hint("write LATERAL VIEW explode(list) name AS column"));
    };
    let Expr::Function(function) = expr else { unreachable!("it has the name of a function") };
    let outer = outer || name.ends_with("_outer");
    let named = |defaults: &[&str]| -> Result<Vec<Ident>, SqlError> {
        match aliases.len() {
            0 => Ok(defaults.iter().map(|name| Ident::new(*name)).collect()),
            given if given == defaults.len() => Ok(aliases.to_vec()),
            given => Err(SqlError::at(place, format!("{name}() gives {} columns, {given} are named", defaults.len()))
                .hint(format!("write AS {}", defaults.join(", ")))),
        }
    };
    let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let list = |list: Expr, fields: Vec<String>, columns: Vec<Ident>| {
        Ok(Generator { list, outer, single: false, fields, columns })
    };
    match name.trim_end_matches("_outer") {
        "explode" | "unnest" if aliases.len() == 2 => {
            let entries = call("map_entries", vec![one_argument(function, place)?]);
            list(entries, fields(&["key", "value"]), aliases.to_vec())
        }
        "explode" | "unnest" => list(one_argument(function, place)?, Vec::new(), named(&["col"])?),
        "posexplode" if aliases.len() == 3 => {
            let entries = call("map_entries", vec![one_argument(function, place)?]);
            let positions = call("generate_entry_positions", vec![entries]);
            list(positions, fields(&["pos", "key", "value"]), aliases.to_vec())
        }
        "posexplode" => {
            let positions = call("generate_positions", vec![one_argument(function, place)?]);
            list(positions, fields(&["pos", "col"]), named(&["pos", "col"])?)
        }
        "inline" => {
            if aliases.is_empty() {
                return Err(SqlError::at(place, "inline() without names for its columns")
                    .hint("write LATERAL VIEW inline(structs) name AS a, b, or SELECT inline(structs) AS (a, b)"));
            }
            let numbered: Vec<String> = (0..aliases.len()).map(|at| format!("c{at}")).collect();
            let mut arguments = vec![one_argument(function, place)?];
            arguments.extend(numbered.iter().map(|name| text(name)));
            list(call("generate_fields", arguments), numbered, aliases.to_vec())
        }
        "stack" => stack(function, aliases, outer, place),
        _ => {
            let mut arguments = all_arguments(function);
            let count = arguments.len().saturating_sub(1);
            let numbered: Vec<String> = (0..count).map(|at| format!("c{at}")).collect();
            let columns = if aliases.is_empty() {
                numbered.iter().map(|name| Ident::new(name.clone())).collect()
            } else {
                aliases.to_vec()
            };
            if count == 0 || columns.len() != count {
                return Err(SqlError::at(
                    place,
                    format!("json_tuple() gives {count} columns, {} are named", columns.len()),
                )
                .hint("write LATERAL VIEW json_tuple(text, 'a', 'b') name AS a, b"));
            }
            let list = call("json_tuple", std::mem::take(&mut arguments));
            Ok(Generator { list, outer, single: true, fields: numbered, columns })
        }
    }
}

/// `stack(2, 'a', 1, 'b', 2)`: two rows of two columns.
fn stack(function: &Function, aliases: &[Ident], outer: bool, place: Location) -> Result<Generator, SqlError> {
    let mut arguments = all_arguments(function).into_iter();
    let rows = match arguments.next() {
        Some(Expr::Value(ValueWithSpan { value: Value::Number(rows, _), .. })) => rows.parse::<usize>().unwrap_or(0),
        _ => 0,
    };
    let values: Vec<Expr> = arguments.collect();
    if rows == 0 || values.is_empty() {
        return Err(SqlError::at(place, "stack() takes a number of rows, written out, and values")
            .hint("write stack(2, 'a', 1, 'b', 2) AS (name, number)"));
    }
    let width = values.len().div_ceil(rows);
    let columns = match aliases.len() {
        0 => (0..width).map(|at| Ident::new(format!("col{at}"))).collect(),
        given if given == width => aliases.to_vec(),
        given => {
            return Err(SqlError::at(place, format!("stack() gives {width} columns, {given} are named"))
                .hint("name each of them after AS"));
        }
    };
    let fields: Vec<String> = (0..width).map(|at| format!("c{at}")).collect();
    let null = || Expr::Value(ValueWithSpan { value: Value::Null, span: sqlparser::tokenizer::Span::empty() });
    let structs = (0..rows).map(|row| {
        let of_row = fields
            .iter()
            .enumerate()
            .flat_map(|(at, field)| [text(field), values.get(row * width + at).cloned().unwrap_or_else(null)]);
        call("named_struct", of_row.collect())
    });
    Ok(Generator { list: call("array", structs.collect()), outer, single: false, fields, columns })
}

fn one_argument(function: &Function, place: Location) -> Result<Expr, SqlError> {
    match all_arguments(function).as_slice() {
        [argument] => Ok(argument.clone()),
        _ => Err(SqlError::at(place, format!("{}() takes one argument", function_name(function)))),
    }
}

fn alias_of(relation: &TableFactor) -> Option<TableAlias> {
    match relation {
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => alias.clone(),
        _ => None,
    }
}

fn placeholder() -> TableFactor {
    derived(empty_query(), None)
}

fn derived(query: Query, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None }
}

fn empty_query() -> Query {
    let tokens = super::tokens::tokenize("SELECT 1").expect("a fixed text");
    let mut parser = sqlparser::parser::Parser::new(&super::tokens::DIALECT).with_tokens_with_locations(tokens);
    *parser.parse_query().expect("a fixed text")
}

/// `SELECT items FROM relation`
fn query(items: Vec<SelectItem>, relation: TableFactor) -> Query {
    let mut query = empty_query();
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
        select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    }
    query
}
