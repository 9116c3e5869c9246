//! The cluster as an operator wants to see it: brokers, topics with their copies, groups with their lag. Put together
//! from single answers of Kafka; what could not be asked is missing, and said to be.

use std::collections::{BTreeMap, HashMap};

use millrace_connectors::kafka::inspect::{GroupState, Topology};
use millrace_connectors::kafka::unread::Times;
use millrace_connectors::kafka::{Extent, Place};
use millrace_model::{Contract, Role, Timestamp};
use serde::Serialize;

/// Lags remembered of a group while somebody looks.
const HISTORY_MAX: usize = 150;

/// Configurations of topics: name to value, and whether it was set for the topic itself.
pub(crate) type Configs = HashMap<String, BTreeMap<String, (String, bool)>>;

/// One look at a cluster.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Look {
    /// When it was.
    pub(crate) at: Option<Timestamp>,
    /// Brokers, by id.
    pub(crate) brokers: Vec<Broker>,
    /// Topics, by name.
    pub(crate) topics: Vec<Topic>,
    /// Groups, furthest behind first.
    pub(crate) groups: Vec<Group>,
    /// What could not be asked, and why.
    pub(crate) trouble: Vec<String>,
}

/// A broker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Broker {
    pub(crate) id: i32,
    /// None: partitions name it, but it does not answer.
    pub(crate) address: Option<String>,
    /// `broker`, `controller`, by its own configuration; none when it does not tell.
    pub(crate) roles: Vec<String>,
    /// Partitions it leads.
    pub(crate) leads: usize,
    /// Copies it holds.
    pub(crate) copies: usize,
    /// Copies of those that are behind.
    pub(crate) behind: usize,
}

/// A topic.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Topic {
    pub(crate) name: String,
    /// `source`, `result`, `system` by its contract; `internal` is Kafka's own, `other` has no contract.
    pub(crate) role: &'static str,
    /// Its contract's words.
    pub(crate) description: String,
    pub(crate) partitions: Vec<Partition>,
    /// Copies of each partition.
    pub(crate) replication: usize,
    /// Partitions with a copy that is missing or behind.
    pub(crate) under_replicated: usize,
    /// Partitions nobody leads: they can be neither read nor written.
    pub(crate) leaderless: usize,
    /// Offsets between first and end; markers and compacted gaps count. None: an end is unknown.
    pub(crate) records: Option<i64>,
    /// Records a second, since the look before.
    pub(crate) records_per_second: Option<f64>,
    /// Its configuration: name, value, whether it was set for the topic itself; those first.
    pub(crate) config: Vec<(String, String, bool)>,
    /// Groups that have committed offsets in it.
    pub(crate) groups: Vec<String>,
    /// Largest lag of a group in it, records.
    pub(crate) lag_records: Option<i64>,
    /// Longest time a group has been behind in it.
    pub(crate) lag_seconds: Option<f64>,
}

/// A partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Partition {
    pub(crate) partition: i32,
    pub(crate) leader: Option<i32>,
    pub(crate) replicas: Vec<i32>,
    pub(crate) in_sync: Vec<i32>,
    /// First offset that is there.
    pub(crate) low: Option<i64>,
    /// Offset after the last committed record.
    pub(crate) end: Option<i64>,
}

/// A consumer group.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// What it is, when it is one of ours.
    pub(crate) what: String,
    /// As Kafka names it.
    pub(crate) state: String,
    pub(crate) members: Vec<Member>,
    /// Records not read, over all partitions. None: not known.
    pub(crate) lag_records: Option<i64>,
    /// Age of the oldest record not read.
    pub(crate) lag_seconds: Option<f64>,
    pub(crate) places: Vec<Position>,
    /// Recent lags in records, oldest first, while somebody looked.
    pub(crate) history: Vec<f64>,
}

/// A member of a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) client: String,
    pub(crate) host: String,
    /// Partitions of its share.
    pub(crate) partitions: usize,
}

/// How far a group is in a partition.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Position {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// Next offset the group reads.
    pub(crate) committed: i64,
    /// Offset after the last committed record.
    pub(crate) end: Option<i64>,
    /// Between the two.
    pub(crate) lag_records: Option<i64>,
    /// Kafka timestamp of the first record it has not read.
    pub(crate) first_unread: Option<Timestamp>,
    /// Age of that record; 0 when there is none.
    pub(crate) lag_seconds: Option<f64>,
    /// Client of the member whose share it is.
    pub(crate) client: Option<String>,
}

/// What was asked of the cluster.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) topology: Topology,
    pub(crate) extents: HashMap<Place, Extent>,
    pub(crate) groups: Vec<GroupState>,
    /// By group; one that is missing could not be asked.
    pub(crate) committed: HashMap<String, HashMap<Place, i64>>,
    pub(crate) times: Times,
    pub(crate) configs: Configs,
    pub(crate) roles: HashMap<i32, String>,
    pub(crate) trouble: Vec<String>,
}

/// Puts a look together. `before` gives rates and histories.
pub(crate) fn look(answers: Answers, contracts: &[Contract], before: &Look, now: Timestamp) -> Look {
    let mut groups: Vec<Group> = answers.groups.iter().map(|state| group(state, &answers, before, now)).collect();
    let seconds = |group: &Group| group.lag_seconds.unwrap_or(-1.0);
    groups.sort_by(|a, b| {
        seconds(b).total_cmp(&seconds(a)).then(b.lag_records.cmp(&a.lag_records)).then_with(|| a.name.cmp(&b.name))
    });
    let passed = before.at.map(|at| (now.0 - at.0) as f64 / 1e6).filter(|seconds| *seconds > 0.5);
    let topics = answers.topology.topics.iter().map(|state| {
        let mut topic = topic(state, &answers, contracts, &groups);
        let known = before.topics.iter().find(|known| known.name == topic.name);
        topic.records_per_second = known.zip(passed).and_then(|(known, seconds)| {
            let ends = |topic: &Topic| topic.partitions.iter().map(|part| part.end).sum::<Option<i64>>();
            // A topic that was made anew begins again.
            Some((ends(&topic)? - ends(known)?).max(0) as f64 / seconds)
        });
        topic
    });
    Look {
        topics: topics.collect(),
        brokers: brokers(&answers),
        groups,
        trouble: answers.trouble.clone(),
        at: Some(now),
    }
}

fn brokers(answers: &Answers) -> Vec<Broker> {
    let partitions = || answers.topology.topics.iter().flat_map(|topic| &topic.partitions);
    let broker = |node: &millrace_connectors::kafka::inspect::BrokerNode| {
        let copies = partitions().filter(|part| part.replicas.contains(&node.id));
        let roles = answers.roles.get(&node.id).map(String::as_str).unwrap_or_default();
        Broker {
            id: node.id,
            address: node.address.clone(),
            roles: roles.split(',').filter(|role| !role.is_empty()).map(|role| role.trim().to_owned()).collect(),
            leads: partitions().filter(|part| part.leader == Some(node.id)).count(),
            behind: copies.clone().filter(|part| !part.in_sync.contains(&node.id)).count(),
            copies: copies.count(),
        }
    };
    answers.topology.brokers.iter().map(broker).collect()
}

fn topic(
    state: &millrace_connectors::kafka::inspect::TopicState,
    answers: &Answers,
    contracts: &[Contract],
    groups: &[Group],
) -> Topic {
    let contract = contracts.iter().find(|contract| contract.name == state.name);
    let role = match contract.map(|contract| contract.role) {
        Some(Role::Source) => "source",
        Some(Role::Result) => "result",
        Some(Role::System) => "system",
        None if state.name.starts_with("__") => "internal",
        None => "other",
    };
    let partitions: Vec<Partition> = state
        .partitions
        .iter()
        .map(|part| {
            let extent = answers.extents.get(&Place::new(state.name.as_str(), part.partition));
            Partition {
                partition: part.partition,
                leader: part.leader,
                replicas: part.replicas.clone(),
                in_sync: part.in_sync.clone(),
                low: extent.map(|extent| extent.low),
                end: extent.map(|extent| extent.end),
            }
        })
        .collect();
    let config = answers.configs.get(&state.name).into_iter().flatten();
    let mut config: Vec<(String, String, bool)> =
        config.map(|(name, (value, own))| (name.clone(), value.clone(), *own)).collect();
    config.sort_by_key(|(.., own)| !own);
    let of_topic = |group: &&Group| group.places.iter().any(|at| at.topic == state.name);
    let here = || groups.iter().flat_map(|group| &group.places).filter(|at| at.topic == state.name);
    let lag_of = |group: &Group| -> Option<i64> {
        group.places.iter().filter(|at| at.topic == state.name).map(|at| at.lag_records).sum()
    };
    Topic {
        name: state.name.clone(),
        role,
        description: contract.map(|contract| contract.description.clone()).unwrap_or_default(),
        replication: state.partitions.iter().map(|part| part.replicas.len()).max().unwrap_or(0),
        under_replicated: state.partitions.iter().filter(|part| part.is_under_replicated()).count(),
        leaderless: state.partitions.iter().filter(|part| part.leader.is_none()).count(),
        records: partitions.iter().map(|part| Some(part.end? - part.low?)).sum(),
        records_per_second: None,
        config,
        groups: groups.iter().filter(of_topic).map(|group| group.name.clone()).collect(),
        lag_records: groups.iter().filter(of_topic).filter_map(lag_of).max(),
        lag_seconds: here().filter_map(|at| at.lag_seconds).max_by(f64::total_cmp),
        partitions,
    }
}

fn group(state: &GroupState, answers: &Answers, before: &Look, now: Timestamp) -> Group {
    let committed = answers.committed.get(&state.name);
    let mut places: Vec<Position> = committed
        .into_iter()
        .flatten()
        .map(|(place, offset)| {
            let end = answers.extents.get(place).map(|extent| extent.end);
            let lag = end.map(|end| (end - offset).max(0));
            let first = answers.times.get(&(place.clone(), *offset));
            let owner = state.members.iter().find(|member| member.share.contains(place));
            Position {
                topic: place.topic.to_string(),
                partition: place.partition,
                committed: *offset,
                end,
                lag_records: lag,
                first_unread: first.copied().flatten(),
                lag_seconds: match (lag, first) {
                    // Nothing is unread, or only markers of transactions are.
                    (Some(0), _) | (Some(_), Some(None)) => Some(0.0),
                    (_, Some(Some(time))) => Some(((now.0 - time.0) as f64 / 1e6).max(0.0)),
                    _ => None,
                },
                client: owner.map(|member| member.client.clone()),
            }
        })
        .collect();
    places.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let lag_records = committed.and_then(|_| places.iter().map(|at| at.lag_records).sum::<Option<i64>>());
    let known = before.groups.iter().find(|known| known.name == state.name);
    let mut history: Vec<f64> = known.map(|known| known.history.clone()).unwrap_or_default();
    if let Some(lag) = lag_records {
        history.drain(..(history.len() + 1).saturating_sub(HISTORY_MAX));
        history.push(lag as f64);
    }
    let member = |member: &millrace_connectors::kafka::inspect::GroupMember| Member {
        id: member.id.clone(),
        client: member.client.clone(),
        host: member.host.clone(),
        partitions: member.share.len(),
    };
    Group {
        name: state.name.clone(),
        what: what(&state.name),
        state: state.state.clone(),
        members: state.members.iter().map(member).collect(),
        lag_records,
        lag_seconds: places.iter().filter_map(|at| at.lag_seconds).max_by(f64::total_cmp),
        places,
        history,
    }
}

/// What a group of ours does.
fn what(group: &str) -> String {
    match group.strip_prefix("millrace-") {
        Some("store") => "store sink".into(),
        Some("lake") => "lake".into(),
        Some(job) => format!("job {job}"),
        None => String::new(),
    }
}

/// How a topic is kept, in a few words: `7 d`, `compacted, 30 d`.
pub(crate) fn kept(config: &[(String, String, bool)]) -> String {
    let value = |name: &str| config.iter().find(|(known, ..)| known == name).map(|(_, value, _)| value.as_str());
    let policy = value("cleanup.policy").unwrap_or_default();
    let mut words = Vec::new();
    if policy.contains("compact") {
        words.push("compacted".to_owned());
    }
    if policy.contains("delete") {
        match value("retention.ms").and_then(|ms| ms.parse::<i64>().ok()) {
            Some(ms) if ms >= 0 => words.push(length(ms)),
            Some(_) => words.push("for ever".into()),
            None => {}
        }
        if let Some(bytes) = value("retention.bytes").and_then(|bytes| bytes.parse::<i64>().ok()).filter(|b| *b >= 0) {
            words.push(format!("{} MiB a partition", bytes / 1_048_576));
        }
    }
    words.join(", ")
}

fn length(ms: i64) -> String {
    match ms / 60_000 {
        minutes if minutes >= 2_880 => format!("{} d", minutes / 1_440),
        minutes if minutes >= 120 => format!("{} h", minutes / 60),
        minutes if minutes >= 2 => format!("{minutes} min"),
        _ => format!("{} s", ms / 1_000),
    }
}

#[cfg(test)]
mod tests;
