//! The past as the lake has it, in the order in which it came: for jobs that compute it again and for replays.
//!
//! Reading order: `arrivals` (partitions to one sequence) → `epochs` (the sequence to epochs) → `records` (epochs for the engine).

pub(crate) mod arrivals;
pub(crate) mod epochs;
pub(crate) mod records;

use std::sync::Arc;

use millrace_connectors::lake::{LakePartition, LakeRange, LakeReader, LakeRun, LakeSpan};
use millrace_connectors::sink::SinkError;

use arrivals::{Feed, Lane};

/// Fewer offsets than these without a record, in a row, are transaction markers and what was aborted; more are a loss.
pub(crate) const HOLE_OFFSETS_MIN: i64 = 1_000;

/// A partition of the lake, for a thread that may wait.
pub(crate) struct LakeFeed {
    pub(crate) partition: LakePartition,
    pub(crate) runtime: tokio::runtime::Handle,
}

/// A partition of a topic, all the lake has of it.
pub(crate) struct TopicLane {
    pub(crate) partition: i32,
    /// Records in it at most.
    pub(crate) records_most: u64,
    pub(crate) lane: Lane<LakeFeed>,
}

/// The partitions of a topic that the lake has anything of in a span, with these columns of times.
///
/// # Errors
/// The lake.
pub(crate) async fn lanes(
    lake: &Arc<LakeReader>,
    topic: &str,
    span: LakeSpan,
    columns: &Arc<[String]>,
    runtime: &tokio::runtime::Handle,
) -> Result<Vec<TopicLane>, SinkError> {
    let parts = lake.parts(topic, span).await?;
    let lane = |(partition, part): (i32, millrace_connectors::lake::LakePart)| {
        let records_most = part.records_most();
        let range = LakeRange {
            from: part.first().unwrap_or(0),
            end: part.next().unwrap_or(0),
            span,
            // What is not there is not asked for.
            least_hole: i64::MAX,
        };
        let (lake, topic, columns) = (Arc::clone(lake), Arc::from(topic), Arc::clone(columns));
        let partition_of = LakePartition::new(lake, topic, partition, part, &range, columns);
        let feed = LakeFeed { partition: partition_of, runtime: runtime.clone() };
        TopicLane { partition, records_most, lane: Lane::new(feed) }
    };
    Ok(parts.into_iter().map(lane).collect())
}

impl Feed for LakeFeed {
    type Error = SinkError;

    fn next(&mut self) -> Result<Option<LakeRun>, SinkError> {
        self.runtime.block_on(self.partition.next())
    }
}
