//! Rows of either database as JSON objects that look the same.
//!
//! PostgreSQL says the type of every value. SQLite has five kinds of value and says for each result column which
//! table's column it is; that column's declared type tells a boolean from an integer and JSON from text. An expression
//! has no such column: `a > 1` is 0 or 1 there.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use futures_util::TryStreamExt;
use millrace_model::{ErrorKind, Timestamp};
use serde_json::{Map, Value};

use sqlx::postgres::{PgPool, PgRow};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Column, ColumnOrigin, Decode, Row, Type, TypeInfo, ValueRef};

use super::numeric;
use super::session::{bind_postgres, bind_sqlite, unnamed};
use super::settings::QUERY_MS_MAX;
use super::value::SqlType;
use super::{Param, StoreError};

/// Rows one query answers, at most.
pub const QUERY_ROWS_MAX: usize = 200_000;

/// A row: column names in the order of the statement.
pub type JsonRow = Map<String, Value>;

/// Takes a row; an error ends the reading.
pub type EachRow<'a> = dyn FnMut(JsonRow) -> Result<(), StoreError> + Send + 'a;

type Declared = Arc<HashMap<String, SqlType>>;

/// The declared types of SQLite's tables, read when first needed.
#[derive(Default)]
pub(super) struct DeclaredTypes(RwLock<HashMap<String, Declared>>);

impl DeclaredTypes {
    async fn of(&self, pool: &SqlitePool, table: &str, column: &str) -> Result<Option<SqlType>, sqlx::Error> {
        let known = |types: &HashMap<String, Declared>| types.get(table).and_then(|t| t.get(column).copied());
        if let Some(sql_type) = self.0.read().ok().and_then(|types| known(&types)) {
            return Ok(Some(sql_type));
        }
        // Not known, or added since by another process.
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT name, type FROM pragma_table_info($1)")
            .bind(table.to_owned())
            .fetch_all(pool)
            .await?;
        let declared: HashMap<String, SqlType> =
            rows.into_iter().filter_map(|(name, declared)| Some((name, SqlType::from_name(&declared)?))).collect();
        let sql_type = declared.get(column).copied();
        if let Ok(mut types) = self.0.write() {
            types.insert(table.to_owned(), Arc::new(declared));
        }
        Ok(sql_type)
    }

    /// Forgets them: a table was dropped or made anew.
    pub(super) fn clear(&self) {
        if let Ok(mut types) = self.0.write() {
            types.clear();
        }
    }
}

pub(super) async fn query_sqlite(
    pool: &SqlitePool,
    types: &DeclaredTypes,
    sql: &str,
    params: &[Param],
) -> Result<Vec<JsonRow>, StoreError> {
    let failed = |e: sqlx::Error| StoreError::of("query", &e);
    let query = params.iter().fold(sqlx::query(AssertSqlSafe(sql)), bind_sqlite);
    let mut found: Vec<SqliteRow> = Vec::new();
    {
        let mut rows = query.fetch(pool);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            check_limit(found.len())?;
            found.push(row);
        }
    }
    let Some(first) = found.first() else {
        return Ok(Vec::new());
    };
    let declared = declared(pool, types, first).await?;
    found.iter().map(|row| sqlite_row(row, &declared)).collect()
}

/// The same, a row at a time, however many there are. While it reads it holds one connection, and may ask for a second.
pub(super) async fn each_of_sqlite(
    pool: &SqlitePool,
    types: &DeclaredTypes,
    sql: &str,
    each: &mut EachRow<'_>,
) -> Result<(), StoreError> {
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(pool);
    let mut known = None;
    while let Some(row) = rows.try_next().await.map_err(|e| StoreError::of("query", &e))? {
        let declared = match &known {
            Some(declared) => declared,
            None => known.insert(declared(pool, types, &row).await?),
        };
        each(sqlite_row(&row, declared)?)?;
    }
    Ok(())
}

async fn declared(
    pool: &SqlitePool,
    types: &DeclaredTypes,
    row: &SqliteRow,
) -> Result<Vec<Option<SqlType>>, StoreError> {
    check_names(row.columns().iter().map(Column::name))?;
    let mut declared = Vec::with_capacity(row.columns().len());
    for column in row.columns() {
        declared.push(match column.origin() {
            ColumnOrigin::Table(origin) => {
                types.of(pool, &origin.table, &origin.name).await.map_err(|e| StoreError::of("query", &e))?
            }
            _ => None,
        });
    }
    Ok(declared)
}

fn sqlite_row(row: &SqliteRow, declared: &[Option<SqlType>]) -> Result<JsonRow, StoreError> {
    let mut object = JsonRow::new();
    for (at, column) in row.columns().iter().enumerate() {
        let value = sqlite_value(row, at, declared[at]).map_err(|e| unreadable(column.name(), &e))?;
        object.insert(column.name().to_owned(), value);
    }
    Ok(object)
}

fn sqlite_value(row: &SqliteRow, at: usize, declared: Option<SqlType>) -> Result<Value, String> {
    let raw = row.try_get_raw(at).map_err(|e| e.to_string())?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    let words = |e: sqlx::error::BoxDynError| e.to_string();
    Ok(match kind.as_str() {
        "INTEGER" => {
            let value = <i64 as Decode<sqlx::Sqlite>>::decode(raw).map_err(words)?;
            if declared == Some(SqlType::Boolean) { Value::Bool(value != 0) } else { Value::from(value) }
        }
        "REAL" => Value::from(<f64 as Decode<sqlx::Sqlite>>::decode(raw).map_err(words)?),
        "TEXT" => {
            let text = <String as Decode<sqlx::Sqlite>>::decode(raw).map_err(words)?;
            match declared {
                Some(SqlType::Json) => serde_json::from_str(&text).map_err(|e| e.to_string())?,
                _ => Value::String(text),
            }
        }
        other => return Err(format!("a value of type {other} has no JSON form here; CAST it to TEXT")),
    })
}

pub(super) async fn query_postgres(pool: &PgPool, sql: &str, params: &[Param]) -> Result<Vec<JsonRow>, StoreError> {
    let mut found = Vec::new();
    let mut keep = |row| {
        check_limit(found.len())?;
        found.push(row);
        Ok(())
    };
    each_of_postgres(pool, sql, params, QUERY_MS_MAX, &mut keep).await?;
    Ok(found)
}

/// The rows of a statement that takes at most this long; 0: as long as it takes.
pub(super) async fn each_of_postgres(
    pool: &PgPool,
    sql: &str,
    params: &[Param],
    most_ms: u64,
    each: &mut EachRow<'_>,
) -> Result<(), StoreError> {
    let failed = |e: sqlx::Error| StoreError::of("query", &e);
    let begin = format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {most_ms}");
    let mut transaction = pool.begin_with(AssertSqlSafe(begin)).await.map_err(failed)?;
    {
        let mut rows = params.iter().fold(unnamed(sql.to_owned()), bind_postgres).fetch(&mut *transaction);
        let mut names_checked = false;
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            if !names_checked {
                check_names(row.columns().iter().map(Column::name))?;
                names_checked = true;
            }
            each(postgres_row(&row)?)?;
        }
    }
    // Nothing a statement may have set stays. The rows are here: what becomes of the connection is the pool's affair.
    transaction.rollback().await.ok();
    Ok(())
}

fn postgres_row(row: &PgRow) -> Result<JsonRow, StoreError> {
    let mut object = JsonRow::new();
    for (at, column) in row.columns().iter().enumerate() {
        let value = postgres_value(row, at).map_err(|e| unreadable(column.name(), &e))?;
        object.insert(column.name().to_owned(), value);
    }
    Ok(object)
}

fn postgres_value(row: &PgRow, at: usize) -> Result<Value, String> {
    let name = row.columns()[at].type_info().name().to_owned();
    let time = |time: DateTime<Utc>| Value::String(Timestamp(time.timestamp_micros()).to_string());
    Ok(match name.as_str() {
        "BOOL" => cell::<bool>(row, at)?.map_or(Value::Null, Value::Bool),
        "INT2" => cell::<i16>(row, at)?.map_or(Value::Null, Value::from),
        "INT4" => cell::<i32>(row, at)?.map_or(Value::Null, Value::from),
        "INT8" => cell::<i64>(row, at)?.map_or(Value::Null, Value::from),
        "FLOAT4" => cell::<f32>(row, at)?.map_or(Value::Null, Value::from),
        "FLOAT8" => cell::<f64>(row, at)?.map_or(Value::Null, Value::from),
        "NUMERIC" => {
            let raw = row.try_get_raw(at).map_err(|e| e.to_string())?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            numeric::from_binary(raw.as_bytes().map_err(|e| e.to_string())?)?
        }
        "TEXT" | "VARCHAR" | "NAME" | "CHAR" | "UNKNOWN" => cell::<String>(row, at)?.map_or(Value::Null, Value::String),
        "TIMESTAMPTZ" => cell::<DateTime<Utc>>(row, at)?.map_or(Value::Null, time),
        "TIMESTAMP" => cell::<NaiveDateTime>(row, at)?.map_or(Value::Null, |naive| time(naive.and_utc())),
        "DATE" => cell::<NaiveDate>(row, at)?.map_or(Value::Null, |date| Value::String(date.to_string())),
        "JSON" | "JSONB" => cell::<Value>(row, at)?.unwrap_or(Value::Null),
        "VOID" => Value::Null,
        other => return Err(format!("type {other} has no JSON form here; CAST it to TEXT")),
    })
}

fn cell<'r, T: Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>>(
    row: &'r PgRow,
    at: usize,
) -> Result<Option<T>, String> {
    row.try_get_unchecked(at).map_err(|e| e.to_string())
}

fn check_limit(rows: usize) -> Result<(), StoreError> {
    if rows < QUERY_ROWS_MAX {
        return Ok(());
    }
    let text = format!("query: more than {QUERY_ROWS_MAX} rows; add a LIMIT or a narrower WHERE");
    Err(StoreError::new(ErrorKind::Invalid, text))
}

fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), StoreError> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => {
            let text = format!("query: two columns are called `{}`; give one another name with AS", pair[0]);
            Err(StoreError::new(ErrorKind::Invalid, text))
        }
    }
}

fn unreadable(column: &str, detail: &str) -> StoreError {
    StoreError::new(ErrorKind::Invalid, format!("query: column `{column}`: {detail}"))
}
