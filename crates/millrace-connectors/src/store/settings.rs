//! Where the store is: the URL, read and masked, and the limits of its connections.

use std::str::FromStr;
use std::time::Duration;

use millrace_model::ErrorKind;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::StoreError;

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
                // The driver's text may quote the URL: only its place is said.
                let options = PgConnectOptions::from_str(url).map_err(|_| invalid("it cannot be read".into()))?;
                let options = options.application_name("millrace");
                Ok(StoreUrl::Postgres(Box::new(options)))
            }
            _ => Err(invalid("it names neither kind of store".into())),
        }
    }
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
}
