//! OffsetCommit, OffsetFetch, OffsetDelete.

use crate::api::{text, topic_name};
use crate::groups::coordinator::Entry;
use crate::groups::group::State;
use crate::groups::offsets::Committed;
use crate::groups::subscription;
use crate::server::dispatch::Context;
use crate::storage::partition::TopicPartition;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse,
};
use std::collections::BTreeMap;

/// One offset that a client wants committed.
pub(crate) struct Asked<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: Option<&'a str>,
}

/// Checks one offset by itself: does its partition exist, is its metadata short enough.
pub(crate) fn check(context: &Context, asked: &Asked<'_>) -> Result<(TopicPartition, Committed), ResponseError> {
    let partition =
        context.topics.partition(asked.topic, asked.partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let metadata = asked.metadata.unwrap_or_default();
    if metadata.len() > context.settings.limits.offset_metadata_bytes_max {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    let committed = Committed {
        offset: asked.offset,
        leader_epoch: asked.leader_epoch,
        metadata: metadata.to_owned(),
        committed_at_ms: context.now_ms(),
    };
    Ok((partition.id.clone(), committed))
}

/// Whether a group may hold `more` new offsets.
pub(crate) fn check_room(context: &Context, entry: &Entry, more: usize) -> Result<(), ResponseError> {
    if entry.offsets.len() + more > context.groups.limits.offsets_max {
        Err(ResponseError::PolicyViolation)
    } else {
        Ok(())
    }
}

pub(crate) async fn offset_commit(context: Context, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let checked: Vec<Vec<Result<(TopicPartition, Committed), ResponseError>>> = request
        .topics
        .iter()
        .map(|topic| {
            let check = |p: &kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition| {
                let metadata = p.committed_metadata.as_deref();
                let (offset, leader_epoch) = (p.committed_offset, p.committed_leader_epoch);
                check(
                    &context,
                    &Asked { topic: &topic.name, partition: p.partition_index, offset, leader_epoch, metadata },
                )
            };
            topic.partitions.iter().map(check).collect()
        })
        .collect();
    let good: Vec<_> = checked.iter().flatten().flatten().map(|(p, c)| (p.clone(), Some(c.clone()))).collect();
    let generation = request.generation_id_or_member_epoch;
    let (member, instance) = (request.member_id.as_str(), request.group_instance_id.as_deref());
    let now_ms = context.groups.now_ms();
    let mut result = context.groups.change_offsets(&request.group_id, generation < 0, |entry| {
        entry.group.check_commit(member, instance, generation, false)?;
        let new = good.iter().filter(|(partition, _)| !entry.offsets.contains_key(partition)).count();
        check_room(&context, entry, new)?;
        entry.group.touch(member, now_ms);
        Ok((good, ()))
    });
    if result == Err(ResponseError::GroupIdNotFound) {
        result = Err(ResponseError::IllegalGeneration);
    }
    if result.is_ok() && context.settle_journal().await.is_err() {
        result = Err(ResponseError::CoordinatorNotAvailable);
    }
    let topics = request.topics.into_iter().zip(checked).map(|(topic, checked)| {
        let partition = |(p, checked): (
            &kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition,
            Result<_, ResponseError>,
        )| {
            let error = result.and_then(|()| checked.map(drop));
            OffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(crate::api::code(&error))
        };
        let partitions = topic.partitions.iter().zip(checked).map(partition).collect();
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// A committed offset as it is answered; -1 is none.
struct Answer {
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: String,
    error: i16,
}

/// Offsets of a group, for the topics asked or for all.
fn fetch(
    context: &Context,
    group: &str,
    topics: Option<Vec<(String, Vec<i32>)>>,
    require_stable: bool,
) -> BTreeMap<String, Vec<Answer>> {
    let answer = |entry: Option<&Entry>, partition: &TopicPartition| {
        let unstable = require_stable
            && entry.is_some_and(|entry| entry.pending.values().any(|pending| pending.contains(partition)));
        let committed = entry.and_then(|entry| entry.offsets.get(partition)).filter(|_| !unstable);
        Answer {
            partition: partition.partition,
            offset: committed.map_or(-1, |committed| committed.offset),
            leader_epoch: committed.map_or(-1, |committed| committed.leader_epoch),
            metadata: committed.map(|committed| committed.metadata.clone()).unwrap_or_default(),
            error: if unstable { ResponseError::UnstableOffsetCommit.code() } else { 0 },
        }
    };
    let collect = |entry: Option<&Entry>| {
        let wanted: Vec<TopicPartition> = match &topics {
            Some(topics) => topics
                .iter()
                .flat_map(|(topic, partitions)| {
                    partitions.iter().map(|p| TopicPartition { topic: topic.as_str().into(), partition: *p })
                })
                .collect(),
            None => {
                let pending = entry.into_iter().flat_map(|entry| entry.pending.values().flatten());
                let all: std::collections::BTreeSet<_> =
                    entry.into_iter().flat_map(|entry| entry.offsets.keys()).chain(pending).cloned().collect();
                all.into_iter().collect()
            }
        };
        let mut answers: BTreeMap<String, Vec<Answer>> = BTreeMap::new();
        for partition in wanted {
            answers.entry(partition.topic.to_string()).or_default().push(answer(entry, &partition));
        }
        answers
    };
    context.groups.look(group, |entry| collect(Some(entry))).unwrap_or_else(|| collect(None))
}

pub(crate) async fn offset_fetch(context: Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if context.version < 8 {
        let asked = request
            .topics
            .map(|topics| topics.iter().map(|t| (t.name.to_string(), t.partition_indexes.clone())).collect());
        let partition = |answer: Answer| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(answer.partition)
                .with_committed_offset(answer.offset)
                .with_committed_leader_epoch(answer.leader_epoch)
                .with_metadata(Some(text(&answer.metadata)))
                .with_error_code(answer.error)
        };
        let topics =
            fetch(&context, &request.group_id, asked, request.require_stable).into_iter().map(|(name, answers)| {
                let partitions = answers.into_iter().map(partition).collect();
                OffsetFetchResponseTopic::default().with_name(topic_name(&name)).with_partitions(partitions)
            });
        return OffsetFetchResponse::default().with_topics(topics.collect());
    }
    let groups = request.groups.into_iter().map(|group| {
        let asked = group
            .topics
            .map(|topics| topics.iter().map(|t| (t.name.to_string(), t.partition_indexes.clone())).collect());
        let partition = |answer: Answer| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(answer.partition)
                .with_committed_offset(answer.offset)
                .with_committed_leader_epoch(answer.leader_epoch)
                .with_metadata(Some(text(&answer.metadata)))
                .with_error_code(answer.error)
        };
        let topics =
            fetch(&context, &group.group_id, asked, request.require_stable).into_iter().map(|(name, answers)| {
                let partitions = answers.into_iter().map(partition).collect();
                OffsetFetchResponseTopics::default().with_name(topic_name(&name)).with_partitions(partitions)
            });
        OffsetFetchResponseGroup::default().with_topics(topics.collect()).with_group_id(group.group_id)
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

pub(crate) async fn offset_delete(context: Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let asked: Vec<TopicPartition> = request
        .topics
        .iter()
        .flat_map(|t| {
            t.partitions.iter().map(|p| TopicPartition { topic: t.name.as_str().into(), partition: p.partition_index })
        })
        .collect();
    let decided = context.groups.change_offsets(&request.group_id, false, |entry| {
        let subscribed = subscribed(entry)?;
        let refused = |partition: &TopicPartition| subscribed.contains(partition.topic.as_ref());
        let removed =
            asked.iter().filter(|partition| !refused(partition)).map(|partition| (partition.clone(), None)).collect();
        Ok((removed, subscribed))
    });
    let subscribed = match decided {
        Ok(subscribed) => subscribed,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
    };
    let topics = request.topics.into_iter().map(|topic| {
        let error =
            if subscribed.contains(topic.name.as_str()) { ResponseError::GroupSubscribedToTopic.code() } else { 0 };
        let partition = |p: &kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestPartition| {
            OffsetDeleteResponsePartition::default().with_partition_index(p.partition_index).with_error_code(error)
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}

/// Topics whose offsets are in use by members, and so may not be deleted.
fn subscribed(entry: &Entry) -> Result<std::collections::BTreeSet<String>, ResponseError> {
    let group = &entry.group;
    match (group.state, group.protocol_type.as_deref()) {
        (State::Empty, _) => Ok(Default::default()),
        (_, Some("consumer")) => {
            let protocols = group.members.values().flat_map(|member| &member.protocols);
            Ok(protocols.flat_map(|protocol| subscription::topics(&protocol.metadata)).collect())
        }
        _ => Err(ResponseError::NonEmptyGroup),
    }
}
