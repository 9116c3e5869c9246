//! Days since 1970 to year, month and day, and back, in the proleptic Gregorian calendar Spark uses.
//!
//! Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013), `civil_from_days` and `days_from_civil`.

/// Microseconds in a day.
pub(super) const DAY: i64 = 86_400_000_000;

/// English names, as Spark's patterns give them.
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From Monday.
pub(super) const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Date {
    /// Astronomical: 0 is 1 BC.
    pub(super) year: i64,
    /// From 1.
    pub(super) month: u32,
    /// From 1.
    pub(super) day: u32,
}

impl Date {
    /// The date of a number of days since 1970-01-01.
    pub(super) fn of_days(days: i64) -> Self {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 } as u32;
        let day = (day_of_year - (153 * from_march + 2) / 5 + 1) as u32;
        Date { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
    }

    /// Days since 1970-01-01.
    pub(super) fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let from_march = i64::from((self.month + 9) % 12);
        let day_of_year = (153 * from_march + 2) / 5 + i64::from(self.day) - 1;
        let year_of_era = year.rem_euclid(400);
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    /// Whether there is such a day.
    pub(super) fn exists(self) -> bool {
        (1..=12).contains(&self.month) && self.day >= 1 && Date::of_days(self.days()) == self
    }

    /// From 1.
    pub(super) fn day_of_year(self) -> i64 {
        self.days() - Date { month: 1, day: 1, ..self }.days() + 1
    }
}

/// Days from the Monday at or before, 0 to 6.
pub(super) fn weekday(days: i64) -> usize {
    (days + 3).rem_euclid(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates() {
        for (days, year, month, day, of_week) in [
            (0, 1970, 1, 1, "Thursday"),
            (-1, 1969, 12, 31, "Wednesday"),
            (11_016, 2000, 2, 29, "Tuesday"),
            (20_780, 2026, 11, 23, "Monday"),
            (-719_528, 0, 1, 1, "Saturday"),
        ] {
            let date = Date { year, month, day };
            assert_eq!((Date::of_days(days), date.days(), WEEKDAYS[weekday(days)]), (date, days, of_week));
        }
        for days in -800_000..800_000 {
            assert_eq!(Date::of_days(days).days(), days);
        }
        assert!(!Date { year: 2026, month: 2, day: 29 }.exists());
        assert_eq!(Date { year: 2016, month: 4, day: 9 }.day_of_year(), 100);
    }
}
