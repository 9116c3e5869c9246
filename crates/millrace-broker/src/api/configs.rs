//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs: topic settings; the broker's own are shown, not changed.

use crate::api::text;
use crate::api::topics::{SOURCE_DEFAULT, SOURCE_TOPIC, change, failed};
use crate::server::dispatch::Context;
use crate::topics::alteration::{Operation, alter};
use crate::topics::config::{self, Overrides, ValueKind};
use crate::topics::creation::{Refusal, checked_configs};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs_response,
    incremental_alter_configs_response,
};

/// How the protocol numbers what settings belong to.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// How DescribeConfigs numbers values from the broker's own settings.
const SOURCE_STATIC_BROKER: i8 = 4;

pub(crate) async fn describe(context: Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let describe_one = |resource: DescribeConfigsResource| {
        let result = match resource.resource_type {
            TOPIC => topic_settings(&context, &resource.resource_name, request.include_synonyms),
            BROKER => broker_settings(&context, &resource.resource_name),
            other => Err((ResponseError::InvalidRequest, format!("resource type {other} has no settings here"))),
        };
        let described = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match result {
            Ok(mut settings) => {
                if let Some(wanted) = &resource.configuration_keys {
                    settings.retain(|setting| wanted.contains(&setting.name));
                }
                described.with_configs(settings)
            }
            Err((error, message)) => described.with_error_code(error.code()).with_error_message(Some(text(&message))),
        }
    };
    DescribeConfigsResponse::default().with_results(request.resources.into_iter().map(describe_one).collect())
}

fn topic_settings(
    context: &Context,
    name: &str,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    crate::topics::name::check(name).map_err(|error| (ResponseError::InvalidTopicException, error.to_string()))?;
    let topic = context
        .topics
        .get(name)
        .ok_or((ResponseError::UnknownTopicOrPartition, format!("topic {name} does not exist")))?;
    let setting = |definition: &config::Definition| {
        let is_own = topic.overrides.contains_key(definition.name);
        let value = config::value(&topic.overrides, definition.name);
        let mut known_as = Vec::new();
        if synonyms {
            let synonym = |value: &str, source| {
                DescribeConfigsSynonym::default()
                    .with_name(text(definition.name))
                    .with_value(Some(text(value)))
                    .with_source(source)
            };
            known_as.extend(is_own.then(|| synonym(value, SOURCE_TOPIC)));
            known_as.push(synonym(definition.default, SOURCE_DEFAULT));
        }
        let source = if is_own { SOURCE_TOPIC } else { SOURCE_DEFAULT };
        one_setting(definition.name, value, source, definition.kind).with_synonyms(known_as)
    };
    Ok(config::DEFINITIONS.iter().map(setting).collect())
}

fn one_setting(name: &str, value: &str, source: i8, kind: ValueKind) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(Some(text(value)))
        .with_config_source(source)
        .with_config_type(kind as i8)
}

/// What tools want to know of a broker, under Kafka's names.
fn broker_settings(context: &Context, name: &str) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let settings = &context.settings;
    if !name.is_empty() && name != settings.node_id.to_string() {
        return Err((
            ResponseError::InvalidRequest,
            format!("unexpected broker id: this is {}, not {name}", settings.node_id),
        ));
    }
    let (host, port) = &context.advertised;
    let known = [
        ("advertised.listeners", format!("PLAINTEXT://{host}:{port}"), ValueKind::String),
        ("auto.create.topics.enable", settings.auto_create_topics.to_string(), ValueKind::Boolean),
        ("broker.id", settings.node_id.to_string(), ValueKind::Int),
        ("default.replication.factor", "1".to_owned(), ValueKind::Int),
        ("delete.topic.enable", "true".to_owned(), ValueKind::Boolean),
        ("group.initial.rebalance.delay.ms", settings.group_initial_rebalance_delay_ms.to_string(), ValueKind::Int),
        ("group.max.session.timeout.ms", settings.group_session_timeout_ms_max.to_string(), ValueKind::Int),
        ("group.max.size", settings.limits.group_members_max.to_string(), ValueKind::Int),
        ("group.min.session.timeout.ms", settings.group_session_timeout_ms_min.to_string(), ValueKind::Int),
        ("log.dirs", settings.data_dir.display().to_string(), ValueKind::String),
        ("max.connections", settings.limits.connections_max.to_string(), ValueKind::Int),
        ("message.max.bytes", settings.limits.message_bytes_max.to_string(), ValueKind::Int),
        ("node.id", settings.node_id.to_string(), ValueKind::Int),
        ("num.partitions", settings.default_partitions.to_string(), ValueKind::Int),
        ("offsets.retention.minutes", (settings.offsets_retention_ms / 60_000).to_string(), ValueKind::Int),
        ("process.roles", "broker,controller".to_owned(), ValueKind::List),
        ("socket.request.max.bytes", settings.limits.request_bytes_max.to_string(), ValueKind::Int),
        ("transaction.max.timeout.ms", settings.limits.transaction_timeout_ms_max.to_string(), ValueKind::Int),
    ];
    let setting = |(name, value, kind): (&str, String, ValueKind)| {
        one_setting(name, &value, SOURCE_STATIC_BROKER, kind).with_read_only(true)
    };
    Ok(known.into_iter().map(setting).collect())
}

/// How one resource is to change: everything anew, or some settings.
enum Wanted {
    Replace(Vec<(String, Option<String>)>),
    Change(Vec<(String, Operation)>),
}

async fn apply(
    context: &Context,
    resource_type: i8,
    name: String,
    wanted: Wanted,
    only_check: bool,
) -> Result<(), Refusal> {
    if resource_type != TOPIC {
        let why = "only topics have settings that can be changed; the broker's are in its own configuration";
        return Err((ResponseError::InvalidRequest, why.to_owned()));
    }
    let applied = change(context, move |node, guard| {
        let unknown = || (ResponseError::UnknownTopicOrPartition, format!("topic {name} does not exist"));
        let topic = guard.get(&name).ok_or_else(unknown)?;
        let limits = &node.settings.limits;
        let overrides: Overrides = match &wanted {
            Wanted::Replace(all) => checked_configs(all, limits)?,
            Wanted::Change(changes) => alter(&topic.overrides, changes, limits)?,
        };
        if !only_check {
            guard.configure(&topic, overrides).map_err(|error| failed(&error))?;
        }
        Ok(())
    });
    applied.await.unwrap_or_else(|| Err(crate::api::topics::lost()))
}

pub(crate) async fn alter_all(context: Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut response = AlterConfigsResponse::default();
    for resource in request.resources {
        let all =
            resource.configs.iter().map(|c| (c.name.to_string(), c.value.as_ref().map(ToString::to_string))).collect();
        let name = resource.resource_name.to_string();
        let result = apply(&context, resource.resource_type, name, Wanted::Replace(all), request.validate_only).await;
        let mut answered = alter_configs_response::AlterConfigsResourceResponse::default();
        if let Err((error, message)) = result {
            answered = answered.with_error_code(error.code()).with_error_message(Some(text(&message)));
        }
        response
            .responses
            .push(answered.with_resource_type(resource.resource_type).with_resource_name(resource.resource_name));
    }
    response
}

pub(crate) async fn alter_some(
    context: Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut response = IncrementalAlterConfigsResponse::default();
    for resource in request.resources {
        let operations: Result<Vec<_>, Refusal> = resource
            .configs
            .iter()
            .map(|c| {
                let value = c.value.as_ref().map(ToString::to_string);
                let absent =
                    || (ResponseError::InvalidConfig, format!("null value not supported for {}", c.name.as_str()));
                let operation = match c.config_operation {
                    0 => Operation::Set(value.ok_or_else(absent)?),
                    1 => Operation::Delete,
                    2 => Operation::Append(value.ok_or_else(absent)?),
                    3 => Operation::Subtract(value.ok_or_else(absent)?),
                    other => return Err((ResponseError::InvalidRequest, format!("unknown operation {other}"))),
                };
                Ok((c.name.to_string(), operation))
            })
            .collect();
        let name = resource.resource_name.to_string();
        let result = match operations {
            Ok(changes) => {
                apply(&context, resource.resource_type, name, Wanted::Change(changes), request.validate_only).await
            }
            Err(refusal) => Err(refusal),
        };
        let mut answered = incremental_alter_configs_response::AlterConfigsResourceResponse::default();
        if let Err((error, message)) = result {
            answered = answered.with_error_code(error.code()).with_error_message(Some(text(&message)));
        }
        response
            .responses
            .push(answered.with_resource_type(resource.resource_type).with_resource_name(resource.resource_name));
    }
    response
}
