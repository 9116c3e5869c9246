//! Decimal texts as the unscaled integers of Arrow's Decimal128.

/// Digits a Decimal128 has at most.
pub(super) const PRECISION_MAX: u8 = 38;
/// The type of a decimal that does not say its own, as in Spark: (38, 18).
pub(super) const UNSAID: (u8, i8) = (38, 18);

/// The type for a declared precision and scale, made one that Decimal128 has: PostgreSQL's scale may be negative or
/// larger than the precision, and both may be larger than 38.
pub(super) fn bounded(precision: i32, scale: i32) -> (u8, i8) {
    let max = i32::from(PRECISION_MAX);
    let whole = precision - scale.min(0);
    let scale = scale.clamp(0, max);
    let precision = whole.max(scale).clamp(1, max);
    (u8::try_from(precision).unwrap_or(PRECISION_MAX), i8::try_from(scale).unwrap_or(0))
}

/// `-12.345` as an unscaled integer; digits beyond the scale are rounded half up (away from zero).
pub(super) fn unscaled(text: &str, (precision, scale): (u8, i8)) -> Result<i128, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err("not a decimal number".into());
    }
    let too_large = || format!("a value does not fit DECIMAL({precision}, {scale})");
    let scale_digits = usize::try_from(scale).unwrap_or(0);
    let kept = fraction.bytes().chain(std::iter::repeat(b'0')).take(scale_digits);
    let mut value: i128 = 0;
    for digit in whole.bytes().chain(kept) {
        let next = value.checked_mul(10).and_then(|value| value.checked_add(i128::from(digit - b'0')));
        value = next.ok_or_else(too_large)?;
    }
    if fraction.as_bytes().get(scale_digits).is_some_and(|digit| *digit >= b'5') {
        value += 1;
    }
    if value >= 10_i128.pow(u32::from(precision.min(PRECISION_MAX))) {
        return Err(too_large());
    }
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, of, expected) in [
            ("0", (38, 18), Some(0)),
            ("12.3", (10, 2), Some(1_230)),
            ("-12.345", (10, 2), Some(-1_235)),
            ("12.344", (10, 2), Some(1_234)),
            (".5", (10, 0), Some(1)),
            ("00099.95", (3, 1), None),
            ("99.94", (3, 1), Some(999)),
            ("0000000000000000000000000000000000000000000001", (38, 18), Some(1_000_000_000_000_000_000)),
            ("123456789012345678901", (38, 18), None),
            ("99999999999999999999999999999999999999999", (38, 0), None),
            ("1e5", (10, 2), None),
            ("", (10, 2), None),
            ("-", (10, 2), None),
        ] {
            assert_eq!(unscaled(text, of).ok(), expected, "{text} as {of:?}");
        }
    }

    #[test]
    fn types() {
        for ((precision, scale), expected) in
            [((10, 2), (10, 2)), ((5, -2), (7, 0)), ((3, 5), (5, 5)), ((50, 4), (38, 4)), ((1_000, 900), (38, 38))]
        {
            assert_eq!(bounded(precision, scale), expected, "numeric({precision}, {scale})");
        }
    }
}
