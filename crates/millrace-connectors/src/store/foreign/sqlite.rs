//! Foreign SQLite: values take the declared type of their column; an expression has the type of its values.

use std::str::FromStr;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use chrono::{NaiveDate, NaiveDateTime};
use futures_util::TryStreamExt;
use millrace_model::Timestamp;
use sqlx::sqlite::{SqliteColumn, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{
    AssertSqlSafe, Column, ColumnOrigin, ConnectOptions, Connection, Decode, Executor, Row, SqlSafeStr, Sqlite,
    Statement, TypeInfo, ValueRef,
};

use super::cells::{Cell, batches, check_limit, schema, time_type};
use super::decimal::{self, bounded, unscaled};
use super::{failed, invalid, misfit};
use crate::store::{BUSY_MS_MAX, StoreError};

pub(super) async fn read(url: &str, select: &str) -> Result<(SchemaRef, Vec<RecordBatch>), StoreError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|e| invalid(e.to_string()))?;
    let file = options.get_filename();
    if !file.is_file() {
        return Err(invalid(format!("there is no file {}", file.display())));
    }
    let options = options.read_only(true).busy_timeout(Duration::from_millis(BUSY_MS_MAX)).disable_statement_logging();
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let read = read_from(&mut connection, select).await;
    connection.close().await.ok();
    read
}

async fn read_from(
    connection: &mut SqliteConnection,
    select: &str,
) -> Result<(SchemaRef, Vec<RecordBatch>), StoreError> {
    let statement = connection.prepare(AssertSqlSafe(select).into_sql_str()).await.map_err(failed)?;
    let mut declared = Vec::new();
    for column in statement.columns() {
        declared.push(declared_type(connection, column).await?);
    }
    let mut cells = Vec::new();
    {
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            check_limit(cells.len())?;
            cells.push(row_cells(&row, &declared)?);
        }
    }
    let mut columns = Vec::new();
    for (at, column) in statement.columns().iter().enumerate() {
        let data_type = match &declared[at] {
            Some(data_type) => data_type.clone(),
            None => settle(&mut cells, at).map_err(|e| misfit(column.name(), &e))?,
        };
        columns.push((column.name().to_owned(), data_type));
    }
    let schema = schema(columns)?;
    let batches = batches(&schema, &cells)?;
    Ok((schema, batches))
}

async fn declared_type(
    connection: &mut SqliteConnection,
    column: &SqliteColumn,
) -> Result<Option<DataType>, StoreError> {
    let ColumnOrigin::Table(origin) = column.origin() else {
        return Ok(None);
    };
    let sql = "SELECT type FROM pragma_table_info($1) WHERE name = $2";
    let declared: Option<String> = sqlx::query_scalar(sql)
        .bind(origin.table.to_string())
        .bind(origin.name.to_string())
        .fetch_optional(connection)
        .await
        .map_err(failed)?;
    Ok(declared.and_then(|declared| arrow_type(&declared)))
}

/// By SQLite's rules of affinity (sqlite.org/datatype3.html), with the names that say more. `None`: the type says nothing.
fn arrow_type(declared: &str) -> Option<DataType> {
    let lower = declared.to_ascii_lowercase();
    let name = lower.split('(').next().unwrap_or_default().trim();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    Some(match name {
        "" => return None,
        "boolean" | "bool" => DataType::Boolean,
        "date" => DataType::Date32,
        _ if has(&["timestamp", "datetime"]) => time_type(),
        _ if has(&["decimal", "numeric"]) => {
            let (precision, scale) = arguments(&lower).map_or(decimal::UNSAID, |(p, s)| bounded(p, s));
            DataType::Decimal128(precision, scale)
        }
        _ if has(&["int"]) => DataType::Int64,
        _ if has(&["char", "clob", "text", "json", "uuid"]) => DataType::Utf8,
        _ if has(&["blob", "binary"]) => DataType::Binary,
        _ if has(&["real", "floa", "doub"]) => DataType::Float64,
        _ => return None,
    })
}

/// `(10, 2)` of `decimal(10, 2)`.
fn arguments(declared: &str) -> Option<(i32, i32)> {
    let (_, inside) = declared.split_once('(')?;
    let (precision, scale) = inside.trim_end().strip_suffix(')')?.split_once(',').unwrap_or((inside, "0"));
    let number = |text: &str| text.trim().trim_end_matches(')').parse().ok();
    Some((number(precision)?, number(scale)?))
}

fn row_cells(row: &SqliteRow, declared: &[Option<DataType>]) -> Result<Vec<Cell>, StoreError> {
    let cell = |(at, column): (usize, &SqliteColumn)| {
        let stored = stored(row, at).map_err(|e| misfit(column.name(), &e))?;
        match &declared[at] {
            Some(data_type) => fitted(stored, data_type).map_err(|e| misfit(column.name(), &e)),
            None => Ok(stored),
        }
    };
    row.columns().iter().enumerate().map(cell).collect()
}

/// The value as SQLite holds it: one of five kinds, whatever is declared.
fn stored(row: &SqliteRow, at: usize) -> Result<Cell, String> {
    let raw = row.try_get_raw(at).map_err(|e| e.to_string())?;
    if raw.is_null() {
        return Ok(Cell::Null);
    }
    let kind = raw.type_info().name().to_owned();
    let words = |e: sqlx::error::BoxDynError| e.to_string();
    Ok(match kind.as_str() {
        "INTEGER" => Cell::Integer(<i64 as Decode<Sqlite>>::decode(raw).map_err(words)?),
        "REAL" => Cell::Number(<f64 as Decode<Sqlite>>::decode(raw).map_err(words)?),
        "TEXT" => Cell::Text(<String as Decode<Sqlite>>::decode(raw).map_err(words)?),
        "BLOB" => Cell::Bytes(<Vec<u8> as Decode<Sqlite>>::decode(raw).map_err(words)?),
        other => return Err(format!("a value of the unknown kind {other}")),
    })
}

fn fitted(stored: Cell, data_type: &DataType) -> Result<Cell, String> {
    Ok(match (data_type, stored) {
        (_, Cell::Null) => Cell::Null,
        (DataType::Boolean, Cell::Integer(value @ (0 | 1))) => Cell::Boolean(value == 1),
        (DataType::Int64, cell @ Cell::Integer(_))
        | (DataType::Float64, cell @ Cell::Number(_))
        | (DataType::Utf8, cell @ Cell::Text(_))
        | (DataType::Binary, cell @ Cell::Bytes(_)) => cell,
        (DataType::Float64, Cell::Integer(value)) => Cell::Number(value as f64),
        (DataType::Utf8, Cell::Integer(value)) => Cell::Text(value.to_string()),
        (DataType::Utf8, Cell::Number(value)) => Cell::Text(value.to_string()),
        (DataType::Binary, Cell::Text(text)) => Cell::Bytes(text.into_bytes()),
        (DataType::Decimal128(p, s), Cell::Integer(value)) => Cell::Decimal(unscaled(&value.to_string(), (*p, *s))?),
        // The shortest text that reads back as the same double: 12.3, not 12.300000000000000711.
        (DataType::Decimal128(p, s), Cell::Number(value)) => Cell::Decimal(unscaled(&value.to_string(), (*p, *s))?),
        (DataType::Decimal128(p, s), Cell::Text(text)) => Cell::Decimal(unscaled(text.trim(), (*p, *s))?),
        (DataType::Date32, Cell::Text(text)) => Cell::Integer(days(&text)?),
        (DataType::Timestamp(..), Cell::Text(text)) => Cell::Integer(micros(&text)?),
        (DataType::Date32 | DataType::Timestamp(..), _) => {
            return Err(
                "a time that is not text: seconds, milliseconds or days? Select datetime(column, 'unixepoch')".into()
            );
        }
        (wanted, _) => return Err(format!("a value that is not {wanted}, which the column is declared as")),
    })
}

fn date(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").ok()
}

fn days(text: &str) -> Result<i64, String> {
    let date = date(text).ok_or("a text that is not a date (2026-01-31)")?;
    Ok(date.signed_duration_since(NaiveDate::default()).num_days())
}

fn micros(text: &str) -> Result<i64, String> {
    if let Some(time) = Timestamp::parse(text.trim().as_bytes()) {
        return Ok(time.0);
    }
    // What datetime() gives, and what most drivers write: UTC without saying so.
    let naive = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text.trim(), form).ok())
        .or_else(|| date(text)?.and_hms_opt(0, 0, 0));
    let naive = naive.ok_or("a text that is not a time (2026-01-31T09:05:00Z or 2026-01-31 09:05:00)")?;
    Ok(naive.and_utc().timestamp_micros())
}

/// The type of an expression's values: the narrowest that takes them all, text where there are none.
fn settle(rows: &mut [Vec<Cell>], at: usize) -> Result<DataType, String> {
    let has = |rows: &[Vec<Cell>], kind: fn(&Cell) -> bool| rows.iter().any(|row| kind(&row[at]));
    let data_type = if has(rows, |cell| matches!(cell, Cell::Bytes(_))) {
        DataType::Binary
    } else if has(rows, |cell| matches!(cell, Cell::Text(_))) {
        DataType::Utf8
    } else if has(rows, |cell| matches!(cell, Cell::Number(_))) {
        DataType::Float64
    } else if has(rows, |cell| matches!(cell, Cell::Integer(_))) {
        DataType::Int64
    } else {
        DataType::Utf8
    };
    for row in rows {
        let cell = std::mem::replace(&mut row[at], Cell::Null);
        row[at] = fitted(cell, &data_type)?;
    }
    Ok(data_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types() {
        for (declared, expected) in [
            ("BIGINT", Some(DataType::Int64)),
            ("VARCHAR(20)", Some(DataType::Utf8)),
            ("DOUBLE PRECISION", Some(DataType::Float64)),
            ("DECIMAL(10, 2)", Some(DataType::Decimal128(10, 2))),
            ("numeric(7)", Some(DataType::Decimal128(7, 0))),
            ("NUMERIC", Some(DataType::Decimal128(38, 18))),
            ("timestamp with time zone", Some(time_type())),
            ("DATE", Some(DataType::Date32)),
            ("", None),
            ("ANY", None),
        ] {
            assert_eq!(arrow_type(declared), expected, "{declared}");
        }
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("1970-01-02", Some(86_400_000_000)),
            ("1970-01-01 00:00:01", Some(1_000_000)),
            ("1970-01-01T00:00:01.000001", Some(1_000_001)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("tomorrow", None),
        ] {
            assert_eq!(micros(text).ok(), expected, "{text}");
        }
        assert_eq!(days("1969-12-31"), Ok(-1));
    }
}
