//! Where each partition goes on, and what has to be done before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use millrace_model::ErrorKind;

use super::catalog::{self, Stored};
use super::claims::{self, Claim};
use super::layout::FileName;
use super::recovery::{Facts, Recovery, decide};
use super::settings::{LAKE_GROUP, LakeSettings};
use super::storage::Storage;
use crate::kafka::{Cluster, Place};
use crate::sink::{SinkError, SinkStats};

/// What was found.
pub(super) struct Started {
    /// Where to read on.
    pub(super) at: HashMap<Place, i64>,
    /// Where the chain of claims ends.
    pub(super) chain: HashMap<Place, i64>,
    /// Batches to write again first: first and next offset.
    pub(super) again: HashMap<Place, (i64, i64)>,
}

/// Finds it. Nothing is deleted unless every partition can go on.
pub(super) async fn find(
    settings: &LakeSettings,
    storage: &Storage,
    stats: &SinkStats,
    cluster: &Cluster,
    places: &[Place],
) -> Result<Started, SinkError> {
    let topics: BTreeSet<Arc<str>> = places.iter().map(|place| Arc::clone(&place.topic)).collect();
    // In this order: whatever file is listed, its claim is read after it.
    let mut files: HashMap<Arc<str>, Vec<Stored>> = HashMap::new();
    for topic in &topics {
        files.insert(Arc::clone(topic), catalog::all(storage, topic).await?);
    }
    let mut claimed: HashMap<Arc<str>, BTreeMap<i32, Claim>> = HashMap::new();
    for topic in &topics {
        claimed.insert(Arc::clone(topic), claims::last(storage, topic).await?);
    }
    let committed = cluster.committed(places).await?;
    let extents = cluster.extents(places).await?;
    let mut started = Started { at: HashMap::new(), chain: HashMap::new(), again: HashMap::new() };
    let mut begun = HashMap::new();
    let mut to_delete = Vec::new();
    for place in places {
        let (Some(extent), Some(files)) = (extents.get(place), files.get(&place.topic)) else {
            let text = format!("topic `{}` partition {} has no end", place.topic, place.partition);
            return Err(SinkError::new(ErrorKind::Unavailable, text));
        };
        let of_place = || files.iter().filter(|file| file.name.partition == place.partition);
        let names: Vec<FileName> = of_place().map(|file| file.name.clone()).collect();
        let claim = claimed.get(&place.topic).and_then(|claims| claims.get(&place.partition));
        let claim = claim.map(|claim| (claim.from, claim.next));
        let facts = Facts {
            committed: committed.get(place).copied(),
            extent: *extent,
            files: &names,
            claim,
            batch_rows_max: settings.limits.rows_max,
        };
        started.chain.insert(place.clone(), claim.map_or(0, |(_, next)| next));
        match decide(&facts) {
            Recovery::Begin { at } => {
                begun.insert(place.clone(), at);
                started.at.insert(place.clone(), at);
            }
            Recovery::Resume { at, again, left_over, missed } => {
                if missed > 0 {
                    let Place { topic, partition } = place;
                    let topic = &**topic;
                    tracing::warn!(topic, partition, missed, "records were deleted before they were archived");
                    stats.missed(missed.unsigned_abs());
                }
                to_delete
                    .extend(of_place().filter(|file| left_over.contains(&file.name)).map(|file| file.path.clone()));
                started.at.insert(place.clone(), at);
                started.again.extend(again.map(|range| (place.clone(), range)));
            }
            Recovery::Refuse(why) => {
                let text =
                    format!("topic `{}` partition {} of group {LAKE_GROUP}: {why}", place.topic, place.partition);
                return Err(SinkError::new(ErrorKind::Invalid, text));
            }
        }
    }
    for path in &to_delete {
        storage.delete(path).await?;
    }
    let mut staged = 0;
    for topic in &topics {
        staged += storage.delete_staged(topic)?;
    }
    if !to_delete.is_empty() || staged > 0 {
        tracing::info!(files = to_delete.len(), staged, "deleted what an interrupted batch left; it is read again");
    }
    // Before the first file: from now on a missing offset means that it was lost.
    cluster.commit(&begun).await?;
    Ok(started)
}
