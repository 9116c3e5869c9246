//! The queries of `tests/matrix.sql`, tried on Spark 4.2: accepted in the modes Spark accepts them in, refused in the others
//! with what to write instead.

use millrace_model::Contracts;

use super::RowsAsStatics;
use crate::{PipelineFile, plan_pipelines};

const SOURCES: &str = "\
CREATE TABLE raw (event_time TIMESTAMP, event_id STRING, user_id STRING, event_type STRING, page STRING, product_id STRING,
    category STRING, price DOUBLE, quantity BIGINT) USING kafka OPTIONS ('topic' = 'raw');
CREATE TEMPORARY VIEW events AS SELECT * FROM STREAM raw WATERMARK event_time DELAY OF INTERVAL 10 SECONDS;
CREATE TEMPORARY VIEW mk USING csv OPTIONS ('path' = 'mk.csv');
";

fn planned(mode: &str, key: &str, query: &str) -> Result<(), String> {
    let statics = ["product_id", "product_name", "cost"].map(str::to_owned).to_vec();
    let rows = vec![["p1", "Shoe", "5"].map(str::to_owned).to_vec()];
    let statics = RowsAsStatics([("mk".to_owned(), (statics, rows))].into());
    let head = format!("CREATE STREAMING TABLE t TBLPROPERTIES ('output_mode' = '{mode}', 'key' = '{key}') AS\n");
    let file = PipelineFile { path: "t.sql".into(), text: format!("{SOURCES}{head}{query}") };
    plan_pipelines(&[file], &Contracts::builtin(), &statics).map(|_| ()).map_err(|errors| errors[0].to_string())
}

#[test]
fn what_spark_accepts_is_accepted() {
    let mode = |letter| match letter {
        'a' => "append",
        'u' => "update",
        'c' => "complete",
        other => panic!("no mode {other}"),
    };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/matrix.sql");
    let text = std::fs::read_to_string(path).expect("the queries");
    let lines: Vec<&str> = text.lines().skip(2).collect();
    assert!(lines.len() >= 50, "{} lines only", lines.len());
    for pair in lines.chunks(2) {
        let [head, query] = pair else { panic!("a head without a query") };
        let words: Vec<&str> = head.split(' ').collect();
        let ["--", accepted, refused, key] = words.as_slice() else { panic!("{head}") };
        for letter in accepted.chars().filter(|letter| *letter != '-') {
            if let Err(error) = planned(mode(letter), key, query) {
                panic!("{} of {query}\n{error}", mode(letter));
            }
        }
        for letter in refused.chars().filter(|letter| *letter != '-') {
            let error = planned(mode(letter), key, query).expect_err(query);
            assert!(error.contains("hint: "), "{} of {query}\n{error}", mode(letter));
        }
    }
}
