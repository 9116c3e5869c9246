//! `+ - * %` of integers as in ANSI mode: an overflow is an error (DataFusion wraps around), and so is a remainder by zero.
//!
//! Also `try_add`, `try_subtract` and `try_multiply`, which give NULL instead.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_cast::{CastOptions, cast, cast_with_options};
use arrow_schema::{ArrowError, DataType};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, plan_err};

use super::simple::{Simple, take_between};
use super::type_name::type_name;

/// What the planner puts for `a + b` of integers.
pub(super) fn add() -> Simple {
    Simple {
        name: "add",
        aliases: &[],
        coerce: wider,
        returns,
        evaluate: |columns, _| of(columns, numeric::add, "add"),
    }
}

/// What the planner puts for `a - b` of integers.
pub(super) fn subtract() -> Simple {
    Simple {
        name: "subtract",
        aliases: &[],
        coerce: wider,
        returns,
        evaluate: |columns, _| of(columns, numeric::sub, "subtract"),
    }
}

/// What the planner puts for `a * b` of integers.
pub(super) fn multiply() -> Simple {
    Simple {
        name: "multiply",
        aliases: &[],
        coerce: wider,
        returns,
        evaluate: |columns, _| of(columns, numeric::mul, "multiply"),
    }
}

/// `a % b`: the sign is that of `a`.
pub(super) fn remainder() -> Simple {
    Simple {
        name: "mod",
        aliases: &[],
        coerce: wider,
        returns,
        evaluate: |columns, _| {
            let divisors = &columns[1];
            if divisors.data_type() == &DataType::Float64
                && divisors.as_primitive::<Float64Type>().iter().flatten().any(|d| d == 0.0)
            {
                return Err(by_zero());
            }
            of(columns, numeric::rem, "mod")
        },
    }
}

/// The functions that give NULL where the operator fails.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        Simple {
            name: "try_add",
            aliases: &[],
            coerce: wider,
            returns,
            evaluate: |columns, _| tried(columns, i64::checked_add, numeric::add),
        },
        Simple {
            name: "try_subtract",
            aliases: &[],
            coerce: wider,
            returns,
            evaluate: |columns, _| tried(columns, i64::checked_sub, numeric::sub),
        },
        Simple {
            name: "try_multiply",
            aliases: &[],
            coerce: wider,
            returns,
            evaluate: |columns, _| tried(columns, i64::checked_mul, numeric::mul),
        },
    ]
}

type Kernel = fn(&dyn arrow_array::Datum, &dyn arrow_array::Datum) -> Result<ArrayRef, ArrowError>;

/// Integers to the wider of the two, anything else to DOUBLE.
fn wider(types: &[DataType]) -> Result<Vec<DataType>> {
    take_between("arithmetic", types, 2, 2)?;
    let width = |given: &DataType| match given {
        DataType::Null => Some(0),
        given if given.is_integer() => given.primitive_width(),
        _ => None,
    };
    let common = match (width(&types[0]), width(&types[1])) {
        (Some(0), Some(0)) => DataType::Int64,
        (Some(left), Some(right)) => match left.max(right) {
            1 => DataType::Int8,
            2 => DataType::Int16,
            4 => DataType::Int32,
            _ => DataType::Int64,
        },
        _ if types.iter().all(|given| given.is_numeric() || given.is_null() || given.is_string()) => DataType::Float64,
        _ => {
            return plan_err!(
                "[DATATYPE_MISMATCH] arithmetic of {} and {}; hint: CAST both to numbers",
                type_name(&types[0]),
                type_name(&types[1])
            );
        }
    };
    Ok(vec![common; 2])
}

fn returns(types: &[DataType]) -> DataType {
    types[0].clone()
}

fn by_zero() -> DataFusionError {
    exec_datafusion_err!("[REMAINDER_BY_ZERO] remainder by zero; hint: a % nullif(b, 0) gives NULL instead")
}

fn of(columns: &[ArrayRef], kernel: Kernel, name: &str) -> Result<ArrayRef> {
    kernel(&columns[0], &columns[1]).map_err(|error| match error {
        ArrowError::DivideByZero => by_zero(),
        ArrowError::ArithmeticOverflow(_) => exec_datafusion_err!(
            "[ARITHMETIC_OVERFLOW] the result left the range of {}; hint: try_{name}(a, b) gives NULL instead",
            type_name(columns[0].data_type())
        ),
        other => other.into(),
    })
}

fn tried(columns: &[ArrayRef], exact: fn(i64, i64) -> Option<i64>, kernel: Kernel) -> Result<ArrayRef> {
    let result = columns[0].data_type();
    if result == &DataType::Float64 {
        return Ok(kernel(&columns[0], &columns[1])?);
    }
    let (left, right) = (cast(&columns[0], &DataType::Int64)?, cast(&columns[1], &DataType::Int64)?);
    let (left, right) = (left.as_primitive::<Int64Type>(), right.as_primitive::<Int64Type>());
    let values = left.iter().zip(right).map(|(left, right)| exact(left?, right?));
    let values: ArrayRef = Arc::new(values.collect::<arrow_array::Int64Array>());
    Ok(cast_with_options(&values, result, &CastOptions { safe: true, ..CastOptions::default() })?)
}
