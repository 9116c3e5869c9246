//! Topics as their contracts want them: created, widened, reconfigured; never shrunk, never deleted.

mod plan;

use std::collections::BTreeMap;

use millrace_model::{Contract, ErrorKind};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewPartitions, NewTopic,
    OwnedResourceSpecifier, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::error::KafkaError as NativeError;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::cluster::blocking;
use super::settings::request_timeout;
use super::{ClientSettings, Context, KafkaError};
use plan::{Existing, Step, plan};

/// What was done to the topics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicReport {
    /// Topics that were created.
    pub created: Vec<String>,
    /// Topics that got more partitions.
    pub widened: Vec<String>,
    /// Topics whose configuration was brought up to date.
    pub reconfigured: Vec<String>,
}

/// Brings every contract's topic into being as the contract says; doing it again changes nothing.
///
/// `replication`: copies of each partition; `None` takes the cluster's default, or 1 where there is no default.
///
/// # Errors
/// `Invalid`: a topic has more partitions than its contract (Kafka cannot take any away), the cluster refuses a setting
/// or the replication factor. `Unavailable`: the cluster is away.
pub async fn ensure(
    settings: &ClientSettings,
    contracts: &[Contract],
    replication: Option<u16>,
) -> Result<TopicReport, KafkaError> {
    settings.check()?;
    let admin: AdminClient<Context> = settings
        .admin()
        .create_with_context(Context::default())
        .map_err(|e| KafkaError::of("make an admin client", &e))?;
    let existing = existing(&admin, settings, contracts).await?;
    let steps = plan(contracts, &existing).map_err(|why| KafkaError::new(ErrorKind::Invalid, why))?;
    let mut report = TopicReport::default();
    for step in &steps {
        match step {
            Step::Create(contract) => {
                create(&admin, contract, replication).await?;
                report.created.push(contract.name.clone());
            }
            Step::Widen { topic, partitions } => {
                tracing::warn!(
                    topic,
                    partitions,
                    "more partitions: from now on a key may be in another one than before"
                );
                let wider = NewPartitions::new(topic, *partitions as usize);
                let done = admin.create_partitions([&wider], &options()).await;
                check(format_args!("add partitions to topic `{topic}`"), done)?;
                report.widened.push(topic.clone());
            }
            Step::Configure { topic, config } => {
                configure(&admin, topic, config).await?;
                report.reconfigured.push(topic.clone());
            }
        }
    }
    if report != TopicReport::default() {
        tracing::info!(created = ?report.created, widened = ?report.widened, reconfigured = ?report.reconfigured, "topics");
    }
    Ok(report)
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(request_timeout())).operation_timeout(Some(request_timeout()))
}

async fn existing(
    admin: &AdminClient<Context>,
    settings: &ClientSettings,
    contracts: &[Contract],
) -> Result<BTreeMap<String, Existing>, KafkaError> {
    let partitions = partition_counts(settings).await?;
    let mut existing = BTreeMap::new();
    for contract in contracts {
        if let Some(partitions) = partitions.get(&contract.name) {
            existing.insert(contract.name.clone(), Existing { partitions: *partitions, config: BTreeMap::new() });
        }
    }
    let names: Vec<String> = existing.keys().cloned().collect();
    let resources: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    if !resources.is_empty() {
        let described = admin.describe_configs(&resources, &options()).await;
        let described = described.map_err(|e| KafkaError::of("read the configuration of the topics", &e))?;
        for resource in described {
            let resource = resource
                .map_err(|code| KafkaError::of("read the configuration of a topic", &NativeError::AdminOp(code)))?;
            if let OwnedResourceSpecifier::Topic(name) = &resource.specifier
                && let Some(topic) = existing.get_mut(name)
            {
                topic.config = own_entries(&resource);
            }
        }
    }
    Ok(existing)
}

/// The settings made for this topic; what it inherits from the cluster is not ours to repeat.
fn own_entries(resource: &ConfigResource) -> BTreeMap<String, String> {
    let own = resource.entries.iter().filter(|entry| {
        entry.source == ConfigSource::DynamicTopic || (entry.source == ConfigSource::Unknown && !entry.is_default)
    });
    own.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect()
}

/// Every topic of the cluster and its number of partitions.
async fn partition_counts(settings: &ClientSettings) -> Result<BTreeMap<String, u32>, KafkaError> {
    let config = settings.admin();
    blocking(move || {
        let producer: rdkafka::producer::BaseProducer<Context> =
            config.create_with_context(Context::default()).map_err(|e| KafkaError::of("make a client", &e))?;
        let metadata = rdkafka::producer::Producer::client(&producer)
            .fetch_metadata(None, request_timeout())
            .map_err(|e| KafkaError::of("read the list of topics", &e))?;
        let count = |topic: &rdkafka::metadata::MetadataTopic| {
            (topic.name().to_owned(), u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX))
        };
        Ok(metadata.topics().iter().filter(|topic| topic.error().is_none()).map(count).collect())
    })
    .await
}

async fn create(admin: &AdminClient<Context>, contract: &Contract, replication: Option<u16>) -> Result<(), KafkaError> {
    let what = format!("create topic `{}`", contract.name);
    let make = |factor: i32| {
        let partitions = i32::try_from(contract.topic.partitions).unwrap_or(i32::MAX);
        let topic = NewTopic::new(&contract.name, partitions, TopicReplication::Fixed(factor));
        contract.topic.config.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
    };
    let outcome = match replication {
        Some(factor) => created(admin, &make(i32::from(factor))).await,
        // -1 is the cluster's default. A cluster that knows none answers with one of these two.
        None => match created(admin, &make(-1)).await {
            Err(e) if matches!(e.code(), Some(Code::InvalidReplicationFactor | Code::UnsupportedVersion)) => {
                created(admin, &make(1)).await
            }
            outcome => outcome,
        },
    };
    outcome.map_err(|e| KafkaError::new(millrace_model::Classified::kind(&e), format!("{what}: {e}")))
}

async fn created(admin: &AdminClient<Context>, topic: &NewTopic<'_>) -> Result<(), KafkaError> {
    match check("the cluster says", admin.create_topics([topic], &options()).await) {
        // Another process was first.
        Err(e) if e.code() == Some(Code::TopicAlreadyExists) => Ok(()),
        outcome => outcome,
    }
}

async fn configure(
    admin: &AdminClient<Context>,
    topic: &str,
    config: &BTreeMap<String, String>,
) -> Result<(), KafkaError> {
    let what = format!("configure topic `{topic}`");
    let altered = config
        .iter()
        .fold(AlterConfig::new(ResourceSpecifier::Topic(topic)), |altered, (name, value)| altered.set(name, value));
    let results = admin.alter_configs([&altered], &options()).await.map_err(|e| KafkaError::of(&what, &e))?;
    match results.into_iter().find_map(Result::err) {
        None => Ok(()),
        Some((_, code)) => Err(KafkaError::of(&what, &NativeError::AdminOp(code))),
    }
}

fn check(what: impl std::fmt::Display, results: Result<Vec<TopicResult>, NativeError>) -> Result<(), KafkaError> {
    let results = results.map_err(|e| KafkaError::of(&what, &e))?;
    match results.into_iter().find_map(Result::err) {
        None => Ok(()),
        Some((_, code)) => Err(KafkaError::of(&what, &NativeError::AdminOp(code))),
    }
}
