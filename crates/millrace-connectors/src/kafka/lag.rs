//! How far consumer groups are behind: committed offsets against the ends of the partitions, which no single call of
//! Kafka's protocol answers.

use std::collections::HashMap;
use std::sync::Arc;

use super::cluster::{Cluster, Place};
use super::{ClientSettings, KafkaError};

/// Lag of a group in one partition.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct PartitionLag {
    /// Consumer group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Next offset the group has committed.
    pub committed: i64,
    /// Offset after the last committed record of the partition.
    pub end: i64,
}

impl PartitionLag {
    /// Records between the two; markers of transactions count as records here, as in every Kafka tool.
    pub fn records(&self) -> i64 {
        (self.end - self.committed).max(0)
    }
}

/// Asks for the lag of groups, again and again, over connections it keeps.
pub struct LagProbe {
    topics: Vec<Arc<str>>,
    groups: Vec<(String, Cluster)>,
}

impl LagProbe {
    /// A probe of these groups in these topics. One client a group: Kafka answers for the client's own group only.
    ///
    /// # Errors
    /// `Invalid`: the settings.
    pub fn new(settings: &ClientSettings, groups: &[&str], topics: &[&str]) -> Result<Self, KafkaError> {
        let probe = |group: &&str| Ok(((*group).to_owned(), Cluster::new(settings, group)?));
        Ok(LagProbe {
            topics: topics.iter().map(|topic| Arc::from(*topic)).collect(),
            groups: groups.iter().map(probe).collect::<Result<_, KafkaError>>()?,
        })
    }

    /// The lag now, for each partition a group has committed an offset of; topics that do not exist are left out.
    ///
    /// # Errors
    /// `Unavailable`: the cluster is away.
    pub async fn read(&self) -> Result<Vec<PartitionLag>, KafkaError> {
        let Some((_, any)) = self.groups.first() else {
            return Ok(Vec::new());
        };
        let places = any.existing_places(&self.topics).await?;
        let extents = any.extents(&places).await?;
        let mut lags = Vec::new();
        for (group, cluster) in &self.groups {
            let committed: HashMap<Place, i64> = cluster.committed(&places).await?;
            for place in &places {
                if let (Some(committed), Some(extent)) = (committed.get(place), extents.get(place)) {
                    lags.push(PartitionLag {
                        group: group.clone(),
                        topic: place.topic.to_string(),
                        partition: place.partition,
                        committed: *committed,
                        end: extent.end,
                    });
                }
            }
        }
        Ok(lags)
    }
}

/// The lag of these groups in these topics, once. Use a [`LagProbe`] to ask again and again.
///
/// # Errors
/// As [`LagProbe::new`] and [`LagProbe::read`].
pub async fn of_groups(
    settings: &ClientSettings,
    groups: &[&str],
    topics: &[&str],
) -> Result<Vec<PartitionLag>, KafkaError> {
    LagProbe::new(settings, groups, topics)?.read().await
}
