//! What can go wrong with the store, and the one place that turns a database's error into an instruction.

use std::fmt;

use millrace_model::{Classified, ErrorKind};

use crate::tls;

/// An error of the store: what was done, what the database said, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreError {
    kind: ErrorKind,
    text: String,
}

impl StoreError {
    /// An error with its text: lower case, what and detail and hint. It must not hold a password.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        StoreError { kind, text: text.into() }
    }

    /// An error of the database while doing `what`.
    pub(crate) fn of(what: impl fmt::Display, error: &sqlx::Error) -> Self {
        let kind = kind_of(error);
        StoreError::new(kind, format!("{what}: {}{}", detail(error), hint(kind, error)))
    }

    /// Says in which step it happened.
    pub(crate) fn within(self, what: impl fmt::Display) -> Self {
        StoreError { text: format!("{what}: {}", self.text), ..self }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for StoreError {}

impl Classified for StoreError {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// The words of the error, without the connection's URL.
pub(super) fn detail(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => match database.code() {
            Some(code) => format!("{} (code {code})", database.message()),
            None => database.message().to_owned(),
        },
        sqlx::Error::PoolTimedOut => "no connection became free in time".into(),
        other => other.to_string(),
    }
}

fn hint(kind: ErrorKind, error: &sqlx::Error) -> &'static str {
    match (kind, error) {
        (ErrorKind::Unavailable, sqlx::Error::Database(_)) => "",
        (_, sqlx::Error::Database(database)) if database.code().as_deref() == Some("42P08") => {
            "; where a parameter may be null, write its comparison before IS NULL: (x = $1 OR $1 IS NULL)"
        }
        (_, sqlx::Error::Database(database)) if database.code().as_deref() == Some("42501") => {
            "; the role of `store.url` may not do this: tables are made and written by their owner"
        }
        (ErrorKind::Invalid, sqlx::Error::Io(_)) => {
            "; is `sslrootcert` of `store.url` the authority that signed the server's certificate, and its host a name \
             the certificate is for?"
        }
        (ErrorKind::Invalid, sqlx::Error::Tls(_)) => {
            "; switch it on at the server (ssl = on), or write another `sslmode` in `store.url`"
        }
        (ErrorKind::Unavailable, _) => "; is the database running and reachable at the address of `store.url`?",
        _ => "",
    }
}

/// The kind of a driver's error. Databases that are away, full, busy or failing over come back.
pub(crate) fn kind_of(error: &sqlx::Error) -> ErrorKind {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                kind_of_sqlstate(&code)
            } else {
                kind_of_sqlite(code.parse().unwrap_or(0))
            }
        }
        // A certificate that is not trusted, a server without TLS: that does not mend itself.
        sqlx::Error::Io(io) if tls::cause(io).refused => ErrorKind::Invalid,
        sqlx::Error::Tls(_) => ErrorKind::Invalid,
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => ErrorKind::Unavailable,
        sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_) => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}

/// By SQLSTATE; source: PostgreSQL 15 manual, appendix A.
fn kind_of_sqlstate(code: &str) -> ErrorKind {
    match (code.get(..2).unwrap_or_default(), code) {
        // A value the column cannot hold, or a row that is too long for an index: one row is at fault.
        ("22" | "23" | "54", _) => ErrorKind::Data,
        // Connection lost, resources short, shutting down, deadlock, a standby that has not been promoted yet.
        ("08" | "53" | "57" | "58" | "40", _) | (_, "55P03" | "25006") => ErrorKind::Unavailable,
        ("0A" | "28" | "3D" | "3F" | "42", _) => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}

/// By result code (the low byte of an extended one); source: sqlite.org/rescode.html.
fn kind_of_sqlite(code: i32) -> ErrorKind {
    match code & 0xff {
        5 | 6 | 10 | 13 => ErrorKind::Unavailable, // busy, locked, I/O error, disk full
        1 | 3 | 8 | 14 | 23 | 25 => ErrorKind::Invalid, // SQL, permission, read-only, cannot open, range
        18..=20 => ErrorKind::Data,                // too big, constraint, mismatch
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for (code, kind) in [
            ("22P05", ErrorKind::Data),
            ("54000", ErrorKind::Data),
            ("23505", ErrorKind::Data),
            ("57P01", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("40P01", ErrorKind::Unavailable),
            ("25006", ErrorKind::Unavailable),
            ("28P01", ErrorKind::Invalid),
            ("42P01", ErrorKind::Invalid),
            ("XX001", ErrorKind::Internal),
            ("", ErrorKind::Internal),
        ] {
            assert_eq!(kind_of_sqlstate(code), kind, "{code}");
        }
        for (code, kind) in [
            (5, ErrorKind::Unavailable),
            (261, ErrorKind::Unavailable), // SQLITE_BUSY_RECOVERY
            (13, ErrorKind::Unavailable),
            (2067, ErrorKind::Data), // SQLITE_CONSTRAINT_UNIQUE
            (1, ErrorKind::Invalid),
            (11, ErrorKind::Internal),
        ] {
            assert_eq!(kind_of_sqlite(code), kind, "{code}");
        }
        for (kind, expected) in [
            (std::io::ErrorKind::InvalidData, ErrorKind::Invalid),
            (std::io::ErrorKind::ConnectionReset, ErrorKind::Unavailable),
        ] {
            assert_eq!(kind_of(&sqlx::Error::Io(std::io::Error::new(kind, "the other side"))), expected, "{kind}");
        }
    }
}
