//! Texts to dates and times, as Spark's CAST reads them: `2026`, `2026-1-5`, `2026-01-01 10:30`, `2026-01-01T10:30:00.5+02:00`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Date32Array, TimestampMicrosecondArray};
use arrow_schema::DataType;
use datafusion::common::{Result, exec_err};

use super::calendar::{DAY, Date};
use super::simple::{Simple, timestamp_type};

macro_rules! of_text {
    ($name:literal, $result:expr, $array:ty, $read:expr, $strict:literal, $type:literal) => {
        Simple {
            name: $name,
            aliases: &[],
            coerce: |_| Ok(vec![DataType::Utf8]),
            returns: |_| $result,
            evaluate: |columns, _| {
                let read: fn(&str) -> Option<_> = $read;
                let values = columns[0].as_string::<i32>().iter().map(|text| match (text, text.map(read)) {
                    (Some(text), Some(None)) if $strict => exec_err!(
                        "[CAST_INVALID_INPUT] the text '{text}' is no {0}; hint: try_cast(x AS {0}) gives NULL instead",
                        $type
                    ),
                    (_, read) => Ok(read.flatten()),
                });
                let values: $array = values.collect::<Result<_>>()?;
                Ok(Arc::new(values.with_data_type($result)) as ArrayRef)
            },
        }
    };
}

pub(super) fn to_timestamp() -> Simple {
    of_text!("cast_text_to_timestamp", timestamp_type(), TimestampMicrosecondArray, timestamp, true, "TIMESTAMP")
}

pub(super) fn try_to_timestamp() -> Simple {
    of_text!("try_cast_text_to_timestamp", timestamp_type(), TimestampMicrosecondArray, timestamp, false, "TIMESTAMP")
}

pub(super) fn to_date() -> Simple {
    of_text!("cast_text_to_date", DataType::Date32, Date32Array, date, true, "DATE")
}

pub(super) fn try_to_date() -> Simple {
    of_text!("try_cast_text_to_date", DataType::Date32, Date32Array, date, false, "DATE")
}

/// Days since 1970; what follows a space or T is left out.
fn date(text: &str) -> Option<i32> {
    let text = text.trim();
    let day = text.split([' ', 'T']).next()?;
    i32::try_from(days(day)?).ok()
}

fn days(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        let fits = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| text.parse::<i64>().ok()).flatten()
    };
    let year = number(parts.next()?, 4..=7)?;
    let mut part = || match parts.next() {
        Some(text) => number(text, 1..=2).and_then(|part| u32::try_from(part).ok()),
        None => Some(1),
    };
    let date = Date { year, month: part()?, day: part()? };
    (parts.next().is_none() && date.exists()).then(|| date.days())
}

/// Microseconds since 1970, UTC.
fn timestamp(text: &str) -> Option<i64> {
    let text = text.trim();
    let (day, rest) = text.find([' ', 'T']).map_or((text, ""), |at| (&text[..at], text[at + 1..].trim()));
    let midnight = days(day)?.checked_mul(DAY)?;
    let zone_at = rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.').unwrap_or(rest.len());
    let (clock, zone) = (&rest[..zone_at], rest[zone_at..].trim());
    Some(midnight + time_of_day(clock)? - offset(zone)?)
}

fn time_of_day(clock: &str) -> Option<i64> {
    if clock.is_empty() {
        return Some(0);
    }
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = whole.split(':');
    let mut part = |below: i64| match parts.next() {
        Some(text) if (1..=2).contains(&text.len()) => text.parse::<i64>().ok().filter(|part| *part < below),
        Some(_) => None,
        None => Some(0),
    };
    let seconds = (part(24)? * 60 + part(60)?) * 60 + part(60)?;
    if parts.next().is_some() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: i64 = format!("{fraction:0<6}")[..6].parse().ok()?;
    Some(seconds * 1_000_000 + micros)
}

/// Microseconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    let zone = zone.strip_prefix("UTC").or_else(|| zone.strip_prefix("GMT")).unwrap_or(zone);
    if zone.is_empty() || zone == "Z" {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some((hours, minutes)) => (hours.parse::<i64>().ok()?, minutes.parse::<i64>().ok()?),
        None if rest.len() == 4 => (rest[..2].parse().ok()?, rest[2..].parse().ok()?),
        None => (rest.parse().ok()?, 0),
    };
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, expected) in [
            ("1970", Some(0)),
            ("1970-1-2", Some(DAY)),
            ("1970-01-01 00:00:01", Some(1_000_000)),
            ("1970-01-01T00:01", Some(60_000_000)),
            ("1970-01-01 00:00:00.0000019", Some(1)),
            ("1970-01-01T02:00:00+02:00", Some(0)),
            ("1970-01-01T00:00:00 UTC", Some(0)),
            ("1969-12-31 23:00:00 -0100", Some(0)),
            ("1970-02-30", None),
            ("1970-01-01 25:00", None),
            ("1970-01-01 00:00:00 Mars", None),
            ("70-01-01", None),
            ("", None),
            ("ä", None),
            ("1970-01-01 +é", None),
        ] {
            assert_eq!(timestamp(text), expected, "{text}");
        }
        assert_eq!(date("1970-01-02 99"), Some(1));
    }
}
