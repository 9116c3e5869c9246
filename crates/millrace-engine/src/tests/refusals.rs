//! What Spark refuses over a stream is refused with its reason, its place, and what to write instead.

use millrace_model::Contracts;

use super::NoStatics;
use crate::{PipelineFile, plan_pipelines};

const SOURCE: &str = "CREATE TABLE s (event_time TIMESTAMP, k STRING, v BIGINT) USING kafka OPTIONS ('topic' = 's');\n";

/// The first error of a streaming table; its query begins on line 3.
fn refusal(mode: &str, query: &str) -> String {
    let head = format!("CREATE STREAMING TABLE t TBLPROPERTIES ('output_mode' = '{mode}', 'key' = 'k') AS\n");
    let file = PipelineFile { path: "t.sql".into(), text: format!("{SOURCE}{head}{query}") };
    match plan_pipelines(&[file], &Contracts::builtin(), &NoStatics) {
        Ok(_) => "accepted".to_owned(),
        Err(errors) => errors[0].to_string(),
    }
}

#[test]
fn refused_with_a_reason_and_an_alternative() {
    let late = "WATERMARK event_time DELAY OF INTERVAL 10 SECONDS";
    for (mode, query, expected, hint) in [
        (
            "append",
            "SELECT k, v FROM STREAM s\nORDER BY v",
            "t.sql:4:10: sorting is not supported on streaming data in append and update mode",
            "leave ORDER BY out",
        ),
        (
            "update",
            "SELECT k, v FROM STREAM s LIMIT 5",
            "t.sql:3:33: LIMIT is not supported on streaming data",
            "leave LIMIT out",
        ),
        ("append", "SELECT k, v + 1 FROM STREAM s", "column 2 of `t` has no name of its own", "… AS total"),
        ("append", "FROM STREAM s |> ORDER BY v", "t.sql:3:27: sorting is not supported", "leave ORDER BY out"),
        (
            "append",
            "SELECT k, count(*) AS n FROM STREAM s\nGROUP BY k",
            "t.sql:4:10: append output mode is not supported for an aggregate without a window",
            "'output_mode' = 'update'",
        ),
        (
            "append",
            "SELECT k, count(*) AS n FROM STREAM s GROUP BY window(event_time, '1 minute'), k",
            "t.sql:3:48: append output mode is not supported for an aggregate over a column without a watermark",
            "WATERMARK event_time DELAY OF INTERVAL 10 SECONDS",
        ),
        (
            "update",
            "SELECT k, count(DISTINCT v) AS n FROM STREAM s GROUP BY k",
            "t.sql:3:11: count(DISTINCT …): distinct aggregations are not supported on streaming",
            "approx_count_distinct(x) or size(collect_set(x))",
        ),
        (
            "append",
            "SELECT k, row_number() OVER (PARTITION BY k ORDER BY v) AS n FROM STREAM s",
            "t.sql:3:11: OVER windows are not supported on streaming data",
            "min_by, max_by or collect_list",
        ),
        (
            "append",
            "SELECT k, v FROM STREAM s QUALIFY v > 1",
            "t.sql:3:35: QUALIFY is not known to Spark SQL",
            "min_by, max_by",
        ),
        (
            "update",
            &format!(
                "SELECT k, count(*) AS n FROM STREAM s {late} GROUP BY session_window(event_time, '5 minutes'), k"
            ),
            "t.sql:3:98: update output mode is not supported for session_window",
            "write 'output_mode' = 'append'",
        ),
        (
            "append",
            &format!(
                "SELECT k, count(*) AS n FROM STREAM s {late} GROUP BY ROLLUP (window(event_time, '1 minute'), k)"
            ),
            "a grouping set without the window: its rows are never final",
            "GROUP BY window(…), ROLLUP (a, b)",
        ),
        (
            "complete",
            "SELECT k, v FROM STREAM s",
            "complete output mode is not supported for a query without an aggregate",
            "append",
        ),
        (
            "append",
            "SELECT k, first_nonsense(v) AS n FROM STREAM s",
            "[UNRESOLVED_ROUTINE] there is no function first_nonsense()",
            "docs/sql/functions.md",
        ),
        (
            "append",
            "SELECT k FROM STREAM s LATERAL VIEW upper(k) x AS y",
            "t.sql:3:46: LATERAL VIEW needs a generator",
            "explode",
        ),
        (
            "append",
            "SELECT k, inline(array(struct(v))) FROM STREAM s",
            "t.sql:3:11: inline() without names for its columns",
            "AS (a, b)",
        ),
        ("append", "FROM STREAM s |> RENAME v AS w", "t.sql:3:25: there is no pipe operator RENAME", "EXTEND"),
        ("sometimes", "SELECT k FROM STREAM s", "t.sql:2:41: unknown output mode `sometimes`", "'complete'"),
    ] {
        let found = refusal(mode, query);
        assert!(found.contains(expected), "{query}\n{found}");
        assert!(found.split_once("hint: ").is_some_and(|(_, said)| said.contains(hint)), "{query}\n{found}");
    }
}

#[test]
fn a_watermark_that_would_be_lost_is_refused() {
    let text = format!(
        "{SOURCE}CREATE TEMPORARY VIEW big AS SELECT event_time, k FROM STREAM s WHERE v > 5;\n\
         CREATE STREAMING TABLE t TBLPROPERTIES ('key' = 'k, at') AS\n\
         SELECT k, window.start AS at, count(*) AS n FROM STREAM big WATERMARK event_time DELAY OF INTERVAL 1 SECOND\n\
         GROUP BY window(event_time, '1 minute'), k;"
    );
    let file = PipelineFile { path: "t.sql".into(), text };
    let Err(errors) = plan_pipelines(&[file], &Contracts::builtin(), &NoStatics) else { panic!("accepted") };
    let said = errors[0].to_string();
    assert!(said.contains("t.sql:4:") && said.contains("view `big` takes no WATERMARK"), "{said}");
    assert!(said.contains("write WATERMARK event_time … inside the view"), "{said}");
}
