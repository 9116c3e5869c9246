//! One element of an array or map: `xs[i]`, `element_at`, `try_element_at`, `get`.
//!
//! | call | counts from | outside the array |
//! |---|---|---|
//! | `xs[i]` | 0 | error INVALID_ARRAY_INDEX |
//! | `get(xs, i)` | 0 | NULL |
//! | `element_at(xs, i)` | 1, or from the end when negative | error INVALID_ARRAY_INDEX_IN_ELEMENT_AT |
//! | `try_element_at(xs, i)` | the same | NULL |
//! | any of them over a map | | NULL for a key it has not |

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::DataType;
use datafusion::common::{Result, exec_err, plan_err};

use super::array_sort::as_list;
use super::simple::{Simple, as_integer, take_between};

/// `element_at`, `try_element_at`, `get`.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        Simple { name: "element_at", aliases: &[], coerce, returns, evaluate: |columns, _| pick(columns, ELEMENT_AT) },
        Simple {
            name: "try_element_at",
            aliases: &[],
            coerce,
            returns,
            evaluate: |columns, _| pick(columns, TRY_ELEMENT_AT),
        },
        Simple { name: "get", aliases: &[], coerce, returns, evaluate: |columns, _| pick(columns, GET) },
    ]
}

/// What the planner puts for `xs[i]`.
pub(super) fn subscript() -> Simple {
    Simple { name: "array_item", aliases: &[], coerce, returns, evaluate: |columns, _| pick(columns, SUBSCRIPT) }
}

struct Access {
    from_one: bool,
    /// The error class when there is no such element; `None`: NULL instead.
    error: Option<&'static str>,
}

const SUBSCRIPT: Access = Access { from_one: false, error: Some("INVALID_ARRAY_INDEX") };
const GET: Access = Access { from_one: false, error: None };
const ELEMENT_AT: Access = Access { from_one: true, error: Some("INVALID_ARRAY_INDEX_IN_ELEMENT_AT") };
const TRY_ELEMENT_AT: Access = Access { from_one: true, error: None };

impl Access {
    /// The position, from 0, of element `index` of `length`.
    fn position(&self, index: i64, length: i64) -> Result<Option<i64>> {
        let position = match (self.from_one, index) {
            (true, 0) => {
                return exec_err!(
                    "[INVALID_INDEX_OF_ZERO] element_at() counts from 1; hint: xs[0] is the first element"
                );
            }
            (true, 1..) => index - 1,
            (true, _) => index + length,
            (false, _) => index,
        };
        if (0..length).contains(&position) {
            return Ok(Some(position));
        }
        match self.error {
            None => Ok(None),
            Some(class) => {
                let hint = if self.from_one { "try_element_at(xs, i)" } else { "get(xs, i)" };
                exec_err!("[{class}] element {index} of an array of {length}; hint: {hint} gives NULL instead")
            }
        }
    }
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    take_between("element_at", types, 2, 2)?;
    match &types[0] {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => Ok(vec![types[0].clone(), fields[0].data_type().clone()]),
            other => plan_err!("element_at() of a map with entries of type {other}"),
        },
        other => Ok(vec![as_list("element_at", other)?, as_integer("element_at", &types[1], DataType::Int64)?]),
    }
}

fn returns(types: &[DataType]) -> DataType {
    match &types[0] {
        DataType::List(field) => field.data_type().clone(),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields[1].data_type().clone(),
            _ => DataType::Null,
        },
        _ => DataType::Null,
    }
}

fn pick(columns: &[ArrayRef], access: Access) -> Result<ArrayRef> {
    if let DataType::Map(_, _) = columns[0].data_type() {
        return pick_from_maps(columns);
    }
    let lists = columns[0].as_list::<i32>();
    let indices = columns[1].as_primitive::<Int64Type>();
    let positions = lists.value_offsets().windows(2).enumerate().map(|(row, span)| {
        if lists.is_null(row) || indices.is_null(row) {
            return Ok(None);
        }
        let length = i64::from(span[1] - span[0]);
        Ok(access.position(indices.value(row), length)?.map(|position| span[0] as u32 + position as u32))
    });
    let positions: UInt32Array = positions.collect::<Result<_>>()?;
    Ok(arrow_select::take::take(lists.values(), &positions, None)?)
}

fn pick_from_maps(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let maps = columns[0].as_map();
    let converter = RowConverter::new(vec![SortField::new(maps.keys().data_type().clone())])?;
    let held = converter.convert_columns(std::slice::from_ref(maps.keys()))?;
    let wanted = converter.convert_columns(&columns[1..2])?;
    let positions = maps.value_offsets().windows(2).enumerate().map(|(row, span)| {
        let known = maps.is_valid(row) && columns[1].is_valid(row);
        let mut entries = if known { span[0] as u32..span[1] as u32 } else { 0..0 };
        entries.find(|&entry| held.row(entry as usize) == wanted.row(row))
    });
    let positions: UInt32Array = positions.collect();
    Ok(arrow_select::take::take(maps.values(), &positions, None)?)
}
