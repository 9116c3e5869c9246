//! The simulated shop as a role: its records into the source topics, at the pace of its clock.
//!
//! ```text
//!  new shop:      now − history ═══ as fast as it goes ═══▶ now ─── at the pace of the clock ───▶
//!  known shop:    (closed)                                  now ─── with its stock and orders ───▶
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::{Ending, Shutdown};
use millrace_model::Timestamp;
use millrace_simulate::{CampaignSet, Ramp, Record, Shop, ShopSettings, ShopState};

/// Longest wait for room in the producer's queue.
const PATIENCE: Duration = Duration::from_secs(60);
/// The shop is taken forward in steps of this much real time.
const STEP: Duration = Duration::from_millis(20);
/// Event time made at once while catching up, microseconds: bounds the memory of a step.
const CATCH_UP_STEP: i64 = 2_000_000;
/// How often the shop's state is kept.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// Most records of the past of a new shop, about.
const HISTORY_RECORDS_MAX: f64 = 1e6;
/// Share of its rate a new shop opens with, at the beginning of its history.
const OPENING_SHARE: f64 = 0.08;

/// How to run the shop.
#[derive(Clone, Debug)]
pub(crate) struct SimulateSettings {
    pub(crate) kafka: ClientSettings,
    /// Records a second of event time.
    pub(crate) rate: f64,
    pub(crate) seed: u64,
    /// Event time that passes in a second.
    pub(crate) speed: f64,
    /// The past of a new shop.
    pub(crate) history: Duration,
    /// Where the shop's state is kept; `None`: nowhere.
    pub(crate) state_file: Option<PathBuf>,
    /// Event time after which the shop closes.
    pub(crate) duration: Option<Duration>,
    pub(crate) campaigns: CampaignSet,
    /// Ends with the answers to visits under way.
    pub(crate) finish: bool,
}

/// What others may look at while it runs.
#[derive(Debug, Default)]
pub(crate) struct SimulateStatus {
    /// Records produced.
    pub(crate) records: AtomicU64,
    /// Event time the shop has come to, microseconds.
    pub(crate) event_time: AtomicI64,
}

/// Runs the shop until it is asked to stop or its time is over, on the calling thread. Gives the number of records.
///
/// # Errors
/// Settings out of range, a state that does not fit, or Kafka.
pub(crate) fn run(
    settings: &SimulateSettings,
    shutdown: &Shutdown,
    status: &Arc<SimulateStatus>,
) -> anyhow::Result<u64> {
    let producer = Producer::new(&settings.kafka, None)?;
    let now = Timestamp::from_system_time(SystemTime::now());
    let (mut shop, first) = open(settings, now)?;
    let mut role = Role { settings, producer, status, kept: Instant::now(), out: Vec::new() };
    role.keep(&shop)?;
    let started = Instant::now();
    // The shop's clock: event time at the moment `started`.
    let origin = if first < now { now } else { first };
    let end = settings.duration.map(|duration| Timestamp(first.0 + micros(duration)));
    let mut cursor = first;
    while shutdown.asked() == Ending::None {
        let passed = started.elapsed().as_secs_f64() * settings.speed;
        let clock = Timestamp(origin.0 + (passed * 1e6) as i64);
        let target = end.map_or(clock, |end| clock.min(end));
        if cursor < target {
            cursor = Timestamp(target.0.min(cursor.0 + CATCH_UP_STEP));
            shop.advance(cursor, &mut role.out);
            role.send(cursor)?;
        } else if end.is_some_and(|end| cursor >= end) {
            break;
        } else {
            std::thread::park_timeout(STEP);
        }
        if role.kept.elapsed() >= KEEP_EVERY {
            role.keep(&shop)?;
        }
    }
    if settings.finish {
        shop.finish(&mut role.out);
        role.send(cursor)?;
    }
    role.producer.flush(PATIENCE)?;
    role.keep(&shop)?;
    Ok(status.records.load(Ordering::Relaxed))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The past a new shop gets: as asked for, but no more than a million records, so that a busy shop is soon at the present.
fn history(settings: &SimulateSettings) -> i64 {
    let seconds_max = HISTORY_RECORDS_MAX / (settings.rate * f64::midpoint(OPENING_SHARE, 1.0)).max(1.0);
    micros(settings.history).min((seconds_max * 1e6) as i64)
}

/// Opens the shop that is kept, or a new one; gives the event time it starts from.
fn open(settings: &SimulateSettings, now: Timestamp) -> anyhow::Result<(Shop, Timestamp)> {
    let history = history(settings);
    let start = Timestamp(now.0 - history);
    let mut shop = ShopSettings::new(settings.seed, start, settings.rate);
    shop.campaigns = settings.campaigns;
    shop.ramp = (history > 0).then_some(Ramp { from_share: OPENING_SHARE, duration: history });
    let kept = settings.state_file.as_deref().and_then(read_state);
    if let Some(state) = kept {
        let at = Timestamp(now.0.max(state.cursor().0));
        match Shop::resume(shop.clone(), state, at) {
            Ok(known) => return Ok((known, at)),
            Err(error) => tracing::warn!(%error, "the kept shop cannot be opened again; a new one opens"),
        }
    }
    Ok((Shop::new(shop)?, start))
}

fn read_state(path: &Path) -> Option<ShopState> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

struct Role<'a> {
    settings: &'a SimulateSettings,
    producer: Producer,
    status: &'a Arc<SimulateStatus>,
    kept: Instant,
    out: Vec<Record>,
}

impl Role<'_> {
    fn send(&mut self, cursor: Timestamp) -> anyhow::Result<()> {
        for record in &self.out {
            let outgoing = Outgoing {
                topic: record.topic.name(),
                partition: None,
                key: Some(&record.key),
                value: Some(&record.value),
                time: Some(record.arrival),
            };
            self.producer.send(outgoing, PATIENCE)?;
        }
        self.status.records.fetch_add(self.out.len() as u64, Ordering::Relaxed);
        self.status.event_time.store(cursor.0, Ordering::Relaxed);
        self.out.clear();
        Ok(())
    }

    /// Keeps the shop's state. What was sent after it was kept is not in it: after a crash the shop's own books may differ
    /// from the topics by a few seconds.
    fn keep(&mut self, shop: &Shop) -> anyhow::Result<()> {
        self.kept = Instant::now();
        let Some(path) = &self.settings.state_file else { return Ok(()) };
        let unfinished = path.with_extension("tmp");
        let text = serde_json::to_vec(&shop.state()).context("cannot encode the shop's state")?;
        std::fs::write(&unfinished, text)
            .and_then(|()| std::fs::rename(&unfinished, path))
            .with_context(|| format!("cannot keep the shop's state in {}", path.display()))
    }
}
