//! `transform`, `filter`, `exists`, `forall`, `zip_with`, and `array_sort` with a comparator.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, ListArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::cast;
use arrow_schema::{DataType, FieldRef};
use arrow_select::take::take;
use datafusion::common::{Result, exec_err};

use super::Call;
use super::spread::{Spread, apply};

fn field_of(list: &DataType) -> Result<FieldRef> {
    match list {
        DataType::List(field) => Ok(field.clone()),
        other => exec_err!("no list but {other}"),
    }
}

fn list_of(
    call: &Call<'_>,
    offsets: OffsetBuffer<i32>,
    values: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let field = field_of(call.result)?;
    let values = cast(&values, field.data_type())?;
    Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls)?))
}

/// The condition of each element; NULL where it is NULL.
pub(super) fn conditions(result: &ArrayRef) -> Result<BooleanArray> {
    Ok(cast(result, &DataType::Boolean)?.as_boolean().clone())
}

pub(super) fn transform(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = &call.values[0];
    let spread = Spread::of(lists)?;
    let elements = spread.elements(lists.as_list::<i32>().values())?;
    let places: ArrayRef = Arc::new(spread.places.clone());
    let values = apply(call.lambdas[0], &[elements, places], &spread.rows)?;
    list_of(call, spread.offsets(), values, lists.nulls().cloned())
}

pub(super) fn filter(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = &call.values[0];
    let spread = Spread::of(lists)?;
    let elements = spread.elements(lists.as_list::<i32>().values())?;
    let places: ArrayRef = Arc::new(spread.places.clone());
    let wanted = conditions(&apply(call.lambdas[0], &[elements.clone(), places], &spread.rows)?)?;
    let holds = |at: &usize| wanted.is_valid(*at) && wanted.value(*at);
    let kept: UInt32Array = (0..wanted.len()).filter(holds).map(|at| at as u32).collect::<Vec<_>>().into();
    let lengths = spread.spans().map(|span| span.filter(holds).count());
    list_of(call, OffsetBuffer::from_lengths(lengths), take(&elements, &kept, None)?, lists.nulls().cloned())
}

/// `exists` looks for a true, `forall` for a false; an unknown one makes the answer unknown unless it is found.
pub(super) fn quantify(call: &Call<'_>, exists: bool) -> Result<ArrayRef> {
    let lists = &call.values[0];
    let spread = Spread::of(lists)?;
    let elements = spread.elements(lists.as_list::<i32>().values())?;
    let conditions = conditions(&apply(call.lambdas[0], &[elements], &spread.rows)?)?;
    let answers = spread.spans().enumerate().map(|(row, span)| {
        if lists.is_null(row) {
            return None;
        }
        let found = span.clone().any(|at| conditions.is_valid(at) && conditions.value(at) == exists);
        let unknown = span.into_iter().any(|at| conditions.is_null(at));
        if found { Some(exists) } else { (!unknown).then_some(!exists) }
    });
    Ok(Arc::new(answers.collect::<BooleanArray>()))
}

/// The shorter list goes on with NULLs.
pub(super) fn zip_with(call: &Call<'_>) -> Result<ArrayRef> {
    let [left, right] = call.values.as_slice() else { return exec_err!("zip_with takes two lists") };
    let nulls = NullBuffer::union(left.nulls(), right.nulls());
    let (lefts, rights) = (Spread::of(left)?, Spread::of(right)?);
    let (mut rows, mut lengths) = (Vec::new(), Vec::with_capacity(left.len()));
    let (mut from_left, mut from_right) = (Vec::new(), Vec::new());
    for (row, (one, other)) in lefts.spans().zip(rights.spans()).enumerate() {
        let known = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let length = if known { one.len().max(other.len()) } else { 0 };
        rows.extend(std::iter::repeat_n(row as u32, length));
        let place = |span: &std::ops::Range<usize>, at: usize| (at < span.len()).then(|| (span.start + at) as u32);
        from_left.extend((0..length).map(|at| place(&one, at)));
        from_right.extend((0..length).map(|at| place(&other, at)));
        lengths.push(length);
    }
    let elements = |spread: &Spread, list: &ArrayRef, places: Vec<Option<u32>>| -> Result<ArrayRef> {
        let values = spread.elements(list.as_list::<i32>().values())?;
        Ok(take(&values, &UInt32Array::from(places), None)?)
    };
    let arguments = [elements(&lefts, left, from_left)?, elements(&rights, right, from_right)?];
    let values = apply(call.lambdas[0], &arguments, &UInt32Array::from(rows))?;
    list_of(call, OffsetBuffer::from_lengths(lengths), values, nulls)
}

/// Sorts each list by what the comparator says of every pair of its elements, asked in one go.
pub(super) fn sort(call: &Call<'_>) -> Result<ArrayRef> {
    let lists = &call.values[0];
    let spread = Spread::of(lists)?;
    let elements = spread.elements(lists.as_list::<i32>().values())?;
    let mut order: Vec<u32> = Vec::with_capacity(elements.len());
    for (row, span) in spread.spans().enumerate() {
        let pairs: Vec<(usize, usize)> =
            (0..span.len()).flat_map(|a| (a + 1..span.len()).map(move |b| (a, b))).collect();
        let side = |pick: fn(&(usize, usize)) -> usize| -> Result<ArrayRef> {
            let places = pairs.iter().map(|pair| (span.start + pick(pair)) as u32).collect::<Vec<_>>();
            Ok(take(&elements, &UInt32Array::from(places), None)?)
        };
        let rows = UInt32Array::from(vec![row as u32; pairs.len()]);
        let compared = apply(call.lambdas[0], &[side(|pair| pair.0)?, side(|pair| pair.1)?], &rows)?;
        let compared = cast(&compared, &DataType::Int64)?;
        let compared: &Int64Array = compared.as_primitive::<Int64Type>();
        if compared.null_count() > 0 {
            return exec_err!(
                "[COMPARATOR_RETURNS_NULL] the comparator of array_sort() gave NULL; hint: ELSE 0 at the end of its CASE"
            );
        }
        let width = span.len();
        // Pairs before those of `a`: (width - 1) + (width - 2) + …
        let number = |a: usize, b: usize| a * (2 * width - a - 1) / 2 + (b - a - 1);
        let compare = |a: usize, b: usize| match a.cmp(&b) {
            Ordering::Equal => Ordering::Equal,
            Ordering::Less => compared.value(number(a, b)).cmp(&0),
            Ordering::Greater => 0.cmp(&compared.value(number(b, a))),
        };
        order.extend(merge_sorted((0..width).collect(), &compare).into_iter().map(|at| (span.start + at) as u32));
    }
    list_of(call, spread.offsets(), take(&elements, &UInt32Array::from(order), None)?, lists.nulls().cloned())
}

/// A stable sort that bears a comparator without sense, where the standard library's may panic.
fn merge_sorted(items: Vec<usize>, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    if items.len() < 2 {
        return items;
    }
    let mut left = items;
    let right = merge_sorted(left.split_off(left.len() / 2), compare);
    let left = merge_sorted(left, compare);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        merged.extend(if compare(*a, *b) == Ordering::Greater { right.next() } else { left.next() });
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_stable_and_bears_nonsense() {
        let by_tens = |a: usize, b: usize| (a / 10).cmp(&(b / 10));
        assert_eq!(merge_sorted(vec![31, 12, 11, 30, 2], &by_tens), [2, 12, 11, 31, 30]);
        assert_eq!(merge_sorted(vec![3, 1, 2], &|_, _| Ordering::Greater).len(), 3);
    }
}
