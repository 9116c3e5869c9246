//! How far a streaming table has come, as it is written to the `job_progress` topic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Where each record of a source went. The books balance when
/// `records_in = records_counted + records_late + records_malformed + records_duplicate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RecordCounts {
    /// Records read, since the first start.
    pub records_in: u64,
    /// Records that reached the result, or that the statement's WHERE left out.
    pub records_counted: u64,
    /// Records set aside as late.
    pub records_late: u64,
    /// Records that break the contract.
    pub records_malformed: u64,
    /// Repeats dropped within the watermark.
    pub records_duplicate: u64,
}

impl RecordCounts {
    /// Adds the counts of another source or epoch.
    pub fn add(&mut self, other: &RecordCounts) {
        self.records_in += other.records_in;
        self.records_counted += other.records_counted;
        self.records_late += other.records_late;
        self.records_malformed += other.records_malformed;
        self.records_duplicate += other.records_duplicate;
    }

    /// Every record read is accounted for.
    pub fn balances(&self) -> bool {
        self.records_in == self.records_counted + self.records_late + self.records_malformed + self.records_duplicate
    }
}

/// Position and counts in one partition of a source topic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SourceProgress {
    /// Source topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Next offset to read: what the consumer group has committed.
    pub offset: i64,
    /// End of the partition when this was written.
    pub end_offset: Option<i64>,
    /// Where its records went.
    #[serde(flatten)]
    pub counts: RecordCounts,
}

/// One row of `job_progress`; the fields are the contract's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TableProgress {
    /// Streaming table, or `intake`.
    pub table: String,
    /// Job: the pipeline file.
    pub job: String,
    /// `embedded` or `spark`.
    pub backend: String,
    /// Epochs committed.
    pub epoch: u64,
    /// When this was written.
    pub time: Timestamp,
    /// Windows that end by then are final.
    pub watermark: Option<Timestamp>,
    /// `update`, `append` or `complete`.
    pub output_mode: Option<String>,
    /// Where the records of all sources went.
    #[serde(flatten)]
    pub counts: RecordCounts,
    /// Result rows written, since the first start.
    pub rows_out: u64,
    /// Open groups in the state.
    pub state_groups: u64,
    /// Bytes of state, estimated.
    pub state_bytes: u64,
    /// Duration of the last epoch, from poll to commit.
    pub epoch_micros: u64,
    /// Phases of the last epoch, milliseconds, from a backend that tells them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub phases_ms: BTreeMap<String, u64>,
    /// Position in each source partition.
    pub sources: Vec<SourceProgress>,
    /// Where another backend stood when this one took the table over; kept as long as this one runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_over: Option<TakenOver>,
    /// Why the job stands still, when it does: it has stopped, or waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Where another backend left a table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TakenOver {
    /// `embedded` or `spark`.
    pub backend: String,
    /// Its last epoch.
    pub epoch: u64,
    /// Its watermark: windows that end by then were final.
    pub watermark: Option<Timestamp>,
    /// Next offsets it would have read.
    pub offsets: Vec<PartitionOffset>,
}

/// A place in a source topic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartitionOffset {
    /// Source topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Next offset.
    pub offset: i64,
}

impl TableProgress {
    /// A table that has done nothing yet.
    pub fn begun(table: &str, job: &str, backend: &str) -> Self {
        TableProgress {
            table: table.to_owned(),
            job: job.to_owned(),
            backend: backend.to_owned(),
            epoch: 0,
            time: Timestamp(0),
            watermark: None,
            output_mode: None,
            counts: RecordCounts::default(),
            rows_out: 0,
            state_groups: 0,
            state_bytes: 0,
            epoch_micros: 0,
            phases_ms: BTreeMap::new(),
            sources: Vec::new(),
            taken_over: None,
            trouble: None,
        }
    }

    /// Where a backend that takes the table over finds it.
    pub fn taken_over(&self) -> TakenOver {
        let offset = |source: &SourceProgress| PartitionOffset {
            topic: source.topic.clone(),
            partition: source.partition,
            offset: source.offset,
        };
        TakenOver {
            backend: self.backend.clone(),
            epoch: self.epoch,
            watermark: self.watermark,
            offsets: self.sources.iter().map(offset).collect(),
        }
    }
}
