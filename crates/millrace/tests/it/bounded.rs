//! `millrace run` over files: it ends with its input, every window closes, and the rows are in NDJSON files.

use crate::support::run;

#[test]
fn a_file_goes_through_and_every_window_closes() {
    let dir = tempfile::tempdir().expect("a folder");
    let input = dir.path().join("bids.ndjson");
    let bid = |second: u32, price: u32| {
        format!("{{\"at\":\"2026-01-01T00:{:02}:{:02}Z\",\"price\":{price}}}\n", second / 60, second % 60)
    };
    let mut text: String = [(0, 5), (59, 7), (60, 1), (125, 2)].iter().map(|(s, p)| bid(*s, *p)).collect();
    text.push_str("{\"at\":\"never\",\"price\":1}\n");
    std::fs::write(&input, text).expect("written");
    let pipeline = dir.path().join("highest.sql");
    let sql = format!(
        "CREATE TABLE bids (at TIMESTAMP NOT NULL, price BIGINT) USING json OPTIONS ('path' = '{}');\n\
         CREATE STREAMING TABLE highest TBLPROPERTIES ('key' = 'window_start')\n\
         AS SELECT window.start AS window_start, max(price) AS price, count(*) AS bids\n\
         FROM STREAM bids WATERMARK at DELAY OF INTERVAL 1 SECOND GROUP BY window(at, '1 minute');\n",
        input.display()
    );
    std::fs::write(&pipeline, sql).expect("written");
    let out = dir.path().join("out");
    let arguments = ["run", pipeline.to_str().expect("a name"), "--output", out.to_str().expect("a name")];
    let output = run(dir.path(), &arguments);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
    assert!(err.contains("highest: 5 records in, 4 counted, 0 late, 1 malformed, 0 repeats; 3 rows"), "{err}");
    let rows = std::fs::read_to_string(out.join("highest.ndjson")).expect("the rows");
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        [
            r#"{"window_start":"2026-01-01T00:00:00.000000Z","price":7,"bids":2}"#,
            r#"{"window_start":"2026-01-01T00:01:00.000000Z","price":1,"bids":1}"#,
            r#"{"window_start":"2026-01-01T00:02:00.000000Z","price":2,"bids":1}"#,
        ]
    );
}
