//! Statements Spark does not take are told of before anything starts, with table, class and place.

use millrace_spark::{SparkError, SparkJob, SparkStatic, check};

use crate::glue;
use crate::servers::Spark;
use crate::support::{Kafka, settings};

/// A statement about stock levels, which has their columns.
const GOOD: &str =
    "SELECT product_id, max(product_name) AS product_name, max(category) AS category, sum(on_hand_change) AS on_hand,
  sum(reserved_change) AS reserved, sum(on_hand_change) AS available, max(reorder_point) AS reorder_point,
  'low' AS status, count(*) AS adjustments, max(event_time) AS last_change
FROM STREAM inventory_updates GROUP BY product_id";

fn stock(sql: &str) -> SparkJob {
    let text = format!("CREATE STREAMING TABLE stock_levels TBLPROPERTIES ('output_mode' = 'update')\nAS {sql};\n");
    glue::job("stock", &text, &glue::contracts(), "")
}

pub(crate) fn shipped_pipelines_pass_and_wrong_ones_are_told_of(spark: &Spark) {
    let kafka = Kafka::at(&spark.bootstrap_servers());
    let dir = tempfile::tempdir().expect("a folder");
    let settings = settings(spark, &kafka, dir.path());
    let contracts = glue::contracts();
    let shipped: Vec<SparkJob> =
        glue::shipped().iter().map(|(name, text)| glue::job(name, text, &contracts, "")).collect();
    let found = check(&settings, &shipped).expect("a server");
    assert!(found.is_empty(), "{found:#?}");

    let one = |sql: &str| -> SparkError {
        let mut found = check(&settings, &[stock(sql)]).expect("a server");
        assert_eq!(found.len(), 1, "{sql}: {found:?}");
        let error = found.remove(0);
        println!("{error}");
        assert_eq!((error.job.as_deref(), error.table.as_deref()), (Some("stock"), Some("stock_levels")));
        error
    };
    assert!(check(&settings, &[stock(GOOD)]).expect("a server").is_empty());
    let error = one(&GOOD.replace("max(category)", "max(categorie)"));
    assert_eq!(error.class.as_deref(), Some("UNRESOLVED_COLUMN.WITH_SUGGESTION"));
    assert_eq!(error.position, Some((1, 59)));
    assert_eq!(one(&GOOD.replace("GROUP BY", "GRUPPE BY")).class.as_deref(), Some("PARSE_SYNTAX_ERROR"));
    // A static table is read where its options say.
    let csv = dir.path().join("prices.csv");
    std::fs::write(&csv, "product_id,price\np1,5\n").expect("a file");
    let mut joined = stock(
        &GOOD.replace("GROUP BY product_id", "JOIN prices USING (product_id) WHERE price > 3 GROUP BY product_id"),
    );
    assert_eq!(
        check(&settings, std::slice::from_ref(&joined)).expect("a server")[0].class.as_deref(),
        Some("TABLE_OR_VIEW_NOT_FOUND")
    );
    let options = [("path", csv.display().to_string()), ("header", "true".into()), ("inferSchema", "true".into())];
    let options = options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    joined.statics.push(SparkStatic { name: "prices".into(), format: "csv".into(), options });
    let found = check(&settings, &[joined]).expect("a server");
    assert!(found.is_empty(), "{found:?}");

    let distinct = one(&GOOD.replace("count(*) AS", "count(DISTINCT event_id) AS"));
    assert!(distinct.message.contains("istinct"), "{distinct}");
    assert!(one(&format!("{GOOD} ORDER BY product_id")).message.contains("ort"));
    assert!(one(&GOOD.replace("'low' AS status", "7 AS status")).message.contains("another type"));
    assert!(one(&GOOD.replace(" AS status", " AS state")).message.contains("the contract has"));
}
