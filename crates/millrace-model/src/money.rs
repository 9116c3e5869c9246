//! Money: an integer in minor units with an ISO 4217 currency. Never a float.

/// Digits after the point of a currency's minor unit (ISO 4217): 2 for most, 0 for JPY, 3 for BHD …
pub fn minor_digits(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND" | "VUV"
        | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

/// `1234567` GBP → `12,345.67 GBP`: for people; machines get the integer.
pub fn format_minor(minor: i64, currency: &str) -> String {
    let digits = minor_digits(currency);
    let unit = 10_u64.pow(digits);
    let value = minor.unsigned_abs();
    let whole = (value / unit).to_string();
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if minor < 0 { "-" } else { "" };
    match digits {
        0 => format!("{sign}{grouped} {currency}"),
        digits => format!("{sign}{grouped}.{:0width$} {currency}", value % unit, width = digits as usize),
    }
}

/// A decimal number of major units, as files have it, to minor units: `12.345` GBP → `1235` (half away from zero).
/// `None` when it is not finite or out of range.
pub fn minor_from_major(major: f64, currency: &str) -> Option<i64> {
    let minor = (major * 10_f64.powi(minor_digits(currency).cast_signed())).round();
    // 2^53: beyond it a float no longer holds every integer.
    (minor.abs() <= 9_007_199_254_740_992.0).then_some(minor as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for (minor, currency, text) in [
            (0, "EUR", "0.00 EUR"),
            (5, "EUR", "0.05 EUR"),
            (439_795_076, "GBP", "4,397,950.76 GBP"),
            (-42_851_573, "GBP", "-428,515.73 GBP"),
            (1_000, "JPY", "1,000 JPY"),
            (1_234_567, "KWD", "1,234.567 KWD"),
            (i64::MIN, "JPY", "-9,223,372,036,854,775,808 JPY"),
        ] {
            assert_eq!(format_minor(minor, currency), text);
        }
    }

    #[test]
    fn from_major() {
        assert_eq!(minor_from_major(12.345, "GBP"), Some(1_235));
        assert_eq!(minor_from_major(-0.005, "GBP"), Some(-1));
        assert_eq!(minor_from_major(0.29, "GBP"), Some(29));
        assert_eq!(minor_from_major(f64::NAN, "GBP"), None);
        assert_eq!(minor_from_major(1e300, "GBP"), None);
    }
}
