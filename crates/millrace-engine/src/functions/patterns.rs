//! Regular expressions: `split`, `regexp_extract`, `regexp_extract_all`, `regexp_replace`, `rlike`.
//!
//! Spark's expressions are Java's; ours are those of the `regex` crate, which has no look-around and no back-references. An
//! expression with either is refused, with its reason.

use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use regex::{Captures, Regex};

use super::simple::{Simple, as_integer, as_text, take_between};

/// The functions of this file.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        Simple {
            name: "rlike",
            aliases: &["regexp", "regexp_like"],
            coerce: |types| texts("rlike", types, 2, 2, None),
            returns: |_| DataType::Boolean,
            evaluate: |columns, _| {
                let mut expressions = Expressions::new(&columns[1]);
                let found = each(columns, |row, text| Ok(expressions.of(row)?.map(|regex| regex.is_match(text))));
                Ok(Arc::new(found.collect::<Result<BooleanArray>>()?))
            },
        },
        Simple {
            name: "regexp_extract",
            aliases: &[],
            coerce: |types| texts("regexp_extract", types, 2, 3, Some(2)),
            returns: |_| DataType::Utf8,
            evaluate: |columns, _| {
                let (mut expressions, groups) = (Expressions::new(&columns[1]), Groups::new(columns.get(2)));
                let found = each(columns, |row, text| {
                    let (Some(regex), Some(group)) = (expressions.of(row)?, groups.of(row)) else { return Ok(None) };
                    let group = checked(regex, group)?;
                    Ok(Some(regex.captures(text).and_then(|found| found.get(group)).map_or("", |part| part.as_str())))
                });
                Ok(Arc::new(found.collect::<Result<StringArray>>()?))
            },
        },
        Simple {
            name: "regexp_extract_all",
            aliases: &[],
            coerce: |types| texts("regexp_extract_all", types, 2, 3, Some(2)),
            returns: |_| list_of_texts(),
            evaluate: |columns, _| {
                let (mut expressions, groups) = (Expressions::new(&columns[1]), Groups::new(columns.get(2)));
                lists(each(columns, |row, text| {
                    let (Some(regex), Some(group)) = (expressions.of(row)?, groups.of(row)) else { return Ok(None) };
                    let group = checked(regex, group)?;
                    let part =
                        |found: Captures| found.get(group).map_or(String::new(), |part| part.as_str().to_owned());
                    Ok(Some(regex.captures_iter(text).map(part).collect()))
                }))
            },
        },
        Simple {
            name: "regexp_replace",
            aliases: &[],
            coerce: |types| texts("regexp_replace", types, 3, 4, Some(3)),
            returns: |_| DataType::Utf8,
            evaluate: |columns, _| {
                let mut expressions = Expressions::new(&columns[1]);
                let (replacements, starts) = (columns[2].as_string::<i32>(), columns.get(3).map(integers));
                let replaced = each(columns, |row, text| {
                    let (Some(regex), false) = (expressions.of(row)?, replacements.is_null(row)) else {
                        return Ok(None);
                    };
                    let start = starts.map_or(1, |starts| starts.value(row)).max(1) as usize - 1;
                    let start = text.char_indices().nth(start).map_or(text.len(), |(place, _)| place);
                    let tail = regex.replace_all(&text[start..], java_replacement(replacements.value(row)).as_str());
                    Ok(Some(format!("{}{tail}", &text[..start])))
                });
                Ok(Arc::new(replaced.collect::<Result<StringArray>>()?))
            },
        },
        Simple {
            name: "split",
            aliases: &[],
            coerce: |types| texts("split", types, 2, 3, Some(2)),
            returns: |_| list_of_texts(),
            evaluate: |columns, _| {
                let (mut expressions, limits) = (Expressions::new(&columns[1]), columns.get(2).map(integers));
                lists(each(columns, |row, text| {
                    let Some(regex) = expressions.of(row)? else { return Ok(None) };
                    let limit = limits.map_or(-1, |limits| limits.value(row));
                    Ok(Some(split(regex, text, usize::try_from(limit).unwrap_or(0))))
                }))
            },
        },
    ]
}

fn list_of_texts() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

/// Texts, but for the argument that is a number.
fn texts(name: &str, types: &[DataType], fewest: usize, most: usize, number: Option<usize>) -> Result<Vec<DataType>> {
    take_between(name, types, fewest, most)?;
    let coerce =
        |(i, given)| if Some(i) == number { as_integer(name, given, DataType::Int64) } else { as_text(name, given) };
    types.iter().enumerate().map(coerce).collect()
}

fn integers(column: &ArrayRef) -> &Int64Array {
    column.as_primitive::<Int64Type>()
}

/// Calls `of(row, text)` for every text of the first column.
fn each<'a, T>(
    columns: &'a [ArrayRef],
    mut of: impl FnMut(usize, &'a str) -> Result<Option<T>>,
) -> impl Iterator<Item = Result<Option<T>>> {
    let texts = columns[0].as_string::<i32>();
    texts.iter().enumerate().map(move |(row, text)| text.map_or(Ok(None), |text| of(row, text)))
}

pub(super) fn lists(rows: impl Iterator<Item = Result<Option<Vec<String>>>>) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in rows {
        lists.append_option(row?.map(|texts| texts.into_iter().map(Some)));
    }
    Ok(Arc::new(lists.finish()))
}

/// The expression of each row, compiled again only when it changes.
struct Expressions<'a> {
    texts: &'a StringArray,
    last: Option<(&'a str, Regex)>,
}

impl<'a> Expressions<'a> {
    fn new(column: &'a ArrayRef) -> Self {
        Expressions { texts: column.as_string(), last: None }
    }

    fn of(&mut self, row: usize) -> Result<Option<&Regex>> {
        if self.texts.is_null(row) {
            return Ok(None);
        }
        let text = self.texts.value(row);
        if self.last.as_ref().is_none_or(|(last, _)| *last != text) {
            let regex = Regex::new(text).map_err(|error| {
                let reason =
                    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                exec_datafusion_err!(
                    "[INVALID_PARAMETER_VALUE.PATTERN] '{text}' is not a regular expression here: {reason}"
                )
            })?;
            self.last = Some((text, regex));
        }
        Ok(self.last.as_ref().map(|(_, regex)| regex))
    }
}

/// The group asked for in each row; the first when none is.
struct Groups<'a>(Option<&'a Int64Array>);

impl<'a> Groups<'a> {
    fn new(column: Option<&'a ArrayRef>) -> Self {
        Groups(column.map(integers))
    }

    fn of(&self, row: usize) -> Option<i64> {
        match self.0 {
            None => Some(1),
            Some(groups) => groups.is_valid(row).then(|| groups.value(row)),
        }
    }
}

fn checked(regex: &Regex, group: i64) -> Result<usize> {
    match usize::try_from(group) {
        Ok(known) if known < regex.captures_len() => Ok(known),
        _ => exec_err!(
            "[INVALID_PARAMETER_VALUE.REGEX_GROUP_INDEX] group {group} of an expression with {}; hint: 0 is the whole match",
            regex.captures_len() - 1
        ),
    }
}

/// As Java: an empty match splits between characters, but not before the first; a limit above 0 bounds the parts.
fn split(regex: &Regex, text: &str, limit: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut start = 0;
    for found in regex.find_iter(text) {
        if limit > 0 && parts.len() + 1 == limit {
            break;
        }
        if found.end() == 0 || (found.is_empty() && found.start() == text.len()) {
            continue;
        }
        parts.push(text[start..found.start()].to_owned());
        start = found.end();
    }
    parts.push(text[start..].to_owned());
    parts
}

/// Java's `$1` to the regex crate's `${1}`; `\$` stands for the sign itself.
fn java_replacement(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('$') => out.push_str("$$"),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            '$' if letters.peek().is_some_and(char::is_ascii_digit) => {
                out.push_str("${");
                while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                    out.push(digit);
                }
                out.push('}');
            }
            other => out.push(other),
        }
    }
    out
}
