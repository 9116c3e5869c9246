//! Cells of a foreign table, and the Arrow columns they become.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use millrace_model::ErrorKind;

use super::super::StoreError;
use super::{FOREIGN_BATCH_ROWS_MAX, FOREIGN_ROWS_MAX, invalid};

/// One value, in the widest form of its kind.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Cell {
    Null,
    Boolean(bool),
    /// Also days since 1970-01-01 of a date, and microseconds of a time.
    Integer(i64),
    Number(f64),
    /// Unscaled: 12.30 of scale 2 is 1230.
    Decimal(i128),
    Text(String),
    Bytes(Vec<u8>),
}

/// A point in time.
pub(super) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// A schema of nullable columns. Two of one name could not be told apart by the pipeline.
pub(super) fn schema(columns: Vec<(String, DataType)>) -> Result<SchemaRef, StoreError> {
    let mut names: Vec<&String> = columns.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(invalid(format!("two columns are called `{}`; give one another name with AS", pair[0])));
    }
    let fields: Vec<Field> = columns.into_iter().map(|(name, data_type)| Field::new(name, data_type, true)).collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// Refuses one row more than the limit.
pub(super) fn check_limit(rows: usize) -> Result<(), StoreError> {
    if rows < FOREIGN_ROWS_MAX {
        return Ok(());
    }
    Err(invalid(format!("more than {FOREIGN_ROWS_MAX} rows; read fewer with `query` and a WHERE")))
}

/// Batches of rows, each of at most [`FOREIGN_BATCH_ROWS_MAX`].
pub(super) fn batches(schema: &SchemaRef, rows: &[Vec<Cell>]) -> Result<Vec<RecordBatch>, StoreError> {
    rows.chunks(FOREIGN_BATCH_ROWS_MAX).map(|rows| batch(schema, rows)).collect()
}

fn batch(schema: &SchemaRef, rows: &[Vec<Cell>]) -> Result<RecordBatch, StoreError> {
    let arrays = schema.fields().iter().enumerate().map(|(at, field)| {
        let cells = rows.iter().map(|row| &row[at]);
        array(field.data_type(), cells).map_err(|what| internal(format!("column `{}`: {what}", field.name())))
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), arrays.collect::<Result<_, _>>()?, &options)
        .map_err(|e| internal(e.to_string()))
}

fn internal(text: String) -> StoreError {
    StoreError::new(ErrorKind::Internal, text)
}

/// The cells as an array. Each reader makes only cells that fit their column; what does not would be lost, so it is refused.
fn array<'a>(data_type: &DataType, cells: impl Iterator<Item = &'a Cell> + Clone) -> Result<ArrayRef, String> {
    let integer = |cell: &Cell| if let Cell::Integer(value) = cell { Some(*value) } else { None };
    let number = |cell: &Cell| if let Cell::Number(value) = cell { Some(*value) } else { None };
    let decimal = |cell: &Cell| if let Cell::Decimal(value) = cell { Some(*value) } else { None };
    let narrow = |cell: &Cell| integer(cell).and_then(|value| i32::try_from(value).ok());
    let short = |cell: &Cell| integer(cell).and_then(|value| i16::try_from(value).ok());
    let boolean = |cell: &Cell| if let Cell::Boolean(value) = cell { Some(*value) } else { None };
    let nulls = cells.clone().filter(|cell| **cell == Cell::Null).count();
    let array: ArrayRef = match data_type {
        DataType::Boolean => Arc::new(cells.map(boolean).collect::<BooleanArray>()),
        DataType::Int16 => Arc::new(cells.map(short).collect::<Int16Array>()),
        DataType::Int32 => Arc::new(cells.map(narrow).collect::<Int32Array>()),
        DataType::Int64 => Arc::new(cells.map(integer).collect::<Int64Array>()),
        DataType::Float32 => {
            Arc::new(cells.map(|cell| number(cell).map(|value| value as f32)).collect::<Float32Array>())
        }
        DataType::Float64 => Arc::new(cells.map(number).collect::<Float64Array>()),
        DataType::Decimal128(precision, scale) => {
            let array = cells.map(decimal).collect::<Decimal128Array>();
            Arc::new(array.with_precision_and_scale(*precision, *scale).map_err(|e| e.to_string())?)
        }
        DataType::Utf8 => {
            let text = |cell: &'a Cell| if let Cell::Text(text) = cell { Some(text.as_str()) } else { None };
            Arc::new(cells.map(text).collect::<StringArray>())
        }
        DataType::Binary => {
            let bytes = |cell: &'a Cell| if let Cell::Bytes(bytes) = cell { Some(bytes.as_slice()) } else { None };
            Arc::new(cells.map(bytes).collect::<BinaryArray>())
        }
        DataType::Date32 => Arc::new(cells.map(narrow).collect::<Date32Array>()),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let array = cells.map(integer).collect::<TimestampMicrosecondArray>();
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        other => return Err(format!("{other} is not a type of a foreign column")),
    };
    if array.null_count() != nulls {
        return Err("a value of another type".into());
    }
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_not_lost() {
        let columns = schema(vec![("n".into(), DataType::Int16)]).expect("a schema");
        let row = |value| vec![vec![Cell::Null], vec![Cell::Integer(value)]];
        assert_eq!(batches(&columns, &row(7)).expect("it fits")[0].num_rows(), 2);
        assert!(batches(&columns, &row(70_000)).is_err());
    }

    #[test]
    fn no_two_columns_have_one_name() {
        let twice = vec![("n".to_owned(), DataType::Int16), ("n".to_owned(), DataType::Utf8)];
        assert!(schema(twice).expect_err("twice").to_string().contains("`n`"));
    }
}
