//! Views: what a page shows, computed from the cache and nothing else, so that page, API and push say the same.
//!
//! A view is plain data that serialises; it knows no HTML. `now` is passed in.

pub(crate) mod alerts;
pub(crate) mod backtest;
pub(crate) mod fraud;
pub(crate) mod health;
pub(crate) mod kafka;
pub(crate) mod letters;
pub(crate) mod lists;
pub(crate) mod overview;
pub(crate) mod recommend;
pub(crate) mod reviews;
pub(crate) mod rules;
pub(crate) mod scoreboard;
pub(crate) mod sessions;
pub(crate) mod stock;
pub(crate) mod windows;

#[cfg(test)]
pub(crate) mod fixture;

use serde::Serialize;

/// A chart's data and its table twin: typed columns, rows in order, the first column telling rows apart.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Series {
    /// What the columns are.
    pub(crate) columns: Vec<SeriesColumn>,
    /// Values, one for each column.
    pub(crate) rows: Vec<Vec<serde_json::Value>>,
}

/// One column of a [`Series`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct SeriesColumn {
    /// For programs.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) label: &'static str,
    /// How a value is shown.
    #[serde(flatten)]
    pub(crate) unit: Unit,
}

/// What a number is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "unit", rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Words.
    Text,
    /// A point in time.
    Time,
    /// A number of things.
    Count,
    /// A part of one: 0.034 is 3.4 %.
    Share,
    /// Minor units of a currency.
    Money {
        /// ISO 4217 code.
        currency: String,
        /// Digits after the point.
        digits: u32,
    },
}

impl Unit {
    /// Money of a currency.
    pub(crate) fn money(currency: &str) -> Self {
        Unit::Money { currency: currency.to_owned(), digits: millrace_model::money::minor_digits(currency) }
    }
}

impl Series {
    /// An empty series of these columns.
    pub(crate) fn new(columns: Vec<(&'static str, &'static str, Unit)>) -> Self {
        let columns = columns.into_iter().map(|(name, label, unit)| SeriesColumn { name, label, unit }).collect();
        Series { columns, rows: Vec::new() }
    }
}

/// `part / whole`, when there is a whole.
pub(crate) fn share(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The change from `before` to `now`, as a part of `before`.
pub(crate) fn change(now: f64, before: Option<f64>) -> Option<f64> {
    before.filter(|before| *before > 0.0).map(|before| (now - before) / before)
}
