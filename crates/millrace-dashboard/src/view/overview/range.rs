//! How far back charts and sums go: a closed set, so that every range has its resolution.

use millrace_model::time::{HOUR_MICROS, MINUTE_MICROS};
use serde::{Serialize, Serializer};

/// A range of event time that ends now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Range {
    /// 15 minutes.
    QuarterHour,
    /// One hour.
    #[default]
    Hour,
    /// Six hours.
    SixHours,
    /// A day.
    Day,
}

impl Range {
    /// All of them, shortest first.
    pub(crate) const ALL: [Range; 4] = [Range::QuarterHour, Range::Hour, Range::SixHours, Range::Day];

    /// The range of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Range::ALL.into_iter().find(|range| range.name() == name)
    }

    /// As in the URL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Range::QuarterHour => "15m",
            Range::Hour => "1h",
            Range::SixHours => "6h",
            Range::Day => "24h",
        }
    }

    /// In a sentence: "the last …".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Range::QuarterHour => "15 minutes",
            Range::Hour => "hour",
            Range::SixHours => "6 hours",
            Range::Day => "24 hours",
        }
    }

    /// Its length, microseconds.
    pub(crate) fn micros(self) -> i64 {
        match self {
            Range::QuarterHour => 15 * MINUTE_MICROS,
            Range::Hour => HOUR_MICROS,
            Range::SixHours => 6 * HOUR_MICROS,
            Range::Day => 24 * HOUR_MICROS,
        }
    }

    /// Short ranges draw every sliding window; long ones only those that do not overlap.
    pub(crate) fn slides(self) -> bool {
        self.micros() <= HOUR_MICROS
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
