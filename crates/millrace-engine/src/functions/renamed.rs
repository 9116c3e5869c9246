//! Functions that exist under another name or with narrower arguments, and small ones that are a line each.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int32Array};
use arrow_schema::DataType;
use datafusion::arrow::compute::kernels::cmp::not_distinct;
use datafusion::arrow::compute::{is_not_null, is_null};
use datafusion::common::Result;
use datafusion::functions::{core, math, string};
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion_spark::function::datetime;

use super::simple::{Simple, as_date, as_integer, as_text, delegate, mismatch, take_between};

/// DataFusion's own, also under Spark's name.
pub(super) fn aliases() -> Vec<Arc<ScalarUDF>> {
    let named = |function: Arc<ScalarUDF>, names: &[&'static str]| {
        Arc::new(function.as_ref().clone().with_aliases(names.iter().copied()))
    };
    vec![
        named(core::coalesce(), &["nvl", "ifnull"]),
        named(string::lower(), &["lcase"]),
        named(string::upper(), &["ucase"]),
        named(string::starts_with(), &["startswith"]),
        named(string::ends_with(), &["endswith"]),
        named(math::signum(), &["sign"]),
    ]
}

macro_rules! of_dates {
    ($name:literal, $aliases:expr, $types:expr, $result:expr, $function:path) => {
        Simple {
            name: $name,
            aliases: $aliases,
            coerce: |types| {
                let wanted: &[DataType] = &$types;
                take_between($name, types, wanted.len(), wanted.len())?;
                let coerce = |(given, wanted): (&DataType, &DataType)| match wanted {
                    DataType::Date32 => as_date($name, given),
                    DataType::Int32 => as_integer($name, given, DataType::Int32),
                    _ => as_text($name, given),
                };
                types.iter().zip(wanted).map(coerce).collect()
            },
            returns: |_| $result,
            evaluate: |columns, result| delegate(&$function(), columns, result),
        }
    };
}

/// The functions of this file.
pub(super) fn functions() -> Vec<Simple> {
    use DataType::{Date32, Int32, Utf8};
    vec![
        of_dates!("date_add", &["dateadd"], [Date32, Int32], Date32, datetime::date_add),
        of_dates!("date_sub", &[], [Date32, Int32], Date32, datetime::date_sub),
        of_dates!("last_day", &[], [Date32], Date32, datetime::last_day),
        Simple {
            name: "md5",
            aliases: &[],
            coerce: |types| {
                take_between("md5", types, 1, 1)?;
                Ok(vec![if types[0] == DataType::Binary { DataType::Binary } else { as_text("md5", &types[0])? }])
            },
            returns: |_| Utf8,
            evaluate: |columns, result| delegate(&datafusion::functions::crypto::md5(), columns, result),
        },
        null_check("isnull", |columns, _| Ok(Arc::new(is_null(&columns[0])?))),
        null_check("isnotnull", |columns, _| Ok(Arc::new(is_not_null(&columns[0])?))),
        Simple {
            // `a <=> b`.
            name: "equal_null",
            aliases: &[],
            coerce: |types| {
                take_between("equal_null", types, 2, 2)?;
                match type_union_coercion(&types[0], &types[1]) {
                    Some(both) => Ok(vec![both; 2]),
                    None => Err(mismatch(
                        "equal_null",
                        "two values of one type",
                        &types[1],
                        "CAST one to the type of the other",
                    )),
                }
            },
            returns: |_| DataType::Boolean,
            evaluate: |columns, _| Ok(Arc::new(not_distinct(&columns[0], &columns[1])?)),
        },
        Simple {
            // The place of a text in another, from 1, searched from a place on; 0 when it is not there.
            name: "locate",
            aliases: &["charindex"],
            coerce: |types| {
                take_between("locate", types, 2, 3)?;
                let mut coerced = vec![as_text("locate", &types[0])?, as_text("locate", &types[1])?];
                if let Some(start) = types.get(2) {
                    coerced.push(as_integer("locate", start, DataType::Int64)?);
                }
                Ok(coerced)
            },
            returns: |_| DataType::Int32,
            evaluate: |columns, _| Ok(Arc::new(places(columns))),
        },
    ]
}

fn null_check(name: &'static str, evaluate: fn(&[ArrayRef], &DataType) -> Result<ArrayRef>) -> Simple {
    let coerce = |types: &[DataType]| take_between("isnull", types, 1, 1).map(|()| types.to_vec());
    Simple { name, aliases: &[], coerce, returns: |_| DataType::Boolean, evaluate }
}

fn places(columns: &[ArrayRef]) -> Int32Array {
    let (parts, texts) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
    let starts = columns.get(2).map(|starts| starts.as_primitive::<Int64Type>());
    let place = |row: usize| {
        if parts.is_null(row) || texts.is_null(row) {
            return None;
        }
        let (text, skipped) = (texts.value(row), starts.map_or(1, |starts| starts.value(row)) - 1);
        let Ok(skipped) = usize::try_from(skipped) else { return Some(0) };
        let Some(from) = text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(skipped) else { return Some(0) };
        let found = text[from..].find(parts.value(row));
        Some(found.map_or(0, |at| (skipped + text[from..from + at].chars().count() + 1) as i32))
    };
    (0..texts.len()).map(place).collect()
}
