//! Foreign databases: a table or query of a PostgreSQL or SQLite that is not ours, read once into Arrow columns.
//!
//! What `CREATE TABLE … USING jdbc` of a pipeline reads. Nothing is written there: no migration, no file that was
//! missing, no journal mode; the connection refuses to write. Types are those Spark's JDBC source gives:
//!
//! | PostgreSQL | SQLite (declared) | Arrow |
//! |---|---|---|
//! | boolean | BOOLEAN | Boolean |
//! | smallint, integer, bigint, oid | any with INT | Int16, Int32, Int64, Int64; SQLite always Int64 |
//! | real, double precision | REAL, DOUBLE, FLOAT | Float32, Float64; SQLite always Float64 |
//! | numeric(p, s); numeric | DECIMAL(p, s), NUMERIC(p, s); NUMERIC | Decimal128(p, s); Decimal128(38, 18) |
//! | text, varchar, char, name, uuid, json, jsonb, xml, enums | any with CHAR, CLOB, TEXT, JSON or UUID | Utf8 |
//! | bytea | BLOB | Binary |
//! | date | DATE | Date32 |
//! | timestamp (taken as UTC), timestamptz | TIMESTAMP, TIMESTAMPTZ, DATETIME, as text | Timestamp(µs, "+00:00") |
//!
//! Decimals with more digits after the point than their type are rounded half up, as Spark does. SQLite columns without
//! a declared type (expressions) get the type of their values. Every field is nullable. Other types: CAST to TEXT.

mod cells;
mod decimal;
mod postgres;
mod sqlite;

use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use millrace_model::ErrorKind;

use super::error::{detail, kind_of};
use super::{StoreError, masked};

/// Rows one read takes, at most: the whole table is held in memory.
pub const FOREIGN_ROWS_MAX: usize = 1_000_000;
/// Rows of one batch, at most.
pub const FOREIGN_BATCH_ROWS_MAX: usize = 8_192;
/// Longest read, with connecting, milliseconds.
pub const FOREIGN_MS_MAX: u64 = 300_000;

/// Reads what a statement selects, from `postgres://user:password@host:5432/database` or `sqlite:///folder/file.db`.
/// The password is never logged. The schema is there without rows too.
///
/// # Errors
/// `Invalid`: the URL, the credentials, the statement, a type without Arrow form, two columns of one name, more than
/// [`FOREIGN_ROWS_MAX`] rows. `Data`: a value that is not of its column's type. `Unavailable`: the database is away,
/// busy, or took longer than [`FOREIGN_MS_MAX`].
pub async fn read(url: &str, select: &str) -> Result<(SchemaRef, Vec<RecordBatch>), StoreError> {
    let reading = async {
        match url.split(':').next() {
            Some("sqlite") => sqlite::read(url, select).await,
            Some("postgres" | "postgresql") => postgres::read(url, select).await,
            _ => Err(invalid("it names neither PostgreSQL nor SQLite; write postgres://… or sqlite:///…")),
        }
    };
    let late = || StoreError::new(ErrorKind::Unavailable, format!("no answer within {} s", FOREIGN_MS_MAX / 1_000));
    let read = tokio::time::timeout(Duration::from_millis(FOREIGN_MS_MAX), reading).await;
    read.unwrap_or_else(|_| Err(late())).map_err(|e| e.within(format_args!("read `{}`", masked(url))))
}

fn invalid(text: impl Into<String>) -> StoreError {
    StoreError::new(ErrorKind::Invalid, text)
}

/// An error of the database, in its words.
fn failed(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|error| error.code());
    // Read-only is how we connect, so here it is the statement that writes.
    let kind = if code.as_deref() == Some("25006") { ErrorKind::Invalid } else { kind_of(&error) };
    StoreError::new(kind, detail(&error))
}

/// A value that is not what its column says. The value itself may be nobody's business: it is not shown.
fn misfit(column: &str, detail: &str) -> StoreError {
    StoreError::new(ErrorKind::Data, format!("column `{column}`: {detail}"))
}
