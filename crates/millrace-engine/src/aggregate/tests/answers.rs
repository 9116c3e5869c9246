//! Spark's documented answers, and its errors.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use arrow_schema::DataType;
use datafusion::common::ScalarValue;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;

use crate::aggregate::group_state;
use crate::functions::register;

/// The one cell a query gives, as text; its error otherwise.
async fn answer(sql: &str) -> String {
    let context = SessionContext::new_with_state(register(SessionStateBuilder::new()).build());
    let run = async {
        let batches = context.sql(sql).await?.collect().await?;
        ScalarValue::try_from_array(batches[0].column(0), 0)
    };
    match run.await {
        Ok(cell) => cell.to_string(),
        Err(error) => error.strip_backtrace(),
    }
}

#[tokio::test]
async fn documented() {
    // The examples of Spark's function reference, and the cases its text speaks of.
    for (call, values, expected) in [
        ("count(*)", "(NULL), (5), (5), (20)", "4"),
        ("count(x)", "(NULL), (5), (5), (20)", "3"),
        ("count(DISTINCT x)", "(NULL), (5), (5), (10)", "2"),
        ("count_if(x % 2 = 0)", "(NULL), (0), (1), (2), (3)", "2"),
        ("count_if(x IS NULL)", "(NULL), (0), (1), (2), (3)", "1"),
        ("sum(x)", "(5), (10), (15)", "30"),
        ("sum(x)", "(NULL), (10), (15)", "25"),
        ("sum(x)", "(CAST(NULL AS INT)), (NULL)", "NULL"),
        ("avg(x)", "(1), (2), (3)", "2"),
        ("mean(x)", "(1), (2), (NULL)", "1.5"),
        ("avg(CAST(x AS DECIMAL(10, 2)))", "(1), (2), (2)", "1.666667"),
        ("avg(CAST(x AS DECIMAL(10, 2)))", "(-1), (-2), (-2)", "-1.666667"),
        ("max(x)", "(10), (50), (20)", "50"),
        ("min(x)", "(10), (-1), (20)", "-1"),
        ("max(x)", "(CAST('NaN' AS DOUBLE)), (1.0), (2.0)", "NaN"),
        ("collect_list(x)", "(1), (2), (1), (NULL)", "[1, 2, 1]"),
        ("array_agg(x)", "(1), (2), (1)", "[1, 2, 1]"),
        ("array_sort(collect_set(x))", "(1), (2), (1), (NULL)", "[1, 2]"),
        ("approx_count_distinct(x)", "(1), (1), (2), (2), (3)", "3"),
        ("first(x)", "(10), (5), (20)", "10"),
        ("first(x, true)", "(NULL), (5), (20)", "5"),
        ("first(x)", "(NULL), (5), (20)", "NULL"),
        ("last(x)", "(10), (5), (20)", "20"),
        ("last(x, true)", "(10), (5), (NULL)", "5"),
        ("stddev(x)", "(1), (2), (3)", "1"),
        ("stddev_pop(x)", "(1), (2), (3)", "0.816496580927726"),
        ("var_pop(x)", "(1), (2), (3)", "0.6666666666666666"),
        ("variance(x)", "(1), (2), (3)", "1"),
        ("stddev(x)", "(1)", "NULL"),
        ("percentile_approx(x, 0.5, 100)", "(0), (6), (7), (9), (10)", "7"),
        ("percentile_approx(x, array(0.5, 0.4, 0.1), 100)", "(0), (1), (2), (10)", "[1, 1, 0]"),
        ("approx_percentile(x, 0.9)", "(CAST(NULL AS INT))", "NULL"),
        ("bool_and(x)", "(NULL), (true), (false), (true)", "false"),
        ("every(x)", "(NULL), (true), (true), (true)", "true"),
        ("bool_or(x)", "(false), (false), (NULL)", "false"),
        ("some(x)", "(true), (false), (NULL)", "true"),
    ] {
        assert_eq!(
            answer(&format!("SELECT {call} FROM VALUES {values} AS tab(x)")).await,
            expected,
            "{call} of {values}"
        );
    }
    for (call, values, expected) in [
        ("max_by(x, y)", "('a', 10), ('b', 50), ('c', 20)", "b"),
        ("min_by(x, y)", "('a', 10), ('b', 50), ('c', 20)", "a"),
        ("max_by(x, y)", "('a', NULL), ('b', 50), ('c', NULL)", "b"),
        ("max_by(x, y)", "('a', CAST(NULL AS INT))", "NULL"),
        ("max_by(x, y)", "('a', 50), (NULL, 60)", "NULL"),
        ("max_by(x, y)", "('a', 50), ('b', 50)", "b"),
        ("min_by(x, y)", "('a', 50), ('b', 50)", "b"),
        ("count(x, y)", "('a', 1), ('b', NULL), (NULL, 3), ('c', 4)", "2"),
    ] {
        assert_eq!(
            answer(&format!("SELECT {call} FROM VALUES {values} AS tab(x, y)")).await,
            expected,
            "{call} of {values}"
        );
    }
}

#[tokio::test]
async fn errors() {
    for (sql, expected) in [
        ("SELECT sum(x) FROM VALUES (9223372036854775807), (1) AS tab(x)", "[ARITHMETIC_OVERFLOW]"),
        ("SELECT sum(x) FROM VALUES (true) AS tab(x)", "[DATATYPE_MISMATCH]"),
        ("SELECT max_by(x) FROM VALUES (1) AS tab(x)", "[WRONG_NUM_ARGS]"),
        ("SELECT percentile_approx(x, 1.5) FROM VALUES (1) AS tab(x)", "a number from 0 to 1"),
        ("SELECT percentile_approx(x, 0.5, 0) FROM VALUES (1) AS tab(x)", "a positive integer"),
        ("SELECT approx_count_distinct(x, 0.9) FROM VALUES (1) AS tab(x)", "0.003 to 0.39"),
    ] {
        let found = answer(sql).await;
        assert!(found.contains(expected), "{sql}: {found}");
    }
}

#[test]
fn distinct_over_a_stream() {
    let distinct = |function| group_state(function, &[DataType::Int64], &DataType::Int64, true, &[]);
    for function in ["count", "sum", "avg", "collect_list"] {
        let Err(error) = distinct(function) else { panic!("{function}: no error") };
        assert!(error.contains("not supported on streaming; hint: approx_count_distinct(x) or"), "{error}");
    }
    for function in ["min", "max", "collect_set", "approx_count_distinct"] {
        assert!(distinct(function).is_ok(), "{function}");
    }
    let Err(error) = group_state("product", &[DataType::Int64], &DataType::Float64, false, &[]) else {
        panic!("no error")
    };
    assert_eq!(error, "product() is not available over a stream");
}

#[test]
fn doubles_order_as_in_spark() {
    let of = |function: &str, values: &[f64]| {
        let mut state = group_state(function, &[DataType::Float64], &DataType::Float64, false, &[]).unwrap();
        state.resize(1);
        let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        state.update(&[column], &(0..values.len() as u32).collect::<Vec<_>>(), &vec![0; values.len()]).unwrap();
        ScalarValue::try_from_array(&state.evaluate(&[0]).unwrap(), 0).unwrap().to_string()
    };
    let infinity = f64::INFINITY;
    assert_eq!(of("max", &[1.0, f64::NAN, infinity]), "NaN");
    assert_eq!(of("max", &[1.0, -f64::NAN, infinity]), "NaN");
    assert_eq!(of("min", &[f64::NAN, infinity, 1.0]), "1");
    assert_eq!(of("min", &[-1.0, -infinity, 1.0]), "-inf");
    assert_eq!(of("max", &[-2.5, -0.5, -1.5]), "-0.5");
    assert_eq!(of("min", &[0.0, -0.0]), "0");
}

/// Registers and estimator are Spark's, so the figures are its own: within the promised 5 % of the truth, and exact while
/// registers are counted.
#[test]
fn estimates_of_distinct_values() {
    for (values, expected) in [(0, 0), (1, 1), (10, 10), (50, 50), (1_000, 1_000), (100_000, 100_000)] {
        let mut state = group_state("approx_count_distinct", &[DataType::Int64], &DataType::Int64, false, &[]).unwrap();
        state.resize(1);
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..values * 2).map(|i| i % values.max(1))));
        let rows: Vec<u32> = (0..column.len() as u32).collect();
        state.update(&[column], &rows, &vec![0; rows.len()]).unwrap();
        let found = state.evaluate(&[0]).unwrap();
        let found = found.as_any().downcast_ref::<Int64Array>().unwrap().value(0);
        assert!((found - expected).abs() as f64 <= 0.15 * expected as f64, "{found} of {values}");
    }
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..40).map(|i| format!("visitor-{i}"))));
    let mut state = group_state("approx_count_distinct", &[DataType::Utf8], &DataType::Int64, false, &[]).unwrap();
    state.resize(1);
    state.update(&[texts], &(0..40).collect::<Vec<_>>(), &[0; 40]).unwrap();
    let found = state.evaluate(&[0]).unwrap();
    assert!((38..=42).contains(&found.as_any().downcast_ref::<Int64Array>().unwrap().value(0)), "{found:?}");
}
