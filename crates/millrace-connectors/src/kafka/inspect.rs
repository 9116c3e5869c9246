//! A look at a whole cluster: brokers, topics, replicas, groups and how far they are behind. It only asks; it joins no
//! group, commits nothing and creates nothing.
//!
//! ```text
//! metadata ─▶ brokers, topics, partitions ─▶ ends of partitions that have a leader ─┐
//! list of groups ─▶ state, members, shares                                          ├─▶ lag in records, and in time
//! one client a group ─▶ committed offsets ──────────────────────────────────────────┘   (see [`unread`](super::unread))
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigSource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::cluster::{Cluster, Extent, Place, by_place, list};
use super::{ClientSettings, Context, KafkaError};

/// Longest wait for one answer, milliseconds: an operator waits for the page.
pub const LOOK_MS_MAX: u64 = 4_000;
/// Groups whose offsets are asked for: each costs a client, as Kafka answers for a client's own group only.
pub const GROUPS_MAX: usize = 64;
/// Name of the client; nothing is ever committed to it.
const GROUP: &str = "millrace-inspect";

/// A broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerNode {
    /// Node id.
    pub id: i32,
    /// Address it gives to clients; none: partitions name it, but it does not answer.
    pub address: Option<String>,
}

/// A partition and its copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionState {
    /// Number of the partition.
    pub partition: i32,
    /// Broker that leads it; none while there is no leader.
    pub leader: Option<i32>,
    /// Brokers that hold a copy.
    pub replicas: Vec<i32>,
    /// Those of them that have all that was acknowledged.
    pub in_sync: Vec<i32>,
}

impl PartitionState {
    /// A copy is missing or behind.
    pub fn is_under_replicated(&self) -> bool {
        self.in_sync.len() < self.replicas.len()
    }
}

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicState {
    /// Name.
    pub name: String,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionState>,
}

/// Brokers and topics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topology {
    /// Brokers, by id: those that answer, and those only partitions know of.
    pub brokers: Vec<BrokerNode>,
    /// Topics, by name.
    pub topics: Vec<TopicState>,
}

/// A member of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupMember {
    /// Id the coordinator gave it.
    pub id: String,
    /// Name it gave itself.
    pub client: String,
    /// Where it connects from.
    pub host: String,
    /// Its share of the partitions, where the group tells.
    pub share: Vec<Place>,
}

/// A consumer group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupState {
    /// Name.
    pub name: String,
    /// As Kafka names it: `Stable`, `Empty`, `PreparingRebalance` …
    pub state: String,
    /// Who is in it. A group that only commits offsets has nobody.
    pub members: Vec<GroupMember>,
}

/// Asks again and again, over connections it keeps.
pub struct Inspector {
    settings: ClientSettings,
    consumer: Arc<BaseConsumer<Context>>,
    admin: Arc<AdminClient<Context>>,
    groups: HashMap<String, Cluster>,
}

impl Inspector {
    /// An inspector of this cluster; nothing is asked yet.
    ///
    /// # Errors
    /// `Invalid`: the settings.
    pub fn new(settings: &ClientSettings) -> Result<Self, KafkaError> {
        settings.check()?;
        let consumer = settings.consumer(GROUP).create_with_context(Context::default());
        let consumer = consumer.map_err(|e| KafkaError::of(format_args!("make consumer `{GROUP}`"), &e))?;
        let admin = settings.admin().create_with_context(Context::default());
        let admin = admin.map_err(|e| KafkaError::of("make an admin client", &e))?;
        let (consumer, admin) = (Arc::new(consumer), Arc::new(admin));
        Ok(Inspector { settings: settings.clone(), consumer, admin, groups: HashMap::new() })
    }

    /// Brokers, topics and replicas.
    ///
    /// # Errors
    /// `Unavailable`: no broker answers.
    pub async fn topology(&self) -> Result<Topology, KafkaError> {
        self.blocking(|consumer| {
            let metadata = consumer.fetch_metadata(None, wait()).map_err(|e| KafkaError::of("read the topics", &e))?;
            let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
            let mut topics: Vec<TopicState> = topics
                .map(|topic| TopicState { name: topic.name().to_owned(), partitions: partitions(topic.partitions()) })
                .collect();
            topics.sort_by(|a, b| a.name.cmp(&b.name));
            let mut brokers: BTreeMap<i32, Option<String>> = BTreeMap::new();
            let copies = topics.iter().flat_map(|topic| &topic.partitions).flat_map(|partition| &partition.replicas);
            copies.for_each(|id| drop(brokers.insert(*id, None)));
            for broker in metadata.brokers() {
                brokers.insert(broker.id(), Some(format!("{}:{}", broker.host(), broker.port())));
            }
            let brokers = brokers.into_iter().map(|(id, address)| BrokerNode { id, address }).collect();
            Ok(Topology { brokers, topics })
        })
        .await
    }

    /// What the partitions that have a leader hold; the others are left out.
    ///
    /// # Errors
    /// `Unavailable`: the cluster is away.
    pub async fn extents(&self, topology: &Topology) -> Result<HashMap<Place, Extent>, KafkaError> {
        let alive: HashSet<i32> =
            topology.brokers.iter().filter(|broker| broker.address.is_some()).map(|broker| broker.id).collect();
        let mut places = Vec::new();
        for topic in &topology.topics {
            let name: Arc<str> = Arc::from(topic.name.as_str());
            let led = topic.partitions.iter().filter(|part| part.leader.is_some_and(|leader| alive.contains(&leader)));
            places.extend(led.map(|part| Place::new(Arc::clone(&name), part.partition)));
        }
        self.blocking(move |consumer| {
            let ask = |which: Offset| {
                let asked = list(places.iter().map(|place| (place, which)))?;
                let answer = consumer.offsets_for_times(asked, wait());
                // A partition with an error of its own has no offset in the answer, and is left out.
                answer.map(|list| by_place(&list)).map_err(|e| KafkaError::of("read the ends of the partitions", &e))
            };
            if places.is_empty() {
                return Ok(HashMap::new());
            }
            let (lows, ends) = (ask(Offset::Beginning)?, ask(Offset::End)?);
            let extent = |place: &Place| {
                let (low, end) = (lows.get(place).copied()?, ends.get(place).copied()?);
                Some((place.clone(), Extent { low, end: end.max(low) }))
            };
            Ok(places.iter().filter_map(extent).collect())
        })
        .await
    }

    /// The groups there are, by name.
    ///
    /// # Errors
    /// `Unavailable`: a broker does not answer.
    pub async fn groups(&self) -> Result<Vec<GroupState>, KafkaError> {
        self.blocking(|consumer| {
            let groups = consumer.fetch_group_list(None, wait()).map_err(|e| KafkaError::of("read the groups", &e))?;
            let group = |group: &rdkafka::groups::GroupInfo| GroupState {
                name: group.name().to_owned(),
                state: group.state().to_owned(),
                members: group.members().iter().map(member).collect(),
            };
            let mut groups: Vec<GroupState> = groups.groups().iter().map(group).collect();
            groups.sort_by(|a, b| a.name.cmp(&b.name));
            // Every broker is asked; while a group moves two may know it.
            groups.dedup_by(|a, b| a.name == b.name);
            Ok(groups)
        })
        .await
    }

    /// What each of these groups has committed in these partitions. A group that could not be asked has its error. Of
    /// more than [`GROUPS_MAX`] groups the first are asked. Their clients are kept for the next time, those of other
    /// groups are let go.
    pub async fn committed(
        &mut self,
        groups: &[&str],
        places: &[Place],
    ) -> HashMap<String, Result<HashMap<Place, i64>, KafkaError>> {
        self.groups.retain(|name, _| groups.contains(&name.as_str()));
        let mut answers = HashMap::new();
        for group in groups.iter().take(GROUPS_MAX).copied() {
            if self.groups.contains_key(group) {
                continue;
            }
            match Cluster::new(&self.settings, group) {
                Ok(cluster) => drop(self.groups.insert(group.to_owned(), cluster)),
                Err(error) => drop(answers.insert(group.to_owned(), Err(error))),
            }
        }
        let ask =
            async |name: &String, cluster: &Cluster| (name.clone(), cluster.committed_within(places, wait()).await);
        let asked = futures_util::future::join_all(self.groups.iter().map(|(name, cluster)| ask(name, cluster)));
        answers.extend(asked.await);
        answers
    }

    /// The configuration of these topics: name to value, with whether it was set for the topic itself.
    ///
    /// # Errors
    /// `Unavailable`: the cluster is away.
    pub async fn configs(
        &self,
        topics: &[String],
    ) -> Result<HashMap<String, BTreeMap<String, (String, bool)>>, KafkaError> {
        let topics: Vec<ResourceSpecifier<'_>> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        if topics.is_empty() {
            return Ok(HashMap::new());
        }
        let options = AdminOptions::new().request_timeout(Some(wait()));
        let described = self.admin.describe_configs(&topics, &options).await;
        let described = described.map_err(|e| KafkaError::of("read the configuration of the topics", &e))?;
        let mut configs = HashMap::new();
        // A topic that was deleted in the meantime is left out.
        for resource in described.into_iter().flatten() {
            let OwnedResourceSpecifier::Topic(name) = &resource.specifier else { continue };
            let entries = resource.entries.iter().filter(|entry| !entry.is_sensitive).filter_map(|entry| {
                Some((entry.name.clone(), (entry.value.clone()?, entry.source == ConfigSource::DynamicTopic)))
            });
            let entries: BTreeMap<_, _> = entries.collect();
            if !entries.is_empty() {
                configs.insert(name.clone(), entries);
            }
        }
        Ok(configs)
    }

    /// The roles each of these brokers has by its own configuration (`broker,controller`). A broker that does not tell
    /// is left out.
    pub async fn broker_roles(&self, ids: &[i32]) -> HashMap<i32, String> {
        let options = AdminOptions::new().request_timeout(Some(wait()));
        // A broker answers for itself only: one question each.
        let ask = async |id: i32| {
            let asked = self.admin.describe_configs(&[ResourceSpecifier::Broker(id)], &options).await.ok()?;
            let resource = asked.into_iter().flatten().next()?;
            let entry = resource.entries.into_iter().find(|entry| entry.name == "process.roles")?;
            Some((id, entry.value?))
        };
        futures_util::future::join_all(ids.iter().map(|id| ask(*id))).await.into_iter().flatten().collect()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&BaseConsumer<Context>) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let consumer = Arc::clone(&self.consumer);
        super::cluster::blocking(move || work(&consumer)).await
    }
}

/// [`LOOK_MS_MAX`] as a duration.
fn wait() -> Duration {
    Duration::from_millis(LOOK_MS_MAX)
}

fn partitions(partitions: &[rdkafka::metadata::MetadataPartition]) -> Vec<PartitionState> {
    let state = |partition: &rdkafka::metadata::MetadataPartition| PartitionState {
        partition: partition.id(),
        leader: Some(partition.leader()).filter(|leader| *leader >= 0),
        replicas: partition.replicas().to_vec(),
        in_sync: partition.isr().to_vec(),
    };
    let mut states: Vec<PartitionState> = partitions.iter().map(state).collect();
    states.sort_by_key(|state| state.partition);
    states
}

fn member(member: &rdkafka::groups::GroupMemberInfo) -> GroupMember {
    GroupMember {
        id: member.id().to_owned(),
        client: member.client_id().to_owned(),
        host: member.client_host().trim_start_matches('/').to_owned(),
        share: member.assignment().and_then(share).unwrap_or_default(),
    }
}

/// Partitions in a member's assignment, as Kafka's consumers write it: version, then topics with their partitions.
fn share(mut bytes: &[u8]) -> Option<Vec<Place>> {
    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
        let (head, rest) = bytes.split_at_checked(count)?;
        *bytes = rest;
        Some(head)
    }
    fn short(bytes: &mut &[u8]) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes(take(bytes, 2)?.try_into().ok()?)))
    }
    fn long(bytes: &mut &[u8]) -> Option<i32> {
        Some(i32::from_be_bytes(take(bytes, 4)?.try_into().ok()?))
    }
    let _version = short(&mut bytes)?;
    let mut places = Vec::new();
    for _ in 0..long(&mut bytes)? {
        let length = short(&mut bytes)?;
        let topic: Arc<str> = Arc::from(std::str::from_utf8(take(&mut bytes, length)?).ok()?);
        for _ in 0..long(&mut bytes)? {
            places.push(Place::new(Arc::clone(&topic), long(&mut bytes)?));
        }
    }
    places.sort();
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read() {
        let bytes = [0, 1, 0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0];
        let expected = Some(vec![Place::new("ab", 1), Place::new("ab", 3)]);
        assert_eq!(share(&bytes), expected);
        for length in [0, 1, 5, 9, 14, 21] {
            assert_eq!(share(&bytes[..length]), None, "cut after {length} bytes");
        }
        // A count that no message could hold ends where the bytes end.
        assert_eq!(share(&[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0]), None);
    }

    #[test]
    fn copies_that_lag_are_told() {
        let of = |replicas: &[i32], in_sync: &[i32]| PartitionState {
            partition: 0,
            leader: Some(1),
            replicas: replicas.to_vec(),
            in_sync: in_sync.to_vec(),
        };
        assert!(!of(&[1, 2, 3], &[3, 1, 2]).is_under_replicated());
        assert!(of(&[1, 2, 3], &[1, 2]).is_under_replicated());
    }
}
