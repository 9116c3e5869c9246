//! Asks a cluster everything a look needs, each part for itself: one that fails is told, and leaves the others.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use millrace_connectors::kafka::inspect::{GROUPS_MAX, Inspector, Topology};
use millrace_connectors::kafka::unread::{FirstUnread, Unread};
use millrace_connectors::kafka::{ClientSettings, Extent, KafkaError, Place};
use millrace_model::Contract;

use crate::shared::now;
use crate::view::kafka::{Answers, Configs, Look, look};

/// Configurations change rarely: asked for again after this long.
const CONFIG_AGE_MAX: Duration = Duration::from_secs(60);
/// Topics that are looked at.
const TOPICS_MAX: usize = 500;
/// Partitions that are looked at.
const PARTITIONS_MAX: usize = 5_000;

/// Keeps its connections between looks.
pub(super) struct Asker {
    inspector: Inspector,
    unread: FirstUnread,
    configs: Configs,
    roles: HashMap<i32, String>,
    configs_at: Option<Instant>,
}

impl Asker {
    /// Nothing is asked yet.
    pub(super) fn new(client: &ClientSettings) -> Result<Self, KafkaError> {
        Ok(Asker {
            inspector: Inspector::new(client)?,
            unread: FirstUnread::new(client),
            configs: Configs::new(),
            roles: HashMap::new(),
            configs_at: None,
        })
    }

    /// One look. A cluster that does not answer leaves the look before, and says so.
    pub(super) async fn look(&mut self, contracts: &[Contract], before: &Look) -> Look {
        let mut topology = match self.inspector.topology().await {
            Ok(topology) => topology,
            Err(error) => return Look { trouble: vec![error.to_string()], ..before.clone() },
        };
        let mut trouble = cut(&mut topology);
        let mut tell = |error: KafkaError| trouble.push(error.to_string());
        self.configure(&topology).await.unwrap_or_else(&mut tell);
        let (extents, groups) = tokio::join!(self.inspector.extents(&topology), self.inspector.groups());
        let extents = extents.unwrap_or_else(|error| {
            tell(error);
            HashMap::new()
        });
        let groups = groups.unwrap_or_else(|error| {
            tell(error);
            Vec::new()
        });
        let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).take(GROUPS_MAX).collect();
        if names.len() < groups.len() {
            trouble.push(format!("lag is shown of the first {GROUPS_MAX} of {} groups", groups.len()));
        }
        let places: Vec<Place> = extents.keys().filter(|place| !place.topic.starts_with("__")).cloned().collect();
        let mut committed = HashMap::new();
        for (name, offsets) in self.inspector.committed(&names, &places).await {
            match offsets {
                Ok(offsets) => drop(committed.insert(name, offsets)),
                Err(error) => trouble.push(format!("group {name}: {error}")),
            }
        }
        let wanted = wanted(&committed, &extents);
        let times = match self.unread.times(&wanted).await {
            Ok(times) => times,
            Err(error) => {
                trouble.push(error.to_string());
                HashMap::new()
            }
        };
        let (configs, roles) = (self.configs.clone(), self.roles.clone());
        let answers = Answers { topology, extents, groups, committed, times, configs, roles, trouble };
        look(answers, contracts, before, now())
    }

    async fn configure(&mut self, topology: &Topology) -> Result<(), KafkaError> {
        let is_new = topology.topics.iter().any(|topic| !self.configs.contains_key(&topic.name));
        if !is_new && self.configs_at.is_some_and(|at| at.elapsed() < CONFIG_AGE_MAX) {
            return Ok(());
        }
        let names: Vec<String> = topology.topics.iter().map(|topic| topic.name.clone()).collect();
        let alive = topology.brokers.iter().filter(|broker| broker.address.is_some());
        let ids: Vec<i32> = alive.map(|broker| broker.id).collect();
        self.configs = self.inspector.configs(&names).await?;
        // What was asked for in vain is not asked for with every look.
        for name in names {
            self.configs.entry(name).or_default();
        }
        self.roles = self.inspector.broker_roles(&ids).await;
        self.configs_at = Some(Instant::now());
        Ok(())
    }
}

/// Leaves no more of a huge cluster than can be looked at every few seconds.
fn cut(topology: &mut Topology) -> Vec<String> {
    let all = topology.topics.len();
    let mut partitions = 0;
    topology.topics.retain(|topic| {
        partitions += topic.partitions.len();
        partitions <= PARTITIONS_MAX
    });
    topology.topics.truncate(TOPICS_MAX);
    let left = topology.topics.len();
    let told = || format!("{left} of {all} topics are shown: at most {TOPICS_MAX}, with {PARTITIONS_MAX} partitions");
    (left < all).then(told).into_iter().collect()
}

/// Where each group has something unread.
fn wanted(committed: &HashMap<String, HashMap<Place, i64>>, extents: &HashMap<Place, Extent>) -> Vec<Unread> {
    let unread = |(place, offset): (&Place, &i64)| {
        let end = extents.get(place)?.end;
        (end > *offset).then(|| Unread { place: place.clone(), offset: *offset, end })
    };
    let mut wanted: Vec<Unread> = committed.values().flatten().filter_map(unread).collect();
    wanted.sort_by(|a, b| (&a.place, a.offset).cmp(&(&b.place, b.offset)));
    wanted.dedup();
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_connectors::kafka::inspect::TopicState;

    #[test]
    fn a_huge_cluster_is_cut() {
        let topic = |n: usize| TopicState { name: format!("t{n}"), partitions: Vec::new() };
        let mut topology = Topology { brokers: Vec::new(), topics: (0..TOPICS_MAX + 1).map(topic).collect() };
        assert_eq!((cut(&mut topology).len(), topology.topics.len()), (1, TOPICS_MAX));
        assert!(cut(&mut topology).is_empty());
    }

    #[test]
    fn only_what_is_unread_is_looked_for() {
        let place = |partition: i32| Place::new("t", partition);
        let extents = [(place(0), Extent { low: 0, end: 10 }), (place(1), Extent { low: 0, end: 10 })].into();
        let group = |offsets: &[(i32, i64)]| offsets.iter().map(|(part, offset)| (place(*part), *offset)).collect();
        let committed =
            [("a".to_owned(), group(&[(0, 5), (1, 10)])), ("b".to_owned(), group(&[(0, 5), (7, 1)]))].into();
        let wanted = wanted(&committed, &extents);
        assert_eq!(wanted, [Unread { place: place(0), offset: 5, end: 10 }]);
    }
}
