//! What a sink looks at beside reading and writing, without being held up: its lag, new partitions, its group's offsets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::SinkStats;
use crate::kafka::{Cluster, Extent, KafkaError, Place};

/// How often the ends of the partitions are asked for, milliseconds.
const EXTENTS_MS: u64 = 1_000;
/// How often the group's offsets are published, milliseconds.
const PUBLISH_MS: u64 = 1_000;
/// How often it looks for new partitions, milliseconds.
const PLACES_MS: u64 = 30_000;

type Asked<T> = Option<JoinHandle<Result<T, KafkaError>>>;

/// The watch over a sink's partitions.
pub(crate) struct Watch {
    cluster: Cluster,
    /// Topics whose new partitions are looked for.
    topics: Vec<Arc<str>>,
    places: Vec<Place>,
    stats: SinkStats,
    extents: Asked<HashMap<Place, Extent>>,
    extents_due: Due,
    found: Asked<Vec<Place>>,
    found_due: Due,
    published: Asked<()>,
    publish_due: Due,
}

impl Watch {
    pub(crate) fn new(cluster: Cluster, topics: Vec<Arc<str>>, places: Vec<Place>, stats: SinkStats) -> Self {
        Watch {
            cluster,
            topics,
            places,
            stats,
            extents: None,
            extents_due: Due::every(EXTENTS_MS, true),
            found: None,
            found_due: Due::every(PLACES_MS, false),
            published: None,
            publish_due: Due::every(PUBLISH_MS, false),
        }
    }

    /// The partitions that are watched.
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Brings the lag up to date: `done` gives the next offsets of what is written. `true`: the topics have other
    /// partitions now.
    pub(crate) async fn changed(&mut self, done: &impl Fn() -> HashMap<Place, i64>) -> bool {
        if let Some(extents) = finished(&mut self.extents).await {
            let done = done();
            let behind = |(place, extent): (&Place, &Extent)| {
                extent.end - done.get(place).copied().unwrap_or(extent.low).max(extent.low)
            };
            let lag: i64 = extents.iter().map(behind).filter(|records| *records > 0).sum();
            self.stats.lags(lag.unsigned_abs());
        }
        if self.extents.is_none() && self.extents_due.passed() {
            let (cluster, places) = (self.cluster.clone(), self.places.clone());
            self.extents = Some(tokio::spawn(async move { cluster.extents(&places).await }));
        }
        if let Some(found) = finished(&mut self.found).await
            && found != self.places
        {
            tracing::info!(partitions = found.len(), "the topics have other partitions now");
            return true;
        }
        if !self.topics.is_empty() && self.found.is_none() && self.found_due.passed() {
            let (cluster, topics) = (self.cluster.clone(), self.topics.clone());
            self.found = Some(tokio::spawn(async move { cluster.places(&topics).await }));
        }
        finished(&mut self.published).await;
        false
    }

    /// Commits what is written to the group, now and then and without waiting: for the tools that show lag.
    pub(crate) fn publish(&mut self, done: &impl Fn() -> HashMap<Place, i64>) {
        if self.published.is_none() && self.publish_due.passed() {
            let (cluster, done) = (self.cluster.clone(), done());
            self.published = Some(tokio::spawn(async move { cluster.commit(&done).await }));
        }
    }
}

/// The answer to a question, when it has come. Questions nobody could answer are asked again at their next time.
async fn finished<T>(asked: &mut Asked<T>) -> Option<T> {
    if !asked.as_ref().is_some_and(JoinHandle::is_finished) {
        return None;
    }
    match asked.take()?.await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no answer from the cluster");
            None
        }
        Err(_) => None,
    }
}

/// Something that is due again and again.
pub(crate) struct Due {
    every: Duration,
    next: Instant,
}

impl Due {
    /// Every so many milliseconds, from now on or from then.
    pub(crate) fn every(millis: u64, at_once: bool) -> Self {
        let every = Duration::from_millis(millis);
        Due { every, next: if at_once { Instant::now() } else { Instant::now() + every } }
    }

    /// Whether it is due; if so, it is due again later.
    pub(crate) fn passed(&mut self) -> bool {
        let passed = Instant::now() >= self.next;
        if passed {
            self.next = Instant::now() + self.every;
        }
        passed
    }
}
