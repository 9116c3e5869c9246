//! Whole columns: rows with NULL among rows without, one value after another, what a result is called.

use arrow_array::Array;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;

use super::context;
use crate::functions::{register, type_name};

/// `expression` over the rows, as one text.
async fn over(context: &SessionContext, expression: &str, rows: &str) -> String {
    let sql = format!("SELECT {expression} AS r FROM VALUES {rows} AS t(x, y)");
    let batches = async { context.sql(&sql).await?.collect().await }.await;
    let batches = batches.unwrap_or_else(|error| panic!("{sql}: {}", error.strip_backtrace()));
    let options = FormatOptions::new().with_null("NULL");
    let mut cells = Vec::new();
    for batch in &batches {
        let cell = ArrayFormatter::try_new(batch.column(0).as_ref(), &options).unwrap();
        cells.extend((0..batch.num_rows()).map(|row| cell.value(row).to_string()));
    }
    cells.join(" | ")
}

#[tokio::test]
async fn columns() {
    let context = context();
    let numbers = "(1, 2), (NULL, 3), (7, NULL), (-7, 2)";
    let texts = "('a-b', '-'), (NULL, 'x'), ('c', NULL), ('a1b22', '[0-9]+')";
    let arrays = "(array(3, NULL, 1), 1), (NULL, 2), (CAST(array() AS ARRAY<INT>), 3), (array(2, 2, 3), 2)";
    let times = "('2026-01-01 10:30:00', 'HOUR'), (NULL, 'DAY'), ('2025-12-31 23:59:59.5', NULL), ('2026-05-17 01:02:03', 'MONTH')";
    for (expression, rows, expected) in [
        ("x / y", numbers, "0.5 | NULL | NULL | -3.5"),
        ("x DIV y", numbers, "0 | NULL | NULL | -3"),
        ("x % y", numbers, "1 | NULL | NULL | -1"),
        ("x + y * 2 - 1", numbers, "4 | NULL | NULL | -4"),
        ("try_divide(x, y - 2)", numbers, "NULL | NULL | NULL | NULL"),
        ("CASE WHEN y = 2 THEN x / y ELSE 0 END", numbers, "0.5 | 0.0 | 0.0 | -3.5"),
        ("CASE WHEN y <> 0 THEN 10 / y ELSE -1 END", "(1, 0), (1, 5)", "-1.0 | 2.0"),
        ("bround(x / y)", numbers, "0.0 | NULL | NULL | -4.0"),
        ("split(x, y)", texts, "[a, b] | NULL | NULL | [a, b, ]"),
        ("regexp_extract(x, y, 0)", texts, "- | NULL | NULL | 1"),
        ("regexp_replace(x, y, '<$0>')", texts, "a<->b | NULL | NULL | a<1>b<22>"),
        ("rlike(x, y)", texts, "true | NULL | NULL | true"),
        ("concat(x, y)", texts, "a-b- | NULL | NULL | a1b22[0-9]+"),
        ("concat_ws('/', x, y)", texts, "a-b/- | x | c | a1b22/[0-9]+"),
        ("reverse(x)", texts, "b-a | NULL | c | 22b1a"),
        ("locate(y, x)", texts, "2 | NULL | NULL | 0"),
        ("md5(x) IS NULL", texts, "false | true | false | false"),
        ("nvl(x, y)", texts, "a-b | x | c | a1b22"),
        ("array_sort(x)", arrays, "[1, 3, NULL] | NULL | [] | [2, 2, 3]"),
        ("sort_array(x, false)", arrays, "[3, 1, NULL] | NULL | [] | [3, 2, 2]"),
        ("size(x)", arrays, "3 | NULL | 0 | 3"),
        ("array_position(x, y)", arrays, "3 | NULL | 0 | 1"),
        ("array_remove(x, y)", arrays, "[3, NULL] | NULL | [] | [3]"),
        ("reverse(x)", arrays, "[1, NULL, 3] | NULL | [] | [3, 2, 2]"),
        ("concat(x, x)", arrays, "[3, NULL, 1, 3, NULL, 1] | NULL | [] | [2, 2, 3, 2, 2, 3]"),
        ("get(x, y)", arrays, "NULL | NULL | NULL | 3"),
        ("try_element_at(x, -y)", arrays, "1 | NULL | NULL | 2"),
        ("x[0]", "(array(1), 0), (NULL, 0), (array(2, 3), 0)", "1 | NULL | 2"),
        ("sequence(y, 3)", arrays, "[1, 2, 3] | [2, 3] | [3] | [2, 3]"),
        (
            "to_json(named_struct('x', x, 'y', y))",
            arrays,
            r#"{"x":[3,null,1],"y":1} | {"y":2} | {"x":[],"y":3} | {"x":[2,2,3],"y":2}"#,
        ),
        ("date_trunc(y, x)", times, "2026-01-01T10:00:00Z | NULL | NULL | 2026-05-01T00:00:00Z"),
        ("date_format(x, 'MM/dd HH')", times, "01/01 10 | NULL | 12/31 23 | 05/17 01"),
        ("unix_seconds(CAST(x AS TIMESTAMP))", times, "1767263400 | NULL | 1767225599 | 1778979723"),
        (
            "CAST(CAST(x AS TIMESTAMP) AS STRING)",
            times,
            "2026-01-01 10:30:00 | NULL | 2025-12-31 23:59:59.5 | 2026-05-17 01:02:03",
        ),
        (
            "concat_ws(' ', CAST(x AS TIMESTAMP), y)",
            times,
            "2026-01-01 10:30:00 HOUR | DAY | 2025-12-31 23:59:59.5 | 2026-05-17 01:02:03 MONTH",
        ),
        (
            "get_json_object(x, y)",
            r#"('{"a":1}', '$.a'), (NULL, '$.a'), ('{"a":1', '$.a'), ('{"a":[1,2]}', '$.a')"#,
            "1 | NULL | NULL | [1,2]",
        ),
        ("equal_null(x, y)", numbers, "false | false | false | false"),
    ] {
        assert_eq!(over(&context, expression, rows).await, expected, "{expression}");
    }
}

#[tokio::test]
async fn names_of_results() {
    let context = context();
    for (expression, expected) in
        [("a / b", "t.a / t.b"), ("a + b", "t.a + t.b"), ("sum(a) % 2", "sum(t.a) % Int64(2)")]
    {
        let sql = format!("SELECT {expression} FROM VALUES (1, 2) AS t(a, b)");
        let frame = context.sql(&sql).await.unwrap();
        assert_eq!(frame.schema().field(0).name(), expected);
    }
}

#[tokio::test]
async fn types_by_name() {
    let context = context();
    for (name, expected) in [
        ("TIMESTAMP", "TIMESTAMP"),
        ("TIMESTAMP_NTZ", "TIMESTAMP_NTZ"),
        ("BIGINT", "BIGINT"),
        ("LONG", "BIGINT"),
        ("INT", "INT"),
        ("STRING", "STRING"),
        ("DOUBLE", "DOUBLE"),
        ("FLOAT", "FLOAT"),
        ("BOOLEAN", "BOOLEAN"),
        ("DATE", "DATE"),
        ("DECIMAL(12, 2)", "DECIMAL(12,2)"),
        ("ARRAY<TIMESTAMP>", "ARRAY<TIMESTAMP>"),
    ] {
        let frame = context.sql(&format!("SELECT CAST(NULL AS {name}) AS x")).await.unwrap();
        assert_eq!(type_name(frame.schema().field(0).data_type()), expected, "{name}");
    }
}

#[tokio::test]
async fn lambdas_and_order() {
    let context = context();
    let numbers = "(array(3, 1, 2), 2), (NULL, 1)";
    assert_eq!(over(&context, "transform(x, e -> e * y)", numbers).await, "[6, 2, 4] | NULL");
    assert_eq!(over(&context, "filter(x, e -> e >= y)", numbers).await, "[3, 2] | NULL");
    let sql = "SELECT x FROM VALUES (2), (NULL), (1) AS t(x) ORDER BY x";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    assert!(batches[0].column(0).is_null(0), "Spark puts NULL first when ascending");
}

#[test]
fn no_name_is_registered_twice_by_us() {
    let mut names: Vec<String> = crate::functions::scalar_udfs().iter().map(|f| f.name().to_owned()).collect();
    names.sort();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
    let state = register(SessionStateBuilder::new()).build();
    for name in
        ["window", "session_window", "window_time", "array_sort", "size", "named_struct", "concat_ws", "nvl", "if"]
    {
        assert!(state.scalar_functions().contains_key(name), "{name}");
    }
}
