//! PostgreSQL's NUMERIC, which `sum` of BIGINT and `avg` answer in: as a JSON number, and as exact text.

use serde_json::Value;

const NEGATIVE: u16 = 0x4000;
const SPECIAL: u16 = 0xC000;

/// The binary form as a JSON number. Whole numbers that fit become integers, all others doubles; NaN and the infinities
/// become null.
pub(super) fn from_binary(bytes: &[u8]) -> Result<Value, String> {
    let Some(text) = text(bytes)? else {
        return Ok(Value::Null);
    };
    if let Ok(integer) = text.parse::<i64>() {
        return Ok(Value::from(integer));
    }
    text.parse::<f64>().map(Value::from).map_err(|e| e.to_string())
}

/// Reads the binary form: count of base-10,000 digits, weight of the first, sign, digits after the point, digits. As
/// text, exact, perhaps with zeros in front and behind; `None` for NaN and the infinities.
/// Source: `numeric_send` in PostgreSQL's `src/backend/utils/adt/numeric.c`.
pub(super) fn text(bytes: &[u8]) -> Result<Option<String>, String> {
    let word = |at: usize| bytes.get(at * 2..at * 2 + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let short = || "a NUMERIC that ends too early".to_owned();
    let (count, weight) = (word(0).ok_or_else(short)?, word(1).ok_or_else(short)?.cast_signed());
    let (sign, scale) = (word(2).ok_or_else(short)?, word(3).ok_or_else(short)?);
    if sign & SPECIAL == SPECIAL {
        return Ok(None);
    }
    let digits: Vec<u16> = (0..usize::from(count)).map(|at| word(4 + at)).collect::<Option<_>>().ok_or_else(short)?;
    let mut text = String::from(if sign == NEGATIVE { "-" } else { "" });
    // Digit `at` counts 10,000^(weight - at).
    let digit = |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let weight = i32::from(weight);
    text.push('0');
    for at in 0..=weight {
        text.push_str(&format!("{:04}", digit(at)));
    }
    if scale > 0 {
        text.push('.');
        let groups = (i32::from(scale) + 3) / 4;
        for at in weight + 1..=weight + groups {
            text.push_str(&format!("{:04}", digit(at)));
        }
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let head = [digits.len() as u16, weight.cast_unsigned(), sign, scale];
        head.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn numbers() {
        for (text, bytes, expected) in [
            ("0", binary(0, 0, 0, &[]), Value::from(0)),
            ("12345678", binary(1, 0, 0, &[1234, 5678]), Value::from(12_345_678)),
            ("10000", binary(1, 0, 0, &[1]), Value::from(10_000)),
            ("-5", binary(0, NEGATIVE, 0, &[5]), Value::from(-5)),
            ("2.5000", binary(0, 0, 4, &[2, 5000]), Value::from(2.5)),
            ("5.0000000000000000", binary(0, 0, 16, &[5]), Value::from(5.0)),
            ("0.0001", binary(-1, 0, 4, &[1]), Value::from(0.0001)),
            ("-0.00000001", binary(-2, NEGATIVE, 8, &[1]), Value::from(-0.000_000_01)),
            ("10^20", binary(5, 0, 0, &[1]), Value::from(1e20)),
            ("NaN", binary(0, SPECIAL, 0, &[]), Value::Null),
        ] {
            assert_eq!(from_binary(&bytes), Ok(expected), "{text}");
        }
        assert!(from_binary(&[0, 1]).is_err());
    }
}
