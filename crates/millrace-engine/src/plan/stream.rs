//! From DataFusion's analysed plan to a streaming one: rows get record numbers, aggregates over a stream become stateful,
//! and what cannot run over a stream is refused with Spark's reason.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, Result, ScalarValue, plan_err};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    Aggregate, Expr, Extension, Filter, LogicalPlan, Projection, SubqueryAlias, TableScan, TableScanBuilder, Union,
};
use millrace_model::time::parse_interval;

use super::RECORD_NUMBER;
use super::stateful::{Kind, Stateful};
use super::table::SlotTable;
use crate::SqlError;
use crate::sql::OutputMode;

/// A refusal: what cannot be done, and what to write instead. The place is the statement's.
fn refuse<T>(message: &str, hint: &str) -> Result<T> {
    Err(SqlError::at(sqlparser::tokenizer::Location { line: 0, column: 0 }, message).hint(hint).through())
}

/// A plan with what is known of its rows.
struct Stream {
    plan: LogicalPlan,
    /// Rows come from a stream.
    streaming: bool,
    /// Below is an aggregate already.
    stateful: bool,
}

/// Rewrites the plan of a streaming table.
pub(crate) fn to_stream(plan: &LogicalPlan, mode: OutputMode, watermarked: bool) -> Result<LogicalPlan> {
    let stream = Rewriter { mode, watermarked }.rewrite(plan)?;
    if !stream.streaming {
        return refuse("the query reads no stream", "write FROM STREAM name");
    }
    Ok(stream.plan)
}

struct Rewriter {
    mode: OutputMode,
    watermarked: bool,
}

impl Rewriter {
    fn rewrite(&self, plan: &LogicalPlan) -> Result<Stream> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(node) => {
                let input = self.rewrite(&node.input)?;
                let mut exprs = node.expr.clone();
                if !input.stateful {
                    exprs.extend(record_number(input.plan.schema()).map(Expr::Column));
                }
                let (streaming, stateful) = (input.streaming, input.stateful);
                let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input.plan))?);
                Ok(Stream { plan, streaming, stateful })
            }
            LogicalPlan::Filter(node) => {
                let input = self.rewrite(&node.input)?;
                let (streaming, stateful) = (input.streaming, input.stateful);
                let plan = LogicalPlan::Filter(Filter::try_new(node.predicate.clone(), Arc::new(input.plan))?);
                Ok(Stream { plan, streaming, stateful })
            }
            LogicalPlan::SubqueryAlias(node) => {
                let input = self.rewrite(&node.input)?;
                let (streaming, stateful) = (input.streaming, input.stateful);
                let plan =
                    LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input.plan), node.alias.clone())?);
                Ok(Stream { plan, streaming, stateful })
            }
            LogicalPlan::Union(node) => self.union(node),
            LogicalPlan::Unnest(node) => {
                let input = self.rewrite(&node.input)?;
                let (streaming, stateful) = (input.streaming, input.stateful);
                let plan = plan.with_new_exprs(plan.expressions(), vec![input.plan])?;
                Ok(Stream { plan, streaming, stateful })
            }
            LogicalPlan::Join(node) => {
                let (left, right) = (self.rewrite(&node.left)?, self.rewrite(&node.right)?);
                if left.streaming && right.streaming {
                    return refuse(
                        "a join of two streams is not available on the embedded backend",
                        "join the stream with a static table, or aggregate both sides under one key with UNION ALL",
                    );
                }
                let (streaming, stateful) = (left.streaming || right.streaming, left.stateful || right.stateful);
                let plan = plan.with_new_exprs(plan.expressions(), vec![left.plan, right.plan])?;
                Ok(Stream { plan, streaming, stateful })
            }
            LogicalPlan::Aggregate(node) => {
                let input = self.rewrite(&node.input)?;
                if !input.streaming {
                    return Ok(Stream { plan: plan.clone(), streaming: false, stateful: false });
                }
                if input.stateful {
                    return refuse(
                        "an aggregate of an aggregate is not available on the embedded backend in one statement",
                        "write the inner query as a streaming table of its own and read it with FROM STREAM",
                    );
                }
                self.aggregate(node, input.plan)
            }
            LogicalPlan::Distinct(_) => self.only_static(
                plan,
                "SELECT DISTINCT over a stream is not available on the embedded backend",
                "write GROUP BY over the same columns in update mode, or let the contract deduplicate by its id",
            ),
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
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
                Ok(Stream { plan: plan.clone(), streaming: false, stateful: false })
            }
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
        Ok(Stream { plan: plan.clone(), streaming: false, stateful: false })
    }

    fn scan(&self, scan: &TableScan) -> Result<Stream> {
        let provider = source_as_provider(&scan.source)?;
        let table = (provider.as_ref() as &dyn std::any::Any).downcast_ref::<SlotTable>();
        let Some(table) = table.filter(|table| table.streaming) else {
            return Ok(Stream { plan: LogicalPlan::TableScan(scan.clone()), streaming: false, stateful: false });
        };
        let numbered = provider_as_source(Arc::new(table.with_record_numbers()));
        let scan = TableScanBuilder::new(scan.table_name.clone(), numbered).build()?;
        Ok(Stream { plan: LogicalPlan::TableScan(scan), streaming: true, stateful: false })
    }

    fn union(&self, node: &Union) -> Result<Stream> {
        let inputs: Vec<Stream> = node.inputs.iter().map(|input| self.rewrite(input)).collect::<Result<_>>()?;
        if inputs.iter().any(|input| !input.streaming) {
            if inputs.iter().any(|input| input.streaming) {
                return refuse("UNION ALL of a stream and a static table is not supported", "read both as streams");
            }
            return Ok(Stream { plan: LogicalPlan::Union(node.clone()), streaming: false, stateful: false });
        }
        let stateful = inputs.iter().any(|input| input.stateful);
        if stateful {
            return refuse(
                "UNION ALL of aggregated streams is not available in one statement",
                "write each aggregate as a streaming table and UNION ALL the tables",
            );
        }
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
        Ok(Stream { plan: LogicalPlan::Union(union), streaming: true, stateful: false })
    }

    fn aggregate(&self, node: &Aggregate, input: LogicalPlan) -> Result<Stream> {
        let mut window: Option<(usize, Kind, Vec<Expr>)> = None;
        let mut keys = Vec::new();
        for (at, group) in node.group_expr.iter().enumerate() {
            match window_call(group) {
                Some(_) if window.is_some() => {
                    return refuse("only one window can be grouped by", "write a second streaming table");
                }
                Some(call) => {
                    let (kind, time) = window_kind(call)?;
                    window = Some((at, kind, time));
                }
                None if matches!(group, Expr::GroupingSet(_)) => {
                    return refuse(
                        "ROLLUP, CUBE and GROUPING SETS are not available on the embedded backend",
                        "write one table a grouping",
                    );
                }
                None => keys.push(group.clone()),
            }
        }
        let (window_at, kind, time) = match window {
            Some((at, kind, time)) => (Some(at), kind, time),
            None => (None, Kind::Group, Vec::new()),
        };
        self.check_mode(&kind)?;
        let record = record_number(input.schema()).map(Expr::Column).into_iter().collect();
        let calls = node.aggr_expr.clone();
        let schema = node.schema.clone();
        let stateful = Stateful { input, kind, window_at, time, keys, calls, record, schema };
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(stateful) });
        Ok(Stream { plan, streaming: true, stateful: true })
    }

    fn check_mode(&self, kind: &Kind) -> Result<()> {
        match (kind, self.mode) {
            (Kind::Group, OutputMode::Append) => refuse(
                "append output mode is not supported for an aggregate without a window: its rows are never final",
                "write TBLPROPERTIES ('output_mode' = 'update', 'key' = '…'), or group by window(…)",
            ),
            (Kind::Session { .. }, OutputMode::Update) => refuse(
                "update output mode is not supported for session_window: an open session may still join another",
                "write 'output_mode' = 'append'",
            ),
            (Kind::Window { .. } | Kind::Session { .. }, OutputMode::Append) if !self.watermarked => refuse(
                "append output mode is not supported for an aggregate without a watermark",
                "write FROM STREAM name WATERMARK event_time DELAY OF INTERVAL 10 SECONDS",
            ),
            _ => Ok(()),
        }
    }
}

/// The record-number column of a schema.
pub(crate) fn record_number(schema: &DFSchema) -> Option<Column> {
    let found = schema.iter().find(|(_, field)| field.name() == RECORD_NUMBER);
    found.map(|(qualifier, field)| Column::new(qualifier.cloned(), field.name()))
}

fn window_call(group: &Expr) -> Option<&ScalarFunction> {
    match group {
        Expr::Alias(alias) => window_call(&alias.expr),
        Expr::ScalarFunction(call) if ["window", "session_window"].contains(&call.func.name()) => Some(call),
        _ => None,
    }
}

/// The kind of window and the expressions it is computed from.
fn window_kind(call: &ScalarFunction) -> Result<(Kind, Vec<Expr>)> {
    let length = |at: usize| call.args.get(at).map(constant_interval).transpose();
    let Some(time) = call.args.first().cloned() else { return plan_err!("{}() needs a time column", call.func.name()) };
    if call.func.name() == "session_window" {
        return match call.args.get(1) {
            Some(gap) if constant_text(gap).is_some() => {
                Ok((Kind::Session { gap: constant_interval(gap)? }, vec![time]))
            }
            Some(_) => refuse(
                "session_window with a gap that changes by row is not available on the embedded backend",
                "write a constant gap: session_window(event_time, '30 minutes')",
            ),
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
