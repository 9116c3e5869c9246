//! Division as Spark has it: `/` of integers gives a DOUBLE, a zero divisor is an error, and decimals keep their digits.
//!
//! DataFusion's `/` of integers drops the fraction. The planner puts `divide` where a text says `/`, and `div` for `DIV`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, DecimalType, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::i256;
use arrow_schema::DataType;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, plan_err};

use super::simple::{Simple, take_between};
use super::type_name::type_name;

/// `a / b`.
pub(super) fn divide() -> Simple {
    Simple {
        name: "divide",
        aliases: &[],
        coerce,
        returns,
        evaluate: |columns, result| quotient(columns, result, Zero::Fails),
    }
}

/// `a DIV b`: the whole part of a quotient of integers.
pub(super) fn div() -> Simple {
    Simple {
        name: "div",
        aliases: &[],
        coerce: |types| {
            take_between("div", types, 2, 2)?;
            if types.iter().all(|given| given.is_integer() || given.is_null()) {
                return Ok(vec![DataType::Int64; 2]);
            }
            plan_err!(
                "[DATATYPE_MISMATCH] DIV takes integers, not {} and {}; hint: write a / b",
                type_name(&types[0]),
                type_name(&types[1])
            )
        },
        returns: |_| DataType::Int64,
        evaluate: |columns, _| {
            pairwise::<Int64Type>(columns, &DataType::Int64, |a, b| {
                if b == 0 { Err(by_zero()) } else { a.checked_div(b).map(Some).ok_or_else(out_of_range) }
            })
        },
    }
}

/// `try_divide(a, b)`: NULL where `a / b` fails.
pub(super) fn try_divide() -> Simple {
    let evaluate = |columns: &[ArrayRef], result: &DataType| quotient(columns, result, Zero::IsNull);
    Simple { name: "try_divide", aliases: &[], coerce, returns, evaluate }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Zero {
    Fails,
    IsNull,
}

fn coerce(types: &[DataType]) -> Result<Vec<DataType>> {
    take_between("divide", types, 2, 2)?;
    if types.iter().any(|given| !(given.is_numeric() || given.is_null() || given.is_string())) {
        return plan_err!(
            "[DATATYPE_MISMATCH] cannot divide {} by {}; hint: CAST both to numbers",
            type_name(&types[0]),
            type_name(&types[1])
        );
    }
    if types.iter().any(DataType::is_decimal)
        && let (Some(left), Some(right)) = (as_decimal(&types[0]), as_decimal(&types[1]))
    {
        return Ok(vec![left, right]);
    }
    Ok(vec![DataType::Float64; 2])
}

/// A number as the decimal Spark reads it as; `None` for a float or a text.
fn as_decimal(given: &DataType) -> Option<DataType> {
    let (precision, scale) = match given {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => (*precision, *scale),
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 | DataType::UInt64 => (20, 0),
        _ => return None,
    };
    Some(DataType::Decimal128(precision, scale))
}

/// Of decimals, Spark's rule: at least six digits after the point, and as many as a quotient can need while 38 are enough.
fn returns(types: &[DataType]) -> DataType {
    let (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) = (&types[0], &types[1]) else {
        return DataType::Float64;
    };
    let [p1, s1, p2, s2] = [i32::from(*p1), i32::from(*s1), i32::from(*p2), i32::from(*s2)];
    let whole = p1 - s1 + s2;
    let scale = (s1 + p2 + 1).max(6);
    let scale = if whole + scale <= 38 { scale } else { (38 - whole).max(scale.min(6)) };
    DataType::Decimal128((whole + scale).min(38) as u8, scale as i8)
}

fn quotient(columns: &[ArrayRef], result: &DataType, zero: Zero) -> Result<ArrayRef> {
    match (columns[0].data_type(), columns[1].data_type(), result) {
        (DataType::Decimal128(_, s1), DataType::Decimal128(_, s2), DataType::Decimal128(precision, scale)) => {
            let shift = i32::from(*scale) + i32::from(*s2) - i32::from(*s1);
            pairwise::<Decimal128Type>(columns, result, |a, b| {
                if b == 0 {
                    return if zero == Zero::IsNull { Ok(None) } else { Err(by_zero()) };
                }
                let quotient = decimal_quotient(a, b, shift)
                    .filter(|q| Decimal128Type::validate_decimal_precision(*q, *precision, *scale).is_ok());
                if quotient.is_none() && zero == Zero::Fails { Err(out_of_range()) } else { Ok(quotient) }
            })
        }
        _ => pairwise::<Float64Type>(columns, result, |a, b| match (b == 0.0, zero) {
            (true, Zero::Fails) => Err(by_zero()),
            (true, Zero::IsNull) => Ok(None),
            (false, _) => Ok(Some(a / b)),
        }),
    }
}

/// `a · 10^shift / b`, rounded half away from zero.
fn decimal_quotient(a: i128, b: i128, shift: i32) -> Option<i128> {
    let power = |n: i32| i256::from_i128(10).checked_pow(n as u32);
    let (mut a, mut b) = (i256::from_i128(a), i256::from_i128(b));
    if shift >= 0 {
        a = a.checked_mul(power(shift)?)?
    } else {
        b = b.checked_mul(power(-shift)?)?
    }
    let (whole, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
    let up = rest.wrapping_abs() >= b.wrapping_abs().wrapping_sub(rest.wrapping_abs());
    let step = if a.is_negative() == b.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    if up { whole.checked_add(step)?.to_i128() } else { whole.to_i128() }
}

fn pairwise<T: ArrowPrimitiveType>(
    columns: &[ArrayRef],
    result: &DataType,
    mut of: impl FnMut(T::Native, T::Native) -> Result<Option<T::Native>>,
) -> Result<ArrayRef> {
    let (left, right) = (columns[0].as_primitive::<T>(), columns[1].as_primitive::<T>());
    let values = (0..left.len()).map(|row| {
        if left.is_null(row) || right.is_null(row) { Ok(None) } else { of(left.value(row), right.value(row)) }
    });
    let values: PrimitiveArray<T> = values.collect::<Result<_>>()?;
    Ok(Arc::new(values.with_data_type(result.clone())))
}

fn by_zero() -> DataFusionError {
    exec_datafusion_err!("[DIVIDE_BY_ZERO] division by zero; hint: try_divide(a, b) gives NULL instead")
}

fn out_of_range() -> DataFusionError {
    exec_datafusion_err!(
        "[ARITHMETIC_OVERFLOW] the quotient left the range of its type; hint: divide doubles, a / CAST(b AS DOUBLE)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_types_of_a_quotient() {
        let decimal = DataType::Decimal128;
        for (left, right, expected) in [
            (decimal(10, 2), decimal(5, 1), decimal(17, 8)),
            (decimal(20, 0), decimal(20, 0), decimal(38, 18)),
            (decimal(38, 10), decimal(38, 10), decimal(38, 6)),
            (decimal(12, 2), decimal(10, 0), decimal(23, 13)),
        ] {
            assert_eq!(returns(&[left.clone(), right.clone()]), expected, "{left} / {right}");
        }
    }

    #[test]
    fn decimal_quotients_are_rounded_half_up() {
        for (a, b, shift, expected) in [
            (1, 3, 4, 3333),
            (2, 3, 4, 6667),
            (-2, 3, 4, -6667),
            (1, 2, 0, 1),
            (-1, 2, 0, -1),
            (1, -2, 0, -1),
            (150, 10, -1, 2),
        ] {
            assert_eq!(decimal_quotient(a, b, shift), Some(expected), "{a} / {b}");
        }
        assert_eq!(decimal_quotient(i128::MAX, 1, 40), None);
    }
}
