//! The role `recommend`: keeps the recommender's index from the source streams, and answers over HTTP.
//!
//! ```text
//!  user_events ───────┐            ┌─▶ GET /v1/recommendations        (millrace-dashboard serves it)
//!  transactions ──────┼─▶ State ───┤
//!  inventory_updates ─┘     │      └─▶ GET /v1/recommendations/comparison
//!                           └─▶ recommend/state: all of it with its offsets, every half minute and at the end
//! ```
//!
//! A restart reads the file and goes on at its offsets: the same state as if it had not stopped. Offsets are committed to a
//! group of its own for the lag to be seen; nothing is decided by them. Reading order: `events`, `state`, `answer`, this.

mod answer;
mod events;
mod settings;
mod state;

pub(crate) use settings::RecommendSettings;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use millrace_connectors::kafka::cluster::{StartDecision, start_at};
use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::rdkafka::types::RDKafkaErrorCode as Code;
use millrace_connectors::kafka::reader::Reader;
use millrace_connectors::kafka::{ClientSettings, Cluster, Extent, KafkaError, Place};
use millrace_connectors::{Ending, Shutdown};
use millrace_intelligence::recommend::{Fit, NextSettings, Placement};
use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::{Classified, ErrorKind, Timestamp};
use tokio::task::{JoinHandle, spawn_blocking};

use answer::Workspaces;
use events::{TOPICS, Taken};
use state::State;

use crate::roles::state_file;

/// In whose name it reads; its offsets show the lag.
const GROUP: &str = "millrace-recommend";
/// Records taken in while questions wait.
const RECORDS_AT_ONCE: usize = 256;
/// Fewer sessions than this are not fitted to.
const FIT_SESSIONS_MIN: usize = 300;

/// What the reading and the answering side share within the role.
#[derive(Debug)]
pub(crate) struct Shared {
    settings: RecommendSettings,
    state: RwLock<State>,
    spaces: Workspaces,
    /// Answers given by this run.
    answers: AtomicU64,
    /// Tells ids of this run from those of another.
    run: String,
    /// Everything that was there at the start has been read.
    caught_up: AtomicBool,
}

impl Shared {
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running role.
#[derive(Debug)]
pub(crate) struct Recommend {
    pub(crate) shared: Arc<Shared>,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

/// Starts to read; answers at once, from what was kept.
///
/// # Errors
/// A setting that cannot work.
pub(crate) fn start(
    settings: &RecommendSettings,
    kafka: &ClientSettings,
    data_dir: &Path,
    shutdown: Shutdown,
) -> anyhow::Result<Recommend> {
    let file = data_dir.join("recommend/state");
    let state = State::open(settings, &file)?;
    let shared = Arc::new(Shared {
        settings: settings.clone(),
        state: RwLock::new(state),
        spaces: Workspaces::default(),
        answers: AtomicU64::new(0),
        run: format!("{:x}", Timestamp::from_system_time(SystemTime::now()).0),
        caught_up: AtomicBool::new(false),
    });
    let role =
        Role { kafka: kafka.clone(), shared: shared.clone(), file, shutdown, kept: Instant::now(), fitting: None };
    Ok(Recommend { shared, task: tokio::spawn(role.run()) })
}

struct Role {
    kafka: ClientSettings,
    shared: Arc<Shared>,
    file: PathBuf,
    shutdown: Shutdown,
    kept: Instant,
    fitting: Option<Fitting>,
}

/// Weights being fitted, and the event time they are of.
type Fitting = JoinHandle<(Fit, NextSettings, Option<Timestamp>)>;

/// Why a session of reading ended.
enum Ended {
    Asked,
    /// There are other partitions than at the beginning.
    Changed,
}

impl Role {
    async fn run(mut self) -> anyhow::Result<()> {
        let policy = RetryPolicy::default();
        let mut failures = 0;
        loop {
            let before = self.shared.state().offsets.clone();
            let error = match self.session().await {
                Ok(Ended::Asked) => return self.keep(None).await,
                Ok(Ended::Changed) => continue,
                Err(error) => error,
            };
            failures = if self.shared.state().offsets == before { failures + 1 } else { 1 };
            // What a topic no longer holds, the next session starts behind.
            let code = error.downcast_ref::<KafkaError>().and_then(KafkaError::code);
            let gone = matches!(code, Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset));
            let kind = error.downcast_ref::<KafkaError>().map_or(ErrorKind::Internal, Classified::kind);
            match after_failure(&policy, if gone { ErrorKind::Unavailable } else { kind }, failures, 1.0) {
                RetryDecision::GiveUp => return Err(error.context("the recommender has stopped")),
                RetryDecision::After(wait) => {
                    tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "the recommender reads again");
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.shutdown.at_least(Ending::Stop) => return self.keep(None).await,
                    }
                }
            }
        }
    }

    /// Reads until something ends it.
    async fn session(&mut self) -> anyhow::Result<Ended> {
        let mut reader = Reader::new(&self.kafka, GROUP)?;
        let cluster = Cluster::new(&self.kafka, GROUP)?;
        let topics: Vec<Arc<str>> = TOPICS.iter().map(|topic| Arc::from(*topic)).collect();
        let places = cluster.places(&topics).await?;
        let extents = cluster.extents(&places).await?;
        reader.assign(self.starts(&extents))?;
        let mut targets: Option<HashMap<Place, Extent>> = None;
        loop {
            match self.shutdown.asked() {
                Ending::Stop => return Ok(Ended::Asked),
                Ending::Drain if targets.is_none() => targets = Some(cluster.extents(&places).await?),
                Ending::Drain | Ending::None => {}
            }
            let empty = self.take(&reader)?;
            let positions = reader.positions();
            if !self.shared.caught_up.load(Ordering::Relaxed) && has_reached(&positions, &extents) {
                self.shared.caught_up.store(true, Ordering::Relaxed);
            }
            if targets.as_ref().is_some_and(|targets| has_reached(&positions, targets)) {
                return Ok(Ended::Asked);
            }
            if self.kept.elapsed() >= self.shared.settings.snapshot_interval {
                if let Err(error) = self.keep(Some((&cluster, &positions))).await {
                    // The state before it is still there, with its own offsets.
                    tracing::warn!("{error:#}; it is tried again");
                }
                if cluster.places(&topics).await? != places {
                    return Ok(Ended::Changed);
                }
            }
            if self.fitting.as_ref().is_some_and(JoinHandle::is_finished)
                && let Some(done) = self.fitting.take()
            {
                self.adopt(done.await.context("fitting the weights")?)?;
            }
            if self.fitting.is_none() && self.is_to_fit() {
                self.fitting = Some(self.fit());
            }
            if empty {
                let wanted = if targets.is_some() { Ending::Stop } else { Ending::Drain };
                tokio::select! {
                    () = reader.ready() => {}
                    () = self.shutdown.at_least(wanted) => {}
                }
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Where to go on in each partition.
    fn starts(&self, extents: &HashMap<Place, Extent>) -> HashMap<Place, i64> {
        let mut state = self.shared.state_mut();
        let mut starts = HashMap::new();
        for (place, extent) in extents {
            let at = match start_at(state.offsets.get(place).copied(), *extent) {
                StartDecision::At(at) => at,
                StartDecision::Gap { at, missed } => {
                    tracing::warn!(topic = %place.topic, partition = place.partition, missed, "records were deleted before the recommender had read them");
                    at
                }
                StartDecision::Ahead { .. } => {
                    tracing::warn!(topic = %place.topic, partition = place.partition, "the topic is another one than the recommender has read; it is read from its beginning");
                    extent.low
                }
            };
            state.offsets.insert(place.clone(), at);
            starts.insert(place.clone(), at);
        }
        starts
    }

    /// Takes in what is there, up to a bound; whether nothing more is there.
    fn take(&self, reader: &Reader) -> Result<bool, KafkaError> {
        let mut state = self.shared.state_mut();
        for _ in 0..RECORDS_AT_ONCE {
            let Some(message) = reader.next()? else { return Ok(true) };
            let arrived = message.timestamp().to_millis().map(Timestamp::from_millis);
            let value = message.payload().unwrap_or_default();
            if events::take(&mut state, message.topic(), value, arrived) == Taken::Malformed {
                tracing::debug!(
                    topic = message.topic(),
                    offset = message.offset(),
                    "a record that breaks its contract"
                );
            }
            let place = Place::new(message.topic(), message.partition());
            state.offsets.insert(place, message.offset() + 1);
        }
        Ok(false)
    }

    /// Keeps the state, then tells the cluster how far it is.
    async fn keep(&mut self, read: Option<(&Cluster, &HashMap<Place, i64>)>) -> anyhow::Result<()> {
        self.kept = Instant::now();
        let (shared, file) = (self.shared.clone(), self.file.clone());
        let kept = spawn_blocking(move || {
            let bytes = shared.state().encode();
            state_file::put(&file, &bytes)
        });
        kept.await.context("keeping the state")??;
        if let Some((cluster, positions)) = read
            && let Err(error) = cluster.commit(positions).await
        {
            tracing::debug!(%error, "the recommender's offsets are not shown now");
        }
        Ok(())
    }

    /// By event time: a restart alone changes no weight.
    fn is_to_fit(&self) -> bool {
        let (settings, state) = (&self.shared.settings, self.shared.state());
        let interval = i64::try_from(settings.fit_interval.as_micros()).unwrap_or(i64::MAX);
        let since = |fitted: Timestamp| state.recommender.now().map_or(0, |now| now.0.saturating_sub(fitted.0));
        settings.fit
            && self.shared.caught_up.load(Ordering::Relaxed)
            && state.fitted.is_none_or(|fitted| since(fitted) >= interval)
            && state.recommender.size().sessions >= FIT_SESSIONS_MIN
    }

    /// Fits the weights on a copy, on a thread of its own: questions and records go on meanwhile.
    fn fit(&self) -> Fitting {
        let shared = self.shared.clone();
        spawn_blocking(move || {
            let mut copy = shared.state().recommender.clone();
            let placement = copy.settings().placements.get("next").cloned().unwrap_or_else(Placement::default);
            let fit = copy.fit(&placement, shared.settings.fit_sessions, || {});
            (fit, copy.settings().next.clone(), copy.now())
        })
    }

    /// Takes fitted weights, and keeps them soon.
    fn adopt(&mut self, (fit, next, of): (Fit, NextSettings, Option<Timestamp>)) -> anyhow::Result<()> {
        tracing::info!(
            events = fit.events,
            trials = fit.trials,
            mrr_before = fit.reciprocal_rank.0,
            mrr_after = fit.reciprocal_rank.1,
            "the recommender's weights are fitted"
        );
        let mut state = self.shared.state_mut();
        let settings = millrace_intelligence::recommend::Settings { next, ..state.recommender.settings().clone() };
        state.recommender.set(settings)?;
        state.fitted = of;
        drop(state);
        self.kept = Instant::now().checked_sub(self.shared.settings.snapshot_interval).unwrap_or(self.kept);
        Ok(())
    }
}

fn has_reached(positions: &HashMap<Place, i64>, extents: &HashMap<Place, Extent>) -> bool {
    extents.iter().all(|(place, extent)| positions.get(place).is_some_and(|at| *at >= extent.end))
}

/// The handle of the front door.
pub(crate) fn recommends(recommend: &Recommend) -> Arc<dyn millrace_dashboard::service::Recommends> {
    recommend.shared.clone()
}
