//! From DataFusion's analysed plan to a streaming one: rows get record numbers, aggregates over a stream become stateful,
//! and what cannot run over a stream is refused with Spark's reason.

use std::cell::Cell;
use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::{Column, DFSchema, JoinType, Result, ScalarValue, plan_err};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, Extension, Filter, Join, LogicalPlan, Projection, SubqueryAlias,
    TableScan, TableScanBuilder, Union,
};
use millrace_model::time::parse_interval;

use super::RECORD_NUMBER;
use super::event_time::{EventTime, EventTimes, by_name, event_time_of};
use super::grouping_sets;
use super::join::joins_streams;
use super::stateful::{Kind, Stateful};
use super::table::SlotTable;
use crate::SqlError;
use crate::sql::OutputMode;

/// A refusal: what cannot be done, and what to write instead. The place is the statement's.
pub(super) fn refuse<T>(message: &str, hint: &str) -> Result<T> {
    Err(SqlError::at(sqlparser::tokenizer::Location { line: 0, column: 0 }, message).hint(hint).through())
}

/// A refusal of a join, at the first column of its condition.
pub(super) fn refuse_at<T>(join: &Join, message: &str, hint: &str) -> Result<T> {
    let on = join.on.iter().map(|(left, _)| left);
    let columns = on.chain(&join.filter).flat_map(|expr| expr.column_refs());
    let spans = columns.filter_map(|column| column.spans().first());
    let start = spans.map(|span| (span.start.line, span.start.column)).min().unwrap_or((0, 0));
    let place = sqlparser::tokenizer::Location { line: start.0, column: start.1 };
    Err(SqlError::at(place, message).hint(hint).through())
}

/// A plan with what is known of its rows.
pub(super) struct Stream {
    pub(super) plan: LogicalPlan,
    /// Rows come from a stream.
    pub(super) streaming: bool,
    /// Below is a stateful operator already.
    pub(super) stateful: bool,
    /// Below is an aggregate already.
    pub(super) aggregated: bool,
    /// Event times among its columns.
    pub(super) times: EventTimes,
}

impl Stream {
    fn at_rest(plan: &LogicalPlan) -> Self {
        let times = vec![None; plan.schema().fields().len()];
        Stream { plan: plan.clone(), streaming: false, stateful: false, aggregated: false, times }
    }

    /// The same rows in another plan.
    fn with(&self, plan: LogicalPlan, times: EventTimes) -> Self {
        let Stream { streaming, stateful, aggregated, .. } = *self;
        Stream { plan, streaming, stateful, aggregated, times }
    }
}

/// Rewrites the plan of a streaming table.
pub(crate) fn to_stream(plan: &LogicalPlan, mode: OutputMode) -> Result<LogicalPlan> {
    let stream = Rewriter { mode, operators: Cell::new(0) }.rewrite(plan)?;
    if !stream.streaming {
        return refuse("the query reads no stream", "write FROM STREAM name");
    }
    if mode == OutputMode::Complete && !stream.stateful {
        return refuse(
            "complete output mode is not supported for a query without an aggregate",
            "write 'output_mode' = 'append'",
        );
    }
    Ok(stream.plan)
}

pub(super) struct Rewriter {
    pub(super) mode: OutputMode,
    /// Stateful operators numbered so far.
    operators: Cell<usize>,
}

impl Rewriter {
    pub(super) fn rewrite(&self, plan: &LogicalPlan) -> Result<Stream> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(node) => {
                let input = self.rewrite(&node.input)?;
                let mut exprs = node.expr.clone();
                if !input.stateful {
                    exprs.extend(record_number(input.plan.schema()).map(Expr::Column));
                }
                let schema = input.plan.schema();
                let times = exprs.iter().map(|expr| event_time_of(expr, schema, &input.times)).collect();
                let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input.plan.clone()))?);
                Ok(input.with(plan, times))
            }
            LogicalPlan::Filter(node) => {
                if let LogicalPlan::Join(join) = node.input.as_ref()
                    && joins_streams(join)?
                {
                    return self.stream_join(join, Some(&node.predicate));
                }
                let input = self.rewrite(&node.input)?;
                let plan = Filter::try_new(node.predicate.clone(), Arc::new(input.plan.clone()))?;
                Ok(input.with(LogicalPlan::Filter(plan), input.times.clone()))
            }
            LogicalPlan::SubqueryAlias(node) => {
                let input = self.rewrite(&node.input)?;
                let plan = SubqueryAlias::try_new(Arc::new(input.plan.clone()), node.alias.clone())?;
                Ok(input.with(LogicalPlan::SubqueryAlias(plan), input.times.clone()))
            }
            LogicalPlan::Union(node) => self.union(node),
            LogicalPlan::Unnest(node) => {
                let input = self.rewrite(&node.input)?;
                let plan = plan.with_new_exprs(plan.expressions(), vec![input.plan.clone()])?;
                let times = by_name(plan.schema(), input.plan.schema(), &input.times);
                Ok(input.with(plan, times))
            }
            LogicalPlan::Join(node) => {
                if joins_streams(node)? {
                    return self.stream_join(node, None);
                }
                let (left, right) = (self.rewrite(&node.left)?, self.rewrite(&node.right)?);
                if preserves_static(node.join_type, left.streaming, right.streaming) {
                    return refuse_at(
                        node,
                        &format!("a {} join that keeps the rows of a static table is not supported", node.join_type),
                        "write FROM STREAM name LEFT JOIN the static table: every row of the stream is kept",
                    );
                }
                let plan = plan.with_new_exprs(plan.expressions(), vec![left.plan.clone(), right.plan.clone()])?;
                let stream = if left.streaming { left } else { right };
                let times = by_name(plan.schema(), stream.plan.schema(), &stream.times);
                Ok(stream.with(plan, times))
            }
            LogicalPlan::Aggregate(node) => {
                let input = self.rewrite(&node.input)?;
                if !input.streaming {
                    return Ok(Stream::at_rest(plan));
                }
                self.aggregate(node, input)
            }
            LogicalPlan::Distinct(Distinct::All(node)) => {
                let input = self.rewrite(node)?;
                if !input.streaming {
                    return Ok(Stream::at_rest(plan));
                }
                let schema = input.plan.schema();
                let columns = schema.columns().into_iter().filter(|column| column.name != RECORD_NUMBER);
                let keys = columns.map(Expr::Column).collect();
                let distinct = Aggregate::try_new(Arc::new(input.plan.clone()), keys, Vec::new())?;
                self.aggregate(&distinct, input)
            }
            LogicalPlan::Distinct(_) => self.only_static(
                plan,
                "SELECT DISTINCT ON is not supported on streaming data",
                "write min_by or max_by with GROUP BY and a window",
            ),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) if self.mode == OutputMode::Complete => {
                let inputs = plan.inputs();
                let [input] = inputs.as_slice() else { return plan_err!("a sort has one input") };
                let input = self.rewrite(input)?;
                if input.streaming && !input.stateful {
                    return refuse(
                        "ORDER BY and LIMIT in complete mode must follow an aggregate",
                        "leave them out; order the result table when you read it",
                    );
                }
                let sorted = plan.with_new_exprs(plan.expressions(), vec![input.plan])?;
                Ok(Stream { plan: sorted, ..input })
            }
            LogicalPlan::Sort(_) => self.only_static(
                plan,
                "sorting is not supported on streaming data in append and update mode",
                "leave ORDER BY out; order the result table when you read it",
            ),
            LogicalPlan::Limit(_) => self.only_static(
                plan,
                "LIMIT is not supported on streaming data in append and update mode",
                "leave LIMIT out; limit the result table when you read it",
            ),
            LogicalPlan::Window(_) => self.only_static(
                plan,
                "OVER windows are not supported on streaming data (NON_TIME_WINDOW_NOT_SUPPORTED_IN_STREAMING)",
                "use min_by, max_by or collect_list in a GROUP BY window(…) or session_window(…)",
            ),
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => Ok(Stream::at_rest(plan)),
            other => self.only_static(
                plan,
                &format!("{} is not supported on streaming data", other.display()),
                "see the page of supported SQL in the documentation",
            ),
        }
    }

    /// A plan node that may stand over static tables only.
    fn only_static(&self, plan: &LogicalPlan, message: &str, hint: &str) -> Result<Stream> {
        for input in plan.inputs() {
            if self.rewrite(input)?.streaming {
                return refuse(message, hint);
            }
        }
        Ok(Stream::at_rest(plan))
    }

    fn scan(&self, scan: &TableScan) -> Result<Stream> {
        let provider = source_as_provider(&scan.source)?;
        let table = (provider.as_ref() as &dyn std::any::Any).downcast_ref::<SlotTable>();
        let Some(table) = table.filter(|table| table.streaming) else {
            return Ok(Stream::at_rest(&LogicalPlan::TableScan(scan.clone())));
        };
        let numbered = provider_as_source(Arc::new(table.with_record_numbers()));
        let scan = TableScanBuilder::new(scan.table_name.clone(), numbered).build()?;
        let watermarked = |name: &String| table.event_time.as_ref() == Some(name);
        let time = |name| watermarked(name).then_some(EventTime { lag: 0, window: false });
        let times = scan.projected_schema.fields().iter().map(|field| time(field.name())).collect();
        let plan = LogicalPlan::TableScan(scan);
        Ok(Stream { plan, streaming: true, stateful: false, aggregated: false, times })
    }

    fn union(&self, node: &Union) -> Result<Stream> {
        let inputs: Vec<Stream> = node.inputs.iter().map(|input| self.rewrite(input)).collect::<Result<_>>()?;
        if inputs.iter().any(|input| !input.streaming) {
            if inputs.iter().any(|input| input.streaming) {
                return refuse("UNION ALL of a stream and a static table is not supported", "read both as streams");
            }
            return Ok(Stream::at_rest(&LogicalPlan::Union(node.clone())));
        }
        let stateful = inputs.iter().any(|input| input.stateful);
        if stateful {
            return refuse(
                "UNION ALL of aggregated or joined streams is not available in one statement",
                "write each branch as a streaming table and UNION ALL the tables",
            );
        }
        // A column is an event time when it is one in every branch.
        let columns = node.schema.fields().len();
        let both = |a: Option<EventTime>, b: Option<EventTime>| match (a, b) {
            (Some(a), Some(b)) if a.window == b.window => Some(EventTime { lag: a.lag.max(b.lag), ..a }),
            _ => None,
        };
        let own = |input: &Stream| -> EventTimes {
            let fields = input.plan.schema().fields().iter().zip(&input.times);
            fields.filter(|(field, _)| field.name() != RECORD_NUMBER).map(|(_, time)| *time).collect()
        };
        let mut times = inputs.first().map(own).unwrap_or_default();
        for input in &inputs[1..] {
            times = times.into_iter().zip(own(input)).map(|(a, b)| both(a, b)).collect();
        }
        times.resize(columns + 1, None);
        // The record number goes last in every branch, wherever a join or unnest has left it.
        let branches = inputs.into_iter().map(|input| {
            let schema = input.plan.schema().clone();
            let fields = schema.iter().filter(|(_, field)| field.name() != RECORD_NUMBER);
            let mut exprs: Vec<Expr> =
                fields.map(|(q, field)| Expr::Column(Column::new(q.cloned(), field.name()))).collect();
            exprs.extend(record_number(&schema).map(Expr::Column));
            Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input.plan))?)))
        });
        let union = Union::try_new(branches.collect::<Result<_>>()?)?;
        let plan = LogicalPlan::Union(union);
        Ok(Stream { plan, streaming: true, stateful: false, aggregated: false, times })
    }

    /// A number for a stateful operator, after those below it.
    pub(super) fn next_operator(&self) -> usize {
        self.operators.replace(self.operators.get() + 1)
    }

    fn aggregate(&self, node: &Aggregate, input: Stream) -> Result<Stream> {
        if input.aggregated && self.mode != OutputMode::Append {
            return refuse(
                &format!("multiple streaming aggregations are not supported with {} output mode", self.mode.name()),
                "write 'output_mode' = 'append', or the inner query as a streaming table of its own",
            );
        }
        let expanded = grouping_sets::expand(node, input.plan)?;
        let (plan, groups) = (expanded.input, expanded.groups);
        let schema = plan.schema().clone();
        let mut known_times = input.times;
        known_times.resize(schema.fields().len(), None);
        let mut window: Option<(usize, Kind, Vec<Expr>)> = None;
        let mut keys = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            match window_call(group) {
                Some(_) if window.is_some() => {
                    return refuse("only one window can be grouped by", "write a second streaming table");
                }
                Some(call) => {
                    let (kind, time) = window_kind(call, &schema)?;
                    window = Some((at, kind, time));
                }
                None => keys.push(group.clone()),
            }
        }
        let known = |expr: &Expr| event_time_of(expr, &schema, &known_times);
        let (window_at, kind, time) = match (window, keys.iter().find(|key| known(key).is_some())) {
            (Some((at, kind, time)), _) => (Some(at), kind, time),
            // In complete mode nothing is forgotten, so no time is needed to forget by.
            (None, Some(key)) if self.mode != OutputMode::Complete => (None, Kind::Timed, vec![key.clone()]),
            (None, _) => (None, Kind::Group, Vec::new()),
        };
        let moved = time.first().and_then(&known);
        self.check_mode(&kind, moved.is_some())?;
        // In append mode the groups given from now on have times after the watermark; in update mode any may come again.
        let group = |at: usize, expr: &Expr| match window_at {
            Some(window) if window == at => moved.map(|time| EventTime { window: true, ..time }),
            None if kind == Kind::Timed && time.first() == Some(expr) => moved,
            _ => None,
        };
        let mut times: EventTimes = groups.iter().enumerate().map(|(at, expr)| group(at, expr)).collect();
        times.resize(node.schema.fields().len(), None);
        let record = record_number(&schema).map(Expr::Column).into_iter().collect();
        let calls = node.aggr_expr.clone();
        let lag = moved.map(|time| time.lag);
        let (id, schema) = (self.next_operator(), node.schema.clone());
        let stateful = Stateful { id, input: plan, kind, window_at, time, lag, keys, calls, record, schema };
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(stateful) });
        Ok(Stream { plan, streaming: true, stateful: true, aggregated: true, times })
    }

    fn check_mode(&self, kind: &Kind, watermarked: bool) -> Result<()> {
        match (kind, self.mode) {
            (Kind::Group, OutputMode::Append) => refuse(
                "append output mode is not supported for an aggregate without a window: its rows are never final",
                "write TBLPROPERTIES ('output_mode' = 'update', 'key' = '…'), or group by window(…)",
            ),
            (Kind::Session { .. }, OutputMode::Update) => refuse(
                "update output mode is not supported for session_window: an open session may still join another",
                "write 'output_mode' = 'append'",
            ),
            (Kind::Window { .. } | Kind::Session { .. }, OutputMode::Append) if !watermarked => refuse(
                "append output mode is not supported for an aggregate over a column without a watermark",
                "write FROM STREAM name WATERMARK event_time DELAY OF INTERVAL 10 SECONDS and window(event_time, …) \
                 over that column itself; over another window write window(window_time(w), …)",
            ),
            _ => Ok(()),
        }
    }
}

/// Rows of a static table that find no partner in a stream would be given again and again, or never.
fn preserves_static(join: JoinType, left_streams: bool, right_streams: bool) -> bool {
    match join {
        JoinType::Inner => false,
        JoinType::Full => left_streams != right_streams,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => right_streams,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => left_streams,
    }
}

/// The record-number column of a schema.
pub(crate) fn record_number(schema: &DFSchema) -> Option<Column> {
    let found = schema.iter().find(|(_, field)| field.name() == RECORD_NUMBER);
    found.map(|(qualifier, field)| Column::new(qualifier.cloned(), field.name()))
}

pub(super) fn window_call(group: &Expr) -> Option<&ScalarFunction> {
    match group {
        Expr::Alias(alias) => window_call(&alias.expr),
        Expr::ScalarFunction(call) if ["window", "session_window"].contains(&call.func.name()) => Some(call),
        _ => None,
    }
}

/// The kind of window and the expressions it is computed from.
fn window_kind(call: &ScalarFunction, schema: &DFSchema) -> Result<(Kind, Vec<Expr>)> {
    let length = |at: usize| call.args.get(at).map(constant_interval).transpose();
    let Some(time) = call.args.first().cloned() else { return plan_err!("{}() needs a time column", call.func.name()) };
    if call.func.name() == "session_window" {
        return match call.args.get(1) {
            Some(gap) if constant_text(gap).is_some() => {
                Ok((Kind::Session { gap: Some(constant_interval(gap)?) }, vec![time]))
            }
            Some(Expr::Cast(cast)) if cast.expr.get_type(schema)? != DataType::Utf8 => refuse(
                "the gap of session_window is not a text",
                "write texts: session_window(event_time, CASE WHEN … THEN '10 minutes' ELSE '30 minutes' END)",
            ),
            Some(gap) => Ok((Kind::Session { gap: None }, vec![time, gap.clone()])),
            None => refuse("session_window() needs a gap", "session_window(event_time, '30 minutes')"),
        };
    }
    let Some(size) = length(1)? else { return refuse("window() needs a size", "window(event_time, '5 minutes')") };
    let slide = length(2)?.unwrap_or(size);
    let offset = length(3)?.unwrap_or(0);
    if size <= 0 || slide <= 0 {
        return refuse(
            "the size and slide of a window must be positive",
            "window(event_time, '5 minutes', '1 minute')",
        );
    }
    if slide > size {
        return refuse(
            "the slide of a window must not be longer than its size",
            "window(event_time, '5 minutes', '1 minute')",
        );
    }
    Ok((Kind::Window { size, slide, offset }, vec![time]))
}

fn constant_text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => Some(text),
        Expr::Cast(cast) => constant_text(&cast.expr),
        _ => None,
    }
}

fn constant_interval(expr: &Expr) -> Result<i64> {
    let Some(text) = constant_text(expr) else {
        return refuse("the lengths of a window must be constant texts", "window(event_time, '5 minutes', '1 minute')");
    };
    parse_interval(text).or_else(|error| refuse(&error, "window(event_time, '5 minutes', '1 minute')"))
}
