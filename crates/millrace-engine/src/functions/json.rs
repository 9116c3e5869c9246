//! `to_json(x)` and `get_json_object(text, path)`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use datafusion::common::Result;

use super::date_pattern::DatePattern;
use super::json_path::JsonPath;
use super::number_text::{double_text, float_text};
use super::simple::{Simple, as_text, mismatch, take_between};

/// The functions of this file.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        Simple {
            name: "to_json",
            aliases: &[],
            coerce: |types| {
                take_between("to_json", types, 1, 1)?;
                match &types[0] {
                    given if given.is_nested() => Ok(types.to_vec()),
                    given => {
                        Err(mismatch("to_json", "a STRUCT, an ARRAY or a MAP", given, "to_json(named_struct('x', x))"))
                    }
                }
            },
            returns: |_| DataType::Utf8,
            evaluate: |columns, _| {
                let writer = Writer::new()?;
                let texts = (0..columns[0].len()).map(|row| {
                    let mut text = String::new();
                    if columns[0].is_null(row) {
                        return Ok(None);
                    }
                    writer.write(&columns[0], row, &mut text)?;
                    Ok(Some(text))
                });
                Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
            },
        },
        Simple {
            name: "get_json_object",
            aliases: &[],
            coerce: |types| {
                take_between("get_json_object", types, 2, 2)?;
                types.iter().map(|given| as_text("get_json_object", given)).collect()
            },
            returns: |_| DataType::Utf8,
            evaluate: |columns, _| {
                let (texts, paths) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
                let mut last: Option<(&str, Option<JsonPath>)> = None;
                let found = texts.iter().zip(paths).map(|(text, path)| {
                    let (text, path) = (text?, path?);
                    if last.as_ref().is_none_or(|(known, _)| *known != path) {
                        last = Some((path, JsonPath::new(path)));
                    }
                    let path = last.as_ref().and_then(|(_, compiled)| compiled.as_ref())?;
                    path.find(&serde_json::from_str(text).ok()?)
                });
                Ok(Arc::new(found.collect::<StringArray>()))
            },
        },
    ]
}

/// Writes values as Spark does: no NULL fields, times in RFC 3339 with milliseconds.
struct Writer {
    times: DatePattern,
}

impl Writer {
    fn new() -> Result<Self> {
        let times =
            DatePattern::new("yyyy-MM-dd'T'HH:mm:ss.SSSXXX").map_err(datafusion::common::DataFusionError::Execution)?;
        Ok(Writer { times })
    }

    fn write(&self, column: &ArrayRef, row: usize, out: &mut String) -> Result<()> {
        if is_null(column, row) {
            out.push_str("null");
            return Ok(());
        }
        match column.data_type() {
            DataType::Struct(fields) => {
                let values = column.as_struct();
                let held = fields.iter().zip(values.columns()).filter(|(_, values)| !is_null(values, row));
                let pairs = held.map(|(field, values)| (field.name().clone(), values, row));
                self.object(pairs, out)
            }
            DataType::Map(_, _) => {
                let maps = column.as_map();
                let span = &maps.value_offsets()[row..row + 2];
                let keys = ArrayFormatter::try_new(maps.keys().as_ref(), &FormatOptions::default())?;
                let entries = (span[0] as usize..span[1] as usize).filter(|&entry| maps.values().is_valid(entry));
                self.object(entries.map(|entry| (keys.value(entry).to_string(), maps.values(), entry)), out)
            }
            DataType::List(_) => {
                let lists = column.as_list::<i32>();
                let span = &lists.value_offsets()[row..row + 2];
                out.push('[');
                for entry in span[0]..span[1] {
                    if entry > span[0] {
                        out.push(',');
                    }
                    self.write(lists.values(), entry as usize, out)?;
                }
                out.push(']');
                Ok(())
            }
            DataType::Float64 => number(double_text(column.as_primitive::<Float64Type>().value(row)), out),
            DataType::Float32 => number(float_text(column.as_primitive::<Float32Type>().value(row)), out),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
                quoted(&self.times.format(micros), out)
            }
            other => {
                let text = ArrayFormatter::try_new(column.as_ref(), &FormatOptions::default())?.value(row).to_string();
                if other.is_integer() || other.is_decimal() || other == &DataType::Boolean {
                    out.push_str(&text);
                    return Ok(());
                }
                quoted(&text, out)
            }
        }
    }

    fn object<'a>(&self, pairs: impl Iterator<Item = (String, &'a ArrayRef, usize)>, out: &mut String) -> Result<()> {
        out.push('{');
        for (i, (name, values, row)) in pairs.enumerate() {
            if i > 0 {
                out.push(',');
            }
            quoted(&name, out)?;
            out.push(':');
            self.write(values, row, out)?;
        }
        out.push('}');
        Ok(())
    }
}

/// A column of type VOID has no null buffer, but only NULLs.
fn is_null(column: &ArrayRef, row: usize) -> bool {
    column.is_null(row) || column.data_type() == &DataType::Null
}

/// NaN and the infinities are texts.
fn number(text: String, out: &mut String) -> Result<()> {
    if text.ends_with(|last: char| last.is_ascii_digit()) {
        out.push_str(&text);
        return Ok(());
    }
    quoted(&text, out)
}

fn quoted(text: &str, out: &mut String) -> Result<()> {
    out.push_str(
        &serde_json::to_string(text).map_err(|error| datafusion::common::exec_datafusion_err!("to_json: {error}"))?,
    );
    Ok(())
}
