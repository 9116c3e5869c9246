//! `aggregate(xs, zero, (acc, x) -> …, acc -> …)`: one step for the n-th elements of all lists at once.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_cast::cast;
use arrow_schema::DataType;
use arrow_select::interleave::interleave;
use arrow_select::nullif::nullif;
use arrow_select::take::take;
use datafusion::arrow::compute::is_null;
use datafusion::common::{Result, exec_err};

use super::Call;
use super::spread::{Spread, apply};

/// The type of the accumulator: the zero's, wide enough for the elements. Spark asks for a zero of the right type.
pub(super) fn accumulator(zero: &DataType, element: &DataType) -> DataType {
    match (zero, element) {
        (zero, element) if zero.is_integer() && element.is_floating() => DataType::Float64,
        (zero, DataType::Decimal128(_, scale)) if zero.is_integer() => DataType::Decimal128(38, *scale),
        (DataType::Decimal128(_, _), element) if element.is_floating() => DataType::Float64,
        (DataType::Decimal128(_, own), DataType::Decimal128(_, scale)) => DataType::Decimal128(38, *own.max(scale)),
        (zero, _) if zero.is_integer() => DataType::Int64,
        (DataType::Null, element) => element.clone(),
        (zero, _) => zero.clone(),
    }
}

pub(super) fn fold(call: &Call<'_>) -> Result<ArrayRef> {
    let [lists, zero] = call.values.as_slice() else { return exec_err!("aggregate takes a list and a zero") };
    let spread = Spread::of(lists)?;
    let elements = spread.elements(lists.as_list::<i32>().values())?;
    let of = zero.data_type().clone();
    let mut accumulated = zero.clone();
    let spans: Vec<_> = spread.spans().collect();
    let longest = spans.iter().map(std::ops::Range::len).max().unwrap_or(0);
    for step in 0..longest {
        let active: Vec<usize> = (0..spans.len()).filter(|row| spans[*row].len() > step).collect();
        let rows = UInt32Array::from(active.iter().map(|row| *row as u32).collect::<Vec<_>>());
        let places = active.iter().map(|row| (spans[*row].start + step) as u32).collect::<Vec<_>>();
        let arguments = [take(&accumulated, &rows, None)?, take(&elements, &UInt32Array::from(places), None)?];
        let merged = cast(&apply(call.lambdas[0], &arguments, &rows)?, &of)?;
        let mut sources: Vec<(usize, usize)> = (0..spans.len()).map(|row| (0, row)).collect();
        for (at, row) in active.into_iter().enumerate() {
            sources[row] = (1, at);
        }
        accumulated = interleave(&[accumulated.as_ref(), merged.as_ref()], &sources)?;
    }
    let result = match call.lambdas.get(1) {
        Some(finish) => {
            let rows = UInt32Array::from_iter_values(0..accumulated.len() as u32);
            apply(finish, &[accumulated], &rows)?
        }
        None => accumulated,
    };
    Ok(cast(&nullif(&result, &is_null(lists)?)?, call.result)?)
}
