//! Whether a topic may be created or grown as asked: pure decisions with the error that a client gets.

use crate::settings::Limits;
use crate::topics::config::{self, Overrides};
use crate::topics::name;
use kafka_protocol::error::ResponseError;

/// A refusal: the protocol error and a sentence for the client.
pub(crate) type Refusal = (ResponseError, String);

/// What a client asks for, in plain terms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// -1 leaves it to the broker.
    pub(crate) partitions: i32,
    /// -1 leaves it to the broker.
    pub(crate) replication_factor: i16,
    /// Partition and its brokers, for clients that place replicas themselves.
    pub(crate) assignments: Vec<(i32, Vec<i32>)>,
    pub(crate) configs: Vec<(String, Option<String>)>,
}

/// What there is already.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Existing<'a> {
    pub(crate) names: &'a [&'a str],
    pub(crate) partitions: usize,
    pub(crate) node_id: i32,
    pub(crate) default_partitions: i32,
    pub(crate) limits: &'a Limits,
}

/// Number of partitions and settings of a topic that may be created.
pub(crate) fn decide(wanted: &Wanted, existing: &Existing<'_>) -> Result<(i32, Overrides), Refusal> {
    use ResponseError as E;
    name::check(&wanted.name).map_err(|error| (E::InvalidTopicException, error.to_string()))?;
    if existing.names.contains(&wanted.name.as_str()) {
        return Err((E::TopicAlreadyExists, format!("topic '{}' already exists", wanted.name)));
    }
    if let Some(other) = existing.names.iter().find(|other| name::collide(&wanted.name, other)) {
        return Err((
            E::InvalidTopicException,
            format!("topic '{}' collides with existing topic: {other}", wanted.name),
        ));
    }
    let partitions = if wanted.assignments.is_empty() {
        if wanted.replication_factor != -1 && wanted.replication_factor != 1 {
            let asked = wanted.replication_factor;
            return Err((
                E::InvalidReplicationFactor,
                format!("replication factor {asked} is not possible: there is 1 broker"),
            ));
        }
        match wanted.partitions {
            -1 => existing.default_partitions,
            count if count > 0 => count,
            count => {
                return Err((
                    E::InvalidPartitions,
                    format!("number of partitions was set to {count}, it must be larger than 0"),
                ));
            }
        }
    } else {
        assigned_partitions(wanted, existing.node_id)?
    };
    check_limits(1, partitions, existing)?;
    Ok((partitions, checked_configs(&wanted.configs, existing.limits)?))
}

fn assigned_partitions(wanted: &Wanted, node_id: i32) -> Result<i32, Refusal> {
    let refuse = |why: String| Err((ResponseError::InvalidReplicaAssignment, why));
    if wanted.partitions != -1 || wanted.replication_factor != -1 {
        return Err((
            ResponseError::InvalidRequest,
            "partitions and replication factor must be -1 beside an assignment".into(),
        ));
    }
    let mut indexes: Vec<i32> = wanted.assignments.iter().map(|(index, _)| *index).collect();
    indexes.sort_unstable();
    if !indexes.iter().copied().eq(0..indexes.len() as i32) {
        return refuse("partitions must be numbered from 0 without gaps".into());
    }
    match wanted.assignments.iter().find(|(_, brokers)| *brokers != [node_id]) {
        Some((index, brokers)) => {
            refuse(format!("partition {index} is placed on {brokers:?}, but the only broker is {node_id}"))
        }
        None => Ok(indexes.len() as i32),
    }
}

fn check_limits(topics: usize, partitions: i32, existing: &Existing<'_>) -> Result<(), Refusal> {
    let limits = existing.limits;
    if existing.names.len() + topics > limits.topics_max {
        return Err((ResponseError::PolicyViolation, format!("topics_max = {} is reached", limits.topics_max)));
    }
    if existing.partitions + usize::try_from(partitions).unwrap_or(0) > limits.partitions_max {
        return Err((
            ResponseError::PolicyViolation,
            format!("partitions_max = {} would be exceeded", limits.partitions_max),
        ));
    }
    Ok(())
}

/// Settings as given, each checked.
pub(crate) fn checked_configs(configs: &[(String, Option<String>)], limits: &Limits) -> Result<Overrides, Refusal> {
    let refuse = |why: String| Err((ResponseError::InvalidConfig, why));
    let mut overrides = Overrides::new();
    for (name, value) in configs {
        let Some(value) = value else { return refuse(format!("null value not supported for topic config: {name}")) };
        config::check(name, value).map_err(|why| (ResponseError::InvalidConfig, why))?;
        let too_large =
            name == "max.message.bytes" && value.parse::<usize>().is_ok_and(|bytes| bytes > limits.message_bytes_max);
        if too_large {
            return refuse(format!(
                "max.message.bytes may not exceed message_bytes_max = {}",
                limits.message_bytes_max
            ));
        }
        overrides.insert(name.clone(), value.clone());
    }
    Ok(overrides)
}

/// Whether a topic may grow to `count` partitions.
pub(crate) fn decide_growth(
    name: &str,
    has: usize,
    count: i32,
    assignments: Option<&[Vec<i32>]>,
    existing: &Existing<'_>,
) -> Result<(), Refusal> {
    use ResponseError as E;
    let added = i64::from(count) - has as i64;
    if added == 0 {
        return Err((E::InvalidPartitions, format!("topic already has {has} partition(s)")));
    }
    if added < 0 {
        return Err((
            E::InvalidPartitions,
            format!("the topic {name} currently has {has} partition(s); {count} would not be an increase"),
        ));
    }
    if let Some(assignments) = assignments
        && (assignments.len() as i64 != added || assignments.iter().any(|brokers| *brokers != [existing.node_id]))
    {
        return Err((
            E::InvalidReplicaAssignment,
            format!("{added} new partition(s) must be placed on the only broker, {}", existing.node_id),
        ));
    }
    check_limits(0, added as i32, existing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str) -> Wanted {
        Wanted { name: name.into(), partitions: 3, replication_factor: 1, ..Wanted::default() }
    }

    #[test]
    fn topics_are_created_or_refused_as_kafka_would() {
        use ResponseError as E;
        let limits = Limits { topics_max: 3, partitions_max: 20, message_bytes_max: 1_000, ..Limits::default() };
        let names = ["there", "a.b"];
        let existing = Existing { names: &names, partitions: 10, node_id: 1, default_partitions: 2, limits: &limits };
        let full = Existing { names: &["1", "2", "3"], ..existing };
        let config = |name: &str, value: Option<&str>| vec![(name.to_owned(), value.map(str::to_owned))];
        let assigned = |assignments| Wanted { partitions: -1, replication_factor: -1, assignments, ..wanted("x") };
        let table: Vec<(&str, Wanted, Existing<'_>, Result<i32, E>)> = vec![
            ("plain", wanted("x"), existing, Ok(3)),
            ("defaults", Wanted { partitions: -1, replication_factor: -1, ..wanted("x") }, existing, Ok(2)),
            ("exists", wanted("there"), existing, Err(E::TopicAlreadyExists)),
            ("collides", wanted("a_b"), existing, Err(E::InvalidTopicException)),
            ("bad name", wanted("a b"), existing, Err(E::InvalidTopicException)),
            ("replicated", Wanted { replication_factor: 3, ..wanted("x") }, existing, Err(E::InvalidReplicationFactor)),
            ("no partitions", Wanted { partitions: 0, ..wanted("x") }, existing, Err(E::InvalidPartitions)),
            ("too many topics", wanted("x"), full, Err(E::PolicyViolation)),
            ("too many partitions", Wanted { partitions: 11, ..wanted("x") }, existing, Err(E::PolicyViolation)),
            ("assigned", assigned(vec![(1, vec![1]), (0, vec![1])]), existing, Ok(2)),
            ("assigned with a gap", assigned(vec![(1, vec![1])]), existing, Err(E::InvalidReplicaAssignment)),
            ("assigned elsewhere", assigned(vec![(0, vec![2])]), existing, Err(E::InvalidReplicaAssignment)),
            ("config", Wanted { configs: config("retention.ms", Some("5")), ..wanted("x") }, existing, Ok(3)),
            (
                "bad config",
                Wanted { configs: config("retention.ms", Some("x")), ..wanted("x") },
                existing,
                Err(E::InvalidConfig),
            ),
            (
                "null config",
                Wanted { configs: config("retention.ms", None), ..wanted("x") },
                existing,
                Err(E::InvalidConfig),
            ),
            (
                "over limit",
                Wanted { configs: config("max.message.bytes", Some("1001")), ..wanted("x") },
                existing,
                Err(E::InvalidConfig),
            ),
        ];
        for (what, wanted, existing, expected) in table {
            let decided = decide(&wanted, &existing).map(|(partitions, _)| partitions).map_err(|(error, _)| error);
            assert_eq!(decided, expected, "{what}");
        }
    }

    #[test]
    fn topics_only_grow() {
        use ResponseError as E;
        let limits = Limits { partitions_max: 10, ..Limits::default() };
        let existing = Existing { names: &["x"], partitions: 4, node_id: 1, default_partitions: 1, limits: &limits };
        let grow = |count, assignments: Option<&[Vec<i32>]>| {
            decide_growth("x", 4, count, assignments, &existing).map_err(|e| e.0)
        };
        assert_eq!(grow(6, None), Ok(()));
        assert_eq!(grow(4, None), Err(E::InvalidPartitions));
        assert_eq!(grow(3, None), Err(E::InvalidPartitions));
        assert_eq!(grow(11, None), Err(E::PolicyViolation));
        assert_eq!(grow(5, Some(&[vec![1]])), Ok(()));
        assert_eq!(grow(6, Some(&[vec![1]])), Err(E::InvalidReplicaAssignment));
        assert_eq!(grow(5, Some(&[vec![9]])), Err(E::InvalidReplicaAssignment));
    }
}
