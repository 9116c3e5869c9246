//! Where the store is: the URL, read and masked, and the limits of its connections.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use millrace_model::ErrorKind;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::StoreError;
use crate::tls::own_certificates;

/// Connections that read at the same time.
pub const READERS_MAX: u32 = 4;
/// Connections that write at the same time. SQLite has one writer; PostgreSQL gains nothing from more than two here.
pub const WRITERS_MAX: u32 = 2;
/// Longest wait for a connection, milliseconds.
pub const ACQUIRE_MS_MAX: u64 = 5_000;
/// Longest wait for another process's lock on the SQLite file, milliseconds.
pub const BUSY_MS_MAX: u64 = 5_000;
/// Longest run of one reading statement on PostgreSQL, milliseconds.
pub const QUERY_MS_MAX: u64 = 30_000;
/// Page cache of one SQLite connection, KiB.
pub const SQLITE_CACHE_KIB: u32 = 32 * 1024;

/// Which database the store is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreKind {
    /// A file beside the program.
    Sqlite,
    /// A PostgreSQL server, version 15 or later.
    Postgres,
}

/// What a store URL says.
#[derive(Debug)]
pub(super) enum StoreUrl {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

impl StoreUrl {
    /// Reads the URL.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let invalid = |detail: String| {
            StoreError::new(
                ErrorKind::Invalid,
                format!(
                    "store url `{}`: {detail}; write sqlite:///folder/millrace.db or \
                     postgres://user:password@host:5432/database",
                    masked(url)
                ),
            )
        };
        match url.split(':').next() {
            Some("sqlite") => {
                if url.contains(":memory:") || url.contains("mode=memory") {
                    return Err(invalid("a store in memory would be a different one for every connection".into()));
                }
                let options = SqliteConnectOptions::from_str(url).map_err(|e| invalid(e.to_string()))?;
                if options.get_filename().as_os_str().is_empty() {
                    return Err(invalid("the file is missing".into()));
                }
                Ok(StoreUrl::Sqlite(Box::new(sqlite_options(options))))
            }
            Some("postgres" | "postgresql") => {
                Ok(StoreUrl::Postgres(Box::new(postgres_options(url).map_err(invalid)?)))
            }
            _ => Err(invalid("it names neither kind of store".into())),
        }
    }
}

/// How to connect to a PostgreSQL.
pub(super) fn postgres_options(url: &str) -> Result<PgConnectOptions, String> {
    // The driver's text may quote the URL: only its place is said.
    let options = PgConnectOptions::from_str(url).map_err(|_| "it cannot be read")?;
    // With an authority named, `require` means that it is asked: so it is with libpq, and the driver would not.
    let options = match (authority(url), options.get_ssl_mode()) {
        (Some(file), mode) => {
            own_certificates(&file)?;
            options.ssl_mode(if matches!(mode, PgSslMode::Require) { PgSslMode::VerifyCa } else { mode })
        }
        (None, _) => options,
    };
    Ok(options.application_name("millrace").disable_statement_logging())
}

/// The file of `sslrootcert`.
fn authority(url: &str) -> Option<PathBuf> {
    let url = reqwest::Url::parse(url).ok()?;
    let named = |name: &str| ["sslrootcert", "ssl-root-cert", "ssl-ca"].contains(&name);
    url.query_pairs().find(|(name, _)| named(name)).map(|(_, file)| PathBuf::from(&*file))
}

fn sqlite_options(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit is on disk when it returns: the offsets in it are what Kafka records are no longer needed for.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_millis(BUSY_MS_MAX))
        .pragma("cache_size", format!("-{SQLITE_CACHE_KIB}"))
        .pragma("temp_store", "memory")
}

/// The URL as it may be shown: without its password.
pub fn masked(url: &str) -> String {
    let mut shown = url.to_owned();
    if let Some(start) = url.find("://").map(|at| at + 3) {
        // The last @: a password may hold one that was not escaped.
        if let Some(at) = url[start..].rfind('@') {
            let user = url[start..start + at].split(':').next().unwrap_or_default();
            shown = format!("{}{user}:***{}", &url[..start], &url[start + at..]);
        }
    }
    mask_parameter(&shown, "password=")
}

fn mask_parameter(url: &str, name: &str) -> String {
    let Some(start) = url.find(name).map(|at| at + name.len()) else {
        return url.to_owned();
    };
    let end = url[start..].find('&').map_or(url.len(), |at| start + at);
    format!("{}***{}", &url[..start], &url[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked() {
        for (url, shown) in [
            ("postgres://shop:s3cret@db:5432/shop", "postgres://shop:***@db:5432/shop"),
            ("postgres://shop:p@ss/w?rd@db/shop", "postgres://shop:***@db/shop"),
            (
                "postgres://db/shop?user=a&password=s3cret&sslmode=require",
                "postgres://db/shop?user=a&password=***&sslmode=require",
            ),
            ("postgres://db/shop", "postgres://db/shop"),
            ("sqlite:///data/millrace.db", "sqlite:///data/millrace.db"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }

    #[test]
    fn urls() {
        for url in
            ["sqlite:///tmp/a.db", "sqlite:a.db", "postgres://localhost/shop", "postgresql://u:p@h:1/d?sslmode=require"]
        {
            StoreUrl::parse(url).expect(url);
        }
        for (url, text) in [
            ("mysql://localhost/shop", "neither kind"),
            ("sqlite::memory:", "in memory"),
            ("sqlite:", "the file is missing"),
            ("postgres://u:s3cret@host:notaport/d", "postgres://u:***@host:notaport/d"),
        ] {
            let error = StoreUrl::parse(url).expect_err(url).to_string();
            assert!(error.contains(text) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn an_authority_that_is_named_is_read_and_asked() {
        let file = crate::tls::tests::file("ca.pem");
        let mode = |mode: &str| {
            let url = format!("postgres://u@h/d?sslmode={mode}&sslrootcert={}", file.display());
            format!("{:?}", postgres_options(&url).expect("a url").get_ssl_mode())
        };
        let modes = ["prefer", "require", "verify-ca", "verify-full"].map(mode);
        assert_eq!(modes, ["Prefer", "VerifyCa", "VerifyCa", "VerifyFull"]);
        let error = StoreUrl::parse("postgres://u:s3cret@h/d?sslmode=verify-full&sslrootcert=/missing.pem");
        let error = error.expect_err("no file").to_string();
        assert!(error.contains("certificates in /missing.pem") && !error.contains("s3cret"), "{error}");
    }
}
