//! The 64-bit hash of a value: XXH64 with seed 42 over the bytes Spark hashes, by `datafusion-spark`'s `xxhash64`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use datafusion_spark::function::hash::xxhash64;

/// Hashes columns of one type.
pub(super) struct Hashes {
    function: Arc<ScalarUDF>,
    argument: FieldRef,
    result: FieldRef,
    config: Arc<ConfigOptions>,
}

impl Hashes {
    pub(super) fn new(value_type: &DataType) -> Self {
        Hashes {
            function: xxhash64(),
            argument: Arc::new(Field::new("value", value_type.clone(), true)),
            result: Arc::new(Field::new("hash", DataType::Int64, false)),
            config: Arc::new(ConfigOptions::default()),
        }
    }

    /// The hashes of these rows, in this order.
    ///
    /// # Errors
    /// A type that is not hashed.
    pub(super) fn of(&self, column: &ArrayRef, rows: &[u32]) -> Result<ScalarBuffer<i64>> {
        let all = rows.len() == column.len() && rows.iter().enumerate().all(|(i, &row)| i == row as usize);
        let picked = if all {
            Arc::clone(column)
        } else {
            arrow_select::take::take(column, &UInt32Array::from(rows.to_vec()), None)?
        };
        let number_rows = picked.len();
        let hashes = self.function.invoke_with_args(ScalarFunctionArgs {
            args: vec![ColumnarValue::Array(one_nan(picked))],
            arg_fields: vec![Arc::clone(&self.argument)],
            number_rows,
            return_field: Arc::clone(&self.result),
            config_options: Arc::clone(&self.config),
        })?;
        Ok(hashes.into_array(number_rows)?.as_primitive::<Int64Type>().values().clone())
    }
}

/// All NaNs become one: they are one value to Spark, but have many bit patterns.
fn one_nan(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => Arc::new(
            column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|x| if x.is_nan() { f64::NAN } else { x }),
        ),
        DataType::Float32 => Arc::new(
            column.as_primitive::<Float32Type>().unary::<_, Float32Type>(|x| if x.is_nan() { f32::NAN } else { x }),
        ),
        _ => column,
    }
}
