//! What the lake is told, and its limits.

use std::path::PathBuf;
use std::time::Duration;

use crate::kafka::ClientSettings;

/// The consumer group the lake commits its offsets to. With the claims they say what is archived.
pub const LAKE_GROUP: &str = "millrace-lake";
/// The longest `wait_ms_max`.
const WAIT_MS_CEILING: u64 = 60_000;

/// What the lake is told.
#[derive(Clone, Debug)]
pub struct LakeSettings {
    /// The cluster.
    pub client: ClientSettings,
    /// The folder, made when it is missing; or `s3://BUCKET/PREFIX`, reached as the environment says.
    pub place: PathBuf,
    /// When files are written.
    pub limits: LakeLimits,
    /// When small files become one.
    pub merge: MergeSettings,
    /// Days that ended longer ago are deleted; `None`: none are.
    pub retention: Option<Duration>,
    /// Several archivers divide the partitions among them, as members of group [`LAKE_GROUP`].
    pub shared: bool,
}

impl LakeSettings {
    /// Default limits.
    pub fn new(client: ClientSettings, place: impl Into<PathBuf>) -> Self {
        LakeSettings {
            client,
            place: place.into(),
            limits: LakeLimits::default(),
            merge: MergeSettings::default(),
            retention: None,
            shared: false,
        }
    }
}

/// When small files of an hour become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MergeSettings {
    /// How long after its end an hour is left alone: late records still come.
    pub after: Duration,
    /// How often it is looked for hours to merge.
    pub every: Duration,
}

impl Default for MergeSettings {
    fn default() -> Self {
        MergeSettings { after: Duration::from_secs(2 * 3_600), every: Duration::from_secs(600) }
    }
}

/// What is buffered goes to files when it reaches one of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LakeLimits {
    /// Records of all partitions.
    pub rows_max: usize,
    /// Bytes of their keys and values, which are held in memory.
    pub bytes_max: usize,
    /// Age of the first record, milliseconds; at most 60,000.
    pub wait_ms_max: u64,
}

impl Default for LakeLimits {
    fn default() -> Self {
        LakeLimits { rows_max: 500_000, bytes_max: 64 * 1024 * 1024, wait_ms_max: 60_000 }
    }
}

impl LakeLimits {
    /// Whether to write now: `rows` and `bytes` are buffered since `age`; while draining, an empty reader is the end.
    pub(super) fn reached(&self, rows: usize, bytes: usize, age: Duration, draining_and_empty: bool) -> bool {
        rows > 0
            && (rows >= self.rows_max
                || bytes >= self.bytes_max
                || age >= Duration::from_millis(self.wait_ms_max.min(WAIT_MS_CEILING))
                || draining_and_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes() {
        let limits = LakeLimits { rows_max: 10, bytes_max: 1_000, wait_ms_max: 5_000_000 };
        for (rows, bytes, age_s, end, expected) in [
            (0, 0, 100, true, false),
            (1, 1, 59, false, false),
            (1, 1, 60, false, true),
            (10, 1, 0, false, true),
            (1, 1_000, 0, false, true),
            (1, 1, 0, true, true),
        ] {
            assert_eq!(
                limits.reached(rows, bytes, Duration::from_secs(age_s), end),
                expected,
                "{rows} {bytes} {age_s}"
            );
        }
    }
}
