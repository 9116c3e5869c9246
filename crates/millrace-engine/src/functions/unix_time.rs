//! Between TIMESTAMP and numbers since 1970: `unix_seconds`, `timestamp_millis` and the like.
//!
//! `datafusion-spark`'s `unix_…` exist only for the optimizer to rewrite, and round times before 1970 the wrong way.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Int64Array, PrimitiveArray, TimestampMicrosecondArray};
use arrow_schema::DataType;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};

use super::simple::{Simple, as_integer, as_timestamp, mismatch, take_between, timestamp_type};

macro_rules! since_1970 {
    ($name:literal, $micros:literal) => {
        Simple {
            name: $name,
            aliases: &[],
            coerce: |types| {
                take_between($name, types, 1, 1)?;
                Ok(vec![as_timestamp($name, &types[0])?])
            },
            returns: |_| DataType::Int64,
            evaluate: |columns, _| {
                let times = columns[0].as_primitive::<TimestampMicrosecondType>();
                Ok(Arc::new(times.unary::<_, Int64Type>(|micros| micros.div_euclid($micros))))
            },
        }
    };
}

macro_rules! time_of {
    ($name:literal, $micros:literal) => {
        Simple {
            name: $name,
            aliases: &[],
            coerce: |types| {
                take_between($name, types, 1, 1)?;
                Ok(vec![as_integer($name, &types[0], DataType::Int64)?])
            },
            returns: |_| timestamp_type(),
            evaluate: |columns, _| times(columns[0].as_primitive(), $micros),
        }
    };
}

/// Whole seconds since 1970, rounded down.
pub(super) fn unix_seconds() -> Simple {
    since_1970!("unix_seconds", 1_000_000)
}

/// The time of a number of seconds since 1970.
pub(super) fn timestamp_seconds() -> Simple {
    Simple {
        name: "timestamp_seconds",
        aliases: &[],
        // Of a fraction, microseconds are kept.
        coerce: |types| {
            take_between("timestamp_seconds", types, 1, 1)?;
            match &types[0] {
                given if given.is_integer() || given.is_null() => Ok(vec![DataType::Int64]),
                given if given.is_numeric() => Ok(vec![DataType::Float64]),
                given => Err(mismatch("timestamp_seconds", "a number", given, "CAST(x AS BIGINT)")),
            }
        },
        returns: |_| timestamp_type(),
        evaluate: |columns, _| match columns[0].data_type() {
            DataType::Int64 => times(columns[0].as_primitive(), 1_000_000),
            _ => {
                let seconds = columns[0].as_primitive::<Float64Type>();
                let times: TimestampMicrosecondArray = seconds.unary(|seconds| (seconds * 1e6).round() as i64);
                Ok(Arc::new(times.with_data_type(timestamp_type())))
            }
        },
    }
}

/// Numbers from times and times from numbers.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        unix_seconds(),
        since_1970!("unix_millis", 1_000),
        since_1970!("unix_micros", 1),
        time_of!("timestamp_millis", 1_000),
        time_of!("timestamp_micros", 1),
        timestamp_seconds(),
    ]
}

fn times(numbers: &Int64Array, micros: i64) -> Result<ArrayRef> {
    let overflow =
        || -> DataFusionError { exec_datafusion_err!("[ARITHMETIC_OVERFLOW] the number is too large for a TIMESTAMP") };
    let times = numbers.iter().map(|number| number.map(|n| n.checked_mul(micros).ok_or_else(overflow)).transpose());
    let times: PrimitiveArray<TimestampMicrosecondType> = times.collect::<Result<_>>()?;
    Ok(Arc::new(times.with_data_type(timestamp_type())))
}
