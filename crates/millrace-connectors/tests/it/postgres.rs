//! PostgreSQL as operators run it: with TLS.

use std::path::{Path, PathBuf};

use millrace_connectors::store::{Store, foreign};
use millrace_connectors::testing::Postgres;
use millrace_model::{Classified, ErrorKind};
use serde_json::{Value, json};

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
