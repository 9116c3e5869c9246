//! Scalar functions with Spark's meaning, and the session that knows them all.
//!
//! A name is looked up in three layers, the later over the earlier: DataFusion's functions, `datafusion-spark`'s, ours. Ours
//! are only those that the first two lack or get differently from Spark 4.2 in ANSI mode.

mod arithmetic;
mod array_access;
mod array_sort;
mod arrays;
mod calendar;
mod casts;
mod clock;
mod collections;
mod date_arithmetic;
mod date_parts;
mod date_pattern;
mod date_text;
mod date_trunc;
mod divide;
mod failures;
mod from_json;
mod json;
mod json_path;
mod lambdas;
mod number_text;
mod patterns;
mod planner;
mod renamed;
mod rounding;
mod schema_text;
mod simple;
mod size;
mod time_text;
mod type_name;
mod unix_time;
mod value_text;
mod window;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::common::config::Dialect;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::optimizer::AnalyzerRule;
use datafusion_spark::planner::SparkFunctionPlanner;

use self::casts::SparkCasts;
use self::planner::{SparkOperators, SparkTypes};
use crate::aggregate::aggregate_udfs;

pub(crate) use failures::in_sparks_words;
pub(crate) use simple::mismatch;
#[cfg(test)]
pub(crate) use simple::timestamp_type;
pub(crate) use type_name::type_name;
#[cfg(test)]
pub(crate) use window::WindowSizes;
pub(crate) use window::is_window;

/// The scalar functions of ours.
pub(crate) fn scalar_udfs() -> Vec<Arc<ScalarUDF>> {
    let simple = [
        arithmetic::functions(),
        array_access::functions(),
        array_sort::functions(),
        arrays::functions(),
        collections::functions(),
        date_arithmetic::functions(),
        date_parts::functions(),
        date_text::functions(),
        date_trunc::functions(),
        json::functions(),
        patterns::functions(),
        renamed::functions(),
        rounding::functions(),
        size::functions(),
        unix_time::functions(),
        words::functions(),
        vec![divide::div(), divide::try_divide(), type_name::type_of()],
    ];
    let simple = simple.into_iter().flatten().map(simple::Simple::udf);
    simple
        .chain(renamed::aliases())
        .chain([clock::current_timestamp(), from_json::from_json()])
        .chain(window::functions())
        .collect()
}

fn planners() -> [Arc<dyn ExprPlanner>; 2] {
    [Arc::new(SparkOperators::new()), Arc::new(SparkFunctionPlanner)]
}

/// The names of all functions of rows and of all aggregates; for the page that lists them.
#[cfg(test)]
pub(crate) fn names() -> [std::collections::BTreeSet<String>; 2] {
    let state = register(SessionStateBuilder::new()).build();
    let lambdas = lambdas::functions();
    let of_lambdas = lambdas.iter().flat_map(|f| f.aliases().iter().cloned().chain([f.name().to_owned()]));
    let aggregates = state.aggregate_functions().keys().cloned().collect();
    [state.scalar_functions().keys().cloned().chain(of_lambdas).collect(), aggregates]
}

/// Rules to run after DataFusion's own analysis of a plan.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    vec![Arc::new(SparkCasts::new())]
}

/// Adds everything a statement in Spark's dialect needs: functions, planners and settings.
pub(crate) fn register(builder: SessionStateBuilder) -> SessionStateBuilder {
    let mut builder = builder.with_default_features();
    let mut config =
        builder.config().take().unwrap_or_default().with_target_partitions(1).with_information_schema(true);
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::Spark;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    options.sql_parser.default_null_ordering = "nulls_min".to_owned();
    options.execution.time_zone = Some("+00:00".to_owned());
    options.execution.enable_ansi_mode = true;
    builder.expr_planners().get_or_insert_default().splice(0..0, planners());
    let scalars = datafusion_spark::all_default_scalar_functions().into_iter().chain(scalar_udfs());
    builder.scalar_functions().get_or_insert_default().extend(scalars);
    let aggregates = datafusion_spark::all_default_aggregate_functions().into_iter().chain(aggregate_udfs());
    builder.aggregate_functions().get_or_insert_default().extend(aggregates);
    builder.higher_order_functions().get_or_insert_default().extend(lambdas::functions());
    let builder = builder.with_config(config).with_type_planner(Arc::new(SparkTypes));
    analyzer_rules().into_iter().fold(builder, SessionStateBuilder::with_analyzer_rule)
}
