//! The two databases behind one face: a transaction that executes, reads and upserts. Every statement that differs
//! between them is chosen here.
//!
//! On PostgreSQL a session is nothing that lasts: a pgbouncer may give each transaction another one, which a client before us has
//! used. So every statement is in a transaction, none is kept as a prepared statement under a name, and locks and settings are the
//! transaction's own.

use chrono::{DateTime, Utc};
use millrace_model::Timestamp;
use sqlx::postgres::{PgPool, PgTypeInfo, Postgres};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqlitePool};
use sqlx::{AssertSqlSafe, Encode, Type};

use super::batch::statement_sizes;
use super::table::Table;
use super::value::SqlType;
use super::{Param, StoreError};

/// Values one statement of SQLite binds, at most (its default SQLITE_MAX_VARIABLE_NUMBER).
const SQLITE_VALUES_MAX: usize = 32_766;
/// Rows of one upsert statement on SQLite.
const SQLITE_ROWS_MAX: usize = 256;

/// A transaction that writes. Dropped without a commit, it is rolled back.
pub(super) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    pub(super) async fn begin_sqlite(pool: &SqlitePool) -> Result<Self, sqlx::Error> {
        // The write lock at once: a transaction that began to read could no longer get it.
        Ok(Transaction::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?))
    }

    pub(super) async fn begin_postgres(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Ok(Transaction::Postgres(pool.begin().await?))
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Transaction::Sqlite(transaction) => transaction.commit().await,
            Transaction::Postgres(transaction) => transaction.commit().await,
        }
    }

    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        match self {
            Transaction::Sqlite(transaction) => transaction.rollback().await,
            Transaction::Postgres(transaction) => transaction.rollback().await,
        }
    }

    /// Executes one statement; how many rows it touched.
    pub(super) async fn execute(&mut self, sql: &str, params: &[Param]) -> Result<u64, sqlx::Error> {
        match self {
            Transaction::Sqlite(transaction) => {
                let query = params.iter().fold(sqlx::query(AssertSqlSafe(sql)), bind_sqlite);
                query.execute(&mut **transaction).await.map(|done| done.rows_affected())
            }
            Transaction::Postgres(transaction) => {
                let query = params.iter().fold(unnamed(sql.to_owned()), bind_postgres);
                query.execute(&mut **transaction).await.map(|done| done.rows_affected())
            }
        }
    }

    /// Whether the role may make tables where they would be made.
    pub(super) async fn may_make_tables(&mut self) -> Result<bool, sqlx::Error> {
        match self {
            Transaction::Sqlite(_) => Ok(true),
            Transaction::Postgres(transaction) => {
                let sql = "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), FALSE)";
                sqlx::query_scalar(sql).persistent(false).fetch_one(&mut **transaction).await
            }
        }
    }

    /// Rows of two texts, of a statement that names `about` as $1.
    pub(super) async fn pairs(&mut self, sql: &'static str, about: &str) -> Result<Vec<(String, String)>, sqlx::Error> {
        match self {
            Transaction::Sqlite(transaction) => {
                sqlx::query_as(sql).bind(about.to_owned()).fetch_all(&mut **transaction).await
            }
            Transaction::Postgres(transaction) => {
                sqlx::query_as(sql).bind(about.to_owned()).persistent(false).fetch_all(&mut **transaction).await
            }
        }
    }

    /// Upserts rows of which no two have the same key.
    pub(super) async fn upsert(&mut self, table: &Table, rows: &[&[Param]]) -> Result<(), StoreError> {
        let error =
            |e: sqlx::Error| StoreError::of(format!("write {} rows to table `{}`", rows.len(), table.name()), &e);
        let has_null_key = |row: &&&[Param]| table.key().iter().any(|at| row[*at] == Param::Null);
        for row in rows.iter().filter(has_null_key) {
            let key = table.key().iter().map(|at| &row[*at]).filter(|value| **value != Param::Null);
            let key: Vec<Param> = key.cloned().collect();
            self.execute(&table.delete_by_key(row), &key).await.map_err(error)?;
        }
        match self {
            Transaction::Sqlite(transaction) => upsert_sqlite(transaction, table, rows).await.map_err(error),
            Transaction::Postgres(transaction) => upsert_postgres(transaction, table, rows).await.map_err(error),
        }
    }
}

async fn upsert_sqlite(
    transaction: &mut sqlx::Transaction<'static, Sqlite>,
    table: &Table,
    rows: &[&[Param]],
) -> Result<(), sqlx::Error> {
    let rows_max = (SQLITE_VALUES_MAX / table.columns().len()).min(SQLITE_ROWS_MAX);
    let mut rest = rows;
    for size in statement_sizes(rows.len(), rows_max) {
        let (now, later) = rest.split_at(size);
        let text = table.upsert_values(size);
        let query = now.iter().flat_map(|row| row.iter()).fold(sqlx::query(AssertSqlSafe(text)), bind_sqlite);
        query.execute(&mut **transaction).await?;
        rest = later;
    }
    Ok(())
}

async fn upsert_postgres(
    transaction: &mut sqlx::Transaction<'static, Postgres>,
    table: &Table,
    rows: &[&[Param]],
) -> Result<(), sqlx::Error> {
    let mut query = unnamed(table.upsert_arrays());
    for (at, column) in table.columns().iter().enumerate() {
        let cells = rows.iter().map(|row| &row[at]);
        query = match column.sql_type {
            SqlType::Text | SqlType::Json => query.bind(array(cells, |cell| match cell {
                Param::Text(text) => Some(text.as_str()),
                _ => None,
            })),
            SqlType::Integer => query.bind(array(cells, |cell| match cell {
                Param::Integer(value) => Some(*value),
                _ => None,
            })),
            SqlType::Number => query.bind(array(cells, |cell| match cell {
                Param::Number(value) => Some(*value),
                _ => None,
            })),
            SqlType::Boolean => query.bind(array(cells, |cell| match cell {
                Param::Boolean(value) => Some(*value),
                _ => None,
            })),
            SqlType::Time => query.bind(array(cells, |cell| match cell {
                Param::Time(time) => Some(date_time(*time)),
                _ => None,
            })),
        };
    }
    query.execute(&mut **transaction).await.map(|_| ())
}

fn array<'a, T>(cells: impl Iterator<Item = &'a Param>, value: impl Fn(&'a Param) -> Option<T>) -> Vec<Option<T>> {
    cells.map(value).collect()
}

type SqliteQuery = Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>;
pub(super) type PostgresQuery = Query<'static, Postgres, sqlx::postgres::PgArguments>;

/// A statement that leaves nothing behind in the session.
pub(super) fn unnamed(sql: String) -> PostgresQuery {
    sqlx::query(AssertSqlSafe(sql)).persistent(false)
}

pub(super) fn bind_sqlite(query: SqliteQuery, param: &Param) -> SqliteQuery {
    match param {
        Param::Text(text) => query.bind(text.clone()),
        Param::Integer(value) => query.bind(*value),
        Param::Number(value) => query.bind(*value),
        Param::Boolean(value) => query.bind(*value),
        Param::Time(time) => query.bind(time.to_string()),
        Param::Null => query.bind(None::<String>),
    }
}

pub(super) fn bind_postgres(query: PostgresQuery, param: &Param) -> PostgresQuery {
    match param {
        Param::Text(text) => query.bind(text.clone()),
        Param::Integer(value) => query.bind(*value),
        Param::Number(value) => query.bind(*value),
        Param::Boolean(value) => query.bind(*value),
        Param::Time(time) => query.bind(date_time(*time)),
        Param::Null => query.bind(UntypedNull),
    }
}

/// A NULL whose type the server infers from where it stands.
struct UntypedNull;

impl Type<Postgres> for UntypedNull {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(sqlx::postgres::types::Oid(0))
    }
}

impl Encode<'_, Postgres> for UntypedNull {
    fn encode_by_ref(
        &self,
        _: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        Ok(sqlx::encode::IsNull::Yes)
    }
}

fn date_time(time: Timestamp) -> DateTime<Utc> {
    // Chrono's years end at 262,142; times read from text are of the years 0000 to 9999.
    let outside = if time.0 < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    DateTime::from_timestamp_micros(time.0).unwrap_or(outside)
}
