//! Event time: microseconds since 1970-01-01 UTC, and its one text form.
//!
//! Text is RFC 3339. We write exactly `2026-01-31T09:05:00.000000Z` (27 bytes), so texts sort as times do; we read any
//! RFC 3339 date-time (offset or `Z`, `T` or a space, up to nine fraction digits, of which six count).

use std::fmt;
use std::time::Duration;

/// Microseconds since 1970-01-01T00:00:00Z. Years 0000 to 9999 can be written as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

/// Microseconds in a second.
pub const SECOND_MICROS: i64 = 1_000_000;
/// Microseconds in a minute.
pub const MINUTE_MICROS: i64 = 60 * SECOND_MICROS;
/// Microseconds in an hour.
pub const HOUR_MICROS: i64 = 60 * MINUTE_MICROS;
/// Microseconds in a day.
pub const DAY_MICROS: i64 = 24 * HOUR_MICROS;

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z: what four digits of a year can say.
const MIN_MICROS: i64 = -62_167_219_200 * SECOND_MICROS;
const MAX_MICROS: i64 = 253_402_300_800 * SECOND_MICROS - 1;

impl Timestamp {
    /// The time now, by the system's clock. The caller is at the edge; pure code takes a `Timestamp`.
    pub fn from_system_time(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
            Err(before) => Timestamp(-i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX)),
        }
    }

    /// From Kafka's milliseconds since the epoch.
    pub fn from_millis(millis: i64) -> Self {
        Timestamp(millis.saturating_mul(1_000))
    }

    /// Kafka's milliseconds since the epoch, rounded down.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Reads an RFC 3339 date-time. `None` when the text is not one, or outside the years 0000 to 9999.
    pub fn parse(text: &[u8]) -> Option<Self> {
        parse_rfc3339(text).map(Timestamp)
    }

    /// The latest window start at or before this time, for windows of `width` microseconds aligned to the epoch.
    pub fn floor(self, width: i64) -> Self {
        Timestamp(self.0 - self.0.rem_euclid(width))
    }

    /// Year, month (1–12), day (1–31), hour of day: the parts a lake directory is named by.
    pub fn date_and_hour(self) -> (i64, u32, u32, u32) {
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY_MICROS));
        let hour = self.0.rem_euclid(DAY_MICROS) / HOUR_MICROS;
        (year, month, day, hour as u32)
    }

    /// Within the years 0000 to 9999, which the text form can say.
    pub fn has_text(self) -> bool {
        (MIN_MICROS..=MAX_MICROS).contains(&self.0)
    }

    /// Appends the text form to `out` without an intermediate string.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let micros = self.0.clamp(MIN_MICROS, MAX_MICROS);
        let (year, month, day) = civil_from_days(micros.div_euclid(DAY_MICROS));
        let of_day = micros.rem_euclid(DAY_MICROS);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        put(&mut text[0..4], year as u64);
        put(&mut text[5..7], u64::from(month));
        put(&mut text[8..10], u64::from(day));
        put(&mut text[11..13], (of_day / HOUR_MICROS) as u64);
        put(&mut text[14..16], (of_day / MINUTE_MICROS % 60) as u64);
        put(&mut text[17..19], (of_day / SECOND_MICROS % 60) as u64);
        put(&mut text[20..26], (of_day % SECOND_MICROS) as u64);
        out.extend_from_slice(&text);
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(27);
        self.write_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Timestamp::parse(text.as_bytes())
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

/// Writes `value` right-aligned into `digits`, which holds ASCII zeros.
fn put(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Year, month and day of a day number (0 = 1970-01-01), proleptic Gregorian calendar.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse: `days_from_civil` of the same source.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn parse_rfc3339(text: &[u8]) -> Option<i64> {
    // 2026-01-31T09:05:00Z is the shortest.
    let head: &[u8; 20] = text.first_chunk()?;
    if head[4] != b'-'
        || head[7] != b'-'
        || !matches!(head[10], b'T' | b't' | b' ')
        || head[13] != b':'
        || head[16] != b':'
    {
        return None;
    }
    let mut odd = false;
    let mut two = |at: usize| {
        let (tens, ones) = (head[at].wrapping_sub(b'0'), head[at + 1].wrapping_sub(b'0'));
        odd |= tens > 9 || ones > 9;
        i64::from(tens) * 10 + i64::from(ones)
    };
    let year = two(0) * 100 + two(2);
    let (month, day, hour, minute, second) = (two(5), two(8), two(11), two(14), two(17));
    if odd {
        return None;
    }
    if !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let mut at = 19;
    let mut fraction = 0;
    if text[at] == b'.' {
        let digits = text[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || digits > 9 {
            return None;
        }
        let counted = digits.min(6);
        fraction = number(&text[at + 1..at + 1 + counted])?;
        for _ in counted..6 {
            fraction *= 10;
        }
        at += 1 + digits;
    }
    let offset_minutes = match text.get(at)? {
        b'Z' | b'z' if text.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if text.len() == at + 6 && text[at + 3] == b':' => {
            let hours = number(&text[at + 1..at + 3])?;
            let minutes = number(&text[at + 4..at + 6])?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let total = hours * 60 + minutes;
            if *sign == b'+' { total } else { -total }
        }
        _ => return None,
    };
    let seconds =
        days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_minutes * 60;
    let micros = seconds * SECOND_MICROS + fraction;
    (MIN_MICROS..=MAX_MICROS).contains(&micros).then_some(micros)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    let mut value = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(value)
}

/// Reads a length of time as Spark writes intervals: `5 minutes`, `interval 10 seconds`, `1 hour 30 minutes`,
/// and the short forms of the command line, `60s`, `5m`, `2h`, `7d`, `250ms`. In microseconds, not negative.
///
/// # Errors
/// A sentence that names the text and an example of a good one.
pub fn parse_interval(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is not a length of time; write for example '5 minutes' or '90 seconds'");
    let lower = text.trim().to_ascii_lowercase();
    let body = lower.strip_prefix("interval ").unwrap_or(&lower).trim();
    let mut total: i64 = 0;
    let mut rest = body;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let value: i64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "us" | "microsecond" | "microseconds" => 1,
            "ms" | "millisecond" | "milliseconds" => 1_000,
            "s" | "sec" | "second" | "seconds" => SECOND_MICROS,
            "m" | "min" | "minute" | "minutes" => MINUTE_MICROS,
            "h" | "hour" | "hours" => HOUR_MICROS,
            "d" | "day" | "days" => DAY_MICROS,
            "w" | "week" | "weeks" => 7 * DAY_MICROS,
            _ => return Err(wrong()),
        };
        total = value.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = rest[letters..].trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    Ok(total)
}

/// As [`parse_interval`], as a [`Duration`] for the edges (timers, time-outs).
///
/// # Errors
/// As [`parse_interval`].
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_interval(text).map(|micros| Duration::from_micros(micros.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_times() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:00.000001Z", Some(1)),
            ("1970-01-01 00:00:00.5Z", Some(500_000)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1969-12-31T19:00:00-05:00", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000_000)),
            ("2026-11-22T13:56:00.123456789Z", Some(1_795_355_760_123_456)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("2026-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01T00:00:00.Z", None),
            ("2026-01-01T00:00:00+0100", None),
            ("yesterday at noon, about", None),
            ("", None),
        ] {
            assert_eq!(Timestamp::parse(text.as_bytes()).map(|t| t.0), micros, "{text}");
        }
    }

    #[test]
    fn text_goes_round() {
        for micros in [0, -1, 1, 1_795_355_760_123_456, MIN_MICROS, MAX_MICROS, -12_345_678_901] {
            let text = Timestamp(micros).to_string();
            assert_eq!(text.len(), 27, "{text}");
            assert_eq!(Timestamp::parse(text.as_bytes()), Some(Timestamp(micros)), "{text}");
        }
    }

    #[test]
    fn every_day_goes_round() {
        for day in (-719_528..2_932_896).step_by(13) {
            let (year, month, date) = civil_from_days(day);
            assert_eq!(days_from_civil(year, i64::from(month), i64::from(date)), day);
        }
    }

    #[test]
    fn intervals() {
        for (text, micros) in [
            ("5 minutes", Some(5 * MINUTE_MICROS)),
            ("INTERVAL 10 SECONDS", Some(10 * SECOND_MICROS)),
            ("1 hour 30 minutes", Some(90 * MINUTE_MICROS)),
            ("250ms", Some(250_000)),
            ("7d", Some(7 * DAY_MICROS)),
            ("", None),
            ("five minutes", None),
            ("5", None),
            ("5 parsecs", None),
            ("99999999999999 weeks", None),
        ] {
            assert_eq!(parse_interval(text).ok(), micros, "{text}");
        }
    }
}
