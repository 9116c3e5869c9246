//! What every aggregate does to rows: skip the null ones, find its own kind when merging, word an overflow.

use std::any::Any;

use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, internal_datafusion_err};

use super::GroupState;

/// Calls `each(row, group)` for every row that is not null. The loop without nulls is kept apart: it is the usual one, and
/// the compiler makes it tight.
#[inline]
pub(super) fn each_valid(nulls: Option<&NullBuffer>, rows: &[u32], groups: &[u32], mut each: impl FnMut(usize, usize)) {
    match nulls.filter(|nulls| nulls.null_count() > 0) {
        None => {
            for (&row, &group) in rows.iter().zip(groups) {
                each(row as usize, group as usize);
            }
        }
        Some(nulls) => {
            for (&row, &group) in rows.iter().zip(groups) {
                if nulls.is_valid(row as usize) {
                    each(row as usize, group as usize);
                }
            }
        }
    }
}

/// The rows `each_valid` would visit, as two columns: rows and their groups.
pub(super) fn valid_rows(nulls: Option<&NullBuffer>, rows: &[u32], groups: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let (mut kept, mut of) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    each_valid(nulls, rows, groups, |row, group| {
        kept.push(row as u32);
        of.push(group as u32);
    });
    (kept, of)
}

/// The other state as this one's type.
pub(super) fn same_kind<S: Any>(other: &dyn GroupState) -> Result<&S> {
    other.as_any().downcast_ref().ok_or_else(|| internal_datafusion_err!("merge of two different aggregates"))
}

/// A saved column as the array type it was saved as.
pub(super) fn saved_column<A: Any>(columns: &[ArrayRef], index: usize) -> Result<&A> {
    columns.get(index).and_then(|column| column.as_any().downcast_ref()).ok_or_else(|| foreign_state(index))
}

/// The state on disk was written for another statement.
pub(super) fn foreign_state(index: usize) -> DataFusionError {
    exec_datafusion_err!(
        "saved aggregate state does not fit this statement: column {index} is missing or of another type"
    )
}

/// Spark's error for a sum that leaves its type.
pub(super) fn sum_overflow(type_name: &str) -> DataFusionError {
    exec_datafusion_err!(
        "[ARITHMETIC_OVERFLOW] sum left the range of {type_name}; hint: sum(CAST(x AS DOUBLE)), or a wider DECIMAL"
    )
}

/// An argument as the array type the planner coerced it to.
pub(super) fn argument<A: Any>(arguments: &[ArrayRef], index: usize) -> Result<&A> {
    arguments.get(index).and_then(|column| column.as_any().downcast_ref()).ok_or_else(|| {
        let given = arguments.get(index).map_or_else(|| "nothing".to_owned(), |column| column.data_type().to_string());
        internal_datafusion_err!("aggregate argument {index} is {given}, not what was planned")
    })
}

/// Numbers of an argument, without copying.
pub(super) fn values_of<T: ArrowPrimitiveType>(
    arguments: &[ArrayRef],
    index: usize,
) -> Result<&ScalarBuffer<T::Native>> {
    argument::<PrimitiveArray<T>>(arguments, index).map(PrimitiveArray::values)
}
