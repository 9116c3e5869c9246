//! `CAST(x AS STRING)` of what DataFusion writes otherwise: `[1, null]`, `{a -> 1}`, `{1, x}`, `1.0E20`, times.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_cast::cast;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use datafusion::common::{DataFusionError, Result};

use super::casts::timestamp_text;
use super::date_pattern::DatePattern;
use super::number_text::{double_text, float_text};
use super::simple::Simple;

/// A TIMESTAMP, DOUBLE, FLOAT, ARRAY, MAP or STRUCT as text.
pub(super) fn cast_to_text() -> Simple {
    Simple {
        name: "cast_to_text",
        aliases: &[],
        coerce: |types| match types {
            [DataType::Timestamp(_, zone)] => Ok(vec![DataType::Timestamp(TimeUnit::Microsecond, zone.clone())]),
            _ => Ok(types.to_vec()),
        },
        returns: |_| DataType::Utf8,
        evaluate: |columns, _| Ok(Arc::new(texts(&columns[0])?)),
    }
}

/// Each value as text; NULL of NULL.
pub(super) fn texts(column: &ArrayRef) -> Result<StringArray> {
    let writer = Writer::new()?;
    let nulls = column.logical_nulls();
    let texts = (0..column.len()).map(|row| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return Ok(None);
        }
        let mut text = String::new();
        writer.write(column, row, &mut text)?;
        Ok(Some(text))
    });
    texts.collect()
}

struct Writer {
    times: DatePattern,
}

impl Writer {
    fn new() -> Result<Self> {
        Ok(Writer { times: DatePattern::new("yyyy-MM-dd HH:mm:ss").map_err(DataFusionError::Execution)? })
    }

    fn write(&self, column: &ArrayRef, row: usize, out: &mut String) -> Result<()> {
        if column.is_null(row) || column.data_type() == &DataType::Null {
            out.push_str("null");
            return Ok(());
        }
        match column.data_type() {
            DataType::Utf8 => out.push_str(column.as_string::<i32>().value(row)),
            DataType::Float64 => out.push_str(&double_text(column.as_primitive::<Float64Type>().value(row))),
            DataType::Float32 => out.push_str(&float_text(column.as_primitive::<Float32Type>().value(row))),
            DataType::Binary => out.push_str(&String::from_utf8_lossy(column.as_binary::<i32>().value(row))),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                out.push_str(&timestamp_text(
                    &self.times,
                    column.as_primitive::<TimestampMicrosecondType>().value(row),
                ));
            }
            DataType::Timestamp(_, zone) => {
                let micros = cast(&column.slice(row, 1), &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
                return self.write(&micros, 0, out);
            }
            DataType::List(_) => {
                let value = column.as_list::<i32>().value(row);
                self.each(value.len(), ('[', ']'), out, |at, out| self.write(&value, at, out))?;
            }
            DataType::Struct(_) => {
                let columns = column.as_struct().columns();
                self.each(columns.len(), ('{', '}'), out, |at, out| self.write(&columns[at], row, out))?;
            }
            DataType::Map(_, _) => {
                let entries = column.as_map().value(row);
                self.each(entries.len(), ('{', '}'), out, |at, out| {
                    self.write(entries.column(0), at, out)?;
                    out.push_str(" -> ");
                    self.write(entries.column(1), at, out)
                })?;
            }
            _ => {
                let formatted = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default())?;
                out.push_str(&formatted.value(row).to_string());
            }
        }
        Ok(())
    }

    fn each(
        &self,
        number: usize,
        (open, close): (char, char),
        out: &mut String,
        write: impl Fn(usize, &mut String) -> Result<()>,
    ) -> Result<()> {
        out.push(open);
        for at in 0..number {
            if at > 0 {
                out.push_str(", ");
            }
            write(at, out)?;
        }
        out.push(close);
        Ok(())
    }
}
