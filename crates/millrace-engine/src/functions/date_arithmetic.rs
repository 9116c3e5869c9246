//! Differences and sums of times: `timestampdiff`, `timestampadd`, `months_between`, `make_timestamp`, `next_day`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Date32Array, Float64Array, Int64Array, TimestampMicrosecondArray};
use arrow_schema::DataType;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err};

use super::calendar::{DAY, Date};
use super::simple::{Simple, as_date, as_integer, as_text, as_timestamp, take_between, timestamp_type};

/// The functions of this file.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        Simple {
            // timestampdiff(HOUR, from, to): whole units, towards zero.
            name: "timestampdiff",
            aliases: &[],
            coerce: |types| {
                take_between("timestampdiff", types, 3, 3)?;
                let time = |at: usize| as_timestamp("timestampdiff", &types[at]);
                Ok(vec![as_text("timestampdiff", &types[0])?, time(1)?, time(2)?])
            },
            returns: |_| DataType::Int64,
            evaluate: |columns, _| {
                let units = columns[0].as_string::<i32>();
                let (from, to) = (times(&columns[1]), times(&columns[2]));
                let between = (0..from.len()).map(|row| {
                    if units.is_null(row) || from.is_null(row) || to.is_null(row) {
                        return Ok(None);
                    }
                    Unit::named(units.value(row)).map(|unit| Some(unit.between(from.value(row), to.value(row))))
                });
                Ok(Arc::new(between.collect::<Result<Int64Array>>()?))
            },
        },
        Simple {
            // timestampadd(MONTH, 1, t).
            name: "timestampadd",
            aliases: &[],
            coerce: |types| {
                take_between("timestampadd", types, 3, 3)?;
                let number = as_integer("timestampadd", &types[1], DataType::Int64)?;
                Ok(vec![as_text("timestampadd", &types[0])?, number, as_timestamp("timestampadd", &types[2])?])
            },
            returns: |_| timestamp_type(),
            evaluate: |columns, _| {
                let (units, numbers) = (columns[0].as_string::<i32>(), columns[1].as_primitive::<Int64Type>());
                let from = times(&columns[2]);
                let moved = (0..from.len()).map(|row| {
                    if units.is_null(row) || numbers.is_null(row) || from.is_null(row) {
                        return Ok(None);
                    }
                    Unit::named(units.value(row))?.after(from.value(row), numbers.value(row)).map(Some)
                });
                timestamps(moved.collect::<Result<TimestampMicrosecondArray>>()?)
            },
        },
        Simple {
            name: "months_between",
            aliases: &[],
            coerce: |types| {
                take_between("months_between", types, 2, 3)?;
                let mut coerced = vec![DataType::Boolean; types.len()];
                for at in 0..2 {
                    coerced[at] = as_timestamp("months_between", &types[at])?;
                }
                Ok(coerced)
            },
            returns: |_| DataType::Float64,
            evaluate: |columns, _| {
                let (later, earlier) = (times(&columns[0]), times(&columns[1]));
                let round_off = columns.get(2).map(|column| column.as_boolean());
                let months = later.iter().zip(earlier).enumerate().map(|(row, (later, earlier))| {
                    let exact = months_between(later?, earlier?);
                    let round_off = round_off.is_none_or(|round_off| round_off.value(row));
                    Some(if round_off { (exact * 1e8).round() / 1e8 } else { exact })
                });
                Ok(Arc::new(months.collect::<Float64Array>()))
            },
        },
        made("make_timestamp", |columns, _| made_timestamps(columns, true)),
        made("try_make_timestamp", |columns, _| made_timestamps(columns, false)),
        Simple {
            name: "next_day",
            aliases: &[],
            coerce: |types| {
                take_between("next_day", types, 2, 2)?;
                Ok(vec![as_date("next_day", &types[0])?, as_text("next_day", &types[1])?])
            },
            returns: |_| DataType::Date32,
            evaluate: |columns, _| {
                let (days, names) = (columns[0].as_primitive::<Date32Type>(), columns[1].as_string::<i32>());
                let next = days.iter().zip(names).map(|(day, name)| {
                    let (Some(day), Some(name)) = (day, name) else { return Ok(None) };
                    // 1970-01-01 was a Thursday.
                    let wanted = weekday(name)?;
                    let ahead = (wanted - (day + 3)).rem_euclid(7);
                    Ok(Some(day + if ahead == 0 { 7 } else { ahead }))
                });
                Ok(Arc::new(next.collect::<Result<Date32Array>>()?))
            },
        },
    ]
}

fn times(column: &ArrayRef) -> &TimestampMicrosecondArray {
    column.as_primitive::<TimestampMicrosecondType>()
}

fn timestamps(times: TimestampMicrosecondArray) -> Result<ArrayRef> {
    Ok(Arc::new(times.with_data_type(timestamp_type())))
}

/// From Monday, 0 to 6.
fn weekday(name: &str) -> Result<i32> {
    const NAMES: [&str; 7] = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
    let given = name.trim().to_uppercase();
    let found = NAMES.iter().position(|day| [day, &day[..2], &day[..3]].contains(&given.as_str()));
    found.map(|at| at as i32).ok_or_else(|| {
        exec_datafusion_err!("[ILLEGAL_DAY_OF_WEEK] '{name}' is no day of the week; hint: 'MO', 'Tue' or 'Wednesday'")
    })
}

/// A unit of time: months, or microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Months(i64),
    Micros(i64),
}

impl Unit {
    fn named(name: &str) -> Result<Self> {
        let unit = name.trim().to_uppercase();
        Ok(match unit.strip_suffix('S').unwrap_or(&unit) {
            "MICROSECOND" => Unit::Micros(1),
            "MILLISECOND" => Unit::Micros(1_000),
            "SECOND" => Unit::Micros(1_000_000),
            "MINUTE" => Unit::Micros(60_000_000),
            "HOUR" => Unit::Micros(3_600_000_000),
            "DAY" | "DAYOFYEAR" => Unit::Micros(DAY),
            "WEEK" => Unit::Micros(7 * DAY),
            "MONTH" => Unit::Months(1),
            "QUARTER" => Unit::Months(3),
            "YEAR" => Unit::Months(12),
            _ => {
                return exec_err!(
                    "[INVALID_PARAMETER_VALUE.DATETIME_UNIT] '{name}' is no unit of time; hint: SECOND, MINUTE, HOUR, DAY, WEEK, \
                     MONTH, QUARTER or YEAR"
                );
            }
        })
    }

    fn between(self, from: i64, to: i64) -> i64 {
        match self {
            Unit::Micros(unit) => (to - from) / unit,
            Unit::Months(unit) => whole_months(from, to) / unit,
        }
    }

    fn after(self, from: i64, number: i64) -> Result<i64> {
        let overflow =
            || -> DataFusionError { exec_datafusion_err!("[DATETIME_OVERFLOW] the time left the range of TIMESTAMP") };
        match self {
            Unit::Micros(unit) => number.checked_mul(unit).and_then(|by| from.checked_add(by)).ok_or_else(overflow),
            Unit::Months(unit) => {
                let months = number.checked_mul(unit).filter(|months| months.abs() < 12 * 300_000);
                months.map(|months| months_on(from, months)).ok_or_else(overflow)
            }
        }
    }
}

/// Months that are over between two times, towards zero.
fn whole_months(from: i64, to: i64) -> i64 {
    let (a, b) = (Date::of_days(from.div_euclid(DAY)), Date::of_days(to.div_euclid(DAY)));
    let months = (b.year - a.year) * 12 + i64::from(b.month) - i64::from(a.month);
    // A month is over on the same day of the month at the same time of day.
    let place = |date: Date, micros: i64| i64::from(date.day) * DAY + micros.rem_euclid(DAY);
    let (start, end) = (place(a, from), place(b, to));
    match months.signum() {
        1 if end < start => months - 1,
        -1 if end > start => months + 1,
        _ => months,
    }
}

/// The same day and time so many months on, or the last day of a month that has not so many.
pub(super) fn months_on(from: i64, months: i64) -> i64 {
    let date = Date::of_days(from.div_euclid(DAY));
    let month = date.year * 12 + i64::from(date.month - 1) + months;
    let mut moved = Date { year: month.div_euclid(12), month: month.rem_euclid(12) as u32 + 1, day: date.day };
    while !moved.exists() {
        moved.day -= 1;
    }
    moved.days() * DAY + from.rem_euclid(DAY)
}

/// Spark's rule: whole months for equal days of the month or two last days, else with 31-day months.
fn months_between(later: i64, earlier: i64) -> f64 {
    let (a, b) = (Date::of_days(later.div_euclid(DAY)), Date::of_days(earlier.div_euclid(DAY)));
    let months = ((a.year - b.year) * 12 + i64::from(a.month) - i64::from(b.month)) as f64;
    let is_last = |date: Date| !Date { day: date.day + 1, ..date }.exists();
    if a.day == b.day || (is_last(a) && is_last(b)) {
        return months;
    }
    let seconds = |micros: i64| micros.rem_euclid(DAY).div_euclid(1_000_000);
    let rest = (i64::from(a.day) - i64::from(b.day)) * 86_400 + seconds(later) - seconds(earlier);
    months + rest as f64 / (31 * 86_400) as f64
}

fn made(name: &'static str, evaluate: fn(&[ArrayRef], &DataType) -> Result<ArrayRef>) -> Simple {
    Simple {
        name,
        aliases: &[],
        coerce: |types| {
            take_between("make_timestamp", types, 6, 7)?;
            let mut coerced = Vec::with_capacity(types.len());
            for part in &types[..5] {
                coerced.push(as_integer("make_timestamp", part, DataType::Int64)?);
            }
            coerced.push(DataType::Float64);
            if let Some(zone) = types.get(6) {
                coerced.push(as_text("make_timestamp", zone)?);
            }
            Ok(coerced)
        },
        returns: |_| timestamp_type(),
        evaluate,
    }
}

fn made_timestamps(columns: &[ArrayRef], strict: bool) -> Result<ArrayRef> {
    let part = |at: usize| columns[at].as_primitive::<Int64Type>();
    let seconds = columns[5].as_primitive::<Float64Type>();
    let made = (0..columns[0].len()).map(|row| {
        if columns.iter().any(|column| column.is_null(row)) {
            return Ok(None);
        }
        if let Some(zone) = columns.get(6).map(|zones| zones.as_string::<i32>().value(row))
            && !["UTC", "Z", "GMT", "+00:00"].contains(&zone)
        {
            return exec_err!("make_timestamp() in time zone {zone} is not available; hint: make it in 'UTC'");
        }
        let [year, month, day, hour, minute] = [0, 1, 2, 3, 4].map(|at| part(at).value(row));
        let second = seconds.value(row);
        let date = Date { year, month: u32::try_from(month).unwrap_or(0), day: u32::try_from(day).unwrap_or(0) };
        let right = (1..=9999).contains(&year)
            && date.exists()
            && (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0.0..=60.0).contains(&second);
        if right {
            let of_day = (hour * 60 + minute) * 60_000_000 + (second * 1e6).round() as i64;
            return Ok(Some(date.days() * DAY + of_day));
        }
        if strict {
            return exec_err!(
                "[DATETIME_FIELD_OUT_OF_BOUNDS.WITH_SUGGESTION] there is no time {year}-{month}-{day} {hour}:{minute}:{second}; \
                 hint: try_make_timestamp(…) gives NULL instead"
            );
        }
        Ok(None)
    });
    timestamps(made.collect::<Result<TimestampMicrosecondArray>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months() {
        let time = |year, month, day, hour: i64| Date { year, month, day }.days() * DAY + hour * 3_600_000_000;
        for (from, to, months) in [
            (time(2026, 1, 31, 0), time(2026, 2, 28, 0), 0),
            (time(2026, 1, 15, 12), time(2026, 3, 15, 11), 1),
            (time(2026, 1, 15, 12), time(2026, 3, 15, 12), 2),
            (time(2026, 3, 15, 12), time(2026, 1, 15, 13), -1),
            (time(2021, 1, 1, 0), time(1900, 3, 28, 0), -1449),
        ] {
            assert_eq!(whole_months(from, to), months);
        }
        assert_eq!(months_on(time(2026, 1, 31, 5), 1), time(2026, 2, 28, 5));
        assert_eq!(months_between(time(2026, 3, 31, 0), time(2026, 2, 28, 5)), 1.0);
    }
}
