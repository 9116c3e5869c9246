//! `window`, `session_window` and `window_time`.

use super::{answers, context, errors};
use crate::functions::WindowSizes;

#[tokio::test]
async fn tumbling_in_batch() {
    answers(&[
        (
            "window(TIMESTAMP '2026-01-01 00:07:00', '5 minutes')",
            "STRUCT<start: TIMESTAMP, end: TIMESTAMP>",
            "{start: 2026-01-01T00:05:00Z, end: 2026-01-01T00:10:00Z}",
        ),
        (
            "window(TIMESTAMP '1969-12-31 23:59:59', '1 hour', '1 hour', '10 minutes')",
            "STRUCT<start: TIMESTAMP, end: TIMESTAMP>",
            "{start: 1969-12-31T23:10:00Z, end: 1970-01-01T00:10:00Z}",
        ),
        ("window(TIMESTAMP '2026-01-01 00:07:00', '5 minutes')['start']", "TIMESTAMP", "2026-01-01T00:05:00Z"),
        (
            "window_time(window(TIMESTAMP '2026-01-01 00:07:00', '5 minutes'))",
            "TIMESTAMP",
            "2026-01-01T00:09:59.999999Z",
        ),
        (
            "window(window(TIMESTAMP '2026-01-01 00:07:00', '5 minutes'), '1 hour')",
            "STRUCT<start: TIMESTAMP, end: TIMESTAMP>",
            "{start: 2026-01-01T00:00:00Z, end: 2026-01-01T01:00:00Z}",
        ),
        ("window(CAST(NULL AS TIMESTAMP), '5 minutes')", "STRUCT<start: TIMESTAMP, end: TIMESTAMP>", "NULL"),
    ])
    .await;
}

#[tokio::test]
async fn refused() {
    errors(&[
        ("window(TIMESTAMP '2026-01-01 00:07:00', '10 minutes', '5 minutes')", "window() stands outside GROUP BY"),
        ("session_window(TIMESTAMP '2026-01-01 00:07:00', '10 minutes')", "session_window() stands outside GROUP BY"),
        (
            "window(TIMESTAMP '2026-01-01 00:07:00', '5 minutes', '6 minutes')",
            "the slide of 6 minutes is longer than the size of 5 minutes",
        ),
        ("window(TIMESTAMP '2026-01-01 00:07:00', 'five minutes')", "window(): `five minutes` is not a length of time"),
        ("window(TIMESTAMP '2026-01-01 00:07:00', '0 seconds')", "must be longer than 0"),
        ("window(TIMESTAMP '2026-01-01 00:07:00')", "[WRONG_NUM_ARGS] window() takes 2 to 4 arguments"),
        ("window(5, '5 minutes')", "[DATATYPE_MISMATCH] window() takes a TIMESTAMP, not BIGINT"),
        ("window_time(5)", "[DATATYPE_MISMATCH] window_time() takes a window, not BIGINT"),
    ])
    .await;
}

/// The marks stay where they are written: one group expression, named again in SELECT and HAVING.
#[tokio::test]
async fn grouped_by() {
    let context = context();
    let sql = "SELECT window(t, '1 minute')['start'] AS s, count(*) AS n \
               FROM VALUES (TIMESTAMP '2026-01-01 00:00:10', 1), (TIMESTAMP '2026-01-01 00:00:50', 2), \
                           (TIMESTAMP '2026-01-01 00:01:00', 3) AS e(t, x) \
               GROUP BY window(t, '1 minute') \
               HAVING window(t, '1 minute')['start'] >= TIMESTAMP '2026-01-01 00:00:00' \
               ORDER BY s";
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let shown = datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    let expected = "\
+----------------------+---+
| s                    | n |
+----------------------+---+
| 2026-01-01T00:00:00Z | 2 |
| 2026-01-01T00:01:00Z | 1 |
+----------------------+---+";
    assert_eq!(shown, expected);
}

#[test]
fn sizes() {
    let minute = 60_000_000;
    let sizes = |size, slide, start| WindowSizes::new(size, slide, start);
    assert_eq!(
        sizes("5 minutes", Some("1 minute"), None).unwrap(),
        WindowSizes { size: 5 * minute, slide: minute, start: 0 }
    );
    let shifted = sizes("1 day", None, Some("-8 hours")).unwrap();
    assert_eq!(shifted.start, -480 * minute);
    assert_eq!(shifted.latest_start(0), -480 * minute);
    assert_eq!(shifted.latest_start(-480 * minute - 1), -480 * minute - 1440 * minute);
    for (size, slide, start) in
        [("1 minute", Some("2 minutes"), None), ("soon", None, None), ("1 minute", None, Some("1 minute"))]
    {
        assert!(sizes(size, slide, start).is_err(), "{size} {slide:?} {start:?}");
    }
}
