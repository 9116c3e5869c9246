//! Dates and times to text and back, by Spark's patterns: `date_format`, `to_date`, `to_timestamp`, `from_unixtime` …

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow_cast::{CastOptions, cast, cast_with_options};
use arrow_schema::DataType;
use datafusion::common::{DataFusionError, Result, exec_err};

use super::date_pattern::DatePattern;
use super::simple::{Simple, as_integer, as_timestamp, take_between, timestamp_type};

const USUAL: &str = "yyyy-MM-dd HH:mm:ss";

/// The functions of this file.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        Simple {
            name: "date_format",
            aliases: &[],
            coerce: |types| {
                take_between("date_format", types, 2, 2)?;
                Ok(vec![as_timestamp("date_format", &types[0])?, DataType::Utf8])
            },
            returns: |_| DataType::Utf8,
            evaluate: |columns, _| written(&columns[0], columns.get(1)),
        },
        Simple {
            name: "from_unixtime",
            aliases: &[],
            coerce: |types| {
                take_between("from_unixtime", types, 1, 2)?;
                let mut coerced = vec![DataType::Utf8; types.len()];
                coerced[0] = as_integer("from_unixtime", &types[0], DataType::Int64)?;
                Ok(coerced)
            },
            returns: |_| DataType::Utf8,
            evaluate: |columns, _| {
                let seconds = columns[0].as_primitive::<Int64Type>();
                let times: TimestampMicrosecondArray = seconds.unary(|seconds| seconds.saturating_mul(1_000_000));
                written(&(Arc::new(times) as ArrayRef), columns.get(1))
            },
        },
        Simple {
            name: "unix_timestamp",
            aliases: &["to_unix_timestamp"],
            coerce: |types| read_types("unix_timestamp", types),
            returns: |_| DataType::Int64,
            evaluate: |columns, _| {
                let usual: ArrayRef = Arc::new(StringArray::from(vec![USUAL; columns[0].len()]));
                let times = read(&columns[0], Some(columns.get(1).unwrap_or(&usual)), OnFailure::Fails)?;
                let times = times.as_primitive::<TimestampMicrosecondType>();
                Ok(Arc::new(times.unary::<_, Int64Type>(|micros| micros.div_euclid(1_000_000))) as Arc<Int64Array>)
            },
        },
        Simple {
            name: "to_date",
            aliases: &[],
            coerce: |types| read_types("to_date", types),
            returns: |_| DataType::Date32,
            evaluate: |columns, result| match columns[0].data_type() {
                DataType::Utf8 if columns.len() == 1 => parsed(&cast_text_date(&columns[0])?, result, OnFailure::Fails),
                _ => Ok(cast(&read(&columns[0], columns.get(1), OnFailure::Fails)?, result)?),
            },
        },
        Simple {
            name: "to_timestamp",
            aliases: &[],
            coerce: |types| read_types("to_timestamp", types),
            returns: |_| timestamp_type(),
            evaluate: |columns, _| read(&columns[0], columns.get(1), OnFailure::Fails),
        },
        Simple {
            name: "try_to_timestamp",
            aliases: &[],
            coerce: |types| read_types("try_to_timestamp", types),
            returns: |_| timestamp_type(),
            evaluate: |columns, _| read(&columns[0], columns.get(1), OnFailure::IsNull),
        },
    ]
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnFailure {
    Fails,
    IsNull,
}

/// A text stays a text; a date or timestamp is one already.
fn read_types(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    take_between(name, types, 1, 2)?;
    let mut coerced = vec![DataType::Utf8; types.len()];
    if !types[0].is_string() {
        coerced[0] = as_timestamp(name, &types[0])?;
    }
    Ok(coerced)
}

/// The pattern of each row, compiled again only when it changes.
struct Patterns<'a> {
    texts: Option<&'a StringArray>,
    last: Option<(String, DatePattern)>,
}

impl<'a> Patterns<'a> {
    fn new(column: Option<&'a ArrayRef>) -> Self {
        Patterns { texts: column.map(|column| column.as_string()), last: None }
    }

    fn of(&mut self, row: usize) -> Result<Option<&DatePattern>> {
        let text = match self.texts {
            Some(texts) if texts.is_null(row) => return Ok(None),
            Some(texts) => texts.value(row),
            None => USUAL,
        };
        if self.last.as_ref().is_none_or(|(last, _)| last != text) {
            self.last = Some((text.to_owned(), DatePattern::new(text).map_err(DataFusionError::Execution)?));
        }
        Ok(self.last.as_ref().map(|(_, pattern)| pattern))
    }
}

fn written(times: &ArrayRef, patterns: Option<&ArrayRef>) -> Result<ArrayRef> {
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let mut patterns = Patterns::new(patterns);
    let texts = times.iter().enumerate().map(|(row, micros)| match micros {
        None => Ok(None),
        Some(micros) => Ok(patterns.of(row)?.map(|pattern| pattern.format(micros))),
    });
    Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
}

fn read(column: &ArrayRef, patterns: Option<&ArrayRef>, on_failure: OnFailure) -> Result<ArrayRef> {
    if column.data_type() != &DataType::Utf8 {
        return Ok(Arc::clone(column));
    }
    if patterns.is_none() {
        return parsed(column, &timestamp_type(), on_failure);
    }
    let texts: &StringArray = column.as_string();
    let mut patterns = Patterns::new(patterns);
    let times = texts.iter().enumerate().map(|(row, text)| {
        let Some(text) = text else { return Ok(None) };
        match patterns.of(row)?.map(|pattern| pattern.parse(text)) {
            Some(None) if on_failure == OnFailure::Fails => exec_err!(
                "[CANNOT_PARSE_TIMESTAMP] the text '{text}' is not of the pattern; hint: try_to_timestamp(text, pattern) gives NULL \
                 instead"
            ),
            read => Ok(read.flatten()),
        }
    });
    let times = times.collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(times.with_data_type(timestamp_type())))
}

/// Without a pattern: whatever CAST takes.
fn parsed(column: &ArrayRef, to: &DataType, on_failure: OnFailure) -> Result<ArrayRef> {
    let options = CastOptions { safe: on_failure == OnFailure::IsNull, ..CastOptions::default() };
    Ok(cast_with_options(column, to, &options)?)
}

/// A text that starts with a date has it: Spark reads the part before the space or T.
fn cast_text_date(column: &ArrayRef) -> Result<ArrayRef> {
    let texts: &StringArray = column.as_string();
    let dates = texts.iter().map(|text| text.map(|text| text.trim().split([' ', 'T']).next().unwrap_or_default()));
    Ok(Arc::new(dates.collect::<StringArray>()))
}
