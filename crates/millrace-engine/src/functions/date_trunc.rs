//! `date_trunc(unit, t)` and `trunc(d, unit)`: the start of the year, month, week … of a time.
//!
//! A unit Spark does not know gives NULL. DataFusion's function takes fewer names, only as a literal, and fails on others.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, TimestampMicrosecondType};
use arrow_array::{Array, Date32Array, StringArray, TimestampMicrosecondArray};
use arrow_schema::DataType;

use super::calendar::{DAY, Date, weekday};
use super::simple::{Simple, as_timestamp, take_between, timestamp_type};

/// Both functions.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        Simple {
            name: "date_trunc",
            aliases: &[],
            coerce: |types| {
                take_between("date_trunc", types, 2, 2)?;
                Ok(vec![DataType::Utf8, as_timestamp("date_trunc", &types[1])?])
            },
            returns: |_| timestamp_type(),
            evaluate: |columns, _| {
                let (units, times) =
                    (columns[0].as_string::<i32>(), columns[1].as_primitive::<TimestampMicrosecondType>());
                let mut units = Units::new(units);
                let starts = times.iter().enumerate().map(|(row, micros)| units.of(row)?.start(micros?));
                let starts: TimestampMicrosecondArray = starts.collect();
                Ok(Arc::new(starts.with_data_type(timestamp_type())))
            },
        },
        Simple {
            name: "trunc",
            aliases: &[],
            coerce: |types| {
                take_between("trunc", types, 2, 2)?;
                as_timestamp("trunc", &types[0])?;
                Ok(vec![DataType::Date32, DataType::Utf8])
            },
            returns: |_| DataType::Date32,
            evaluate: |columns, _| {
                let (dates, units) = (columns[0].as_primitive::<Date32Type>(), columns[1].as_string::<i32>());
                let mut units = Units::new(units);
                let starts = dates.iter().enumerate().map(|(row, days)| {
                    let unit = units.of(row).filter(|unit| unit.is_of_dates())?;
                    Some((unit.start(i64::from(days?) * DAY)? / DAY) as i32)
                });
                Ok(Arc::new(starts.collect::<Date32Array>()))
            },
        },
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    /// So many microseconds, all days alike.
    Micros(i64),
}

impl Unit {
    fn named(name: &str) -> Option<Unit> {
        Some(match name.to_ascii_uppercase().as_str() {
            "YEAR" | "YYYY" | "YY" => Unit::Year,
            "QUARTER" => Unit::Quarter,
            "MONTH" | "MM" | "MON" => Unit::Month,
            "WEEK" => Unit::Week,
            "DAY" | "DD" => Unit::Micros(DAY),
            "HOUR" => Unit::Micros(3_600_000_000),
            "MINUTE" => Unit::Micros(60_000_000),
            "SECOND" => Unit::Micros(1_000_000),
            "MILLISECOND" => Unit::Micros(1_000),
            "MICROSECOND" => Unit::Micros(1),
            _ => return None,
        })
    }

    fn is_of_dates(self) -> bool {
        !matches!(self, Unit::Micros(_))
    }

    fn start(self, micros: i64) -> Option<i64> {
        let days = micros.div_euclid(DAY);
        let date = Date::of_days(days);
        let first = |month| Date { month, day: 1, ..date }.days();
        let day = match self {
            Unit::Micros(length) => return Some(micros - micros.rem_euclid(length)),
            Unit::Year => first(1),
            Unit::Quarter => first((date.month - 1) / 3 * 3 + 1),
            Unit::Month => first(date.month),
            Unit::Week => days - weekday(days) as i64,
        };
        day.checked_mul(DAY)
    }
}

/// The unit of each row, looked up again only when it changes.
struct Units<'a> {
    names: &'a StringArray,
    last: Option<(&'a str, Option<Unit>)>,
}

impl<'a> Units<'a> {
    fn new(names: &'a StringArray) -> Self {
        Units { names, last: None }
    }

    fn of(&mut self, row: usize) -> Option<Unit> {
        if self.names.is_null(row) {
            return None;
        }
        let name = self.names.value(row);
        if let Some((last, unit)) = self.last
            && last == name
        {
            return unit;
        }
        let unit = Unit::named(name);
        self.last = Some((name, unit));
        unit
    }
}
