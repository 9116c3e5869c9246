//! CAST between times, numbers and texts, where Spark means another value than Arrow.
//!
//! | cast | Arrow | Spark |
//! |---|---|---|
//! | TIMESTAMP to STRING | `2026-01-01T00:07:00Z` | `2026-01-01 00:07:00` |
//! | DOUBLE to STRING | `1e20` | `1.0E20` |
//! | ARRAY, MAP and STRUCT to STRING | not all | `[1, null]`, `{a -> 1}`, `{1, x}` |
//! | STRING to DATE or TIMESTAMP | RFC 3339 | also `2026-1-5`, `2026-01-01 10:30` |
//! | TIMESTAMP to a number, and back | microseconds | seconds |
//!
//! The rule runs after type coercion, so that the casts DataFusion adds by itself (`concat_ws(':', t)`) are Spark's as well.

use std::sync::Arc;

use arrow_array::Float64Array;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_schema::{DataType, TimeUnit};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, ScalarUDF, TryCast};
use datafusion::optimizer::AnalyzerRule;

use super::date_pattern::DatePattern;
use super::simple::Simple;
use super::value_text::cast_to_text;
use super::{time_text, unix_time};

/// Puts Spark's casts where Arrow's would give another value.
#[derive(Debug)]
pub(super) struct SparkCasts {
    to_text: Arc<ScalarUDF>,
    to_seconds: Arc<ScalarUDF>,
    to_whole_seconds: Arc<ScalarUDF>,
    of_seconds: Arc<ScalarUDF>,
    /// STRING to TIMESTAMP and to DATE; then those of TRY_CAST.
    of_text: [Arc<ScalarUDF>; 4],
}

impl SparkCasts {
    pub(super) fn new() -> Self {
        SparkCasts {
            to_text: cast_to_text().udf(),
            to_seconds: cast_to_seconds().udf(),
            to_whole_seconds: unix_time::unix_seconds().udf(),
            of_seconds: unix_time::timestamp_seconds().udf(),
            of_text: [
                time_text::to_timestamp().udf(),
                time_text::to_date().udf(),
                time_text::try_to_timestamp().udf(),
                time_text::try_to_date().udf(),
            ],
        }
    }

    fn rewrite(&self, expr: Expr, plan_input: &datafusion::common::DFSchema) -> Result<Transformed<Expr>> {
        let (inner, field, tried) = match &expr {
            Expr::Cast(Cast { expr: inner, field }) => (inner, field, 0),
            Expr::TryCast(TryCast { expr: inner, field }) => (inner, field, 2),
            _ => return Ok(Transformed::no(expr)),
        };
        let call = |function: &Arc<ScalarUDF>| {
            Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), vec![inner.as_ref().clone()]))
        };
        let (from, to) = (inner.get_type(plan_input)?, field.data_type());
        let rewritten = match (&from, to) {
            (DataType::Utf8, DataType::Timestamp(TimeUnit::Microsecond, Some(_))) => call(&self.of_text[tried]),
            (DataType::Utf8, DataType::Timestamp(_, Some(_))) => {
                Expr::Cast(Cast::new(Box::new(call(&self.of_text[tried])), to.clone()))
            }
            (DataType::Utf8, DataType::Date32) => call(&self.of_text[tried + 1]),
            _ if tried > 0 => return Ok(Transformed::no(expr)),
            (DataType::Timestamp(_, _) | DataType::Float64 | DataType::Float32, DataType::Utf8) => call(&self.to_text),
            (DataType::List(_) | DataType::Map(_, _) | DataType::Struct(_), DataType::Utf8) => call(&self.to_text),
            (DataType::Timestamp(_, _), DataType::Float64) => call(&self.to_seconds),
            (DataType::Timestamp(_, _), DataType::Int64) => call(&self.to_whole_seconds),
            (DataType::Timestamp(_, _), to) if to.is_integer() => {
                Expr::Cast(Cast::new(Box::new(call(&self.to_whole_seconds)), to.clone()))
            }
            (from, DataType::Timestamp(_, Some(_))) if from.is_numeric() => call(&self.of_seconds),
            _ => return Ok(Transformed::no(expr)),
        };
        Ok(Transformed::yes(rewritten))
    }
}

impl AnalyzerRule for SparkCasts {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| {
            let mut schema = merge_schema(&plan.inputs());
            if let LogicalPlan::TableScan(scan) = &plan {
                schema.merge(&scan.projected_schema);
            }
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(expr.transform_up(|expr| self.rewrite(expr, &schema))?.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &str {
        "spark_casts"
    }
}

/// `yyyy-MM-dd HH:mm:ss`, with as many digits of the second as are not 0.
pub(super) fn timestamp_text(pattern: &DatePattern, micros: i64) -> String {
    let text = pattern.format(micros);
    match micros.rem_euclid(1_000_000) {
        0 => text,
        fraction => text + "." + format!("{fraction:06}").trim_end_matches('0'),
    }
}

/// A TIMESTAMP as seconds since 1970, with the fraction.
fn cast_to_seconds() -> Simple {
    Simple {
        name: "cast_to_seconds",
        aliases: &[],
        coerce: |types| match types {
            [DataType::Timestamp(_, zone)] => Ok(vec![DataType::Timestamp(TimeUnit::Microsecond, zone.clone())]),
            _ => Ok(types.to_vec()),
        },
        returns: |_| DataType::Float64,
        evaluate: |columns, _| {
            let times = columns[0].as_primitive::<TimestampMicrosecondType>();
            let seconds: Float64Array = times.unary(|micros| micros as f64 / 1e6);
            Ok(Arc::new(seconds))
        },
    }
}
