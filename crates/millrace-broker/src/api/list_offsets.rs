//! ListOffsets and OffsetForLeaderEpoch: which offsets a partition has, at its ends and at a time.

use crate::api::fetch::{check_epoch, storage_error};
use crate::server::dispatch::Context;
use crate::storage::batch::LEADER_EPOCH;
use crate::storage::partition::Partition;
use crate::storage::read::Isolation;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use std::sync::Arc;

/// Times with a meaning of their own.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// An offset and the time that belongs to it; -1 is none.
struct Place {
    offset: i64,
    timestamp_ms: i64,
}

const NOWHERE: Place = Place { offset: -1, timestamp_ms: -1 };

pub(crate) async fn list_offsets(context: Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = if request.isolation_level == 1 { Isolation::Committed } else { Isolation::Uncommitted };
    let mut response = ListOffsetsResponse::default();
    for topic in request.topics {
        let mut answered = ListOffsetsTopicResponse::default();
        for asked in &topic.partitions {
            let partition = context.topics.partition(&topic.name, asked.partition_index);
            let found = match partition.ok_or(ResponseError::UnknownTopicOrPartition) {
                Ok(partition) => find(&context, partition, asked, isolation).await,
                Err(error) => Err(error),
            };
            answered.partitions.push(partition_response(context.version, asked.partition_index, found));
        }
        response.topics.push(answered.with_name(topic.name));
    }
    response
}

async fn find(
    context: &Context,
    partition: Arc<Partition>,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Place, ResponseError> {
    check_epoch(asked.current_leader_epoch)?;
    let offsets = partition.offsets();
    let end = offsets.end(isolation);
    let at = |offset| Place { offset, timestamp_ms: -1 };
    match asked.timestamp {
        LATEST => Ok(at(end)),
        EARLIEST | EARLIEST_LOCAL => Ok(at(offsets.log_start)),
        LATEST_TIERED => Ok(NOWHERE),
        time_ms if time_ms >= 0 || time_ms == MAX_TIMESTAMP => {
            let limit = context.settings.limits.decompressed_batch_bytes_max;
            let look = move || {
                let found = match time_ms {
                    MAX_TIMESTAMP => partition.latest_time(limit),
                    _ => partition.first_at_or_after(time_ms, limit),
                };
                found.map_err(|error| storage_error(&partition, &error))
            };
            let found = tokio::task::spawn_blocking(look).await.unwrap_or(Err(ResponseError::UnknownServerError))?;
            Ok(match found {
                Some(found) if found.offset < end => Place { offset: found.offset, timestamp_ms: found.timestamp_ms },
                _ => NOWHERE,
            })
        }
        _ => Err(ResponseError::InvalidRequest),
    }
}

fn partition_response(version: i16, index: i32, found: Result<Place, ResponseError>) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match found {
        Ok(place) => {
            let epoch = if version >= 4 && place.offset >= 0 { LEADER_EPOCH } else { -1 };
            response.with_offset(place.offset).with_timestamp(place.timestamp_ms).with_leader_epoch(epoch)
        }
        Err(error) => response.with_error_code(error.code()).with_offset(-1).with_timestamp(-1).with_leader_epoch(-1),
    }
}

pub(crate) async fn offset_for_leader_epoch(
    context: Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut response = OffsetForLeaderEpochResponse::default();
    for topic in request.topics {
        let mut answered = OffsetForLeaderTopicResult::default();
        for asked in &topic.partitions {
            let end = context
                .topics
                .partition(&topic.topic, asked.partition)
                .ok_or(ResponseError::UnknownTopicOrPartition)
                .and_then(|partition| {
                    check_epoch(asked.current_leader_epoch).map(|()| partition.offsets().high_watermark)
                });
            let answer = EpochEndOffset::default().with_partition(asked.partition);
            answered.partitions.push(match end {
                // There is one epoch, so it ends where the log ends; no other was ever begun.
                Ok(end) if asked.leader_epoch == LEADER_EPOCH => {
                    answer.with_leader_epoch(LEADER_EPOCH).with_end_offset(end)
                }
                Ok(_) => answer.with_leader_epoch(-1).with_end_offset(-1),
                Err(error) => answer.with_error_code(error.code()).with_leader_epoch(-1).with_end_offset(-1),
            });
        }
        response.topics.push(answered.with_topic(topic.topic));
    }
    response
}
