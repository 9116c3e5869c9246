//! Fetch: read what is there, or wait for a partition to grow.
//!
//! Fetch sessions (KIP-227) are never granted: every answer carries session id 0, on which all clients send full
//! requests. With the few partitions of one machine a session would save nothing.

use crate::api::topic_name;
use crate::server::budget::Share;
use crate::server::dispatch::Context;
use crate::storage::batch::LEADER_EPOCH;
use crate::storage::error::LogError;
use crate::storage::partition::Partition;
use crate::storage::read::{Isolation, ReadOutcome};
use crate::sync::{Waiting, free_worker};
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// One partition of the request, looked up.
struct Asked {
    request: FetchPartition,
    partition: Result<Arc<Partition>, ResponseError>,
}

/// What a pass over all partitions gave.
struct Pass {
    partitions: Vec<PartitionData>,
    record_bytes: usize,
    /// An error or an end that the client must hear of now.
    urgent: bool,
}

pub(crate) async fn fetch(context: Context, request: FetchRequest) -> FetchResponse {
    if request.session_id != 0 && request.session_epoch > 0 {
        return FetchResponse::default().with_error_code(ResponseError::FetchSessionIdNotFound.code());
    }
    let isolation = if request.isolation_level == 1 { Isolation::Committed } else { Isolation::Uncommitted };
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let bytes_max =
        usize::try_from(request.max_bytes).unwrap_or(0).min(context.settings.limits.fetch_response_bytes_max);
    let bytes_min = usize::try_from(request.min_bytes).unwrap_or(0);
    let asked: Vec<Asked> = request.topics.iter().flat_map(|topic| look_up(&context, topic)).collect();
    let mut share = context.fetch_budget.take(bytes_max);
    let notify = Arc::new(Notify::new());
    let _waiting: Vec<Waiting> = if bytes_min > 0 && request.max_wait_ms > 0 {
        asked.iter().filter_map(|a| a.partition.as_ref().ok()).map(|p| p.waiters.enter(&notify)).collect()
    } else {
        vec![]
    };
    let asked = Arc::new(asked);
    let pass = loop {
        let pass = read_all(&asked, isolation, share.bytes()).await;
        if pass.urgent || pass.record_bytes >= bytes_min || Instant::now() >= deadline {
            break pass;
        }
        // Nothing that would be kept is held while waiting.
        drop(pass);
        if tokio::time::timeout_at(deadline, notify.notified()).await.is_err() {
            break read_all(&asked, isolation, share.bytes()).await;
        }
    };
    share.shrink(pass.record_bytes);
    respond(request, pass, share)
}

fn look_up(context: &Context, topic: &FetchTopic) -> Vec<Asked> {
    let found = match context.version {
        13.. => context.topics.by_id(topic.topic_id).ok_or(ResponseError::UnknownTopicId),
        _ => context.topics.get(&topic.topic).ok_or(ResponseError::UnknownTopicOrPartition),
    };
    let ask = |request: &FetchPartition| {
        let partition = found.as_ref().map_err(|error| *error).and_then(|topic| {
            let index = usize::try_from(request.partition).unwrap_or(usize::MAX);
            topic.partitions.get(index).cloned().ok_or(ResponseError::UnknownTopicOrPartition)
        });
        Asked { request: request.clone(), partition }
    };
    topic.partitions.iter().map(ask).collect()
}

/// Reads all partitions. What may lie on a cold disk is read where blocking is allowed.
async fn read_all(asked: &Arc<Vec<Asked>>, isolation: Isolation, bytes_max: usize) -> Pass {
    let cold = |a: &Asked| a.partition.as_ref().is_ok_and(|p| p.may_be_cold(a.request.fetch_offset));
    if asked.iter().any(cold) {
        let asked = asked.clone();
        if let Ok(pass) = tokio::task::spawn_blocking(move || read_pass(&asked, isolation, bytes_max)).await {
            return pass;
        }
    }
    free_worker(|| read_pass(asked, isolation, bytes_max))
}

fn read_pass(asked: &[Asked], isolation: Isolation, bytes_max: usize) -> Pass {
    let mut pass = Pass { partitions: Vec::with_capacity(asked.len()), record_bytes: 0, urgent: false };
    for Asked { request, partition } in asked {
        let left = bytes_max.saturating_sub(pass.record_bytes);
        let limit = usize::try_from(request.partition_max_bytes).unwrap_or(0).min(left);
        // One batch is always given, so that a batch larger than every limit does not stop its consumer.
        let read = partition
            .as_ref()
            .map_err(|e| *e)
            .and_then(|p| read_one(p, request, isolation, limit, pass.record_bytes == 0));
        let data = PartitionData::default().with_partition_index(request.partition);
        pass.partitions.push(match read {
            Ok(outcome) => {
                pass.record_bytes += outcome.records.len();
                partition_data(data, outcome, isolation)
            }
            Err(error) => {
                pass.urgent = true;
                data.with_error_code(error.code())
                    .with_high_watermark(-1)
                    .with_last_stable_offset(-1)
                    .with_records(Some(Bytes::new()))
            }
        });
    }
    pass
}

fn read_one(
    partition: &Partition,
    request: &FetchPartition,
    isolation: Isolation,
    bytes_max: usize,
    at_least_one: bool,
) -> Result<ReadOutcome, ResponseError> {
    check_epoch(request.current_leader_epoch)?;
    let outcome = partition
        .read(request.fetch_offset, isolation, bytes_max, at_least_one)
        .map_err(|error| storage_error(partition, &error))?;
    if partition.is_deleted() {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    if outcome.out_of_range { Err(ResponseError::OffsetOutOfRange) } else { Ok(outcome) }
}

/// The error for files that cannot be read.
pub(crate) fn storage_error(partition: &Partition, error: &LogError) -> ResponseError {
    if partition.is_deleted() {
        return ResponseError::UnknownTopicOrPartition;
    }
    tracing::error!(partition = %partition.id, %error, "cannot read");
    ResponseError::KafkaStorageError
}

/// Checks the leader epoch a client believes in; -1 is none.
pub(crate) fn check_epoch(current_leader_epoch: i32) -> Result<(), ResponseError> {
    match current_leader_epoch {
        epoch if epoch > LEADER_EPOCH => Err(ResponseError::UnknownLeaderEpoch),
        epoch if (0..LEADER_EPOCH).contains(&epoch) => Err(ResponseError::FencedLeaderEpoch),
        _ => Ok(()),
    }
}

fn partition_data(data: PartitionData, outcome: ReadOutcome, isolation: Isolation) -> PartitionData {
    let aborted = (isolation == Isolation::Committed).then(|| {
        let entry = |aborted: &crate::storage::aborted::Aborted| {
            AbortedTransaction::default()
                .with_producer_id(ProducerId(aborted.producer_id))
                .with_first_offset(aborted.first_offset)
        };
        outcome.aborted.iter().map(entry).collect()
    });
    data.with_high_watermark(outcome.offsets.high_watermark)
        .with_last_stable_offset(outcome.offsets.last_stable)
        .with_log_start_offset(outcome.offsets.log_start)
        .with_aborted_transactions(aborted)
        .with_preferred_read_replica(BrokerId(-1))
        .with_records(Some(outcome.records))
}

/// Puts the partitions back under their topics, in the order asked.
fn respond(request: FetchRequest, pass: Pass, _share: Share) -> FetchResponse {
    let mut partitions = pass.partitions.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let count = topic.partitions.len();
        FetchableTopicResponse::default()
            .with_topic(topic_name(&topic.topic))
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.by_ref().take(count).collect())
    });
    FetchResponse::default().with_responses(topics.collect())
}
