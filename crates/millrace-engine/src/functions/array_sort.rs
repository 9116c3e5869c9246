//! `array_sort(xs)`: ascending, NULL elements last; elements of any type, structs field by field.
//!
//! DataFusion's function of that name puts NULLs first and does not sort structs.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, UInt32Array};
use arrow_buffer::OffsetBuffer;
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, SortOptions};
use datafusion::common::{Result, plan_err};

use super::simple::{Simple, mismatch, take_between};

/// `array_sort(xs)` and `sort_array(xs[, ascending])`.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        Simple {
            name: "array_sort",
            aliases: &["list_sort"],
            coerce: |types| {
                take_between("array_sort", types, 1, 1)?;
                Ok(vec![as_list("array_sort", &types[0])?])
            },
            returns: |types| types[0].clone(),
            evaluate: |columns, _| {
                let last = SortOptions { descending: false, nulls_first: false };
                sorted(columns[0].as_list(), |_| last)
            },
        },
        Simple {
            name: "sort_array",
            aliases: &[],
            coerce: |types| {
                take_between("sort_array", types, 1, 2)?;
                let mut coerced = vec![DataType::Boolean; types.len()];
                coerced[0] = as_list("sort_array", &types[0])?;
                Ok(coerced)
            },
            returns: |types| types[0].clone(),
            // NULLs first when ascending, last when descending.
            evaluate: |columns, _| {
                let ascending = columns.get(1).map(|column| column.as_boolean());
                sorted(columns[0].as_list(), |row| {
                    let descending = ascending.is_some_and(|ascending| !ascending.value(row));
                    SortOptions { descending, nulls_first: !descending }
                })
            },
        },
    ]
}

/// An array with 32-bit offsets.
pub(super) fn as_list(name: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::List(_) => Ok(given.clone()),
        DataType::LargeList(field) | DataType::FixedSizeList(field, _) => Ok(DataType::List(Arc::clone(field))),
        _ => Err(mismatch(name, "an ARRAY", given, "array(x) makes one")),
    }
}

fn sorted(lists: &ListArray, order: impl Fn(usize) -> SortOptions) -> Result<ArrayRef> {
    let DataType::List(field) = lists.data_type() else { return plan_err!("array_sort() of {}", lists.data_type()) };
    let mut indices: Vec<u32> = Vec::with_capacity(lists.values().len());
    let mut lengths = Vec::with_capacity(lists.len());
    let mut keys: [Option<arrow_row::Rows>; 2] = [None, None];
    for (row, span) in lists.value_offsets().windows(2).enumerate() {
        let (from, to) = (span[0] as u32, span[1] as u32);
        if lists.is_null(row) {
            lengths.push(0);
            continue;
        }
        let order = order(row);
        let keys = match &mut keys[usize::from(order.descending)] {
            Some(keys) => keys,
            none => {
                let sort = SortField::new_with_options(field.data_type().clone(), order);
                none.insert(RowConverter::new(vec![sort])?.convert_columns(std::slice::from_ref(lists.values()))?)
            }
        };
        let start = indices.len();
        indices.extend(from..to);
        indices[start..].sort_by(|&a, &b| keys.row(a as usize).cmp(&keys.row(b as usize)));
        lengths.push((to - from) as usize);
    }
    let values = arrow_select::take::take(lists.values(), &UInt32Array::from(indices), None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, values, lists.nulls().cloned())?))
}
