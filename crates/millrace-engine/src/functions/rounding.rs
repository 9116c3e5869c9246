//! `round`, `bround` and logarithms, where Spark differs from the floating-point functions.
//!
//! Spark rounds the decimal digits a DOUBLE is written with: `round(1.005D, 2)` is 1.01, although the number lies just
//! below 1.005. Logarithms of what has none are NULL, not −∞ or NaN.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Decimal128Array, Float64Array};
use arrow_cast::cast;
use arrow_schema::DataType;
use datafusion::common::{Result, exec_datafusion_err};

use super::simple::{Simple, as_integer, mismatch, take_between};

/// Which way a half goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Half {
    Up,
    Even,
}

macro_rules! of_doubles {
    ($name:literal, $function:expr) => {
        Simple {
            name: $name,
            aliases: &[],
            coerce: |types| {
                take_between($name, types, 1, 1)?;
                number($name, &types[0]).map(|_| vec![DataType::Float64])
            },
            returns: |_| DataType::Float64,
            evaluate: |columns, _| {
                let function: fn(f64) -> Option<f64> = $function;
                let numbers = columns[0].as_primitive::<Float64Type>().iter();
                Ok(Arc::new(numbers.map(|x| function(x?)).collect::<Float64Array>()))
            },
        }
    };
}

/// The functions of this file.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        rounding("round", |columns, result| rounded(columns, result, Half::Up)),
        rounding("bround", |columns, result| rounded(columns, result, Half::Even)),
        of_doubles!("ln", |x| (x > 0.0).then(|| x.ln())),
        of_doubles!("log10", |x| (x > 0.0).then(|| x.log10())),
        of_doubles!("log2", |x| (x > 0.0).then(|| x.log2())),
        of_doubles!("log1p", |x| (x > -1.0).then(|| x.ln_1p())),
        of_doubles!("sqrt", |x| Some(x.sqrt())),
    ]
}

fn number(name: &'static str, given: &DataType) -> Result<DataType> {
    match given {
        given if given.is_integer() => Ok(DataType::Int64),
        DataType::Decimal128(_, _) => Ok(given.clone()),
        DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::Null => Ok(DataType::Float64),
        given if given.is_string() => Ok(DataType::Float64),
        other => Err(mismatch(name, "a number", other, "CAST(x AS DOUBLE)")),
    }
}

fn rounding(name: &'static str, evaluate: fn(&[ArrayRef], &DataType) -> Result<ArrayRef>) -> Simple {
    Simple {
        name,
        aliases: &[],
        coerce: |types| {
            take_between("round", types, 1, 2)?;
            let mut coerced = vec![number("round", &types[0])?];
            if let Some(digits) = types.get(1) {
                coerced.push(as_integer("round", digits, DataType::Int64)?);
            }
            Ok(coerced)
        },
        returns: |types| types[0].clone(),
        evaluate,
    }
}

fn rounded(columns: &[ArrayRef], result: &DataType, half: Half) -> Result<ArrayRef> {
    let digits = columns.get(1).map(|digits| digits.as_primitive::<Int64Type>());
    let digits = |row: usize| digits.map_or(Some(0), |digits| digits.is_valid(row).then(|| digits.value(row)));
    let too_large = || exec_datafusion_err!("[ARITHMETIC_OVERFLOW] the rounded number left the range of its type");
    Ok(match result {
        DataType::Int64 => {
            let rounded = columns[0].as_primitive::<Int64Type>().iter().enumerate().map(|(row, number)| {
                let (Some(number), Some(digits)) = (number, digits(row)) else { return Ok(None) };
                let rounded = integer(i128::from(number), -digits, half);
                i64::try_from(rounded).map(Some).map_err(|_| too_large())
            });
            Arc::new(rounded.collect::<Result<arrow_array::Int64Array>>()?)
        }
        DataType::Decimal128(_, scale) => {
            let rounded = columns[0]
                .as_primitive::<Decimal128Type>()
                .iter()
                .enumerate()
                .map(|(row, number)| Some(integer(number?, i64::from(*scale) - digits(row)?, half)));
            let rounded: ArrayRef = Arc::new(rounded.collect::<Decimal128Array>().with_data_type(result.clone()));
            cast(&rounded, result)?
        }
        _ => {
            let rounded = columns[0]
                .as_primitive::<Float64Type>()
                .iter()
                .enumerate()
                .map(|(row, number)| Some(double(number?, digits(row)?, half)));
            Arc::new(rounded.collect::<Float64Array>())
        }
    })
}

/// An integer with its last `zeros` digits rounded away to 0; none when it is not positive.
fn integer(number: i128, zeros: i64, half: Half) -> i128 {
    let Ok(zeros) = u32::try_from(zeros) else { return number };
    if zeros == 0 {
        return number;
    }
    let Some(unit) = 10_i128.checked_pow(zeros) else { return 0 };
    let (quotient, rest) = (number / unit, number % unit);
    let up = match (2 * rest.abs()).cmp(&unit) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => half == Half::Up || quotient % 2 != 0,
    };
    (quotient + if up { number.signum() } else { 0 }) * unit
}

/// Rounds the digits the number is written with.
fn double(number: f64, digits: i64, half: Half) -> f64 {
    if !number.is_finite() || digits > 330 {
        return number;
    }
    let text = format!("{:e}", number.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let whole: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    // number = whole · 10^lowest
    let lowest = exponent - (whole.len() as i64 - 1);
    let Ok(value) = whole.parse::<i128>() else { return number };
    let kept = integer(value, -digits - lowest, half);
    let rounded: f64 = format!("{kept}e{lowest}").parse().unwrap_or(number);
    if number.is_sign_negative() { -rounded } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        for (number, digits, up, even) in [
            (2.5, 0, 3.0, 2.0),
            (-2.5, 0, -3.0, -2.0),
            (1.005, 2, 1.01, 1.0),
            (2.345, 2, 2.35, 2.34),
            (1234.5, -2, 1200.0, 1200.0),
            (1e300, 2, 1e300, 1e300),
            (0.1, 400, 0.1, 0.1),
            (4.9, -5, 0.0, 0.0),
        ] {
            assert_eq!(double(number, digits, Half::Up), up, "{number}, {digits}");
            assert_eq!(double(number, digits, Half::Even), even, "{number}, {digits}");
        }
        assert_eq!((integer(-25, 1, Half::Up), integer(-25, 1, Half::Even), integer(25, 40, Half::Up)), (-30, -20, 0));
    }
}
