//! The role `score`: judges every payment and refund as it comes, and answers before it comes.
//!
//! ```text
//!  user_events ─────┐                          ┌─▶ fraud_decisions, fraud_alerts ┐
//!  transactions ────┼─▶ batch ─▶ judge ────────┤                                 ├ one Kafka transaction
//!  fraud_verdicts ──┤      (event time order)  └─▶ fraud_batches: which records  ┘
//!  fraud_lists ─────┤
//!  fraud_rules ─────┘
//!                                │
//!                                ├─▶ POST /v1/payments/score     (millrace-dashboard serves it, and takes what analysts say)
//!                                └─▶ score/state: all of it with its offsets, every half minute and at the end
//! ```
//!
//! **Exactly once:** the rows and the ranges of records they came from commit together. A restart reads the state that was kept,
//! takes the batches of `fraud_batches` behind it in again, without writing, and goes on where the last of them ended: the same
//! state to the bit as if it had not stopped. What was taken in but not committed is forgotten. A second scorer fences the first.
//!
//! **In time:** what was there before it started is taken in as it happened (`catch_up`); after that, as it comes.
//!
//! Reading order: `settings`, [`records`] (records in, rows out), `state`, `recovery`, `catch_up`, `answer`, [`said`] (what analysts say), [`board`], [`backtest`] (the past again), this.

pub(crate) mod answer;
pub(crate) mod backtest;
pub(crate) mod board;
mod catch_up;
mod challenge;
pub(crate) mod records;
mod recovery;
pub(crate) mod said;
mod settings;
mod state;

pub(crate) use recovery::{BatchRow, Range, read_batches};
pub(crate) use settings::ScoreSettings;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::rdkafka::message::BorrowedMessage;
use millrace_connectors::kafka::rdkafka::types::RDKafkaErrorCode as Code;
use millrace_connectors::kafka::reader::Reader;
use millrace_connectors::kafka::{ClientSettings, Cluster, Extent, KafkaError, Place};
use millrace_connectors::{Ending, Shutdown};
use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::{Classified, ErrorKind, Timestamp};
use tokio::task::{JoinHandle, spawn_blocking};

use self::catch_up::CatchUp;
use self::challenge::Challenge;
use self::records::{ALERTS, Batch, DECISIONS, Record, TOPICS, take};
use self::recovery::BATCHES;
use self::state::State;
use crate::roles::job::output::Output;
use crate::roles::state_file;

/// In whose name it reads; its offsets show the lag.
const GROUP: &str = "millrace-score";
/// Who may write: one at a time.
const TRANSACTIONAL_ID: &str = "millrace-score";
/// Records taken in while questions wait.
const RECORDS_AT_ONCE: usize = 64;

/// What the reading and the answering side share within the role.
pub(crate) struct Shared {
    settings: ScoreSettings,
    state: RwLock<State>,
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
pub(crate) struct Score {
    pub(crate) shared: Arc<Shared>,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
}

/// Starts to read; answers at once, from what was kept.
///
/// # Errors
/// A setting that cannot work.
pub(crate) fn start(
    settings: &ScoreSettings,
    kafka: &ClientSettings,
    data_dir: &Path,
    shutdown: Shutdown,
) -> anyhow::Result<Score> {
    let file = data_dir.join("score/state");
    let state = State::open(&settings.judge(), &file)?;
    let shared =
        Arc::new(Shared { settings: settings.clone(), state: RwLock::new(state), caught_up: AtomicBool::new(false) });
    let role = Role {
        kafka: kafka.clone(),
        shared: shared.clone(),
        file,
        shutdown,
        kept: Instant::now(),
        is_ahead: false,
        challenge: Challenge::default(),
    };
    Ok(Score { shared, task: tokio::spawn(role.run()) })
}

struct Role {
    kafka: ClientSettings,
    shared: Arc<Shared>,
    file: PathBuf,
    shutdown: Shutdown,
    kept: Instant,
    /// The state has taken something in that is not committed, or perhaps is.
    is_ahead: bool,
    challenge: Challenge,
}

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
            let before = self.shared.state().batch;
            let error = match self.session().await {
                Ok(Ended::Asked) => return Ok(()),
                Ok(Ended::Changed) => continue,
                Err(error) => error,
            };
            failures = if self.shared.state().batch == before { failures + 1 } else { 1 };
            // What a topic no longer holds, the next session starts behind.
            let code = error.downcast_ref::<KafkaError>().and_then(KafkaError::code);
            let gone = matches!(code, Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset));
            let kind = error.downcast_ref::<KafkaError>().map_or(ErrorKind::Internal, Classified::kind);
            match after_failure(&policy, if gone { ErrorKind::Unavailable } else { kind }, failures, 1.0) {
                RetryDecision::GiveUp => {
                    let error = match kind {
                        ErrorKind::Fenced => error.context("another scorer has taken over; run one a cluster"),
                        _ => error,
                    };
                    return Err(error.context("the scorer has stopped"));
                }
                RetryDecision::After(wait) => {
                    tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "the scorer reads again");
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.shutdown.at_least(Ending::Stop) => return Ok(()),
                    }
                }
            }
        }
    }

    /// Reads until something ends it.
    async fn session(&mut self) -> anyhow::Result<Ended> {
        let kafka = self.kafka.clone();
        // Whoever wrote before is fenced, and what it left open aborted, before the batches are read.
        let output = spawn_blocking(move || Output::new(&kafka, TRANSACTIONAL_ID)).await.context("the producer")??;
        let output = Arc::new(output);
        let cluster = Cluster::new(&self.kafka, GROUP)?;
        let topics: Vec<Arc<str>> = TOPICS.iter().map(|topic| Arc::from(*topic)).collect();
        let places = cluster.places(&topics).await?;
        if self.is_ahead {
            let state = State::open(&self.shared.settings.judge(), &self.file)?;
            *self.shared.state_mut() = state;
            self.is_ahead = false;
        }
        let extents = cluster.extents(&places).await?;
        recovery::catch_up(&self.kafka, &cluster, &self.shared, &extents).await?;
        let mut reader = Reader::new(&self.kafka, GROUP)?;
        reader.assign(self.shared.state().offsets.clone().into_iter().collect())?;
        let mut targets: Option<HashMap<Place, Extent>> = None;
        let mut committed = Instant::now();
        let most = self.shared.settings.batch_records_max;
        let mut catching = Some(CatchUp::new(extents));
        loop {
            let positions = match &catching {
                Some(catching) => catching.positions(&reader),
                None => reader.positions(),
            };
            match self.shutdown.asked() {
                Ending::Stop => {
                    self.keep(&cluster, &positions).await?;
                    return Ok(Ended::Asked);
                }
                Ending::Drain if targets.is_none() => targets = Some(cluster.extents(&places).await?),
                Ending::Drain | Ending::None => {}
            }
            if targets.as_ref().is_some_and(|targets| has_reached(&positions, targets)) {
                self.keep(&cluster, &positions).await?;
                return Ok(Ended::Asked);
            }
            let mut gathered = Gathered::default();
            let mut empty = match &mut catching {
                Some(catching) => catching.fill(&mut gathered, &reader, most)?,
                None => gathered.fill(&reader, most)?,
            };
            let wait = self.shared.settings.trigger.saturating_sub(committed.elapsed());
            if catching.is_none() && !gathered.is_empty() && !wait.is_zero() {
                tokio::time::sleep(wait).await;
                empty = gathered.fill(&reader, most)?;
            }
            if !gathered.is_empty() {
                self.commit(gathered, &output).await?;
                committed = Instant::now();
                // What is of the past was tried in the past.
                if catching.is_none() {
                    self.challenge.look(&self.kafka, &self.shared);
                }
            }
            if catching.as_ref().is_some_and(CatchUp::is_over) {
                catching = None;
                self.shared.caught_up.store(true, Ordering::Relaxed);
            }
            if self.kept.elapsed() >= self.shared.settings.snapshot_interval {
                if let Err(error) = self.keep(&cluster, &positions).await {
                    // The state before it is still there, and the batches behind it.
                    tracing::warn!("{error:#}; it is tried again");
                }
                if cluster.places(&topics).await? != places {
                    return Ok(Ended::Changed);
                }
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

    /// Takes a batch in and writes what came of it, with what it was made of.
    async fn commit(&mut self, gathered: Gathered, output: &Arc<Output>) -> anyhow::Result<()> {
        self.is_ahead = true;
        let (batch, ranges) = {
            let mut state = self.shared.state_mut();
            state.batch += 1;
            (state.batch, gathered.ranges(&mut state.offsets))
        };
        let mut rows: Vec<(&'static str, String, Vec<u8>)> = Vec::new();
        let mut records = gathered.batch.in_order().into_iter().peekable();
        while records.peek().is_some() {
            let mut state = self.shared.state_mut();
            for record in records.by_ref().take(RECORDS_AT_ONCE) {
                let Some((transaction, judgement)) = take(&mut state.judge, record) else { continue };
                let row = records::row(&transaction, &judgement);
                let value = serde_json::to_vec(&row).context("encode a decision")?;
                if row.decision != millrace_intelligence::fraud::live::Decision::Approve {
                    rows.push((ALERTS, row.decision_id.to_owned(), value.clone()));
                }
                rows.push((DECISIONS, row.decision_id.to_owned(), value));
            }
        }
        let row = BatchRow { batch, time: Timestamp::from_system_time(SystemTime::now()), ranges };
        let output = output.clone();
        let written = spawn_blocking(move || -> Result<(), KafkaError> {
            let transaction = output.begin()?;
            for (topic, key, value) in &rows {
                transaction.send(topic, Some(key.as_bytes()), value)?;
            }
            transaction.own(BATCHES, &batch.to_string(), &row)?;
            transaction.publish()
        });
        written.await.context("writing decisions")??;
        self.is_ahead = false;
        Ok(())
    }

    /// Keeps the state, then tells the cluster how far it is.
    async fn keep(&mut self, cluster: &Cluster, positions: &HashMap<Place, i64>) -> anyhow::Result<()> {
        self.kept = Instant::now();
        // Nobody else writes the topic and nothing is open: every batch so far lies before its end.
        // A cluster that does not answer now costs the next start some more reading.
        let batches = cluster.extents(&[Place::new(BATCHES, 0)]).await.unwrap_or_default();
        if let Some(end) = batches.values().map(|extent| extent.end).max() {
            self.shared.state_mut().batches_from = end;
        }
        let bytes = self.shared.state().encode();
        let file = self.file.clone();
        spawn_blocking(move || state_file::put(&file, &bytes)).await.context("keeping the state")??;
        if let Err(error) = cluster.commit(positions).await {
            tracing::debug!(%error, "the scorer's offsets are not shown now");
        }
        Ok(())
    }
}

/// Records on their way into a batch.
#[derive(Default)]
struct Gathered {
    batch: Batch,
    /// Offset behind the last record of each partition, whether it could be read or not.
    ends: BTreeMap<Place, i64>,
    count: usize,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Takes what is there, up to a bound; whether nothing more is there.
    fn fill(&mut self, reader: &Reader, most: usize) -> Result<bool, KafkaError> {
        while self.count < most {
            let Some(message) = reader.next()? else { return Ok(true) };
            let (place, offset, record) = read(&message);
            self.push(place, offset, record);
        }
        Ok(false)
    }

    fn push(&mut self, place: Place, offset: i64, record: Option<Record>) {
        match record {
            Some(record) => self.batch.push(record),
            None => tracing::debug!(topic = %place.topic, offset, "a record that breaks its contract"),
        }
        self.ends.insert(place, offset + 1);
        self.count += 1;
    }

    /// The ranges of its records; the offsets move behind them.
    fn ranges(&self, offsets: &mut BTreeMap<Place, i64>) -> Vec<Range> {
        let range = |(place, to): (&Place, &i64)| {
            let from = offsets.insert(place.clone(), *to).unwrap_or(0);
            Range { topic: place.topic.to_string(), partition: place.partition, from, to: *to }
        };
        self.ends.iter().map(range).collect()
    }
}

/// Where a record lies, and what it says; none when it breaks its contract.
fn read(message: &BorrowedMessage<'_>) -> (Place, i64, Option<Record>) {
    let arrived = message.timestamp().to_millis().map(Timestamp::from_millis);
    let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
    let record = Record::read(topic, partition, offset, message.payload().unwrap_or_default(), arrived);
    (Place::new(topic, partition), offset, record)
}

fn has_reached(positions: &HashMap<Place, i64>, extents: &HashMap<Place, Extent>) -> bool {
    extents.iter().all(|(place, extent)| positions.get(place).is_some_and(|at| *at >= extent.end))
}
