//! Where in a query the form stands that a refusal is about. The planner knows what it refuses, but not its place in the text.

use std::ops::ControlFlow;

use sqlparser::ast::{
    DuplicateTreatment, Expr, FunctionArguments, GroupByExpr, LimitClause, OrderByKind, PipeOperator, Query, Select,
    Spanned, Visit, Visitor,
};
use sqlparser::tokenizer::Location;

/// A form of SQL that can be refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    OrderBy,
    Limit,
    Over,
    DistinctCall,
    SelectDistinct,
    GroupBy,
    Join,
}

/// What words of a refusal speak of which form; the first that fits counts.
const WORDS: [(&str, Form); 11] = [
    ("distinct aggregations", Form::DistinctCall),
    ("SELECT DISTINCT", Form::SelectDistinct),
    ("session_window", Form::GroupBy),
    ("sorting", Form::OrderBy),
    ("ORDER BY", Form::OrderBy),
    ("LIMIT", Form::Limit),
    ("OVER", Form::Over),
    ("join", Form::Join),
    ("aggregate", Form::GroupBy),
    ("window", Form::GroupBy),
    ("grouping set", Form::GroupBy),
];

/// The place of what a refusal speaks of, if the query has it.
pub(crate) fn place_of(query: &Query, message: &str) -> Option<Location> {
    let (_, form) = WORDS.into_iter().find(|(words, _)| message.contains(words))?;
    match query.visit(&mut Finder(form)) {
        ControlFlow::Break(place) => Some(place),
        ControlFlow::Continue(()) => None,
    }
}

struct Finder(Form);

/// Stops at a place that is known.
fn found(place: Location) -> ControlFlow<Location> {
    if place.line == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(place) }
}

impl Visitor for Finder {
    type Break = Location;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Location> {
        match self.0 {
            Form::OrderBy => {
                if let Some(OrderByKind::Expressions(exprs)) = query.order_by.as_ref().map(|order| &order.kind)
                    && let Some(first) = exprs.first()
                {
                    return found(first.expr.span().start);
                }
                let piped = query.pipe_operators.iter().find_map(|operator| match operator {
                    PipeOperator::OrderBy { exprs } => exprs.first(),
                    _ => None,
                });
                piped.map_or(ControlFlow::Continue(()), |first| found(first.expr.span().start))
            }
            Form::Limit => {
                let limit = match &query.limit_clause {
                    Some(
                        LimitClause::LimitOffset { limit: Some(limit), .. }
                        | LimitClause::OffsetCommaLimit { limit, .. },
                    ) => Some(limit),
                    _ => query.pipe_operators.iter().find_map(|operator| match operator {
                        PipeOperator::Limit { expr, .. } => Some(expr),
                        _ => None,
                    }),
                };
                limit.map_or(ControlFlow::Continue(()), |limit| found(limit.span().start))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Location> {
        match self.0 {
            Form::SelectDistinct if select.distinct.is_some() => {
                select.projection.first().map_or(ControlFlow::Continue(()), |item| found(item.span().start))
            }
            Form::GroupBy => match &select.group_by {
                GroupByExpr::Expressions(groups, _) => {
                    groups.first().map_or(ControlFlow::Continue(()), |group| found(group.span().start))
                }
                GroupByExpr::All(_) => ControlFlow::Continue(()),
            },
            Form::Join => {
                let joined = select.from.iter().flat_map(|table| &table.joins).next();
                joined.map_or(ControlFlow::Continue(()), |join| found(join.relation.span().start))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Location> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let distinct = matches!(&function.args, FunctionArguments::List(list)
            if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
        let meant = (self.0 == Form::Over && function.over.is_some()) || (self.0 == Form::DistinctCall && distinct);
        if meant { found(expr.span().start) } else { ControlFlow::Continue(()) }
    }
}
