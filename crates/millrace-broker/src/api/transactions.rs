//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn.

use crate::api::offsets::{Asked, check, check_room};
use crate::groups::offsets::OffsetMap;
use crate::server::dispatch::Context;
use crate::storage::marker::Marker;
use crate::storage::partition::TopicPartition;
use crate::txn::coordinator::World;
use crate::txn::decide::Identity;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse, ProducerId, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};
use std::collections::BTreeSet;

fn world(context: &Context) -> World<'_> {
    World { topics: &context.topics, groups: &context.groups, now_ms: context.now_ms() }
}

/// Clients before `since` know a fenced producer only as one with an old epoch.
fn fenced_since(context: &Context, since: i16, error: ResponseError) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if context.version < since => ResponseError::InvalidProducerEpoch,
        other => other,
    }
}

pub(crate) async fn init_producer_id(context: Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let result = match &request.transactional_id {
        None => context.transactions.fresh_producer_id().map(|producer_id| Identity { producer_id, epoch: 0 }),
        Some(id) if id.is_empty() => Err(ResponseError::InvalidRequest),
        Some(_)
            if !(1..=context.settings.limits.transaction_timeout_ms_max).contains(&request.transaction_timeout_ms) =>
        {
            Err(ResponseError::InvalidTransactionTimeout)
        }
        Some(id) => {
            let presented = Identity { producer_id: request.producer_id.0, epoch: request.producer_epoch };
            let presented = Some(presented).filter(|p| p.producer_id >= 0);
            context.transactions.init(id, request.transaction_timeout_ms, presented, world(&context)).await
        }
    };
    match result {
        Ok(identity) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(identity.producer_id))
            .with_producer_epoch(identity.epoch),
        Err(error) => InitProducerIdResponse::default()
            .with_error_code(fenced_since(&context, 4, error).code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

pub(crate) async fn add_partitions(context: Context, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
    let id = &request.v3_and_below_transactional_id;
    let identity =
        Identity { producer_id: request.v3_and_below_producer_id.0, epoch: request.v3_and_below_producer_epoch };
    let asked: Vec<(TopicPartition, bool)> = request
        .v3_and_below_topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|p| TopicPartition { topic: topic.name.as_str().into(), partition: *p })
        })
        .map(|partition| (partition.clone(), context.topics.partition(&partition.topic, partition.partition).is_some()))
        .collect();
    // If one partition does not exist none is added, as in Kafka.
    let result = if asked.iter().all(|(_, exists)| *exists) {
        let partitions: BTreeSet<_> = asked.iter().map(|(partition, _)| partition.clone()).collect();
        context.transactions.add_partitions(id, identity, partitions, world(&context)).await
    } else {
        Err(ResponseError::OperationNotAttempted)
    };
    let result = result.map_err(|error| fenced_since(&context, 2, error));
    let mut exists = asked.iter().map(|(_, exists)| *exists);
    let topics = request.v3_and_below_topics.iter().map(|topic| {
        let partition = |index: &i32| {
            let error = if exists.next().unwrap_or(false) {
                crate::api::code(&result)
            } else {
                ResponseError::UnknownTopicOrPartition.code()
            };
            AddPartitionsToTxnPartitionResult::default().with_partition_index(*index).with_partition_error_code(error)
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        AddPartitionsToTxnTopicResult::default().with_name(topic.name.clone()).with_results_by_partition(partitions)
    });
    let topics = topics.collect();
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics)
}

pub(crate) async fn add_offsets(context: Context, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let identity = Identity { producer_id: request.producer_id.0, epoch: request.producer_epoch };
    let result =
        context.transactions.add_group(&request.transactional_id, identity, &request.group_id, world(&context)).await;
    let result = result.map_err(|error| fenced_since(&context, 2, error));
    AddOffsetsToTxnResponse::default().with_error_code(crate::api::code(&result))
}

pub(crate) async fn offset_commit(context: Context, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let mut checked = Vec::new();
    for topic in &request.topics {
        for p in &topic.partitions {
            let metadata = p.committed_metadata.as_deref();
            let (offset, leader_epoch) = (p.committed_offset, p.committed_leader_epoch);
            checked.push(check(
                &context,
                &Asked { topic: &topic.name, partition: p.partition_index, offset, leader_epoch, metadata },
            ));
        }
    }
    let offsets: OffsetMap = checked.iter().flatten().cloned().collect();
    let result = commit(&context, &request, offsets).await.map_err(|error| match error {
        // This request knows no other word for it.
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        other => other,
    });
    let mut checked = checked.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partition = |p: &kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition| {
            let checked = checked.next().map_or(Ok(()), |checked| checked.map(drop));
            let error = result.and(checked);
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(crate::api::code(&error))
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        TxnOffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    let topics = topics.collect();
    TxnOffsetCommitResponse::default().with_topics(topics)
}

async fn commit(context: &Context, request: &TxnOffsetCommitRequest, offsets: OffsetMap) -> Result<(), ResponseError> {
    let (member, instance) = (request.member_id.as_str(), request.group_instance_id.as_deref());
    let allowed = context.groups.look(&request.group_id, |entry| {
        check_room(context, entry, offsets.len())?;
        entry.group.check_commit(member, instance, request.generation_id, true)
    });
    // Without a group only an outsider can commit.
    allowed.unwrap_or(if request.generation_id < 0 { Ok(()) } else { Err(ResponseError::IllegalGeneration) })?;
    let identity = Identity { producer_id: request.producer_id.0, epoch: request.producer_epoch };
    context
        .transactions
        .add_offsets(&request.transactional_id, identity, &request.group_id, offsets, world(context))
        .await
}

pub(crate) async fn end(context: Context, request: EndTxnRequest) -> EndTxnResponse {
    let identity = Identity { producer_id: request.producer_id.0, epoch: request.producer_epoch };
    let marker = if request.committed { Marker::Commit } else { Marker::Abort };
    let result = context.transactions.end(&request.transactional_id, identity, marker, world(&context)).await;
    let result = result.map_err(|error| fenced_since(&context, 2, error));
    EndTxnResponse::default().with_error_code(crate::api::code(&result))
}
