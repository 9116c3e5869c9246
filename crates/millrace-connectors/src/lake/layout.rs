//! Where a file lies and what its name says: pure text, both ways.

use millrace_model::Timestamp;
use millrace_model::time::HOUR_MICROS;

/// A data file's name: which offsets of which partition it holds. Files of one batch, of different hours, hold offsets of
/// the same range; files of one hour and partition never do, but for a merged one and those it was made of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FileName {
    /// Made of smaller files, which it replaces. Its name sorts after theirs: a listing that misses it has seen them all.
    pub(super) merged: bool,
    pub(super) partition: i32,
    /// Smallest offset in it.
    pub(super) first: i64,
    /// Largest offset in it.
    pub(super) last: i64,
}

const SUFFIX: &str = ".parquet";

impl FileName {
    /// `p00003-000000001000-000000001999.parquet`, `q…` when merged; padded, so that names sort as offsets do.
    pub(super) fn text(&self) -> String {
        let letter = if self.merged { 'q' } else { 'p' };
        format!("{letter}{:05}-{:012}-{:012}{SUFFIX}", self.partition, self.first, self.last)
    }

    /// Reads a name; `None` when it is not one of ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let merged = name.starts_with('q');
        let mut parts = name.strip_prefix(['p', 'q'])?.strip_suffix(SUFFIX)?.split('-');
        let parsed = FileName {
            merged,
            partition: parts.next()?.parse().ok()?,
            first: parts.next()?.parse().ok()?,
            last: parts.next()?.parse().ok()?,
        };
        (parts.next().is_none() && parsed.first <= parsed.last && name == parsed.text()).then_some(parsed)
    }

    /// Whether this file, in the same hour, holds what that one holds, and replaces it.
    pub(super) fn replaces(&self, other: &FileName) -> bool {
        self.merged
            && self != other
            && self.partition == other.partition
            && self.first <= other.first
            && other.last <= self.last
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

    /// When it begins.
    pub(super) fn start(self) -> Timestamp {
        Timestamp(self.0 * HOUR_MICROS)
    }

    /// The hour of `TOPIC/date=2026-01-31/hour=09`.
    pub(super) fn of_folder(folder: &str) -> Option<Self> {
        let mut parts = folder.rsplit('/');
        let (hour, date) = (parts.next()?.strip_prefix("hour=")?, parts.next()?.strip_prefix("date=")?);
        let time = Timestamp::parse(format!("{date}T{hour}:00:00Z").as_bytes())?;
        Some(Hour(time.0.div_euclid(HOUR_MICROS)))
    }

    /// `date=2026-01-31/hour=09`: what Hive, Spark and DuckDB read as two columns.
    pub(super) fn folder(self) -> String {
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
            let name = FileName { merged: false, partition: 3, first: 1000, last: 1999 };
            let time = Timestamp::parse(time.as_bytes()).expect("a time");
            assert_eq!(name.path("t", Hour::of(time)), path);
            let folder = path.rsplit_once('/').expect("a folder").0;
            assert_eq!(
                (Hour::of_folder(folder), Hour::of(time).start().floor(HOUR_MICROS)),
                (Some(Hour::of(time)), Hour::of(time).start())
            );
            assert_eq!(FileName::parse(path.rsplit('/').next().expect("a name")), Some(name));
        }
        assert_eq!(Hour::of(Timestamp(i64::MAX)), Hour(0));
        assert_eq!(Hour::of_folder("t/date=2026-13-31/hour=09"), None);
    }

    #[test]
    fn what_replaces_what() {
        let file = |text: &str| FileName::parse(&format!("{text}.parquet")).expect("a name");
        let merged = file("q00003-000000001000-000000002999");
        for (other, expected) in [
            ("p00003-000000001000-000000001999", true),
            ("p00003-000000001000-000000002999", true),
            ("q00003-000000001000-000000001999", true),
            ("q00003-000000001000-000000002999", false),
            ("p00003-000000002000-000000003999", false),
            ("p00004-000000001000-000000001999", false),
        ] {
            assert_eq!(merged.replaces(&file(other)), expected, "{other}");
        }
        assert!(!file("p00003-000000001000-000000002999").replaces(&file("p00003-000000001000-000000001999")));
        assert!("p99999" < merged.text().as_str());
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
