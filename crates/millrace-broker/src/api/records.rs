//! DeleteRecords, DescribeLogDirs, and the requests about replicas, of which there is one.

use crate::api::fetch::storage_error;
use crate::api::{text, topic_name};
use crate::server::dispatch::Context;
use crate::storage::partition::Partition;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, DescribeAclsRequest, DescribeAclsResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse, ElectLeadersRequest, ElectLeadersResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
};
use std::sync::Arc;

/// "Up to what everybody may see", as an offset.
const HIGH_WATERMARK: i64 = -1;

pub(crate) async fn delete_records(context: Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut response = DeleteRecordsResponse::default();
    for topic in request.topics {
        let mut answered = DeleteRecordsTopicResult::default();
        for asked in &topic.partitions {
            let result = match context.topics.partition(&topic.name, asked.partition_index) {
                Some(partition) => delete_before(&partition, asked.offset).await,
                None => Err(ResponseError::UnknownTopicOrPartition),
            };
            let answer = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            answered.partitions.push(match result {
                Ok(low_watermark) => answer.with_low_watermark(low_watermark),
                Err(error) => answer.with_low_watermark(-1).with_error_code(error.code()),
            });
        }
        response.topics.push(answered.with_name(topic.name));
    }
    response
}

async fn delete_before(partition: &Arc<Partition>, offset: i64) -> Result<i64, ResponseError> {
    let settings = partition.settings();
    if settings.compact && !settings.delete {
        return Err(ResponseError::PolicyViolation);
    }
    let before = if offset == HIGH_WATERMARK { partition.offsets().high_watermark } else { offset };
    if before < 0 {
        return Err(ResponseError::OffsetOutOfRange);
    }
    let deleting = partition.clone();
    let deleted = tokio::task::spawn_blocking(move || deleting.delete_records(before)).await;
    let deleted = deleted.map_err(|_| ResponseError::UnknownServerError)?;
    deleted.map_err(|error| storage_error(partition, &error))?.ok_or(ResponseError::OffsetOutOfRange)
}

pub(crate) async fn describe_log_dirs(context: Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let wanted = |name: &str, index: usize| match &request.topics {
        None => true,
        Some(topics) => topics
            .iter()
            .any(|t| t.topic.as_str() == name && t.partitions.iter().any(|p| usize::try_from(*p) == Ok(index))),
    };
    let all = context.topics.all();
    let mut total_bytes = 0;
    let mut topics = Vec::new();
    for topic in all.values() {
        let mut partitions = Vec::new();
        for (index, partition) in topic.partitions.iter().enumerate() {
            let bytes = crate::sync::lock(&partition.log).bytes() as i64;
            total_bytes += bytes;
            if wanted(&topic.name, index) {
                partitions.push(
                    DescribeLogDirsPartition::default().with_partition_index(index as i32).with_partition_size(bytes),
                );
            }
        }
        if !partitions.is_empty() {
            topics.push(DescribeLogDirsTopic::default().with_name(topic_name(&topic.name)).with_partitions(partitions));
        }
    }
    // How much room the disk has is not known here; -1 says so.
    let mut result = DescribeLogDirsResult::default()
        .with_log_dir(text(&context.settings.data_dir.display().to_string()))
        .with_topics(topics);
    if context.version >= 4 {
        result = result.with_total_bytes(total_bytes).with_usable_bytes(-1);
    }
    DescribeLogDirsResponse::default().with_results(vec![result])
}

/// The only replica of every partition is its leader already.
pub(crate) async fn elect_leaders(context: Context, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let result = |topic: &str, index: i32| {
        let error = match context.topics.partition(topic, index) {
            Some(_) => ResponseError::ElectionNotNeeded,
            None => ResponseError::UnknownTopicOrPartition,
        };
        PartitionResult::default().with_partition_id(index).with_error_code(error.code())
    };
    let results = request.topic_partitions.unwrap_or_default().into_iter().map(|asked| {
        let partitions = asked.partitions.iter().map(|index| result(&asked.topic, *index)).collect();
        ReplicaElectionResult::default().with_topic(asked.topic).with_partition_result(partitions)
    });
    ElectLeadersResponse::default().with_replica_election_results(results.collect())
}

/// Nothing is ever being moved.
pub(crate) async fn list_reassignments(
    _context: Context,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}

/// There is no authorizer, as in a Kafka broker that has none configured.
pub(crate) async fn describe_acls(_context: Context, _request: DescribeAclsRequest) -> DescribeAclsResponse {
    DescribeAclsResponse::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(text("No Authorizer is configured.")))
}
