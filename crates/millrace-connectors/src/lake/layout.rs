//! Where a file lies and what its name says: pure text, both ways.

use millrace_model::Timestamp;
use millrace_model::time::HOUR_MICROS;

/// A data file's name: which offsets of which partition it holds. Within an interrupted batch several files, of
/// different hours, hold offsets of the same range.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FileName {
    pub(super) partition: i32,
    /// Smallest offset in it.
    pub(super) first: i64,
    /// Largest offset in it.
    pub(super) last: i64,
}

const SUFFIX: &str = ".parquet";

impl FileName {
    /// `p00003-000000001000-000000001999.parquet`; padded, so that names sort as offsets do.
    fn text(&self) -> String {
        format!("p{:05}-{:012}-{:012}{SUFFIX}", self.partition, self.first, self.last)
    }

    /// Reads a name; `None` when it is not one of ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix('p')?.strip_suffix(SUFFIX)?.split('-');
        let parsed = FileName {
            partition: parts.next()?.parse().ok()?,
            first: parts.next()?.parse().ok()?,
            last: parts.next()?.parse().ok()?,
        };
        (parts.next().is_none() && parsed.first <= parsed.last && name == parsed.text()).then_some(parsed)
    }

    /// Path of the file below the lake's folder.
    pub(super) fn path(&self, topic: &str, hour: Hour) -> String {
        format!("{topic}/{}/{}", hour.folder(), self.text())
    }
}

/// An hour since 1970, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Hour(i64);

impl Hour {
    /// The hour of a time. Years outside 0000 to 9999, which no text form of a time has, count as 1970.
    pub(super) fn of(time: Timestamp) -> Self {
        let (year, ..) = time.date_and_hour();
        if (0..=9999).contains(&year) { Hour(time.0.div_euclid(HOUR_MICROS)) } else { Hour(0) }
    }

    /// `date=2026-01-31/hour=09`: what Hive, Spark and DuckDB read as two columns.
    fn folder(self) -> String {
        let (year, month, day, hour) = Timestamp(self.0 * HOUR_MICROS).date_and_hour();
        format!("date={year:04}-{month:02}-{day:02}/hour={hour:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (time, path) in [
            ("2026-01-31T09:59:59.999999Z", "t/date=2026-01-31/hour=09/p00003-000000001000-000000001999.parquet"),
            ("1969-12-31T23:00:00Z", "t/date=1969-12-31/hour=23/p00003-000000001000-000000001999.parquet"),
            ("0000-01-01T00:00:00Z", "t/date=0000-01-01/hour=00/p00003-000000001000-000000001999.parquet"),
        ] {
            let name = FileName { partition: 3, first: 1000, last: 1999 };
            let time = Timestamp::parse(time.as_bytes()).expect("a time");
            assert_eq!(name.path("t", Hour::of(time)), path);
            assert_eq!(FileName::parse(path.rsplit('/').next().expect("a name")), Some(name));
        }
        assert_eq!(Hour::of(Timestamp(i64::MAX)), Hour(0));
    }

    #[test]
    fn names_of_others() {
        for name in [
            "p00003-000000001000-000000001999.parquet#1",
            "p3-1-2.parquet",
            "p00003-000000002000-000000001999.parquet",
            "p00003-000000001000.parquet",
            "part-0000.parquet",
            "_lock",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
