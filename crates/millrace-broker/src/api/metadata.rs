//! Metadata, DescribeCluster, DescribeTopicPartitions: which topics there are, and where: here.

use crate::api::topics::create_automatically;
use crate::api::{OPERATIONS_UNKNOWN, text, topic_name};
use crate::server::dispatch::Context;
use crate::storage::batch::LEADER_EPOCH;
use crate::topics::name;
use crate::topics::registry::Topic;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, MetadataRequest, MetadataResponse,
};
use std::sync::Arc;

pub(crate) async fn metadata(context: Context, request: MetadataRequest) -> MetadataResponse {
    let wants_all = match &request.topics {
        None => true,
        // Version 0 has no null: empty means all.
        Some(topics) => topics.is_empty() && context.version == 0,
    };
    let mut topics = Vec::new();
    if wants_all {
        topics.extend(context.topics.all().values().map(|topic| topic_response(&context, topic)));
    } else {
        for asked in request.topics.unwrap_or_default() {
            topics.push(one_topic(&context, asked, request.allow_auto_topic_creation).await);
        }
    }
    let (host, port) = &context.advertised;
    let broker = MetadataResponseBroker::default()
        .with_node_id(node_id(&context))
        .with_host(text(host))
        .with_port(i32::from(*port));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(&context.cluster_id)))
        .with_controller_id(node_id(&context))
        .with_topics(topics)
        .with_cluster_authorized_operations(OPERATIONS_UNKNOWN)
}

async fn one_topic(context: &Context, asked: MetadataRequestTopic, may_create: bool) -> MetadataResponseTopic {
    let missing = |error: ResponseError| {
        MetadataResponseTopic::default()
            .with_error_code(error.code())
            .with_topic_id(asked.topic_id)
            .with_topic_authorized_operations(OPERATIONS_UNKNOWN)
    };
    let Some(asked_name) = &asked.name else {
        return match context.topics.by_id(asked.topic_id) {
            Some(topic) => topic_response(context, &topic),
            // Before version 12 the name may not be null.
            None if context.version < 12 => missing(ResponseError::UnknownTopicId).with_name(Some(topic_name(""))),
            None => missing(ResponseError::UnknownTopicId).with_name(None),
        };
    };
    let missing = |error| missing(error).with_name(Some(asked_name.clone()));
    if let Some(topic) = context.topics.get(asked_name) {
        return topic_response(context, &topic);
    }
    if name::check(asked_name).is_err() {
        return missing(ResponseError::InvalidTopicException);
    }
    if may_create && context.settings.auto_create_topics {
        return match create_automatically(context, asked_name.to_string()).await {
            Ok(topic) => topic_response(context, &topic),
            Err(error) => missing(error),
        };
    }
    missing(ResponseError::UnknownTopicOrPartition)
}

fn node_id(context: &Context) -> BrokerId {
    BrokerId(context.settings.node_id)
}

fn topic_response(context: &Context, topic: &Arc<Topic>) -> MetadataResponseTopic {
    let node = node_id(context);
    let partition = |index: usize| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(node)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![node])
            .with_isr_nodes(vec![node])
    };
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id)
        .with_partitions((0..topic.partitions.len()).map(partition).collect())
        .with_topic_authorized_operations(OPERATIONS_UNKNOWN)
}

pub(crate) async fn describe_cluster(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
    const BROKERS: i8 = 1;
    let response = DescribeClusterResponse::default().with_cluster_authorized_operations(OPERATIONS_UNKNOWN);
    if request.endpoint_type != BROKERS {
        return response
            .with_error_code(ResponseError::MismatchedEndpointType.code())
            .with_endpoint_type(BROKERS)
            .with_error_message(Some(text("this is a broker, not a controller")));
    }
    let (host, port) = &context.advertised;
    let broker = DescribeClusterBroker::default()
        .with_broker_id(node_id(&context))
        .with_host(text(host))
        .with_port(i32::from(*port));
    response
        .with_endpoint_type(BROKERS)
        .with_cluster_id(text(&context.cluster_id))
        .with_controller_id(node_id(&context))
        .with_brokers(vec![broker])
}

pub(crate) async fn describe_topic_partitions(
    context: Context,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    const PARTITIONS_MAX: usize = 2_000;
    let all = context.topics.all();
    let mut names: Vec<String> = match request.topics.is_empty() {
        true => all.keys().map(|name| name.to_string()).collect(),
        false => request.topics.iter().map(|topic| topic.name.to_string()).collect(),
    };
    names.sort();
    names.dedup();
    let (first_name, first_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.to_string(), usize::try_from(cursor.partition_index).unwrap_or(0)),
        None => (String::new(), 0),
    };
    let mut left = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.into_iter().filter(|name| *name >= first_name) {
        let start = if name == first_name { first_partition } else { 0 };
        let topic = all.get(name.as_str());
        if left == 0 {
            response.next_cursor =
                Some(Cursor::default().with_topic_name(topic_name(&name)).with_partition_index(start as i32));
            break;
        }
        let count = topic.map_or(0, |topic| topic.partitions.len());
        let end = count.min(start.saturating_add(left));
        left -= end.saturating_sub(start).min(left);
        response.topics.push(described(&context, &name, topic, start..end));
        if end < count {
            response.next_cursor =
                Some(Cursor::default().with_topic_name(topic_name(&name)).with_partition_index(end as i32));
            break;
        }
    }
    response
}

fn described(
    context: &Context,
    name: &str,
    topic: Option<&Arc<Topic>>,
    range: std::ops::Range<usize>,
) -> DescribeTopicPartitionsResponseTopic {
    let node = node_id(context);
    let partition = |index: usize| {
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(node)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![node])
            .with_isr_nodes(vec![node])
            .with_eligible_leader_replicas(Some(vec![]))
            .with_last_known_elr(Some(vec![]))
    };
    let response = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(name)))
        .with_topic_authorized_operations(OPERATIONS_UNKNOWN);
    match topic {
        Some(topic) => response.with_topic_id(topic.id).with_partitions(range.map(partition).collect()),
        None => response.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
    }
}
