//! The past as the lake has it, in the order in which it came: for jobs that compute it again and for replays.
//!
//! Reading order: `arrivals` (partitions to one sequence) → `epochs` (the sequence to epochs) → `records` (epochs for the engine).

pub(crate) mod arrivals;
pub(crate) mod epochs;
pub(crate) mod records;

use millrace_connectors::lake::{LakePartition, LakeRun};
use millrace_connectors::sink::SinkError;

use arrivals::Feed;

/// Fewer offsets than these without a record, in a row, are transaction markers and what was aborted; more are a loss.
pub(crate) const HOLE_OFFSETS_MIN: i64 = 1_000;

/// A partition of the lake, for a thread that may wait.
pub(crate) struct LakeFeed {
    pub(crate) partition: LakePartition,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Feed for LakeFeed {
    type Error = SinkError;

    fn next(&mut self) -> Result<Option<LakeRun>, SinkError> {
        self.runtime.block_on(self.partition.next())
    }
}
