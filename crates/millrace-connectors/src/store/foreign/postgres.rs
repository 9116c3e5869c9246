//! Foreign PostgreSQL: its binary values as cells.

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use futures_util::TryStreamExt;
use sqlx::postgres::{PgColumn, PgConnection, PgRow, PgTypeInfo, PgTypeKind};
use sqlx::{AssertSqlSafe, Column, Connection, Executor, Row, SqlSafeStr, Statement, TypeInfo, ValueRef};

use super::cells::{Cell, batches, check_limit, schema, time_type};
use super::decimal::{self, bounded, unscaled};
use super::{FOREIGN_BATCH_ROWS_MAX, FOREIGN_MS_MAX, failed, invalid, misfit};
use crate::store::settings::postgres_options;
use crate::store::{StoreError, numeric};

/// PostgreSQL counts from 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;
/// What Spark makes of `infinity` and `-infinity`: 9999-12-31T23:59:59.999999Z and 0001-01-01T00:00:00Z.
const LAST_MICROS: i64 = 253_402_300_799_999_999;
const FIRST_MICROS: i64 = -62_135_596_800_000_000;
const LAST_DAYS: i64 = 2_932_896;
const FIRST_DAYS: i64 = -719_162;

pub(super) async fn read(url: &str, select: &str) -> Result<(SchemaRef, Vec<RecordBatch>), StoreError> {
    let options = postgres_options(url).map_err(invalid)?;
    let limits =
        [("default_transaction_read_only", "on".to_owned()), ("statement_timeout", FOREIGN_MS_MAX.to_string())];
    let mut connection = PgConnection::connect_with(&options.options(limits)).await.map_err(failed)?;
    let read = read_from(&mut connection, select).await;
    connection.close().await.ok();
    read
}

async fn read_from(connection: &mut PgConnection, select: &str) -> Result<(SchemaRef, Vec<RecordBatch>), StoreError> {
    let statement = connection.prepare(AssertSqlSafe(select).into_sql_str()).await.map_err(failed)?;
    let mut columns = Vec::new();
    for column in statement.columns() {
        columns.push((column.name().to_owned(), arrow_type(connection, column).await?));
    }
    let schema = schema(columns)?;
    let mut read = Vec::new();
    let mut pending = Vec::new();
    let mut count = 0;
    {
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            check_limit(count)?;
            count += 1;
            pending.push(cells(&row, &schema)?);
            if pending.len() == FOREIGN_BATCH_ROWS_MAX {
                read.extend(batches(&schema, &pending)?);
                pending.clear();
            }
        }
    }
    read.extend(batches(&schema, &pending)?);
    Ok((schema, read))
}

async fn arrow_type(connection: &mut PgConnection, column: &PgColumn) -> Result<DataType, StoreError> {
    let of = column.type_info();
    Ok(match of.name() {
        "BOOL" => DataType::Boolean,
        "INT2" => DataType::Int16,
        "INT4" => DataType::Int32,
        "INT8" | "OID" => DataType::Int64,
        "FLOAT4" => DataType::Float32,
        "FLOAT8" => DataType::Float64,
        "NUMERIC" => {
            let (precision, scale) = numeric_type(connection, column).await?;
            DataType::Decimal128(precision, scale)
        }
        "BYTEA" => DataType::Binary,
        "DATE" => DataType::Date32,
        "TIMESTAMP" | "TIMESTAMPTZ" => time_type(),
        _ if is_text(of) => DataType::Utf8,
        other => {
            let text = format!("column `{}`: type {other} has no column here; CAST it to TEXT", column.name());
            return Err(invalid(text));
        }
    })
}

fn is_text(of: &PgTypeInfo) -> bool {
    let known = ["TEXT", "VARCHAR", "CHAR", "\"CHAR\"", "NAME", "UNKNOWN", "UUID", "JSON", "JSONB", "XML"];
    known.contains(&of.name()) || of.name().eq_ignore_ascii_case("xml") || matches!(of.kind(), PgTypeKind::Enum(_))
}

/// Precision and scale as the column's table or view declares them. An expression declares none.
async fn numeric_type(connection: &mut PgConnection, column: &PgColumn) -> Result<(u8, i8), StoreError> {
    let (Some(relation), Some(attribute)) = (column.relation_id(), column.relation_attribute_no()) else {
        return Ok(decimal::UNSAID);
    };
    let sql = "SELECT atttypmod FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attnum = $2";
    let found: Option<i32> =
        sqlx::query_scalar(sql).bind(relation).bind(attribute).fetch_optional(connection).await.map_err(failed)?;
    // Source: `numeric_typmod_precision` and `numeric_typmod_scale` in PostgreSQL's `utils/adt/numeric.c`.
    Ok(match found {
        Some(modifier) if modifier >= 4 => {
            let said = modifier - 4;
            bounded((said >> 16) & 0xffff, ((said & 0x7ff) ^ 1_024) - 1_024)
        }
        _ => decimal::UNSAID,
    })
}

fn cells(row: &PgRow, schema: &SchemaRef) -> Result<Vec<Cell>, StoreError> {
    let cell = |(at, column): (usize, &PgColumn)| {
        cell(row, at, column, schema.field(at).data_type()).map_err(|e| misfit(column.name(), &e))
    };
    row.columns().iter().enumerate().map(cell).collect()
}

fn cell(row: &PgRow, at: usize, column: &PgColumn, data_type: &DataType) -> Result<Cell, String> {
    let raw = row.try_get_raw(at).map_err(|e| e.to_string())?;
    if raw.is_null() {
        return Ok(Cell::Null);
    }
    let bytes = raw.as_bytes().map_err(|e| e.to_string())?;
    Ok(match data_type {
        DataType::Boolean => Cell::Boolean(fixed::<1>(bytes)? != [0]),
        DataType::Int16 => Cell::Integer(i16::from_be_bytes(fixed(bytes)?).into()),
        DataType::Int32 => Cell::Integer(i32::from_be_bytes(fixed(bytes)?).into()),
        DataType::Int64 if column.type_info().name() == "OID" => {
            Cell::Integer(u32::from_be_bytes(fixed(bytes)?).into())
        }
        DataType::Int64 => Cell::Integer(i64::from_be_bytes(fixed(bytes)?)),
        DataType::Float32 => Cell::Number(f32::from_be_bytes(fixed(bytes)?).into()),
        DataType::Float64 => Cell::Number(f64::from_be_bytes(fixed(bytes)?)),
        DataType::Decimal128(precision, scale) => {
            let text = numeric::text(bytes)?.ok_or("NaN or infinity; CAST the column to DOUBLE PRECISION")?;
            Cell::Decimal(unscaled(&text, (*precision, *scale))?)
        }
        DataType::Binary => Cell::Bytes(bytes.to_vec()),
        DataType::Date32 => Cell::Integer(match i32::from_be_bytes(fixed(bytes)?) {
            i32::MAX => LAST_DAYS,
            i32::MIN => FIRST_DAYS,
            days => i64::from(days) + EPOCH_DAYS,
        }),
        DataType::Timestamp(..) => Cell::Integer(match i64::from_be_bytes(fixed(bytes)?) {
            i64::MAX => LAST_MICROS,
            i64::MIN => FIRST_MICROS,
            micros => micros.checked_add(EPOCH_MICROS).ok_or("a time beyond the year 294,000")?,
        }),
        _ => Cell::Text(text(column.type_info().name(), bytes)?),
    })
}

fn text(type_name: &str, bytes: &[u8]) -> Result<String, String> {
    let bytes = match type_name {
        "UUID" => return Ok(uuid(fixed(bytes)?)),
        // A version, then the text.
        "JSONB" => bytes.strip_prefix(&[1]).ok_or("a jsonb of another version")?,
        _ => bytes,
    };
    String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string())
}

fn uuid(bytes: [u8; 16]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| format!("{} bytes where {N} were expected", bytes.len()))
}
