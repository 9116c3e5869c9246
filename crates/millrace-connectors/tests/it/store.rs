//! The store's promises, each checked on SQLite and on PostgreSQL 15: one list of cases, two databases.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_connectors::store::{JsonRow, OffsetAdvance, Param, QUERY_ROWS_MAX, Store, StoreKind, Table, WriteBatch};
use millrace_connectors::testing::Postgres;
use millrace_model::contract::TopicSettings;
use millrace_model::{Classified, Column, ColumnType, Contract, Contracts, ErrorKind, Role, Timestamp};
use serde_json::{Value, json};

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        /// Runs every case on a store of its own.
        pub(crate) async fn run_all(fresh: impl Fn(&str) -> String) {
            $(
                println!("case {}", stringify!($case));
                $case(&fresh(stringify!($case))).await;
            )*
        }
    };
}

cases![
    values_come_back_as_they_went_in,
    later_rows_replace_earlier_ones,
    keys_may_hold_nulls,
    rows_without_key_are_told_apart_by_place,
    a_batch_is_all_or_nothing,
    offsets_move_only_from_where_they_were_left,
    tables_grow_and_refuse_to_change,
    a_new_table_forgets_the_offsets_of_its_topic,
    system_tables_are_their_contracts,
    statements_of_the_common_subset,
    queries_that_cannot_be,
    many_rows_at_once,
];

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    run_all(|case| format!("sqlite://{}/{case}/millrace.db", folder.path().display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow suite: starts PostgreSQL 15"]
async fn postgres() {
    let server = Postgres::start().expect("PostgreSQL 15");
    run_all(|case| server.create_database(case).expect("a database")).await;
}

fn column(name: &str, column_type: ColumnType) -> Column {
    let description = String::new();
    Column { name: name.into(), column_type, required: true, nullable: true, not_empty: false, description }
}

/// `sample (window_start, store_id, orders, share, open, lines, offset)`: a column of every kind, one with a reserved name.
fn sample(key: &[&str]) -> Contract {
    Contract {
        name: "sample".into(),
        description: String::new(),
        role: Role::Result,
        columns: vec![
            column("window_start", ColumnType::Timestamp),
            column("store_id", ColumnType::Text),
            column("orders", ColumnType::Integer),
            column("share", ColumnType::Number),
            column("open", ColumnType::Boolean),
            column("lines", ColumnType::List(Box::new(ColumnType::Integer))),
            column("offset", ColumnType::Integer),
        ],
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        event_time: None,
        watermark_delay_micros: 0,
        deduplicate_by: Vec::new(),
        topic: TopicSettings { partitions: 1, config: BTreeMap::new() },
    }
}

fn time(text: &str) -> Param {
    Param::Time(Timestamp::parse(text.as_bytes()).expect("a time"))
}

fn text(value: &str) -> Param {
    Param::Text(value.into())
}

fn row(window_start: Param, store_id: Param, orders: i64) -> Vec<Param> {
    vec![window_start, store_id, Param::Integer(orders), Param::Null, Param::Null, Param::Null, Param::Null]
}

async fn opened(url: &str, contract: &Contract) -> (Store, Arc<Table>) {
    let store = Store::open(url).await.expect("a store");
    store.ensure_tables(std::slice::from_ref(contract)).await.expect("tables");
    (store, Arc::new(Table::of(contract).expect("a table")))
}

async fn write(store: &Store, table: &Arc<Table>, rows: Vec<Vec<Param>>) {
    let mut batch = WriteBatch::new("test");
    for row in rows {
        batch.upsert(table, row).expect("a row of the table's shape");
    }
    store.write(&batch).await.expect("written");
}

async fn ask(store: &Store, sql: &str, params: &[Param]) -> Value {
    let rows = store.query(sql, params).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    Value::Array(rows.into_iter().map(Value::Object).collect())
}

async fn values_come_back_as_they_went_in(url: &str) {
    let (store, table) = opened(url, &sample(&["window_start", "store_id"])).await;
    let full = vec![
        time("2026-01-31T09:05:00+01:00"),
        text("main 'quoted' \"twice\" 1e3"),
        Param::Integer(i64::MIN),
        Param::Number(2.0),
        Param::Boolean(true),
        text("[1, 2]"),
        Param::Integer(7),
    ];
    let numberlike = vec![
        time("0000-01-01T00:00:00Z"),
        text("00042"),
        Param::Integer(i64::MAX),
        Param::Number(-0.5),
        Param::Boolean(false),
        text("[]"),
        Param::Null,
    ];
    write(&store, &table, vec![full, numberlike, row(time("9999-12-31T23:59:59.999999Z"), text(""), 0)]).await;
    let rows = ask(&store, "SELECT * FROM sample ORDER BY window_start", &[]).await;
    assert_eq!(
        rows,
        json!([
            { "window_start": "0000-01-01T00:00:00.000000Z", "store_id": "00042", "orders": i64::MAX, "share": -0.5,
              "open": false, "lines": [], "offset": null },
            { "window_start": "2026-01-31T08:05:00.000000Z", "store_id": "main 'quoted' \"twice\" 1e3",
              "orders": i64::MIN, "share": 2.0, "open": true, "lines": [1, 2], "offset": 7 },
            { "window_start": "9999-12-31T23:59:59.999999Z", "store_id": "", "orders": 0, "share": null, "open": null,
              "lines": null, "offset": null },
        ])
    );
    let names: Vec<&String> = rows[0].as_object().expect("an object").keys().collect();
    assert_eq!(names, ["window_start", "store_id", "orders", "share", "open", "lines", "offset"]);
    store.close().await;
}

async fn later_rows_replace_earlier_ones(url: &str) {
    let (store, table) = opened(url, &sample(&["window_start", "store_id"])).await;
    let at = || time("2026-01-31T09:05:00Z");
    write(&store, &table, vec![row(at(), text("a"), 1), row(at(), text("b"), 2), row(at(), text("a"), 3)]).await;
    write(&store, &table, vec![row(at(), text("b"), 4)]).await;
    let rows = ask(&store, "SELECT store_id, orders FROM sample ORDER BY store_id", &[]).await;
    assert_eq!(rows, json!([{ "store_id": "a", "orders": 3 }, { "store_id": "b", "orders": 4 }]));
}

async fn keys_may_hold_nulls(url: &str) {
    let (store, table) = opened(url, &sample(&["window_start", "store_id"])).await;
    let at = || time("2026-01-31T09:05:00Z");
    let rows = || vec![row(at(), Param::Null, 1), row(at(), text(""), 2), row(Param::Null, Param::Null, 3)];
    write(&store, &table, rows()).await;
    write(&store, &table, rows()).await;
    write(&store, &table, vec![row(at(), Param::Null, 9)]).await;
    let rows = ask(&store, "SELECT store_id, orders FROM sample ORDER BY orders", &[]).await;
    assert_eq!(
        rows,
        json!([{ "store_id": "", "orders": 2 }, { "store_id": null, "orders": 3 }, { "store_id": null, "orders": 9 }])
    );
}

async fn rows_without_key_are_told_apart_by_place(url: &str) {
    let (store, table) = opened(url, &sample(&[])).await;
    let placed = |orders, offset| {
        let mut row = row(time("2026-01-31T09:05:00Z"), text("a"), orders);
        row.extend([Param::Integer(0), Param::Integer(offset)]);
        row
    };
    write(&store, &table, vec![placed(1, 10), placed(2, 11)]).await;
    write(&store, &table, vec![placed(2, 11), placed(3, 12)]).await;
    let rows = ask(&store, "SELECT orders FROM sample ORDER BY orders", &[]).await;
    assert_eq!(rows, json!([{ "orders": 1 }, { "orders": 2 }, { "orders": 3 }]));
}

fn step(from: Option<i64>, to: i64) -> OffsetAdvance {
    OffsetAdvance { topic: "sample".into(), partition: 0, from, to }
}

async fn a_batch_is_all_or_nothing(url: &str) {
    let (store, table) = opened(url, &sample(&["store_id"])).await;
    // A table that is not in the store: its statement fails after the good rows and the offsets were sent.
    let mut missing = sample(&["store_id"]);
    missing.name = "missing".into();
    let missing = Arc::new(Table::of(&missing).expect("a table"));
    let mut batch = WriteBatch::new("test");
    batch.advance(step(None, 5));
    batch.upsert(&table, row(Param::Null, text("a"), 1)).expect("a row");
    batch.upsert(&missing, row(Param::Null, text("a"), 1)).expect("a row");
    let error = store.write(&batch).await.expect_err("no such table");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(store.offsets("test").await.expect("offsets"), []);
    assert_eq!(ask(&store, "SELECT count(*) AS rows FROM sample", &[]).await, json!([{ "rows": 0 }]));
}

async fn offsets_move_only_from_where_they_were_left(url: &str) {
    let (store, table) = opened(url, &sample(&["store_id"])).await;
    let batch = |from, to, orders| {
        let mut batch = WriteBatch::new("test");
        batch.advance(step(from, to));
        batch.upsert(&table, row(Param::Null, text("a"), orders)).expect("a row");
        batch
    };
    let stored = |next: i64| vec![("sample".to_owned(), 0, next)];
    store.write(&batch(None, 5, 1)).await.expect("the first batch");
    store.write(&batch(Some(5), 9, 2)).await.expect("the second");
    assert_eq!(store.offsets("test").await.expect("offsets"), stored(9));
    store.write(&batch(Some(5), 9, 2)).await.expect("the second again: the answer to its commit was lost");
    for behind in [batch(Some(5), 8, 3), batch(None, 5, 3)] {
        let error = store.write(&behind).await.expect_err("another has gone on");
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    }
    assert_eq!(ask(&store, "SELECT orders FROM sample", &[]).await, json!([{ "orders": 2 }]));
    assert_eq!(store.offsets("other").await.expect("offsets"), []);
}

async fn tables_grow_and_refuse_to_change(url: &str) {
    let mut contract = sample(&["store_id"]);
    let (store, table) = opened(url, &contract).await;
    write(&store, &table, vec![row(Param::Null, text("a"), 1)]).await;
    assert_eq!(ask(&store, "SELECT * FROM sample", &[]).await[0]["orders"], json!(1));
    contract.columns.push(column("late", ColumnType::Boolean));
    let (store, table) = opened(url, &contract).await;
    let mut with_late = row(Param::Null, text("b"), 2);
    with_late.push(Param::Boolean(true));
    write(&store, &table, vec![with_late]).await;
    let rows = ask(&store, "SELECT store_id, late FROM sample ORDER BY store_id", &[]).await;
    assert_eq!(rows, json!([{ "store_id": "a", "late": null }, { "store_id": "b", "late": true }]));
    contract.columns[2].column_type = ColumnType::Text;
    let error = store.ensure_tables(&[contract.clone()]).await.expect_err("a type has changed");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("column `orders` is"), "{error}");
    contract.columns[2].column_type = ColumnType::Integer;
    contract.key = vec!["orders".into()];
    let error = store.ensure_tables(&[contract]).await.expect_err("the key has changed");
    assert!(error.to_string().contains("unique by (store_id) in the store and by (orders)"), "{error}");
}

async fn a_new_table_forgets_the_offsets_of_its_topic(url: &str) {
    let store = Store::open(url).await.expect("a store");
    let mut batch = WriteBatch::new("test");
    batch.advance(step(None, 5));
    batch.advance(OffsetAdvance { topic: "other".into(), partition: 3, from: None, to: 8 });
    store.write(&batch).await.expect("offsets");
    store.ensure_tables(&[sample(&["store_id"])]).await.expect("tables");
    assert_eq!(store.offsets("test").await.expect("offsets"), [("other".to_owned(), 3, 8)]);
}

async fn system_tables_are_their_contracts(url: &str) {
    let store = Store::open(url).await.expect("a store");
    let contracts = Contracts::builtin();
    let system = ["dead_letters", "job_progress"].map(|name| contracts.get(name).expect("it ships").clone());
    store.ensure_tables(&system).await.expect("the migrations made them as the contracts say");
    for contract in &system {
        let rows = store.query(&format!("SELECT * FROM {} LIMIT 1", contract.name), &[]).await;
        assert_eq!(rows.expect("it is there"), []);
        let made = if store.kind() == StoreKind::Sqlite {
            "SELECT name FROM pragma_table_info($1)"
        } else {
            "SELECT column_name AS name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position"
        };
        let made = ask(&store, made, &[text(&contract.name)]).await;
        let expected: Vec<Value> = contract.columns.iter().map(|column| json!({ "name": column.name })).collect();
        assert_eq!(made, Value::Array(expected), "{}", contract.name);
    }
    Store::open(url).await.expect("opening again runs no migration twice");
}

async fn statements_of_the_common_subset(url: &str) {
    let (store, table) = opened(url, &sample(&["window_start", "store_id"])).await;
    let mut rows = Vec::new();
    for minute in 0..10 {
        let mut row = row(time(&format!("2026-01-31T09:0{minute}:00Z")), text("a"), minute);
        row[4] = Param::Boolean(minute % 2 == 0);
        row[5] = text(&format!("[{minute}]"));
        rows.push(row);
    }
    write(&store, &table, rows).await;
    let from = time("2026-01-31T09:05:00Z");
    for (sql, params, expected) in [
        (
            "SELECT max(window_start) AS newest, sum(orders) AS orders, avg(orders) AS average, count(*) AS n \
             FROM sample WHERE window_start >= $1",
            vec![from.clone()],
            json!([{ "newest": "2026-01-31T09:09:00.000000Z", "orders": 35, "average": 7.0, "n": 5 }]),
        ),
        (
            "SELECT orders FROM sample WHERE open = $1 AND (store_id = $2 OR $2 IS NULL) ORDER BY orders LIMIT $3",
            vec![Param::Boolean(true), Param::Null, Param::Integer(2)],
            json!([{ "orders": 0 }, { "orders": 2 }]),
        ),
        (
            "SELECT orders, open FROM sample WHERE open AND orders > $1 ORDER BY window_start DESC NULLS LAST LIMIT 1",
            vec![Param::Number(6.5)],
            json!([{ "orders": 8, "open": true }]),
        ),
        (
            "WITH recent AS (SELECT * FROM sample WHERE window_start > $1) \
             SELECT s.store_id, s.lines, count(*) FILTER (WHERE r.open) AS open_ones FROM recent AS r \
             JOIN sample AS s ON s.window_start = $1 GROUP BY s.store_id, s.lines",
            vec![from.clone()],
            json!([{ "store_id": "a", "lines": [5], "open_ones": 2 }]),
        ),
        (
            "SELECT store_id || ':' || CAST(orders AS TEXT) AS id, row_number() OVER (ORDER BY orders) AS place \
             FROM sample WHERE store_id IS NOT DISTINCT FROM $1 AND CAST(lines ->> 0 AS TEXT) = '3'",
            vec![text("a")],
            json!([{ "id": "a:3", "place": 1 }]),
        ),
        // The same text with parameters of other types than the first time.
        (
            "SELECT orders FROM sample WHERE open = $1 AND (store_id = $2 OR $2 IS NULL) ORDER BY orders LIMIT $3",
            vec![Param::Boolean(false), text("a"), Param::Integer(1)],
            json!([{ "orders": 1 }]),
        ),
    ] {
        assert_eq!(ask(&store, sql, &params).await, expected, "{sql}");
    }
}

async fn queries_that_cannot_be(url: &str) {
    let (store, _) = opened(url, &sample(&["store_id"])).await;
    for (sql, detail) in [
        ("SELECT nothing FROM sample", "nothing"),
        ("SELEC 1", "SELEC"),
        ("SELECT orders, orders FROM sample", ""),
        ("DELETE FROM sample", "read"),
    ] {
        let outcome = store.query(sql, &[]).await;
        match outcome {
            Err(error) => assert!(error.to_string().contains(detail), "{sql}: {error}"),
            // No row, so no row of which two columns have one name.
            Ok(rows) => assert!(sql.contains("orders, orders") && rows.is_empty(), "{sql}"),
        }
    }
    let injected = ask(&store, "SELECT $1 || '' AS x", &[text("'; DROP TABLE sample; --")]).await;
    assert_eq!(injected, json!([{ "x": "'; DROP TABLE sample; --" }]));
    let error =
        store.delete_before("sample\"; DROP TABLE sample; --", "x", Timestamp(0), 1).await.expect_err("no table");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(ask(&store, "SELECT count(*) AS n FROM sample", &[]).await, json!([{ "n": 0 }]));
}

async fn many_rows_at_once(url: &str) {
    let (store, table) = opened(url, &sample(&["store_id", "orders"])).await;
    let rows = |share: f64| {
        let row = move |at: i64| {
            let mut row = row(time("2026-01-31T09:05:00Z"), text(&format!("store {}", at % 7)), at);
            row[3] = Param::Number(share);
            row
        };
        (0..10_001).map(row).collect::<Vec<_>>()
    };
    write(&store, &table, rows(1.0)).await;
    write(&store, &table, rows(2.0)).await;
    let counted =
        ask(&store, "SELECT count(*) AS n, sum(orders) AS orders, min(share) AS share FROM sample", &[]).await;
    assert_eq!(counted, json!([{ "n": 10_001, "orders": 50_005_000, "share": 2.0 }]));
    // A question of a page has a limit; who reads a whole table has none.
    let more = 10_001..i64::try_from(QUERY_ROWS_MAX).expect("few") + 1;
    let more: Vec<_> = more.map(|at| row(time("2026-01-31T09:05:00Z"), text("more"), at)).collect();
    for part in more.chunks(50_000) {
        write(&store, &table, part.to_vec()).await;
    }
    let error = store.query("SELECT * FROM sample", &[]).await.expect_err("too many");
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("add a LIMIT"), "{error}");
    let (mut seen, mut sum) = (0, 0);
    let mut each = |row: JsonRow| {
        (seen, sum) = (seen + 1, sum + row["orders"].as_i64().expect("a number"));
        Ok(())
    };
    store.each_row("sample", &mut each).await.expect("all rows");
    assert_eq!((seen, sum), (200_001, 200_001 * 200_000 / 2));
    assert_eq!(
        store.delete_before("sample", "window_start", Timestamp(i64::MAX), 190_000).await.expect("deleted"),
        190_000
    );
    let delete =
        async || store.delete_before("sample", "window_start", Timestamp(i64::MAX), 6_000).await.expect("deleted");
    assert_eq!([delete().await, delete().await, delete().await], [6_000, 4_001, 0]);
}
