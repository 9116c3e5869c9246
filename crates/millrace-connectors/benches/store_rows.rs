//! Rows a second that the store upserts, on SQLite and PostgreSQL 15, with the offsets in each transaction.
//!
//! `cargo bench -p millrace-connectors --features testing --bench store_rows -- [rows] [rows a batch] [keys]`

use std::sync::Arc;
use std::time::Instant;

use millrace_connectors::store::{OffsetAdvance, Param, Store, Table, WriteBatch};
use millrace_connectors::testing::Postgres;
use millrace_model::{Contract, Timestamp};

/// The shape of `store_metrics`: two times, a store, a currency and twelve counts.
const CONTRACT: &str = r#"{
  "$id": "store_metrics", "type": "object", "required": [],
  "properties": {
    "window_start": { "type": "string", "format": "date-time" }, "window_end": { "type": "string", "format": "date-time" },
    "store_id": { "type": "string" }, "currency": { "type": "string" },
    "visitors": { "type": "integer" }, "page_views": { "type": "integer" }, "searches": { "type": "integer" },
    "product_views": { "type": "integer" }, "cart_adds": { "type": "integer" }, "checkouts": { "type": "integer" },
    "orders": { "type": "integer" }, "refunds": { "type": "integer" }, "gross_minor": { "type": "integer" },
    "net_minor": { "type": "integer" }
  },
  "x-millrace": { "role": "result", "key": ["window_start", "store_id"], "topic": { "partitions": 1 } }
}"#;

fn row(at: i64, key: i64) -> Vec<Param> {
    let start = Timestamp(1_795_000_000_000_000 + key / 10 * 60_000_000);
    let mut row = vec![
        Param::Time(start),
        Param::Time(Timestamp(start.0 + 300_000_000)),
        Param::Text(format!("store-{}", key % 10)),
        Param::Text("EUR".into()),
    ];
    row.extend((0..10).map(|column| Param::Integer(at + column)));
    row
}

async fn measure(name: &str, url: &str, rows: i64, batch_rows: i64, keys: i64) {
    let contract = Contract::parse(CONTRACT).expect("a contract");
    let store = Store::open(url).await.expect("a store");
    store.ensure_tables(std::slice::from_ref(&contract)).await.expect("tables");
    let table = Arc::new(Table::of(&contract).expect("a table"));
    let start = Instant::now();
    let mut written = 0;
    let mut from = None;
    while written < rows {
        let mut batch = WriteBatch::new("bench");
        for at in written..(written + batch_rows).min(rows) {
            // A walk over all keys in an order of no use to a cache.
            batch.upsert(&table, row(at, at * 7_919 % keys)).expect("a row");
        }
        written = (written + batch_rows).min(rows);
        batch.advance(OffsetAdvance { topic: "store_metrics".into(), partition: 0, from, to: written });
        from = Some(written);
        store.write(&batch).await.expect("written");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{name:<12} {rows} rows of 14 columns, {batch_rows} a batch, {keys} keys: {:.0} rows/s",
        rows as f64 / seconds
    );
    store.close().await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    // Cargo adds `--bench`.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|text| !text.starts_with("--"))
        .map(|text| text.parse::<i64>().expect("a number"));
    let rows = arguments.next().unwrap_or(300_000);
    let batch = arguments.next().unwrap_or(1_000);
    let keys = arguments.next().unwrap_or(100_000);
    let folder = tempfile::tempdir().expect("a folder");
    measure("SQLite", &format!("sqlite://{}/bench.db", folder.path().display()), rows, batch, keys).await;
    match Postgres::start_with(&[]) {
        Ok(server) => {
            let url = server.create_database("bench").expect("a database");
            measure("PostgreSQL", &url, rows, batch, keys).await;
        }
        Err(why) => println!("PostgreSQL left out: {why}"),
    }
}
