//! How each table's progress went over the last minutes: `job_progress` itself keeps only the newest row.

use std::collections::{BTreeMap, VecDeque};

use millrace_model::Timestamp;

use crate::cache::Cache;
use crate::row::Read;
use crate::view::health::{delay_seconds, lag_records};

/// Samples kept of a table.
pub(crate) const SAMPLES_MAX: usize = 150;
/// Time between samples, milliseconds.
pub(crate) const SAMPLE_MS: u64 = 2_000;

/// One look at a table's progress.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Sample {
    /// When.
    pub(crate) at: Timestamp,
    /// Records not read.
    pub(crate) lag_records: Option<i64>,
    /// Wall clock minus watermark.
    pub(crate) delay_seconds: Option<f64>,
    /// Records read since the first start.
    pub(crate) records_in: i64,
    /// Rows written since the first start.
    pub(crate) rows_out: i64,
}

/// Samples by table, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(BTreeMap<String, VecDeque<Sample>>);

impl History {
    /// Looks at every table's progress once.
    pub(crate) fn sample(&mut self, cache: &Cache, now: Timestamp) {
        for row in cache.rows("job_progress") {
            let samples = self.0.entry(row.text("table").to_owned()).or_default();
            if samples.len() == SAMPLES_MAX {
                samples.pop_front();
            }
            samples.push_back(Sample {
                at: now,
                lag_records: lag_records(row),
                delay_seconds: delay_seconds(row, now),
                records_in: row.int("records_in"),
                rows_out: row.int("rows_out"),
            });
        }
    }

    /// The samples of a table, oldest first.
    pub(crate) fn of(&self, table: &str) -> impl Iterator<Item = &Sample> {
        self.0.get(table).into_iter().flatten()
    }
}
