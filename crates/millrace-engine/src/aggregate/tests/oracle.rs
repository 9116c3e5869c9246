//! The result is that of the same SQL as a batch query: by DataFusion's own functions where their meaning is Spark's, and
//! by ours behind DataFusion's interfaces.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::sample::{Case, GROUPS, Row, cases, columns};
use crate::functions::register;

fn sample() -> Vec<Row> {
    // A small linear congruential generator: the sample is the same in every run.
    let mut seed = 7_u64;
    let mut next = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut argument = move || (next(5) > 0).then(|| next(12) as u8);
    (0..500).map(|i| Row { group: i % GROUPS, arguments: [argument(), argument()] }).collect()
}

fn batch(case: &Case, rows: &[Row]) -> RecordBatch {
    let mut fields = vec![Field::new("g", DataType::UInt32, false)];
    fields.extend(case.types.iter().enumerate().map(|(i, of)| Field::new(format!("x{i}"), of.clone(), true)));
    let mut all: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.group)))];
    all.extend(columns(&case.types, rows));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), all).unwrap()
}

async fn query(context: &SessionContext, batch: &RecordBatch, sql: &str) -> Result<ArrayRef, String> {
    context.register_batch("t", batch.clone()).map_err(|error| error.to_string())?;
    let data = context.sql(sql).await.map_err(|error| error.to_string())?;
    let batches = data.collect().await.map_err(|error| error.to_string())?;
    context.deregister_table("t").map_err(|error| error.to_string())?;
    let columns: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(0).as_ref()).collect();
    arrow_select::concat::concat(&columns).map_err(|error| error.to_string())
}

/// One pass of the group state over the rows a filter lets through.
fn streamed(case: &Case, rows: &[Row], keep: impl Fn(&Row) -> bool) -> ArrayRef {
    let mut state = case.state(GROUPS);
    let numbers: Vec<u32> = (0..rows.len() as u32).filter(|&i| keep(&rows[i as usize])).collect();
    let groups: Vec<u32> = numbers.iter().map(|&i| rows[i as usize].group).collect();
    state.update(&columns(&case.types, rows), &numbers, &groups).unwrap();
    state.evaluate(&[0, 1, 2]).unwrap()
}

fn call(case: &Case) -> String {
    match (case.function, case.types.len()) {
        ("percentile_approx", _) => "percentile_approx(x0, 0.3)".to_owned(),
        ("first" | "last", 2) => format!("{}(x0, true)", case.function),
        (function, 1) => format!("{function}(x0)"),
        (function, _) => format!("{function}(x0, x1)"),
    }
}

fn assert_same(case: &Case, what: &str, found: &ArrayRef, expected: &ArrayRef) {
    let show = |array: &ArrayRef| {
        let cells = (0..array.len()).map(|row| datafusion::common::ScalarValue::try_from_array(array, row).unwrap());
        cells.map(|cell| format!("{cell:.9?}")).collect::<Vec<_>>().join("\n")
    };
    let rounded = |array: &ArrayRef| match array.data_type() {
        DataType::Float64 => arrow_cast::cast(array, &DataType::Float32).unwrap(),
        _ => Arc::clone(array),
    };
    assert_eq!(show(&rounded(found)), show(&rounded(expected)), "{case:?}: {what}");
}

#[tokio::test]
async fn ours_in_batch() {
    let context = SessionContext::new_with_state(register(SessionStateBuilder::new()).build());
    let rows = sample();
    for case in cases() {
        let (batch, call) = (batch(&case, &rows), call(&case));
        let expected = streamed(&case, &rows, |_| true);
        let found = query(&context, &batch, &format!("SELECT {call} FROM t GROUP BY g ORDER BY g")).await;
        assert_same(&case, "grouped", &found.unwrap_or_else(|error| panic!("{case:?}: {error}")), &expected);

        let expected = streamed(&case, &rows, |row| row.group == 1);
        let sql = format!("SELECT {call} FILTER (WHERE g = 1) FROM t");
        assert_same(&case, "filtered", &query(&context, &batch, &sql).await.unwrap(), &expected.slice(1, 1));
    }
}

/// Partial states of several partitions, exchanged and merged, as DataFusion runs large queries.
#[tokio::test]
async fn ours_in_partitions() {
    let config = SessionConfig::new().with_batch_size(16);
    let state = register(SessionStateBuilder::new().with_config(config)).build();
    let context = SessionContext::new_with_state(state);
    context.sql("SET datafusion.execution.target_partitions = 3").await.unwrap();
    let rows = sample();
    for case in cases().into_iter().filter(|case| !matches!(case.function, "first" | "last" | "min_by" | "max_by")) {
        // Partitions are merged in any order: what is collected is compared sorted.
        let sorted = case.function.starts_with("collect");
        let call = if sorted { format!("array_sort({})", call(&case)) } else { call(&case) };
        let sql = format!("SELECT {call} FROM t GROUP BY g ORDER BY g");
        let whole = batch(&case, &rows);
        let expected = query(&context, &whole, &sql).await.unwrap_or_else(|error| panic!("{case:?}: {error}"));
        let parts = (0..5).map(|i| vec![whole.slice(i * 100, 100)]).collect();
        let table = datafusion::datasource::MemTable::try_new(whole.schema(), parts).unwrap();
        context.register_table("parts", Arc::new(table)).unwrap();
        let found = query(&context, &whole, &sql.replace("FROM t", "FROM parts")).await.unwrap();
        context.deregister_table("parts").unwrap();
        assert_same(&case, "partitions", &found, &expected);
    }
}

#[tokio::test]
async fn datafusions_own() {
    let context = SessionContext::new();
    let rows = sample();
    let agree =
        ["count", "sum", "min", "max", "bool_and", "bool_or", "stddev_pop", "var_pop", "stddev_samp", "var_samp"];
    for case in cases() {
        let decimal = matches!(case.types[0], DataType::Decimal128(_, _));
        let average = case.function == "avg" && !decimal;
        if !(agree.contains(&case.function) || average) || case.types[0].is_nested() {
            continue;
        }
        let sql = format!("SELECT {} FROM t GROUP BY g ORDER BY g", call(&case));
        let found =
            query(&context, &batch(&case, &rows), &sql).await.unwrap_or_else(|error| panic!("{case:?}: {error}"));
        assert_same(&case, "DataFusion's", &found, &streamed(&case, &rows, |_| true));
    }
}
