//! `year(t)`, `dayofweek(t)`, `hour(t)` and the like, of dates, timestamps and texts of either; `add_months`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int32Type};
use arrow_array::{ArrayRef, Date32Array};
use arrow_cast::cast;
use arrow_schema::DataType;
use datafusion::arrow::compute::{DatePart, date_part};
use datafusion::common::Result;

use super::calendar::Date;
use super::simple::{Simple, as_date, as_integer, as_timestamp, take_between};

macro_rules! part {
    ($name:literal, $aliases:expr, $part:expr, $plus:literal) => {
        Simple {
            name: $name,
            aliases: $aliases,
            coerce: |types| {
                take_between($name, types, 1, 1)?;
                match types[0] {
                    DataType::Date32 => Ok(types.to_vec()),
                    ref other => Ok(vec![as_timestamp($name, other)?]),
                }
            },
            returns: |_| DataType::Int32,
            evaluate: |columns, _| part(&columns[0], $part, $plus),
        }
    };
}

/// One function a part.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        part!("year", &[], DatePart::Year, 0),
        part!("quarter", &[], DatePart::Quarter, 0),
        part!("month", &[], DatePart::Month, 0),
        part!("weekofyear", &["week"], DatePart::Week, 0),
        part!("day", &["dayofmonth"], DatePart::Day, 0),
        part!("dayofyear", &[], DatePart::DayOfYear, 0),
        // From Sunday, 1 to 7.
        part!("dayofweek", &[], DatePart::DayOfWeekSunday0, 1),
        // From Monday, 0 to 6.
        part!("weekday", &[], DatePart::DayOfWeekMonday0, 0),
        part!("hour", &[], DatePart::Hour, 0),
        part!("minute", &[], DatePart::Minute, 0),
        part!("second", &[], DatePart::Second, 0),
        add_months(),
    ]
}

/// `add_months(d, n)`: the same day n months on, or the last of a month that has not so many.
fn add_months() -> Simple {
    Simple {
        name: "add_months",
        aliases: &[],
        coerce: |types| {
            take_between("add_months", types, 2, 2)?;
            Ok(vec![as_date("add_months", &types[0])?, as_integer("add_months", &types[1], DataType::Int32)?])
        },
        returns: |_| DataType::Date32,
        evaluate: |columns, _| {
            let (dates, months) = (columns[0].as_primitive::<Date32Type>(), columns[1].as_primitive::<Int32Type>());
            let moved = dates.iter().zip(months).map(|(days, months)| Some(months_on(days?, months?)));
            Ok(Arc::new(moved.collect::<Date32Array>()))
        },
    }
}

fn months_on(days: i32, months: i32) -> i32 {
    let date = Date::of_days(i64::from(days));
    let month = date.year * 12 + i64::from(date.month - 1) + i64::from(months);
    let mut moved = Date { year: month.div_euclid(12), month: month.rem_euclid(12) as u32 + 1, day: date.day };
    while !moved.exists() {
        moved.day -= 1;
    }
    moved.days() as i32
}

fn part(column: &ArrayRef, part: DatePart, plus: i32) -> Result<ArrayRef> {
    let parts = cast(&date_part(column.as_ref(), part)?, &DataType::Int32)?;
    if plus == 0 {
        return Ok(parts);
    }
    Ok(Arc::new(parts.as_primitive::<Int32Type>().unary::<_, Int32Type>(|value| value + plus)))
}
