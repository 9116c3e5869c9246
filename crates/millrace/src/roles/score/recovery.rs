//! After a start: the batches that were committed since the state was kept are taken in again, in their order, without writing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use millrace_connectors::kafka::cluster::{StartDecision, start_at};
use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::reader::Reader;
use millrace_connectors::kafka::{ClientSettings, Cluster, Extent, KafkaError, Place};
use millrace_model::{ErrorKind, Timestamp};
use serde::{Deserialize, Serialize};

use super::records::{Batch, Record, take};
use super::{GROUP, Shared, read};

/// In which order records were taken in.
pub(crate) const BATCHES: &str = "fraud_batches";
/// Longest wait for the next record of a batch that was committed.
const RECORD_WAIT_MAX: Duration = Duration::from_secs(60);

/// One row of `fraud_batches`; the fields are the contract's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BatchRow {
    pub(crate) batch: u64,
    pub(crate) time: Timestamp,
    pub(crate) ranges: Vec<Range>,
}

/// Records of a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Range {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// First offset.
    pub(crate) from: i64,
    /// Offset behind the last.
    pub(crate) to: i64,
}

impl Range {
    pub(crate) fn place(&self) -> Place {
        Place::new(self.topic.as_str(), self.partition)
    }
}

/// Brings the state up to the last batch committed, and its offsets to where reading goes on.
pub(super) async fn catch_up(
    kafka: &ClientSettings,
    cluster: &Cluster,
    shared: &Shared,
    extents: &HashMap<Place, Extent>,
) -> Result<(), KafkaError> {
    let (batch, from) = {
        let state = shared.state();
        (state.batch, state.batches_from)
    };
    let committed = read_batches(kafka, cluster, from).await?;
    let missed: Vec<BatchRow> = committed.into_iter().filter(|row| row.batch > batch).collect();
    let mut starts = starts(shared, extents, &missed);
    if !missed.is_empty() {
        tracing::info!(batches = missed.len(), "the scorer takes in again what it had judged");
        replay(kafka, shared, &missed, &starts).await?;
        let mut state = shared.state_mut();
        state.batch = missed.last().map_or(state.batch, |last| last.batch);
        for range in missed.iter().flat_map(|row| &row.ranges) {
            let at = starts.entry(range.place()).or_insert(range.to);
            *at = range.to.max(*at);
        }
    }
    shared.state_mut().offsets = starts.into_iter().collect();
    Ok(())
}

/// Where each partition goes on by what was kept; a partition nothing was read of, where its first batch began.
fn starts(shared: &Shared, extents: &HashMap<Place, Extent>, missed: &[BatchRow]) -> HashMap<Place, i64> {
    let state = shared.state();
    let first = |place: &Place| -> Option<i64> {
        missed.iter().flat_map(|row| &row.ranges).find(|range| range.place() == *place).map(|range| range.from)
    };
    let start = |(place, extent): (&Place, &Extent)| {
        let stored = state.offsets.get(place).copied().or_else(|| first(place));
        let at = match start_at(stored, *extent) {
            StartDecision::At(at) => at,
            StartDecision::Gap { at, missed } => {
                tracing::warn!(topic = %place.topic, partition = place.partition, missed, "records were deleted before the scorer had read them");
                at
            }
            StartDecision::Ahead { .. } => {
                tracing::warn!(topic = %place.topic, partition = place.partition, "the topic is another one than the scorer has read; it is read from its beginning");
                extent.low
            }
        };
        (place.clone(), at)
    };
    extents.iter().map(start).collect()
}

/// The committed batches from an offset on.
pub(crate) async fn read_batches(
    kafka: &ClientSettings,
    cluster: &Cluster,
    from: i64,
) -> Result<Vec<BatchRow>, KafkaError> {
    let place = Place::new(BATCHES, 0);
    let extents = cluster.extents(std::slice::from_ref(&place)).await?;
    let Some(extent) = extents.get(&place).copied() else { return Ok(Vec::new()) };
    // A topic that was made anew is shorter than what was kept of it.
    let start = if from > extent.end { extent.low } else { from.max(extent.low) };
    let mut reader = Reader::new(kafka, GROUP)?;
    reader.assign(HashMap::from([(place.clone(), start)]))?;
    let mut rows: Vec<BatchRow> = Vec::new();
    while reader.positions().get(&place).copied().unwrap_or(start) < extent.end {
        match reader.next()? {
            None => reader.ready().await,
            Some(message) => {
                let row = serde_json::from_slice(message.payload().unwrap_or_default()).map_err(|error| {
                    let text = format!("record {} of {BATCHES} cannot be read: {error}", message.offset());
                    KafkaError::new(ErrorKind::Internal, text)
                })?;
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

async fn replay(
    kafka: &ClientSettings,
    shared: &Shared,
    missed: &[BatchRow],
    starts: &HashMap<Place, i64>,
) -> Result<(), KafkaError> {
    let mut reader = Reader::new(kafka, GROUP)?;
    reader.assign(starts.clone())?;
    let mut waiting: BTreeMap<Place, VecDeque<(i64, Option<Record>)>> = BTreeMap::new();
    for row in missed {
        let start = Instant::now();
        while !is_there(row, &waiting, &reader.positions()) {
            if start.elapsed() > RECORD_WAIT_MAX {
                let text = format!("the records of batch {} do not come", row.batch);
                return Err(KafkaError::new(ErrorKind::Unavailable, text));
            }
            match reader.next()? {
                None => reader.ready().await,
                Some(message) => {
                    let (place, offset, record) = read(&message);
                    waiting.entry(place).or_default().push_back((offset, record));
                }
            }
        }
        let mut batch = Batch::default();
        for range in &row.ranges {
            let Some(records) = waiting.get_mut(&range.place()) else { continue };
            while records.front().is_some_and(|(offset, _)| *offset < range.to) {
                records.pop_front().and_then(|(_, record)| record).into_iter().for_each(|record| batch.push(record));
            }
        }
        let mut state = shared.state_mut();
        for record in batch.in_order() {
            take(&mut state.judge, record);
        }
    }
    Ok(())
}

/// Whether every record of a batch has been read, or is gone.
fn is_there(
    row: &BatchRow,
    waiting: &BTreeMap<Place, VecDeque<(i64, Option<Record>)>>,
    positions: &HashMap<Place, i64>,
) -> bool {
    row.ranges.iter().all(|range| {
        let place = range.place();
        let read = waiting.get(&place).and_then(|records| records.back()).map_or(i64::MIN, |(offset, _)| *offset + 1);
        let Some(position) = positions.get(&place) else { return true };
        read.max(*position) >= range.to
    })
}
