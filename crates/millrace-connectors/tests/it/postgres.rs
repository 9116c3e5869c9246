//! PostgreSQL as operators run it: with TLS, behind pgbouncer, read by a role that may do nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_connectors::store::{Param, Store, Table, WriteBatch, foreign};
use millrace_connectors::testing::Postgres;
use millrace_connectors::testing::bouncer::Bouncer;
use millrace_model::{Classified, ColumnType, ErrorKind};
use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::store::run_all;
use crate::support::{column, contract};

async fn one(store: &Store, sql: &str) -> Value {
    let rows = store.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    Value::Object(rows.into_iter().next().expect("a row"))
}

/// A file of the folder of certificates.
fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow suite: starts PostgreSQL 15"]
async fn certificates_are_verified_as_the_url_says() {
    let server = Postgres::start_with_tls(&certificate("server.pem"), &certificate("server.key")).expect("a server");
    let url = |host: &str, mode: &str, authority: &str| {
        let authority = match authority {
            "" => String::new(),
            name => format!("&sslrootcert={}", certificate(name).display()),
        };
        format!("postgres://postgres:s3cret@{host}:{}/postgres?sslmode={mode}{authority}", server.port())
    };
    for (host, mode, authority) in [
        ("127.0.0.1", "verify-full", "ca.pem"),
        ("localhost", "verify-full", "ca.pem"),
        ("127.0.0.2", "verify-ca", "ca.pem"),
        ("127.0.0.2", "require", "ca.pem"),
        ("127.0.0.2", "require", ""),
        ("127.0.0.2", "prefer", ""),
    ] {
        let url = url(host, mode, authority);
        let store = Store::open(&url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        // Readers have connections of their own.
        let reader = one(&store, "SELECT ssl AS encrypted FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
        let everyone = "SELECT count(*) AS n FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                        WHERE application_name = 'millrace' AND NOT ssl";
        assert_eq!((reader, one(&store, everyone).await), (json!({ "encrypted": true }), json!({ "n": 0 })), "{url}");
        store.close().await;
        foreign::read(&url, "SELECT 1 AS x").await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    for (host, mode, authority, text) in [
        ("127.0.0.1", "verify-full", "other-ca.pem", "invalid peer certificate: UnknownIssuer; is `sslrootcert`"),
        ("127.0.0.1", "verify-ca", "other-ca.pem", "UnknownIssuer"),
        ("127.0.0.1", "require", "other-ca.pem", "UnknownIssuer"),
        // Without an authority of one's own those of the public are asked.
        ("127.0.0.1", "verify-full", "", "UnknownIssuer"),
        ("127.0.0.2", "verify-full", "ca.pem", "certificate not valid for name \"127.0.0.2\""),
        ("127.0.0.1", "verify-full", "missing.pem", "missing.pem: No such file"),
        ("127.0.0.1", "verify-full", "server.key", "server.key: there is none; PEM is wanted"),
        ("127.0.0.1", "disable", "", "no encryption"),
    ] {
        let url = url(host, mode, authority);
        let error = Store::open(&url).await.expect_err(&url);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}: {error}");
        assert!(error.to_string().contains(text) && !error.to_string().contains("s3cret"), "{url}: {error}");
        let error = foreign::read(&url, "SELECT 1 AS x").await.expect_err(&url);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow suite: starts PostgreSQL 15"]
async fn a_server_without_tls_is_said_to_be_one() {
    let server = Postgres::start().expect("PostgreSQL 15");
    let error = Store::open(&format!("{}?sslmode=require", server.url())).await.expect_err("no TLS");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("does not support TLS; switch it on at the server"), "{error}");
}

/// Everything the store promises, through one connection to the server that all of the store's share by turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow suite: starts PostgreSQL 15 and pgbouncer"]
async fn a_store_keeps_its_promises_behind_pgbouncer_by_transaction() {
    let server = Postgres::start().expect("PostgreSQL 15");
    let bouncer = Bouncer::start(&server, "transaction", 1).expect("pgbouncer");
    run_all(|case| {
        server.create_database(case).expect("a database");
        bouncer.url(case)
    })
    .await;

    server.create_database("shared").expect("a database");
    let url = bouncer.url("shared");
    let opening: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn({
                let url = url.clone();
                async move { Store::open(&url).await }
            })
        })
        .collect();
    let mut stores = Vec::new();
    for store in opening {
        stores.push(store.await.expect("a task").expect("all of them open it at once"));
    }
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let ask = |at: usize| one(&stores[at], "SELECT pg_backend_pid() AS pid");
        let (first, second, third) = tokio::join!(ask(0), ask(1), ask(2));
        sessions.extend([first, second, third]);
    }
    sessions.dedup();
    assert_eq!(sessions.len(), 1, "the sessions are shared: {sessions:?}");
    // What a statement sets does not reach the next client of its session; nor do names of statements.
    one(&stores[0], "SELECT set_config('statement_timeout', '1', false) AS was").await;
    assert_eq!(one(&stores[1], "SELECT current_setting('statement_timeout') AS now").await, json!({ "now": "30s" }));
    for _ in 0..3 {
        let (_, rows) = foreign::read(&url, "SELECT version FROM _sqlx_migrations").await.expect("rows");
        assert!(rows[0].num_rows() > 4);
        let error = foreign::read(&url, "SELECT nothing FROM _sqlx_migrations").await.expect_err("no column");
        assert!(error.to_string().contains("nothing"), "{error}");
        let error = foreign::read(&url, "DELETE FROM _sqlx_migrations").await.expect_err("it only reads");
        assert!(error.to_string().contains("read-only"), "{error}");
    }
    let left = "SELECT count(*) AS n FROM pg_prepared_statements WHERE name <> ''";
    assert_eq!(one(&stores[0], left).await, json!({ "n": 0 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow suite: starts PostgreSQL 15 and pgbouncer"]
async fn a_store_keeps_its_promises_behind_pgbouncer_by_session() {
    // It keeps the sessions of every case's database.
    let server = Postgres::start_with(&["fsync=off", "max_connections=200"]).expect("PostgreSQL 15");
    let bouncer = Bouncer::start(&server, "session", 10).expect("pgbouncer");
    run_all(|case| {
        server.create_database(case).expect("a database");
        bouncer.url(case)
    })
    .await;
}

/// What the documentation tells operators to run.
const READER: &str = include_str!("../../../../contracts/reader.sql");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow suite: starts PostgreSQL 15"]
async fn a_reader_reads_results_and_does_nothing_else() {
    let server = Postgres::start().expect("PostgreSQL 15");
    let made = "CREATE ROLE shop_owner LOGIN CREATEROLE; CREATE DATABASE shop OWNER shop_owner;";
    server.script("postgres", "postgres", made, &[]).expect("an owner and a database");
    let url = |user: &str| format!("postgres://{user}@127.0.0.1:{}/shop", server.port());
    let script = |reader: &str| server.script("shop_owner", "shop", READER, &[("reader", reader)]);

    script("shop_reader").expect("there need be no tables yet");
    let error = Store::open(&url("shop_reader")).await.expect_err("nor may a reader make them");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("tables are made and written by their owner"), "{error}");

    let owner = Store::open(&url("shop_owner")).await.expect("a store");
    let mut known = contract("store_metrics", 1);
    owner.ensure_tables(std::slice::from_ref(&known)).await.expect("a table");
    script("shop_reader").expect("it may be run again");
    for _ in 0..2 {
        let without_bytes = [("reader", "grafana"), ("without_bytes", "1")];
        server.script("shop_owner", "shop", READER, &without_bytes).expect("one who does not see the bytes");
    }
    let later = contract("later_metrics", 1);
    owner.ensure_tables(std::slice::from_ref(&later)).await.expect("a table made after the role");
    let batch = |contract| {
        let mut batch = WriteBatch::new("test");
        let table = Arc::new(Table::of(contract).expect("a table"));
        batch.upsert(&table, vec![Param::Text("a".into()), Param::Integer(7)]).expect("a row");
        batch
    };
    for contract in [&known, &later] {
        owner.write(&batch(contract)).await.expect("written");
    }

    let reader = Store::open(&url("shop_reader")).await.expect("a reader opens what is made");
    reader.ensure_tables(&[known.clone(), later.clone()]).await.expect("they are as their contracts say");
    for table in ["store_metrics", "later_metrics"] {
        let sql = format!("SELECT store_id, orders FROM {table}");
        assert_eq!(one(&reader, &sql).await, json!({ "store_id": "a", "orders": 7 }));
    }
    assert_eq!(reader.query("SELECT value_base64 FROM dead_letters", &[]).await.expect("all of a letter"), []);
    let grafana = Store::open(&url("grafana")).await.expect("a store");
    assert_eq!(one(&grafana, "SELECT orders FROM later_metrics").await, json!({ "orders": 7 }));
    assert_eq!(grafana.query("SELECT code, reason FROM dead_letters", &[]).await.expect("what went wrong"), []);
    for sql in ["SELECT value_base64 FROM dead_letters", "SELECT value_base64 FROM dead_letter_repairs"] {
        let error = grafana.query(sql, &[]).await.expect_err("not the bytes");
        assert!(error.to_string().contains("permission denied for table dead_letter"), "{error}");
    }
    let error = reader.write(&batch(&known)).await.expect_err("it writes nothing");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("the role of `store.url` may not do this"), "{error}");
    known.columns.push(column("late", ColumnType::Boolean));
    for (contract, lacking) in [
        (contract("not_made", 1), "table `not_made` is not in the store"),
        (known, "column `late` of table `store_metrics` is not in the store"),
    ] {
        let error = reader.ensure_tables(&[contract]).await.expect_err(lacking);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(lacking), "{error}");
    }

    // Not because Millrace asks for no more: with any other client.
    let mut client = sqlx::PgConnection::connect(&url("shop_reader")).await.expect("a client");
    for sql in [
        "INSERT INTO store_metrics VALUES ('b', 1)",
        "UPDATE store_metrics SET orders = 0",
        "DELETE FROM later_metrics",
        "TRUNCATE store_metrics",
        "DROP TABLE store_metrics",
        "ALTER TABLE store_metrics ADD COLUMN x TEXT",
        "CREATE TABLE mine (x TEXT)",
        "CREATE INDEX ON store_metrics (orders)",
        "DELETE FROM sink_offsets",
        "SELECT * FROM pg_authid",
        "CREATE ROLE another",
        "SET ROLE shop_owner",
        "COPY store_metrics TO '/tmp/x'",
    ] {
        let error = client.execute(sql).await.expect_err(sql);
        let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error}");
    }

    for (role, text) in [("shop_owner", "role shop_owner may make tables"), ("postgres", "may make tables")] {
        let refused = script(role).expect_err("a role that may do more is no reader");
        assert!(refused.contains(text) && refused.contains("REVOKE CREATE"), "{refused}");
    }
    server
        .script("shop_owner", "shop", "CREATE ROLE clerk; GRANT UPDATE ON store_metrics TO clerk;", &[])
        .expect("a clerk");
    let refused = script("clerk").expect_err("a role that may do more is no reader");
    assert!(refused.contains("role clerk may write table store_metrics"), "{refused}");
    let sql = "SELECT has_table_privilege('clerk', 'store_metrics', 'SELECT') AS reads";
    assert_eq!(one(&owner, sql).await, json!({ "reads": false }));
}
