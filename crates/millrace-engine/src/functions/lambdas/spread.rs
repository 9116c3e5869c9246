//! The elements of lists (or entries of maps) laid end to end, so that a lambda runs once over all of them.
//!
//! ```text
//!  row      0: [a, b]   1: NULL   2: []   3: [c]
//!  entry    0  1                          2          in the values below
//!  row of   0  0                          3          repeats the columns the lambda captured
//!  place    0  1                          0          the second argument of (x, i) -> …
//! ```

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int32Array, UInt32Array};
use arrow_buffer::OffsetBuffer;
use arrow_schema::DataType;
use arrow_select::take::take;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::LambdaArgument;

/// Where the elements of a column of lists or maps are.
pub(super) struct Spread {
    /// Row of each element.
    pub(super) rows: UInt32Array,
    /// Place of each element among the flat values.
    pub(super) entries: UInt32Array,
    /// Place of each element in its list, from 0.
    pub(super) places: Int32Array,
    /// Elements of each row; a NULL has none.
    pub(super) lengths: Vec<usize>,
}

impl Spread {
    pub(super) fn of(column: &ArrayRef) -> Result<Self> {
        let offsets = match column.data_type() {
            DataType::List(_) => column.as_list::<i32>().value_offsets(),
            DataType::Map(_, _) => column.as_map().value_offsets(),
            other => return exec_err!("no elements in {other}"),
        };
        let (mut rows, mut entries, mut places) = (Vec::new(), Vec::new(), Vec::new());
        let mut lengths = Vec::with_capacity(column.len());
        for row in 0..column.len() {
            let (from, to) = (offsets[row] as u32, offsets[row + 1] as u32);
            if column.is_null(row) {
                lengths.push(0);
                continue;
            }
            lengths.push((to - from) as usize);
            rows.extend(std::iter::repeat_n(row as u32, (to - from) as usize));
            entries.extend(from..to);
            places.extend(0..(to - from) as i32);
        }
        Ok(Spread { rows: rows.into(), entries: entries.into(), places: places.into(), lengths })
    }

    pub(super) fn offsets(&self) -> OffsetBuffer<i32> {
        OffsetBuffer::from_lengths(self.lengths.iter().copied())
    }

    /// Each row with the span of its elements.
    pub(super) fn spans(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let mut start = 0;
        self.lengths.iter().map(move |length| {
            let span = start..start + length;
            start = span.end;
            span
        })
    }

    /// The elements, in the order of the spread.
    pub(super) fn elements(&self, values: &ArrayRef) -> Result<ArrayRef> {
        Ok(take(values, &self.entries, None)?)
    }
}

/// A lambda's results for these arguments; `rows` tells the row each belongs to, for the columns it captured.
pub(super) fn apply(lambda: &LambdaArgument, arguments: &[ArrayRef], rows: &UInt32Array) -> Result<ArrayRef> {
    let closures: Vec<_> = arguments.iter().map(|argument| move || Ok(Arc::clone(argument))).collect();
    let closures: Vec<&dyn Fn() -> Result<ArrayRef>> = closures.iter().map(|closure| closure as _).collect();
    let spread = |columns: &[ArrayRef]| columns.iter().map(|column| Ok(take(column, rows, None)?)).collect();
    lambda.evaluate(&closures, spread)?.into_array(rows.len())
}
