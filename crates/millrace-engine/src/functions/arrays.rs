//! Functions of arrays and maps that DataFusion lacks or gets differently from Spark.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, ListArray, TimestampMicrosecondArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::cast;
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{DataType, Field, IntervalUnit};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;

use super::array_sort::as_list;
use super::calendar::DAY;
use super::date_arithmetic::months_on;
use super::simple::{Simple, as_integer, as_text, mismatch, take_between, timestamp_type};
use super::type_name::type_name;

/// The functions of this file.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        Simple {
            // The first place of a value, from 1; 0 when it is not there (DataFusion: NULL).
            name: "array_position",
            aliases: &[],
            coerce: |types| list_and_element("array_position", types),
            returns: |_| DataType::Int64,
            evaluate: |columns, _| positions(&columns[0], &columns[1]),
        },
        Simple {
            // All equal elements go (DataFusion: the first).
            name: "array_remove",
            aliases: &[],
            coerce: |types| list_and_element("array_remove", types),
            returns: |types| types[0].clone(),
            evaluate: |columns, _| removed(&columns[0], &columns[1]),
        },
        Simple {
            name: "reverse",
            aliases: &[],
            coerce: |types| {
                take_between("reverse", types, 1, 1)?;
                Ok(vec![as_list("reverse", &types[0]).or_else(|_| as_text("reverse", &types[0]))?])
            },
            returns: |types| types[0].clone(),
            evaluate: |columns, _| match columns[0].data_type() {
                DataType::List(_) => rebuilt(columns[0].as_list(), |_, from, to| (from..to).rev().collect()),
                _ => {
                    let texts = columns[0].as_string::<i32>().iter();
                    let reversed = texts.map(|text| text.map(|text| text.chars().rev().collect::<String>()));
                    Ok(Arc::new(reversed.collect::<arrow_array::StringArray>()))
                }
            },
        },
        Simple {
            // Texts or arrays, one after the other; NULL when one is NULL.
            name: "concat",
            aliases: &[],
            coerce: concat_types,
            returns: |types| types.first().cloned().unwrap_or(DataType::Utf8),
            evaluate: |columns, result| match result {
                DataType::List(_) => concat_lists(columns),
                _ => concat_texts(columns),
            },
        },
        Simple {
            name: "sequence",
            aliases: &[],
            coerce: |types| {
                take_between("sequence", types, 2, 3)?;
                if types[0].is_temporal() {
                    return temporal_types(types);
                }
                types.iter().map(|given| as_integer("sequence", given, DataType::Int64)).collect()
            },
            returns: |types| DataType::List(Arc::new(Field::new_list_field(types[0].clone(), true))),
            evaluate: |columns, _| match columns[0].data_type() {
                DataType::Int64 => sequences(columns),
                _ => temporal_sequences(columns),
            },
        },
        Simple {
            name: "map_contains_key",
            aliases: &[],
            coerce: |types| {
                take_between("map_contains_key", types, 2, 2)?;
                match &types[0] {
                    DataType::Map(entries, _) => match entries.data_type() {
                        DataType::Struct(fields) => Ok(vec![types[0].clone(), fields[0].data_type().clone()]),
                        other => plan_err!("map_contains_key() of entries of type {other}"),
                    },
                    other => Err(mismatch("map_contains_key", "a MAP", other, "map(key, value) makes one")),
                }
            },
            returns: |_| DataType::Boolean,
            evaluate: |columns, _| {
                let maps = columns[0].as_map();
                let (held, wanted) = comparable(maps.keys(), &columns[1])?;
                let spans = maps.value_offsets().windows(2).enumerate();
                let found = spans.map(|(row, span)| {
                    let known = maps.is_valid(row) && columns[1].is_valid(row);
                    known.then(|| (span[0]..span[1]).any(|entry| held.row(entry as usize) == wanted.row(row)))
                });
                Ok(Arc::new(found.collect::<BooleanArray>()))
            },
        },
    ]
}

fn list_and_element(name: &str, types: &[DataType]) -> Result<Vec<DataType>> {
    take_between(name, types, 2, 2)?;
    match as_list(name, &types[0])? {
        DataType::List(field) => match type_union_coercion(field.data_type(), &types[1]) {
            Some(both) => {
                let field = field.as_ref().clone().with_data_type(both.clone());
                Ok(vec![DataType::List(Arc::new(field)), both])
            }
            None => Err(mismatch(
                name,
                &format!("an element of {}", type_name(&types[0])),
                &types[1],
                "CAST one to the type of the other",
            )),
        },
        other => Ok(vec![other, types[1].clone()]),
    }
}

/// Two columns of one type as bytes that are equal when the values are.
fn comparable(left: &ArrayRef, right: &ArrayRef) -> Result<(Rows, Rows)> {
    let converter = RowConverter::new(vec![SortField::new(left.data_type().clone())])?;
    Ok((
        converter.convert_columns(std::slice::from_ref(left))?,
        converter.convert_columns(std::slice::from_ref(right))?,
    ))
}

fn positions(lists: &ArrayRef, wanted: &ArrayRef) -> Result<ArrayRef> {
    let lists = lists.as_list::<i32>();
    let (held, searched) = comparable(lists.values(), wanted)?;
    let found = lists.value_offsets().windows(2).enumerate().map(|(row, span)| {
        let known = lists.is_valid(row) && wanted.is_valid(row);
        let place = |()| (span[0]..span[1]).position(|entry| held.row(entry as usize) == searched.row(row));
        known.then_some(()).map(|known| place(known).map_or(0, |place| place as i64 + 1))
    });
    Ok(Arc::new(found.collect::<Int64Array>()))
}

fn removed(lists: &ArrayRef, unwanted: &ArrayRef) -> Result<ArrayRef> {
    let lists = lists.as_list::<i32>();
    let (held, searched) = comparable(lists.values(), unwanted)?;
    let kept = rebuilt(lists, |row, from, to| {
        (from..to).filter(|&entry| held.row(entry as usize) != searched.row(row)).collect()
    })?;
    // Removing NULL gives NULL.
    let nulls = NullBuffer::union(kept.logical_nulls().as_ref(), unwanted.logical_nulls().as_ref());
    let (field, offsets, values, _) = kept.as_list::<i32>().clone().into_parts();
    Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls)?))
}

/// Lists with other elements: `entries(row, from, to)` picks them from the flat values.
fn rebuilt(lists: &ListArray, entries: impl Fn(usize, u32, u32) -> Vec<u32>) -> Result<ArrayRef> {
    let (mut picked, mut lengths) = (Vec::new(), Vec::with_capacity(lists.len()));
    for (row, span) in lists.value_offsets().windows(2).enumerate() {
        let of_row = if lists.is_null(row) { Vec::new() } else { entries(row, span[0] as u32, span[1] as u32) };
        lengths.push(of_row.len());
        picked.extend(of_row);
    }
    let values = arrow_select::take::take(lists.values(), &UInt32Array::from(picked), None)?;
    let (field, _, _, nulls) = lists.clone().into_parts();
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, nulls)?))
}

fn concat_types(types: &[DataType]) -> Result<Vec<DataType>> {
    if !types
        .iter()
        .any(|given| matches!(given, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _)))
    {
        return types.iter().map(|given| as_text("concat", given)).collect();
    }
    let lists: Vec<DataType> =
        types.iter().filter(|given| !given.is_null()).map(|given| as_list("concat", given)).collect::<Result<_>>()?;
    let mut all = lists[0].clone();
    for list in &lists[1..] {
        let Some(both) = type_union_coercion(&all, list) else {
            return Err(mismatch("concat", &type_name(&all), list, "CAST one to the type of the other"));
        };
        all = both;
    }
    Ok(vec![all; types.len()])
}

fn concat_texts(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let texts: Vec<_> = columns.iter().map(|column| column.as_string::<i32>()).collect();
    let rows = texts.first().map_or(1, |first| first.len());
    let whole = (0..rows).map(|row| {
        let valid = texts.iter().all(|text| text.is_valid(row));
        valid.then(|| texts.iter().map(|text| text.value(row)).collect::<String>())
    });
    Ok(Arc::new(whole.collect::<arrow_array::StringArray>()))
}

fn concat_lists(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let lists: Vec<&ListArray> = columns.iter().map(|column| column.as_list()).collect();
    let values: Vec<&dyn Array> = lists.iter().map(|list| list.values().as_ref()).collect();
    let (mut picked, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..lists[0].len() {
        let start = picked.len();
        valid.push(lists.iter().all(|list| list.is_valid(row)));
        if valid[row] {
            for (i, list) in lists.iter().enumerate() {
                let span = &list.value_offsets()[row..row + 2];
                picked.extend((span[0] as usize..span[1] as usize).map(|entry| (i, entry)));
            }
        }
        lengths.push(picked.len() - start);
    }
    let values = arrow_select::interleave::interleave(&values, &picked)?;
    let (field, ..) = lists[0].clone().into_parts();
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, Some(valid.into()))?))
}

/// Longer sequences are a mistake, and would take the memory of the job.
const SEQUENCE_LENGTH_MAX: i64 = 10_000_000;

/// From and to of one type, and a step of months, days and nanoseconds; a day without one.
fn temporal_types(types: &[DataType]) -> Result<Vec<DataType>> {
    let time =
        if types[..2].iter().all(|given| given == &DataType::Date32) { DataType::Date32 } else { timestamp_type() };
    match types.get(2) {
        None => Ok(vec![time; 2]),
        Some(DataType::Interval(_)) => Ok(vec![time.clone(), time, DataType::Interval(IntervalUnit::MonthDayNano)]),
        Some(other) => Err(mismatch("sequence", "an INTERVAL as its step", other, "INTERVAL 1 DAY")),
    }
}

fn temporal_sequences(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let of = columns[0].data_type().clone();
    let micros = |at: usize| -> Result<ArrayRef> { Ok(cast(&columns[at], &timestamp_type())?) };
    let (from, to) = (micros(0)?, micros(1)?);
    let (from, to) = (from.as_primitive::<TimestampMicrosecondType>(), to.as_primitive::<TimestampMicrosecondType>());
    let steps = columns.get(2).map(|steps| steps.as_primitive::<IntervalMonthDayNanoType>());
    let (mut values, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..from.len() {
        valid.push(from.is_valid(row) && to.is_valid(row) && steps.is_none_or(|steps| steps.is_valid(row)));
        let before = values.len();
        if valid[row] {
            let (start, end) = (from.value(row), to.value(row));
            let step = steps.map_or(IntervalMonthDayNano::new(0, 1, 0), |steps| steps.value(row));
            let fixed = i64::from(step.days) * DAY + step.nanoseconds / 1_000;
            let at = |n: i64| months_on(start, n * i64::from(step.months)) + n * fixed;
            let forwards = at(1) > start;
            if start != end && (at(1) == start || (start < end) != forwards) {
                return exec_err!("sequence() does not reach its end; hint: give the step the sign of the way");
            }
            let inside = |time: i64| if forwards { time <= end } else { time >= end };
            let last = if start == end { 1 } else { SEQUENCE_LENGTH_MAX };
            values.extend((0..last).map(at).take_while(|time| inside(*time)));
        }
        lengths.push(values.len() - before);
    }
    let values: ArrayRef = Arc::new(TimestampMicrosecondArray::from(values).with_data_type(timestamp_type()));
    let field = Arc::new(Field::new_list_field(of.clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, cast(&values, &of)?, Some(valid.into()))?))
}

fn sequences(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let column = |i: usize| columns.get(i).map(|column| column.as_primitive::<Int64Type>());
    let (from, to, step) = (&columns[0], &columns[1], column(2));
    let (from, to) = (from.as_primitive::<Int64Type>(), to.as_primitive::<Int64Type>());
    let (mut values, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..from.len() {
        valid.push(from.is_valid(row) && to.is_valid(row) && step.is_none_or(|step| step.is_valid(row)));
        if !valid[row] {
            lengths.push(0);
            continue;
        }
        let (from, to) = (from.value(row), to.value(row));
        let step = step.map_or(if from <= to { 1 } else { -1 }, |step| step.value(row));
        if step == 0 && from != to || (step > 0 && from > to) || (step < 0 && from < to) {
            return exec_err!(
                "sequence({from}, {to}, {step}) does not reach its end; hint: give the step the sign of the way"
            );
        }
        let length = if step == 0 { 1 } else { (i128::from(to) - i128::from(from)) / i128::from(step) + 1 };
        if length > i128::from(SEQUENCE_LENGTH_MAX) {
            return exec_err!("sequence({from}, {to}, {step}) has {length} elements, more than {SEQUENCE_LENGTH_MAX}");
        }
        values.extend((0..length as i64).map(|i| from + i * step));
        lengths.push(length as usize);
    }
    let field = Arc::new(Field::new_list_field(DataType::Int64, true));
    let values = Arc::new(Int64Array::from(values));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, Some(valid.into()))?))
}
