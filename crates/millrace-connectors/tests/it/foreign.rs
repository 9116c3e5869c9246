//! Foreign databases as Arrow columns: what PostgreSQL and SQLite hold, and what cannot be read.

use std::path::Path;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow_schema::{DataType, SchemaRef};
use millrace_connectors::store::foreign::{self, FOREIGN_BATCH_ROWS_MAX};
use millrace_connectors::testing::Postgres;
use millrace_model::{Classified, ErrorKind};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

/// Name and type of each column, as Arrow writes them.
fn types(schema: &SchemaRef) -> String {
    assert!(schema.fields().iter().all(|field| field.is_nullable()));
    let columns: Vec<String> = schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    columns.join(", ")
}

async fn read_one(url: &str, select: &str) -> (SchemaRef, RecordBatch) {
    let (schema, mut batches) = foreign::read(url, select).await.unwrap_or_else(|e| panic!("{select}: {e}"));
    assert_eq!(batches.len(), 1, "{select}");
    (schema, batches.remove(0))
}

async fn refused(url: &str, select: &str, kind: ErrorKind, detail: &str) {
    let error = foreign::read(url, select).await.expect_err(select);
    assert_eq!(error.kind(), kind, "{select}: {error}");
    assert!(error.to_string().contains(detail), "{select}: {error}");
}

async fn sqlite_with(file: &Path, text: &str) -> String {
    let url = format!("sqlite://{}", file.display());
    let mut connection = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.expect("a database");
    connection.execute(AssertSqlSafe(text)).await.expect(text);
    connection.close().await.expect("closed");
    url
}

const SQLITE_TABLE: &str = "
CREATE TABLE products (
  product_id TEXT PRIMARY KEY, price DECIMAL(10, 2), any_price NUMERIC, weight REAL, stock INTEGER, active BOOLEAN,
  since DATE, changed TIMESTAMP, picture BLOB
);
INSERT INTO products VALUES
  ('p1', 12.3, 0.1, 2, 7, 1, '2026-01-31', '2026-01-31 09:05:00.25', x'00ff'),
  ('p2', '1e', NULL, 1.5, -7, 0, '1969-12-31', '2026-01-31T09:05:00+01:00', NULL),
  (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
UPDATE products SET price = 1000 WHERE product_id = 'p2';";

#[tokio::test]
async fn sqlite_columns_have_their_declared_types() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.db");
    let url = sqlite_with(&file, SQLITE_TABLE).await;
    let (schema, rows) = read_one(&url, "SELECT * FROM products").await;
    assert_eq!(
        types(&schema),
        "product_id Utf8, price Decimal128(10, 2), any_price Decimal128(38, 18), weight Float64, stock Int64, \
         active Boolean, since Date32, changed Timestamp(µs, \"+00:00\"), picture Binary"
    );
    assert_eq!(rows.num_rows(), 3);
    assert!(rows.columns().iter().all(|column| column.is_null(2)));
    assert_eq!(rows.column(0).as_string::<i32>().value(1), "p2");
    let price = rows.column(1).as_primitive::<Decimal128Type>();
    assert_eq!((price.value(0), price.value(1)), (1_230, 100_000));
    assert_eq!(rows.column(2).as_primitive::<Decimal128Type>().value(0), 100_000_000_000_000_000);
    let weight = rows.column(3).as_primitive::<Float64Type>();
    assert_eq!((weight.value(0), weight.value(1)), (2.0, 1.5));
    assert_eq!(rows.column(4).as_primitive::<Int64Type>().value(1), -7);
    assert!(rows.column(5).as_boolean().value(0) && !rows.column(5).as_boolean().value(1));
    let since = rows.column(6).as_primitive::<Date32Type>();
    assert_eq!((since.value(0), since.value(1)), (20_484, -1));
    let changed = rows.column(7).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(changed.value(0), 1_769_850_300_250_000);
    assert_eq!(changed.value(0) - changed.value(1), 3_600_250_000);
    assert_eq!(rows.column(8).as_binary::<i32>().value(0), [0, 255]);
    // Nothing was left beside the file.
    let files: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[tokio::test]
async fn sqlite_expressions_have_the_type_of_their_values() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = sqlite_with(&folder.path().join("shop.db"), SQLITE_TABLE).await;
    let select = "SELECT count(*) AS n, avg(stock) AS a, max(product_id) || '!' AS t, NULL AS x FROM products";
    let (schema, rows) = read_one(&url, select).await;
    assert_eq!(types(&schema), "n Int64, a Float64, t Utf8, x Utf8");
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().value(0), 3);
    assert_eq!(rows.column(2).as_string::<i32>().value(0), "p2!");
    let (schema, rows) = read_one(&url, "SELECT stock * 1 AS s FROM products UNION ALL SELECT 2.5 ORDER BY 1").await;
    assert_eq!((types(&schema).as_str(), rows.num_rows()), ("s Float64", 4));
    let (schema, batches) =
        foreign::read(&url, "SELECT stock, since FROM products WHERE 1 = 0").await.expect("no rows");
    assert_eq!((types(&schema).as_str(), batches.len()), ("stock Int64, since Date32", 0));
}

#[tokio::test]
async fn many_sqlite_rows_come_in_batches() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "CREATE TABLE n (n BIGINT); WITH RECURSIVE c (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < 19999) \
                INSERT INTO n SELECT n FROM c";
    let url = sqlite_with(&folder.path().join("n.db"), text).await;
    let (_, batches) = foreign::read(&url, "SELECT n FROM n ORDER BY n").await.expect("rows");
    let sizes: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(sizes, [FOREIGN_BATCH_ROWS_MAX, FOREIGN_BATCH_ROWS_MAX, 20_000 - 2 * FOREIGN_BATCH_ROWS_MAX]);
    assert_eq!(batches[2].column(0).as_primitive::<Int64Type>().value(0), 2 * FOREIGN_BATCH_ROWS_MAX as i64);
}

#[tokio::test]
async fn what_sqlite_cannot_give() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = sqlite_with(&folder.path().join("shop.db"), SQLITE_TABLE).await;
    let bad = "CREATE TABLE bad (n INTEGER, at TIMESTAMP); INSERT INTO bad VALUES ('secret', 5)";
    let bad = sqlite_with(&folder.path().join("bad.db"), bad).await;
    refused(&url, "SELECT nothing FROM products", ErrorKind::Invalid, "nothing").await;
    refused(&url, "SELECT stock, stock FROM products", ErrorKind::Invalid, "two columns are called `stock`").await;
    refused(&url, "DELETE FROM products", ErrorKind::Invalid, "readonly").await;
    refused(&bad, "SELECT n FROM bad", ErrorKind::Data, "column `n`: a value that is not Int64").await;
    refused(&bad, "SELECT at FROM bad", ErrorKind::Data, "unixepoch").await;
    let missing = format!("sqlite://{}/missing.db", folder.path().display());
    refused(&missing, "SELECT 1", ErrorKind::Invalid, "there is no file").await;
    refused("mysql://u:s3cret@db/shop", "SELECT 1", ErrorKind::Invalid, "mysql://u:***@db/shop").await;
}

const POSTGRES_TABLE: &str = "
CREATE TYPE mood AS ENUM ('calm', 'keen');
CREATE TABLE products (
  id uuid, name text, code varchar(9), mood mood, price numeric(10, 2), any_price numeric, small smallint, plain integer,
  big bigint, ratio real, weight double precision, active boolean, since date, at timestamp, changed timestamptz,
  details jsonb, picture bytea
);
INSERT INTO products VALUES
  ('6f2b7cc0-0000-4000-8000-0123456789ab', 'a', 'b', 'keen', -12.3, 0.00000001, -1, 2, 3, 0.5, 2.5, true, '2026-01-31',
   '2026-01-31 09:05:00.25', '2026-01-31 09:05:00+01', '{\"a\": 1}', '\\x00ff'),
  (NULL, NULL, NULL, NULL, NULL, 12345678901234567890.5, NULL, NULL, NULL, NULL, NULL, NULL, 'infinity', '-infinity',
   'infinity', NULL, NULL);
CREATE VIEW cheap AS SELECT name, price FROM products WHERE price < 100";

async fn postgres_with(server: &Postgres, text: &'static str) -> String {
    let url = server.create_database("foreign_shop").expect("a database");
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    connection.execute(sqlx::raw_sql(text)).await.expect(text);
    connection.close().await.expect("closed");
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow suite: starts PostgreSQL 15"]
async fn postgres_columns_have_the_types_of_spark() {
    let server = Postgres::start().expect("PostgreSQL 15");
    let url = postgres_with(&server, POSTGRES_TABLE).await;
    let (schema, rows) = read_one(&url, "SELECT * FROM products ORDER BY id NULLS LAST").await;
    assert_eq!(
        types(&schema),
        "id Utf8, name Utf8, code Utf8, mood Utf8, price Decimal128(10, 2), any_price Decimal128(38, 18), small Int16, \
         plain Int32, big Int64, ratio Float32, weight Float64, active Boolean, since Date32, \
         at Timestamp(µs, \"+00:00\"), changed Timestamp(µs, \"+00:00\"), details Utf8, picture Binary"
    );
    let text = |at: usize| rows.column(at).as_string::<i32>().value(0).to_owned();
    assert_eq!(
        [text(0), text(1), text(2), text(3), text(15)],
        ["6f2b7cc0-0000-4000-8000-0123456789ab", "a", "b", "keen", "{\"a\": 1}"]
    );
    assert_eq!(rows.column(4).as_primitive::<Decimal128Type>().value(0), -1_230);
    let any = rows.column(5).as_primitive::<Decimal128Type>();
    assert_eq!((any.value(0), any.value(1)), (10_000_000_000, 12_345_678_901_234_567_890_500_000_000_000_000_000));
    assert_eq!(rows.column(6).as_primitive::<Int16Type>().value(0), -1);
    assert_eq!(rows.column(7).as_primitive::<Int32Type>().value(0), 2);
    assert_eq!(rows.column(8).as_primitive::<Int64Type>().value(0), 3);
    assert_eq!(rows.column(9).as_primitive::<Float32Type>().value(0), 0.5);
    assert_eq!(rows.column(10).as_primitive::<Float64Type>().value(0), 2.5);
    assert!(rows.column(11).as_boolean().value(0));
    let since = rows.column(12).as_primitive::<Date32Type>();
    assert_eq!((since.value(0), since.value(1)), (20_484, 2_932_896));
    let at = rows.column(13).as_primitive::<TimestampMicrosecondType>();
    assert_eq!((at.value(0), at.value(1)), (1_769_850_300_250_000, -62_135_596_800_000_000));
    let changed = rows.column(14).as_primitive::<TimestampMicrosecondType>();
    assert_eq!((changed.value(0), changed.value(1)), (1_769_846_700_000_000, 253_402_300_799_999_999));
    assert_eq!(rows.column(16).as_binary::<i32>().value(0), [0, 255]);

    // A view has its table's decimals; a sum has none of its own.
    let (schema, _) = read_one(&url, "SELECT price FROM cheap").await;
    assert_eq!(schema.field(0).data_type(), &DataType::Decimal128(10, 2));
    let (schema, rows) = read_one(&url, "SELECT sum(big) AS s FROM products").await;
    assert_eq!(schema.field(0).data_type(), &DataType::Decimal128(38, 18));
    assert_eq!(rows.column(0).as_primitive::<Decimal128Type>().value(0), 3_000_000_000_000_000_000);
    let (schema, batches) = foreign::read(&url, "SELECT name FROM products WHERE false").await.expect("no rows");
    assert_eq!((types(&schema).as_str(), batches.len()), ("name Utf8", 0));
    let (_, batches) = foreign::read(&url, "SELECT n FROM generate_series(1, 20000) AS n").await.expect("rows");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);

    refused(&url, "SELECT nothing FROM products", ErrorKind::Invalid, "nothing").await;
    refused(&url, "SELECT name, name FROM products", ErrorKind::Invalid, "`name`").await;
    refused(&url, "DELETE FROM products", ErrorKind::Invalid, "read-only").await;
    refused(&url, "SELECT interval '1 day' AS i", ErrorKind::Invalid, "CAST it to TEXT").await;
    refused(&url, "SELECT 'NaN'::numeric AS n", ErrorKind::Data, "DOUBLE PRECISION").await;
    refused(&url, "SELECT 1e30::numeric AS n", ErrorKind::Data, "DECIMAL(38, 18)").await;
    let nobody = format!("postgres://postgres:s3cret@127.0.0.1:{}/nobody", server.port());
    refused(&nobody, "SELECT 1", ErrorKind::Invalid, "nobody").await;
    drop(server);
    refused(&url, "SELECT 1", ErrorKind::Unavailable, "postgres:***").await;
}
