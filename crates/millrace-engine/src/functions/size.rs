//! `size(xs)`: elements of an array or a map; NULL of NULL, as in ANSI mode (`datafusion-spark` gives −1).

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int32Array};
use arrow_schema::DataType;

use super::array_sort::as_list;
use super::simple::{Simple, mismatch, take_between};

/// `size` and its other names.
pub(super) fn functions() -> Vec<Simple> {
    let function = |name, aliases| Simple {
        name,
        aliases,
        coerce: |types| {
            take_between("size", types, 1, 1)?;
            match &types[0] {
                DataType::Map(_, _) => Ok(types.to_vec()),
                DataType::Null => Err(mismatch("size", "an ARRAY or a MAP", &types[0], "CAST(NULL AS ARRAY<STRING>)")),
                other => Ok(vec![as_list("size", other)?]),
            }
        },
        returns: |_| DataType::Int32,
        evaluate: |columns, _| Ok(sizes(&columns[0])),
    };
    vec![function("size", &["cardinality"]), function("array_size", &[])]
}

fn sizes(column: &ArrayRef) -> ArrayRef {
    let offsets = match column.data_type() {
        DataType::Map(_, _) => column.as_map().offsets(),
        _ => column.as_list::<i32>().offsets(),
    };
    let lengths = offsets.lengths().map(|length| length as i32).collect::<Vec<i32>>();
    Arc::new(Int32Array::new(lengths.into(), column.nulls().cloned()))
}
