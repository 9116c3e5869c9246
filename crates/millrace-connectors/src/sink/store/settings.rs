//! What the store sink is told, and its limits.

use std::time::Duration;

use super::retention::Retention;
use crate::kafka::ClientSettings;

/// Name under which the sink stores its offsets, and the consumer group it shows its lag in.
pub const STORE_GROUP: &str = "millrace-store";
/// How often rows that are past their retention are looked for, milliseconds.
pub(super) const SWEEP_MS: u64 = 3_600_000;
/// Days of progress history that are kept.
pub(super) const HISTORY_DAYS: i64 = 7;
/// Rows one statement deletes, at most.
pub(super) const DELETE_ROWS_MAX: u32 = 5_000;
/// Longest wait for the group's last offsets to be published, milliseconds.
pub(super) const PUBLISH_MS_MAX: u64 = 2_000;
/// Longest wait for the broker to take a dead letter, milliseconds.
pub(super) const LETTER_MS_MAX: u64 = 10_000;

/// What the sink is told.
#[derive(Clone, Debug)]
pub struct StoreSinkSettings {
    /// The cluster.
    pub client: ClientSettings,
    /// When a batch is written.
    pub limits: BatchLimits,
    /// Several sinks divide the partitions among them, as members of group [`STORE_GROUP`].
    pub shared: bool,
    /// How long rows of result tables are kept.
    pub retention: Retention,
}

impl StoreSinkSettings {
    /// Default limits.
    pub fn new(client: ClientSettings) -> Self {
        StoreSinkSettings { client, limits: BatchLimits::default(), shared: false, retention: Retention::Forever }
    }
}

/// A batch is written when it reaches one of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchLimits {
    /// Records.
    pub rows_max: usize,
    /// Bytes of their values.
    pub bytes_max: usize,
    /// Age of its first record, milliseconds; at most 200.
    pub wait_ms_max: u64,
}

impl Default for BatchLimits {
    fn default() -> Self {
        BatchLimits { rows_max: 5_000, bytes_max: 8 * 1024 * 1024, wait_ms_max: 100 }
    }
}

/// The longest `wait_ms_max`.
const WAIT_MS_CEILING: u64 = 200;

/// What has been gathered so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gathered {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// Age of the first record.
    pub(super) age: Duration,
    /// The reader has nothing more at the moment.
    pub(super) reader_empty: bool,
}

impl BatchLimits {
    /// Whether to write now. While draining nobody waits for company.
    pub(super) fn reached(&self, gathered: Gathered, draining: bool) -> bool {
        gathered.rows > 0
            && (gathered.rows >= self.rows_max
                || gathered.bytes >= self.bytes_max
                || gathered.age >= self.wait()
                || (draining && gathered.reader_empty))
    }

    /// The longest wait of a record for others.
    pub(super) fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms_max.min(WAIT_MS_CEILING))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches() {
        let limits = BatchLimits { rows_max: 10, bytes_max: 1_000, wait_ms_max: 100 };
        for (rows, bytes, age_ms, reader_empty, draining, expected) in [
            (0, 0, 500, true, true, false),
            (1, 10, 0, true, false, false),
            (1, 10, 99, true, false, false),
            (1, 10, 100, false, false, true),
            (10, 10, 0, false, false, true),
            (1, 1_000, 0, false, false, true),
            (1, 10, 0, true, true, true),
            (1, 10, 0, false, true, false),
        ] {
            let gathered = Gathered { rows, bytes, age: Duration::from_millis(age_ms), reader_empty };
            assert_eq!(limits.reached(gathered, draining), expected, "{gathered:?} draining {draining}");
        }
        let patient = BatchLimits { wait_ms_max: 60_000, ..limits };
        assert_eq!(patient.wait(), Duration::from_millis(200));
    }
}
