//! What Spark refuses over streams is refused here too: with its reason, a place in the text, and what to write instead.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use millrace_model::Contracts;

use crate::sql::StaticTable;
use crate::{PipelineFile, StaticTables, plan_pipelines};

/// Every static table has the column `k`, and no row.
struct Empty;

impl StaticTables for Empty {
    fn load(&self, _: &StaticTable) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
        Ok((Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, true)])), Vec::new()))
    }
}

const SOURCES: &str = "CREATE TABLE c (event_time TIMESTAMP, id STRING, k STRING) USING kafka OPTIONS ('topic' = 'c');
CREATE TABLE o (event_time TIMESTAMP, id STRING, k STRING) USING kafka OPTIONS ('topic' = 'o');
CREATE TEMPORARY VIEW names USING csv OPTIONS ('path' = 'names.csv');
CREATE TEMPORARY VIEW cw AS SELECT * FROM STREAM c WATERMARK event_time DELAY OF INTERVAL 10 SECONDS;
CREATE TEMPORARY VIEW ow AS SELECT * FROM STREAM o WATERMARK event_time DELAY OF INTERVAL 10 SECONDS;
";

/// The first error of a statement: `line:column: message = hint`, lines counted from the statement's own.
fn refused(mode: &str, query: &str) -> String {
    let head = format!("CREATE STREAMING TABLE t TBLPROPERTIES ('output_mode' = '{mode}', 'key' = 'id') AS\n");
    let file = PipelineFile { path: "t.sql".into(), text: format!("{SOURCES}{head}{query};") };
    match plan_pipelines(std::slice::from_ref(&file), &Contracts::builtin(), &Empty) {
        Ok(_) => panic!("accepted in {mode} mode: {query}"),
        Err(errors) => {
            let error = &errors[0];
            let line = error.line as i64 - 6;
            format!("{line}:{}: {} = {}", error.column, error.message, error.hint.as_deref().unwrap_or_default())
        }
    }
}

#[test]
fn with_a_reason_and_a_way_out() {
    let range = "c.k = o.k AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 10 MINUTES";
    let session =
        "SELECT session_window.start AS id, count(*) AS n FROM cw GROUP BY session_window(event_time, '1 minute')";
    let chain = "SELECT w.start AS id, count(*) AS n FROM (SELECT window(event_time, '1 minute') AS w, k FROM cw GROUP BY \
                 window(event_time, '1 minute'), k) GROUP BY w";
    let aggregated = "SELECT x.w.start AS id FROM (SELECT window(event_time, '1 minute') AS w, k FROM cw GROUP BY \
                      window(event_time, '1 minute'), k) x JOIN ow ON x.k = ow.k";
    for (mode, query, expected) in [
        ("append", format!("SELECT c.id FROM cw AS c LEFT ANTI JOIN ow AS o ON {range}"), "1:52: LeftAnti joins"),
        ("append", format!("SELECT c.id FROM cw AS c LEFT ANTI JOIN ow AS o ON {range}"), "IS NULL"),
        ("append", "SELECT c.id FROM cw AS c LEFT JOIN ow AS o ON c.k = o.k".into(), "appropriate range condition"),
        (
            "append",
            "SELECT c.id FROM cw AS c LEFT JOIN ow AS o ON c.k = o.k AND o.event_time >= c.event_time".into(),
            "1:47: a Left join of two streams is not supported without a watermark in the join keys",
        ),
        ("append", format!("SELECT c.id FROM STREAM c LEFT JOIN STREAM o ON {range}"), "write WATERMARK after both"),
        ("append", format!("SELECT c.id FROM c FULL JOIN ow AS o ON {range}"), "Full join"),
        (
            "append",
            "SELECT c.id FROM cw AS c JOIN ow AS o ON o.event_time > c.event_time".into(),
            "1:42: a join of two streams without an equality predicate is not supported",
        ),
        (
            "append",
            "SELECT c.id FROM cw AS c RIGHT JOIN names AS s ON c.k = s.k".into(),
            "1:51: a Right join that keeps the rows of a static table is not supported",
        ),
        ("append", "SELECT c.id FROM names AS s LEFT JOIN cw AS c ON c.k = s.k".into(), "LEFT JOIN the static table"),
        ("update", format!("SELECT c.id FROM cw AS c LEFT JOIN ow AS o ON {range}"), "update output mode"),
        ("update", format!("SELECT c.id FROM cw AS c LEFT SEMI JOIN ow AS o ON {range}"), "'output_mode' = 'append'"),
        ("update", aggregated.into(), "a join after an aggregate is not supported in update output mode"),
        ("update", chain.into(), "multiple streaming aggregations are not supported with update output mode"),
        ("update", session.into(), "update output mode is not supported for session_window"),
        (
            "append",
            "SELECT id, row_number() OVER (PARTITION BY k ORDER BY event_time) AS rn FROM cw".into(),
            "NON_TIME_WINDOW_NOT_SUPPORTED_IN_STREAMING",
        ),
        (
            "append",
            "SELECT id, lag(event_time) OVER (PARTITION BY k ORDER BY event_time) AS prev FROM cw".into(),
            "min_by, max_by or collect_list",
        ),
        (
            "append",
            "SELECT window.start AS id, count(DISTINCT k) AS n FROM cw GROUP BY window(event_time, '1 minute')".into(),
            "size(collect_set(x))",
        ),
        ("append", "SELECT DISTINCT id FROM cw".into(), "its rows are never final"),
        ("append", "SELECT k AS id, count(*) AS n FROM cw GROUP BY k".into(), "group by window(…)"),
        (
            "append",
            "SELECT window.start AS id, count(*) AS n FROM c GROUP BY window(event_time, '1 minute')".into(),
            "a column without a watermark",
        ),
        (
            "append",
            "SELECT window.start AS id, count(*) AS n FROM (SELECT window.start AS s, k FROM cw GROUP BY \
             window(event_time, '1 minute'), k) GROUP BY window(s, '1 hour')"
                .into(),
            "window(window_time(w), …)",
        ),
        (
            "append",
            "SELECT window.start AS id, count(*) AS n FROM cw AS c JOIN ow AS o ON c.k = o.k GROUP \
             BY window(c.event_time, '1 hour')"
                .into(),
            "a column without a watermark",
        ),
    ] {
        let found = refused(mode, &query);
        assert!(found.contains(expected), "{mode}: {query}\nfound {found}\nwanted {expected}");
        assert!(!found.ends_with("= ") || found.contains("hint: "), "no way out: {found}");
        assert!(!found.starts_with("-6:"), "no place: {found}");
    }
}
