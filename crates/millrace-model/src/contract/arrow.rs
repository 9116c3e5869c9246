//! Contract columns ⇄ Arrow fields.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};

use super::{Column, ColumnType, Contract, Role, TopicSettings};

pub(super) fn schema(columns: &[Column]) -> Schema {
    Schema::new(fields(columns))
}

fn fields(columns: &[Column]) -> Fields {
    // Every field is nullable in Arrow: the decoder has already refused records that lack a required one, and a
    // statement may turn any column into null.
    columns.iter().map(|column| Field::new(&column.name, data_type(&column.column_type), true)).collect()
}

fn data_type(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Text => DataType::Utf8,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        ColumnType::List(item) => DataType::List(Arc::new(Field::new("item", data_type(item), true))),
        ColumnType::Struct(columns) => DataType::Struct(fields(columns)),
        ColumnType::Map(value) => {
            let entries = Fields::from(vec![
                Field::new("keys", DataType::Utf8, false),
                Field::new("values", data_type(value), true),
            ]);
            DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
        }
    }
}

fn column_type(data_type: &DataType) -> Result<ColumnType, String> {
    Ok(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::Text,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => ColumnType::Integer,
        DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => ColumnType::Number,
        DataType::Boolean => ColumnType::Boolean,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        DataType::List(item) | DataType::LargeList(item) => ColumnType::List(Box::new(column_type(item.data_type())?)),
        DataType::Struct(fields) => {
            ColumnType::Struct(fields.iter().map(|field| column(field)).collect::<Result<_, _>>()?)
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                ColumnType::Map(Box::new(column_type(fields[1].data_type())?))
            }
            _ => return Err("a map of an unusual layout".into()),
        },
        other => return Err(format!("type {other} has no JSON form; cast it")),
    })
}

fn column(field: &Field) -> Result<Column, String> {
    Ok(Column {
        name: field.name().clone(),
        column_type: column_type(field.data_type()).map_err(|e| format!("column `{}`: {e}", field.name()))?,
        // Every column is present in every row we write, null or not.
        required: true,
        nullable: true,
        not_empty: false,
        description: String::new(),
    })
}

/// What a streaming table says of its result.
pub struct ResultShape<'a> {
    /// Name of the table.
    pub name: &'a str,
    /// Its COMMENT.
    pub comment: &'a str,
    /// Columns of its SELECT.
    pub schema: &'a Schema,
    /// Its `key` property; empty when rows have no identity (append).
    pub key: Vec<String>,
    /// Column that tells the event time of a row, if one does.
    pub event_time: Option<String>,
}

/// The contract of a streaming table's result topic.
///
/// # Errors
/// Names the column whose type has no JSON form.
pub fn result_contract(shape: &ResultShape<'_>) -> Result<Contract, String> {
    let columns: Vec<Column> = shape.schema.fields().iter().map(|field| column(field)).collect::<Result<_, _>>()?;
    // A keyed result is a table: its topic keeps the last row of a key. Rows without identity are kept for a week.
    let (cleanup, retention) =
        if shape.key.is_empty() { ("delete", "604800000") } else { ("compact,delete", "2592000000") };
    let config = BTreeMap::from([
        ("cleanup.policy".to_owned(), cleanup.to_owned()),
        ("retention.ms".to_owned(), retention.to_owned()),
    ]);
    Ok(Contract {
        name: shape.name.to_owned(),
        description: shape.comment.to_owned(),
        role: Role::Result,
        columns,
        key: shape.key.clone(),
        event_time: shape.event_time.clone(),
        watermark_delay_micros: 0,
        deduplicate_by: Vec::new(),
        topic: TopicSettings { partitions: 1, config },
    })
}
