//! PostgreSQL as operators run it: with TLS, behind pgbouncer.

use std::path::{Path, PathBuf};

use millrace_connectors::store::{Store, foreign};
use millrace_connectors::testing::Postgres;
use millrace_connectors::testing::bouncer::Bouncer;
use millrace_model::{Classified, ErrorKind};
use serde_json::{Value, json};

use crate::store::run_all;

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
