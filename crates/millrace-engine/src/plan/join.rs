//! From a join of two streams as it is written to its parts: equal keys, a range of time, what else must hold, and whether
//! Spark would run it.

use std::sync::Arc;

use arrow_schema::{DataType, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType, NullEquality, Result, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Extension, Filter, Join, LogicalPlan, Operator};

use super::event_time::{EventTime, EventTimes, event_time_of};
use super::stream::{Rewriter, Stream, refuse_at};
use super::stream_join::{StreamJoin, TimeRange};
use super::table::SlotTable;
use crate::operator::join::JoinKind;
use crate::sql::OutputMode;

/// Does a plan read a stream?
pub(super) fn is_streaming(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let table = (provider.as_ref() as &dyn std::any::Any).downcast_ref::<SlotTable>();
            found |= table.is_some_and(|table| table.streaming);
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Does a join have a stream on both sides?
pub(super) fn joins_streams(join: &Join) -> Result<bool> {
    Ok(is_streaming(&join.left)? && is_streaming(&join.right)?)
}

/// The input of a join that an expression is over; `None` when it is over both or none.
fn input_of(expr: &Expr, join: &Join) -> Option<usize> {
    let columns = expr.column_refs();
    let all_in = |plan: &LogicalPlan| columns.iter().all(|c| plan.schema().maybe_index_of_column(c).is_some());
    match (columns.is_empty(), all_in(&join.left), all_in(&join.right)) {
        (false, true, false) => Some(0),
        (false, false, true) => Some(1),
        _ => None,
    }
}

/// An event time and a constant: `c.event_time + INTERVAL 10 MINUTES`.
struct TimeTerm {
    input: usize,
    time: Expr,
    /// A window: it is equal to another, or it is not.
    window: bool,
    /// Microseconds.
    plus: i64,
}

fn time_term(expr: &Expr, join: &Join) -> Option<TimeTerm> {
    match expr {
        Expr::Alias(alias) => time_term(&alias.expr, join),
        Expr::Cast(cast) if is_micros(cast.field.data_type()) => time_term(&cast.expr, join),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (term, length) = match (op, constant_micros(left), constant_micros(right)) {
                (Operator::Plus, None, Some(length)) => (left, length),
                (Operator::Plus, Some(length), None) => (right, length),
                (Operator::Minus, None, Some(length)) => (left, length.checked_neg()?),
                _ => return None,
            };
            let term = time_term(term, join)?;
            Some(TimeTerm { plus: term.plus.checked_add(length)?, ..term })
        }
        time => {
            let input = input_of(time, join)?;
            let is_column = matches!(time, Expr::Column(_))
                || matches!(time, Expr::ScalarFunction(call) if call.func.name() == "window_time");
            let plan = if input == 0 { &join.left } else { &join.right };
            let of = time.get_type(plan.schema()).ok()?;
            let window = crate::functions::is_window(&of);
            (is_column && (window || is_micros(&of))).then(|| TimeTerm { input, time: time.clone(), window, plus: 0 })
        }
    }
}

fn is_micros(of: &DataType) -> bool {
    matches!(of, DataType::Timestamp(TimeUnit::Microsecond, _))
}

/// A constant length of time, microseconds; months have none.
fn constant_micros(expr: &Expr) -> Option<i64> {
    const DAY: i64 = 86_400_000_000;
    match expr {
        Expr::Alias(alias) => constant_micros(&alias.expr),
        Expr::Cast(cast) => constant_micros(&cast.expr),
        Expr::Negative(inner) => constant_micros(inner)?.checked_neg(),
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) if value.months == 0 => {
            i64::from(value.days).checked_mul(DAY)?.checked_add(value.nanoseconds / 1_000)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(value)), _) => {
            i64::from(value.days).checked_mul(DAY)?.checked_add(i64::from(value.milliseconds) * 1_000)
        }
        Expr::Literal(ScalarValue::DurationMicrosecond(Some(value)), _) => Some(*value),
        _ => None,
    }
}

/// What a comparison says of right − left: at least, at most.
fn bounds(expr: &Expr, join: &Join) -> Option<TimeRange> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let (mut a, mut op, mut b) = (time_term(left, join)?, *op, time_term(right, join)?);
    if (a.input, b.input) == (1, 0) {
        (a, op, b) = (b, op.swap()?, a);
    }
    if (a.input, b.input) != (0, 1) || a.window != b.window || (a.window && op != Operator::Eq) {
        return None;
    }
    // left + a op right + b
    let apart = a.plus.checked_sub(b.plus)?;
    let (least, most) = match op {
        Operator::Eq => (Some(apart), Some(apart)),
        Operator::LtEq => (Some(apart), None),
        Operator::Lt => (Some(apart + 1), None),
        Operator::GtEq => (None, Some(apart)),
        Operator::Gt => (None, Some(apart - 1)),
        _ => return None,
    };
    Some(TimeRange { left: a.time, right: b.time, least, most })
}

/// What a condition consists of.
struct Parts {
    on: Vec<(Expr, Expr)>,
    range: Option<TimeRange>,
    condition: Option<Expr>,
    /// What is asked of the rows a join gives.
    above: Option<Expr>,
}

/// The conjuncts of a condition, BETWEEN as two.
fn conjuncts(condition: Expr) -> Vec<Expr> {
    let mut parts = Vec::new();
    for part in split_conjunction_owned(condition) {
        match part {
            Expr::Between(between) if !between.negated => {
                let compare = |op, bound: Box<Expr>| {
                    Expr::BinaryExpr(BinaryExpr { left: between.expr.clone(), op, right: bound })
                };
                parts.push(compare(Operator::GtEq, between.low.clone()));
                parts.push(compare(Operator::LtEq, between.high.clone()));
            }
            part => parts.push(part),
        }
    }
    parts
}

/// The best range among the comparisons of times: that of the pair of times with the most bounds.
fn best_range(found: &[TimeRange]) -> Option<TimeRange> {
    let mut ranges: Vec<TimeRange> = Vec::new();
    for bound in found {
        match ranges.iter_mut().find(|range| range.left == bound.left && range.right == bound.right) {
            None => ranges.push(bound.clone()),
            Some(range) => {
                range.least = range.least.max(bound.least);
                range.most = [range.most, bound.most].into_iter().flatten().min();
            }
        }
    }
    let count = |range: &TimeRange| usize::from(range.least.is_some()) + usize::from(range.most.is_some());
    ranges.into_iter().rev().max_by_key(count)
}

fn kind_of(join: &Join) -> Result<JoinKind> {
    Ok(match join.join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi => JoinKind::Semi,
        JoinType::LeftAnti | JoinType::RightAnti => {
            return refuse_at(
                join,
                "LeftAnti joins with a streaming table on the right are not supported",
                "write LEFT JOIN … ON the same condition WHERE a column of the right stream IS NULL",
            );
        }
        other => {
            return refuse_at(
                join,
                &format!("{other} joins of two streams are not supported"),
                "write JOIN, LEFT JOIN, RIGHT JOIN, FULL JOIN or LEFT SEMI JOIN",
            );
        }
    })
}

impl Rewriter {
    /// A join of two streams, and the WHERE above it.
    pub(super) fn stream_join(&self, join: &Join, filter: Option<&Expr>) -> Result<Stream> {
        let kind = kind_of(join)?;
        if join.null_equality != NullEquality::NullEqualsNothing {
            return refuse_at(
                join,
                "INTERSECT and EXCEPT of streams are not supported",
                "write a JOIN or a LEFT SEMI JOIN",
            );
        }
        if kind != JoinKind::Inner && self.mode != OutputMode::Append {
            return refuse_at(
                join,
                &format!("{kind:?} joins of two streams are not supported in {} output mode", self.mode.name()),
                "write 'output_mode' = 'append': a row is given when the watermark proves that it has no partner",
            );
        }
        // Conditions on one input are asked before its rows go into the state, where that changes nothing.
        let mut on = join.on.clone();
        let (mut inputs, mut rest, mut above, mut found) =
            ([Vec::new(), Vec::new()], Vec::new(), Vec::new(), Vec::new());
        for part in filter.cloned().map(conjuncts).unwrap_or_default() {
            match input_of(&part, join) {
                Some(input) if !kind.keeps_unmatched(1 - input) => inputs[input].push(part),
                _ if kind == JoinKind::Inner => rest.push(part),
                _ => above.push(part),
            }
        }
        for part in join.filter.clone().map(conjuncts).unwrap_or_default() {
            match input_of(&part, join) {
                Some(input) if !kind.keeps_unmatched(input) => inputs[input].push(part),
                _ => rest.push(part),
            }
        }
        on.retain(|(left, right)| {
            let pair = BinaryExpr { left: Box::new(left.clone()), op: Operator::Eq, right: Box::new(right.clone()) };
            found.extend(bounds(&Expr::BinaryExpr(pair), join));
            true
        });
        rest.retain(|part| {
            let range = bounds(part, join);
            let keep = match (part, &range) {
                (Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }), _) => {
                    match (input_of(left, join), input_of(right, join)) {
                        (Some(0), Some(1)) => on.push(((**left).clone(), (**right).clone())),
                        (Some(1), Some(0)) => on.push(((**right).clone(), (**left).clone())),
                        _ => return true,
                    }
                    false
                }
                _ => true,
            };
            found.extend(range);
            keep
        });
        if on.is_empty() {
            return refuse_at(
                join,
                "a join of two streams without an equality predicate is not supported",
                "write ON a.key = b.key AND a range of time",
            );
        }
        let range = best_range(&found);
        // What the range says is not asked again.
        rest.retain(|part| match (bounds(part, join), &range) {
            (Some(bound), Some(range)) => bound.left != range.left || bound.right != range.right,
            _ => true,
        });
        let [of_left, of_right] = inputs;
        let left = self.rewrite(&filtered(&join.left, of_left)?)?;
        let right = self.rewrite(&filtered(&join.right, of_right)?)?;
        let parts = Parts { on, range, condition: conjunction(rest), above: conjunction(above) };
        self.joined(join, kind, [left, right], parts)
    }

    fn joined(&self, join: &Join, kind: JoinKind, sides: [Stream; 2], parts: Parts) -> Result<Stream> {
        let Parts { on, range, condition, above } = parts;
        let aggregated = sides.iter().any(|side| side.aggregated);
        if aggregated && self.mode != OutputMode::Append {
            return refuse_at(
                join,
                &format!("a join after an aggregate is not supported in {} output mode", self.mode.name()),
                "write 'output_mode' = 'append', or the aggregate as a streaming table of its own",
            );
        }
        let time = |side: usize| {
            let range = range.as_ref()?;
            let expr = if side == 0 { &range.left } else { &range.right };
            event_time_of(expr, sides[side].plan.schema(), &sides[side].times)
        };
        let known = [time(0), time(1)];
        let lags = known.map(|time| time.map(|time| time.lag));
        let times = self.times_after(kind, &sides, range.as_ref(), known);
        let inputs = sides.map(|side| side.plan);
        let schema = StreamJoin::schema_of(&inputs, kind)?;
        let id = self.next_operator();
        let node = StreamJoin { id, inputs, kind, on, range, lags, condition, schema };
        let bounded = |input: usize| node.wait(input).is_some();
        let needed: &[usize] = match kind {
            JoinKind::Inner => &[],
            JoinKind::Left | JoinKind::Semi => &[0],
            JoinKind::Right => &[1],
            JoinKind::Full => &[0, 1],
        };
        if !needed.iter().all(|input| bounded(*input)) {
            return refuse_at(
                join,
                &format!(
                    "a {kind:?} join of two streams is not supported without a watermark in the join keys, or a watermark \
                     on both streams and an appropriate range condition"
                ),
                "write WATERMARK after both streams, and AND b.event_time BETWEEN a.event_time AND a.event_time + \
                 INTERVAL 10 MINUTES",
            );
        }
        let mut plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        if let Some(above) = above {
            plan = LogicalPlan::Filter(Filter::try_new(above, Arc::new(plan))?);
        }
        Ok(Stream { plan, streaming: true, stateful: true, aggregated, times })
    }

    /// Event times among the columns of a join. A row is given when the later of a pair comes: so far may the time of the
    /// earlier be behind.
    fn times_after(
        &self,
        kind: JoinKind,
        sides: &[Stream; 2],
        range: Option<&TimeRange>,
        known: [Option<EventTime>; 2],
    ) -> EventTimes {
        let own = |side: usize| -> EventTimes {
            let schema: &DFSchema = sides[side].plan.schema();
            let behind = || {
                let range = range?;
                let most = if side == 0 { range.most? } else { range.least?.checked_neg()? };
                Some(known[side]?.lag.max(known[1 - side]?.lag.saturating_add(most)))
            };
            let lag = behind();
            let ranged = range.map(|range| if side == 0 { &range.left } else { &range.right });
            let columns = schema.columns().into_iter().zip(&sides[side].times);
            let columns = columns.filter(|(column, _)| column.name != super::RECORD_NUMBER);
            let of = |(column, time): (datafusion::common::Column, &Option<EventTime>)| {
                let is_it = ranged.is_some_and(|ranged| match ranged {
                    Expr::ScalarFunction(call) => call.args.first() == Some(&Expr::Column(column.clone())),
                    other => other == &Expr::Column(column),
                });
                let (time, lag) = ((*time)?, lag?);
                is_it.then_some(EventTime { lag, ..time })
            };
            columns.map(of).collect()
        };
        if kind == JoinKind::Semi { own(0) } else { own(0).into_iter().chain(own(1)).collect() }
    }
}

/// A plan with conditions on its rows.
fn filtered(plan: &Arc<LogicalPlan>, parts: Vec<Expr>) -> Result<LogicalPlan> {
    match conjunction(parts) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, plan.clone())?)),
        None => Ok(plan.as_ref().clone()),
    }
}
