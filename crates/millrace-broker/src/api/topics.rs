//! CreateTopics, DeleteTopics, CreatePartitions.

use crate::api::{text, topic_name};
use crate::node::Node;
use crate::server::dispatch::Context;
use crate::topics::config::{self, Overrides};
use crate::topics::creation::{Existing, Refusal, Wanted, decide, decide_growth};
use crate::topics::registry::{Topic, TopicError, TopicsGuard};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse,
};
use std::collections::HashSet;
use std::sync::Arc;

/// How DescribeConfigs numbers where a value comes from.
pub(crate) const SOURCE_TOPIC: i8 = 1;
pub(crate) const SOURCE_DEFAULT: i8 = 5;

/// Runs a change of topics where blocking is allowed.
pub(crate) async fn change<T: Send + 'static>(
    context: &Context,
    change: impl FnOnce(&Node, &TopicsGuard<'_>) -> T + Send + 'static,
) -> Option<T> {
    let node = context.node.clone();
    let changed = tokio::task::spawn_blocking(move || node.topics.change(|guard| change(&node, guard))).await.ok();
    if let Err(error) = context.settle_journal().await {
        tracing::error!(%error, "cannot flush the journal");
        return None;
    }
    changed
}

pub(crate) fn failed(error: &TopicError) -> Refusal {
    tracing::error!(%error, "cannot change a topic");
    (ResponseError::KafkaStorageError, error.to_string())
}

pub(crate) fn lost() -> Refusal {
    (ResponseError::UnknownServerError, "the change did not come to an end; see the broker's log".into())
}

fn create(
    node: &Node,
    guard: &TopicsGuard<'_>,
    wanted: &Wanted,
    only_check: bool,
) -> Result<(Option<Arc<Topic>>, i32, Overrides), Refusal> {
    let all = guard.all();
    let names: Vec<&str> = all.keys().map(AsRef::as_ref).collect();
    let (partitions, overrides) = decide(wanted, &existing(node, &names, &all))?;
    if only_check {
        return Ok((None, partitions, overrides));
    }
    let topic =
        guard.create(&wanted.name, partitions, overrides.clone(), node.now_ms()).map_err(|error| failed(&error))?;
    tracing::info!(topic = %wanted.name, partitions, "created a topic");
    Ok((Some(topic), partitions, overrides))
}

fn existing<'a>(
    node: &'a Node,
    names: &'a [&'a str],
    all: &std::collections::BTreeMap<Arc<str>, Arc<Topic>>,
) -> Existing<'a> {
    Existing {
        names,
        partitions: all.values().map(|topic| topic.partitions.len()).sum(),
        node_id: node.settings.node_id,
        default_partitions: node.settings.default_partitions,
        limits: &node.settings.limits,
    }
}

/// Creates a topic that a client merely asked about.
pub(crate) async fn create_automatically(context: &Context, name: String) -> Result<Arc<Topic>, ResponseError> {
    let wanted = Wanted { name, partitions: -1, replication_factor: -1, ..Wanted::default() };
    let created = change(context, move |node, guard| match guard.get(&wanted.name) {
        Some(topic) => Ok(topic),
        None => create(node, guard, &wanted, false).and_then(|(topic, _, _)| topic.ok_or_else(lost)),
    });
    created.await.unwrap_or_else(|| Err(lost())).map_err(|(error, _)| error)
}

pub(crate) async fn create_topics(context: Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut seen = HashSet::new();
    let repeated: HashSet<_> =
        request.topics.iter().filter(|topic| !seen.insert(topic.name.clone())).map(|t| t.name.clone()).collect();
    let mut response = CreateTopicsResponse::default();
    for topic in request.topics {
        let name = topic.name.clone();
        let result = if repeated.contains(&name) {
            Err((ResponseError::InvalidRequest, "the request names this topic more than once".to_owned()))
        } else {
            let (wanted, only_check) = (plain(topic), request.validate_only);
            change(&context, move |node, guard| create(node, guard, &wanted, only_check))
                .await
                .unwrap_or_else(|| Err(lost()))
        };
        let answered = CreatableTopicResult::default().with_name(name);
        response.topics.push(match result {
            Ok((topic, partitions, overrides)) => answered
                .with_topic_id(topic.map(|topic| topic.id).unwrap_or_default())
                .with_num_partitions(partitions)
                .with_replication_factor(1)
                .with_configs(Some(described_configs(&overrides))),
            Err((error, message)) => answered
                .with_error_code(error.code())
                .with_error_message(Some(text(&message)))
                .with_num_partitions(-1)
                .with_replication_factor(-1),
        });
    }
    response
}

fn plain(topic: CreatableTopic) -> Wanted {
    let brokers = |assigned: &kafka_protocol::messages::create_topics_request::CreatableReplicaAssignment| {
        (assigned.partition_index, assigned.broker_ids.iter().map(|broker| broker.0).collect())
    };
    Wanted {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic.assignments.iter().map(brokers).collect(),
        configs: topic
            .configs
            .iter()
            .map(|c| (c.name.to_string(), c.value.as_ref().map(ToString::to_string)))
            .collect(),
    }
}

fn described_configs(overrides: &Overrides) -> Vec<CreatableTopicConfigs> {
    let describe = |definition: &config::Definition| {
        let source = if overrides.contains_key(definition.name) { SOURCE_TOPIC } else { SOURCE_DEFAULT };
        CreatableTopicConfigs::default()
            .with_name(text(definition.name))
            .with_value(Some(text(config::value(overrides, definition.name))))
            .with_config_source(source)
    };
    config::DEFINITIONS.iter().map(describe).collect()
}

pub(crate) async fn delete_topics(context: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut response = DeleteTopicsResponse::default();
    let by_name = request.topic_names.into_iter().map(|name| (Some(name), uuid::Uuid::nil()));
    let asked: Vec<_> = by_name.chain(request.topics.into_iter().map(|topic| (topic.name, topic.topic_id))).collect();
    for (name, id) in asked {
        let found = match &name {
            Some(name) => context.topics.get(name).ok_or(ResponseError::UnknownTopicOrPartition),
            None => context.topics.by_id(id).ok_or(ResponseError::UnknownTopicId),
        };
        let answered = DeletableTopicResult::default();
        response.responses.push(match found {
            Ok(topic) => {
                let answered = answered.with_name(Some(topic_name(&topic.name))).with_topic_id(topic.id);
                match delete(&context, topic).await {
                    Ok(()) => answered,
                    Err((error, message)) => {
                        answered.with_error_code(error.code()).with_error_message(Some(text(&message)))
                    }
                }
            }
            Err(error) => answered
                .with_name(name)
                .with_topic_id(id)
                .with_error_code(error.code())
                .with_error_message(Some(text("this server does not host this topic"))),
        });
    }
    response
}

async fn delete(context: &Context, topic: Arc<Topic>) -> Result<(), Refusal> {
    let deleted = change(context, move |node, guard| {
        // Somebody else may have deleted it since it was looked up.
        let topic = guard
            .get(&topic.name)
            .filter(|now| now.id == topic.id)
            .ok_or((ResponseError::UnknownTopicOrPartition, "this server does not host this topic".to_owned()))?;
        let forgotten = node.groups.forget_topic(&topic.name);
        guard.delete(&topic, forgotten).map_err(|error| failed(&error))?;
        tracing::info!(topic = %topic.name, "deleted a topic");
        Ok(())
    });
    let deleted = deleted.await.unwrap_or_else(|| Err(lost()));
    let node = context.node.clone();
    tokio::task::spawn_blocking(move || node.topics.empty_trash());
    deleted
}

pub(crate) async fn create_partitions(context: Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut response = CreatePartitionsResponse::default();
    for asked in request.topics {
        let (name, count, only_check) = (asked.name.to_string(), asked.count, request.validate_only);
        let assignments: Option<Vec<Vec<i32>>> = asked
            .assignments
            .map(|all| all.iter().map(|one| one.broker_ids.iter().map(|broker| broker.0).collect()).collect());
        let grown = change(&context, move |node, guard| {
            let all = guard.all();
            let names: Vec<&str> = all.keys().map(AsRef::as_ref).collect();
            let topic = guard
                .get(&name)
                .ok_or((ResponseError::UnknownTopicOrPartition, "this server does not host this topic".to_owned()))?;
            decide_growth(&name, topic.partitions.len(), count, assignments.as_deref(), &existing(node, &names, &all))?;
            if !only_check {
                guard.grow(&topic, count, node.now_ms()).map_err(|error| failed(&error))?;
            }
            Ok(())
        });
        let answered = CreatePartitionsTopicResult::default().with_name(asked.name);
        response.results.push(match grown.await.unwrap_or_else(|| Err(lost())) {
            Ok(()) => answered,
            Err((error, message)) => answered.with_error_code(error.code()).with_error_message(Some(text(&message))),
        });
    }
    response
}
