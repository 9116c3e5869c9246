//! Functions of texts that DataFusion lacks or gets differently from Spark, and those that raise errors.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BinaryArray, Int32Array, StringArray};
use arrow_schema::DataType;
use datafusion::common::{Result, exec_err};

use super::collections::list_of;
use super::patterns::lists;
use super::simple::{Simple, as_integer, as_text, mismatch, take_between};

macro_rules! of_text {
    ($name:literal, $function:expr) => {
        Simple {
            name: $name,
            aliases: &[],
            coerce: |types| {
                take_between($name, types, 1, 1)?;
                Ok(vec![as_text($name, &types[0])?])
            },
            returns: |_| DataType::Utf8,
            evaluate: |columns, _| {
                let function: fn(&str) -> String = $function;
                let texts = columns[0].as_string::<i32>().iter();
                Ok(Arc::new(texts.map(|text| text.map(function)).collect::<StringArray>()))
            },
        }
    };
}

/// The functions of this file.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        // A word begins after a space, nowhere else.
        of_text!("initcap", |text| {
            let mut starts = true;
            let mut written = String::with_capacity(text.len());
            for c in text.chars() {
                if starts {
                    written.extend(c.to_uppercase())
                } else {
                    written.extend(c.to_lowercase())
                }
                starts = c == ' ';
            }
            written
        }),
        Simple {
            name: "mask",
            aliases: &[],
            coerce: |types| {
                take_between("mask", types, 1, 5)?;
                Ok(vec![DataType::Utf8; types.len()])
            },
            returns: |_| DataType::Utf8,
            evaluate: |columns, _| Ok(Arc::new(masked(columns))),
        },
        Simple {
            name: "format_number",
            aliases: &[],
            coerce: |types| {
                take_between("format_number", types, 2, 2)?;
                Ok(vec![DataType::Float64, as_integer("format_number", &types[1], DataType::Int64)?])
            },
            returns: |_| DataType::Utf8,
            evaluate: |columns, _| {
                let numbers = columns[0].as_primitive::<Float64Type>().iter();
                let digits = columns[1].as_primitive::<Int64Type>();
                let texts = numbers.zip(digits).map(|(number, digits)| grouped(number?, digits?));
                Ok(Arc::new(texts.collect::<StringArray>()))
            },
        },
        Simple {
            name: "encode",
            aliases: &[],
            coerce: |types| {
                take_between("encode", types, 2, 2)?;
                types.iter().map(|given| as_text("encode", given)).collect()
            },
            returns: |_| DataType::Binary,
            evaluate: |columns, _| {
                check_charset("encode", &columns[1])?;
                let texts = columns[0].as_string::<i32>().iter();
                Ok(Arc::new(texts.map(|text| text.map(str::as_bytes)).collect::<BinaryArray>()))
            },
        },
        Simple {
            name: "decode",
            aliases: &[],
            coerce: |types| {
                take_between("decode", types, 2, 2)?;
                match &types[0] {
                    DataType::Binary | DataType::Null => Ok(vec![DataType::Binary, DataType::Utf8]),
                    DataType::Utf8 => Ok(vec![DataType::Binary, DataType::Utf8]),
                    other => {
                        Err(mismatch("decode", "a BINARY and a charset", other, "decode(encode(x, 'UTF-8'), 'UTF-8')"))
                    }
                }
            },
            returns: |_| DataType::Utf8,
            evaluate: |columns, _| {
                check_charset("decode", &columns[1])?;
                let bytes = columns[0].as_binary::<i32>().iter();
                let texts = bytes.map(|bytes| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
                Ok(Arc::new(texts.collect::<StringArray>()))
            },
        },
        Simple {
            name: "conv",
            aliases: &[],
            coerce: |types| {
                take_between("conv", types, 3, 3)?;
                Ok(vec![as_text("conv", &types[0])?, DataType::Int64, DataType::Int64])
            },
            returns: |_| DataType::Utf8,
            evaluate: |columns, _| {
                let (from, to) = (columns[1].as_primitive::<Int64Type>(), columns[2].as_primitive::<Int64Type>());
                let texts = columns[0].as_string::<i32>().iter().zip(from).zip(to);
                Ok(Arc::new(texts.map(|((text, from), to)| converted(text?, from?, to?)).collect::<StringArray>()))
            },
        },
        Simple {
            name: "json_array_length",
            aliases: &[],
            coerce: |types| {
                take_between("json_array_length", types, 1, 1)?;
                Ok(vec![as_text("json_array_length", &types[0])?])
            },
            returns: |_| DataType::Int32,
            evaluate: |columns, _| {
                let lengths = columns[0].as_string::<i32>().iter().map(|text| {
                    let value: serde_json::Value = serde_json::from_str(text?).ok()?;
                    value.as_array().map(|items| items.len() as i32)
                });
                Ok(Arc::new(lengths.collect::<Int32Array>()))
            },
        },
        Simple {
            name: "json_object_keys",
            aliases: &[],
            coerce: |types| {
                take_between("json_object_keys", types, 1, 1)?;
                Ok(vec![as_text("json_object_keys", &types[0])?])
            },
            returns: |_| list_of(&DataType::Utf8),
            evaluate: |columns, _| {
                lists(columns[0].as_string::<i32>().iter().map(|text| {
                    let value = text.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
                    Ok(value.and_then(|value| value.as_object().map(|fields| fields.keys().cloned().collect())))
                }))
            },
        },
        Simple {
            name: "raise_error",
            aliases: &[],
            coerce: |types| {
                take_between("raise_error", types, 1, 1)?;
                Ok(vec![as_text("raise_error", &types[0])?])
            },
            returns: |_| DataType::Null,
            evaluate: |columns, _| match columns[0].as_string::<i32>().iter().next() {
                None => Ok(arrow_array::new_null_array(&DataType::Null, 0)),
                Some(message) => exec_err!("[USER_RAISED_EXCEPTION] {}", message.unwrap_or("NULL")),
            },
        },
        Simple {
            name: "assert_true",
            aliases: &[],
            coerce: |types| {
                take_between("assert_true", types, 1, 2)?;
                Ok([DataType::Boolean, DataType::Utf8].into_iter().take(types.len()).collect())
            },
            returns: |_| DataType::Null,
            evaluate: |columns, _| {
                let conditions = columns[0].as_boolean();
                let Some(row) = conditions.iter().position(|condition| condition != Some(true)) else {
                    return Ok(arrow_array::new_null_array(&DataType::Null, conditions.len()));
                };
                let message = columns.get(1).map_or("the condition is not true", |m| m.as_string::<i32>().value(row));
                exec_err!("[USER_RAISED_EXCEPTION] {message}")
            },
        },
    ]
}

/// UTF-8 and what is part of it.
fn check_charset(name: &str, charsets: &ArrayRef) -> Result<()> {
    let known = |charset: &str| ["UTF-8", "UTF8", "US-ASCII"].iter().any(|own| own.eq_ignore_ascii_case(charset));
    match charsets.as_string::<i32>().iter().flatten().find(|charset| !known(charset)) {
        Some(other) => {
            exec_err!("[INVALID_PARAMETER_VALUE.CHARSET] {name}() knows the charset 'UTF-8', not '{other}'")
        }
        None => Ok(()),
    }
}

/// Capitals, small letters, digits and others become what is asked for; NULL leaves them.
fn masked(columns: &[ArrayRef]) -> StringArray {
    let defaults = [Some("X"), Some("x"), Some("n"), None];
    let of = |row: usize, at: usize| match columns.get(at + 1) {
        Some(column) if column.is_null(row) => None,
        Some(column) => column.as_string::<i32>().value(row).chars().next(),
        None => defaults[at].and_then(|text| text.chars().next()),
    };
    let texts = columns[0].as_string::<i32>().iter().enumerate();
    texts
        .map(|(row, text)| {
            let kind = |c: char| match c {
                c if c.is_uppercase() => 0,
                c if c.is_lowercase() => 1,
                c if c.is_ascii_digit() => 2,
                _ => 3,
            };
            text.map(|text| text.chars().map(|c| of(row, kind(c)).unwrap_or(c)).collect::<String>())
        })
        .collect()
}

/// `1,234,567.00`
fn grouped(number: f64, digits: i64) -> Option<String> {
    let digits = usize::try_from(digits).ok()?;
    let text = format!("{:.digits$}", number.abs());
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut written = String::new();
    if number < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        written.push('-');
    }
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    if let Some(fraction) = fraction {
        let _ = write!(written, ".{fraction}");
    }
    Some(written)
}

/// A number in another base; a negative target base gives a signed number, else it is read as 64 bits without a sign.
fn converted(text: &str, from: i64, to: i64) -> Option<String> {
    let (from, to_base) = (u32::try_from(from.unsigned_abs()).ok()?, u32::try_from(to.unsigned_abs()).ok()?);
    if !(2..=36).contains(&from) || !(2..=36).contains(&to_base) {
        return None;
    }
    let text = text.trim();
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let valid: String = digits.chars().take_while(|c| c.is_digit(from)).collect();
    let value = if valid.is_empty() { 0 } else { u64::from_str_radix(&valid, from).unwrap_or(u64::MAX) };
    let value = if negative { value.wrapping_neg() } else { value };
    let signed = to < 0 && (value as i64) < 0;
    let mut rest = if signed { (value as i64).unsigned_abs() } else { value };
    let mut written = Vec::new();
    loop {
        written.extend(char::from_digit((rest % u64::from(to_base)) as u32, to_base).map(|c| c.to_ascii_uppercase()));
        rest /= u64::from(to_base);
        if rest == 0 {
            break;
        }
    }
    written.extend(signed.then_some('-'));
    Some(written.into_iter().rev().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_texts() {
        assert_eq!(grouped(-1234.5, 0).as_deref(), Some("-1,234"));
        assert_eq!(grouped(-0.001, 2).as_deref(), Some("0.00"));
        assert_eq!(grouped(1.0, -1), None);
        assert_eq!(converted("ff", 16, 2).as_deref(), Some("11111111"));
        assert_eq!(converted("-1", 10, 16).as_deref(), Some("FFFFFFFFFFFFFFFF"));
        assert_eq!(converted("-10", 16, -10).as_deref(), Some("-16"));
        assert_eq!(converted("5", 1, 10), None);
    }
}
