//! A job: one pipeline file running on the embedded backend, on a thread of its own.
//!
//! ```text
//!  input (consumer) ─▶ engine: Job::run ─▶ state: epoch log (durable) ─▶ output: one transaction
//!        ▲                                                               rows · dead letters · progress · offsets
//!        └────────────── committed offsets (their metadata names the epoch) ◀──────────┘
//! ```
//!
//! Exactly once: rows and offsets commit together; the log of an epoch is durable before. A crash between the two leaves an
//! aborted transaction and a logged epoch that was never committed, which recovery forgets.

pub(crate) mod backfill;
mod ends;
mod input;
mod laps;
mod letters;
mod live;
mod memory;
pub(crate) mod output;
mod recovery;
pub(crate) mod shared;
mod status;
mod taken;
pub(crate) mod takeover;
pub(crate) mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_connectors::kafka::{ClientSettings, KafkaError};
use millrace_connectors::sink::SinkError;
use millrace_connectors::{Ending, Shutdown};
use millrace_engine::job::Advance;
use millrace_engine::sql::Origin;
use millrace_engine::state::{Claim, EpochEntry, Range, StateDir};
use millrace_engine::{EngineError, Job, JobPlan, JobSettings, StaticTables};
use millrace_model::progress::TableProgress;
use millrace_model::{Classified, ErrorKind, Timestamp};

use ends::Ends;
use input::{EpochBounds, Input, Place};
use laps::Laps;
use live::Live;
use memory::Share;
pub(crate) use memory::StateMemory;
use output::Output;
use shared::{Readers, Wanted};
pub(crate) use status::{JobStatus, Seen, all_caught_up};
use takeover::Given;

/// What stops a job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The engine: statement, limit or state.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The lake, for a job that is computed over it.
    #[error(transparent)]
    Lake(#[from] SinkError),
    /// Recovery cannot decide without a person.
    #[error("{0}")]
    Refused(String),
}

impl Classified for JobError {
    fn kind(&self) -> ErrorKind {
        match self {
            JobError::Kafka(error) => error.kind(),
            JobError::Engine(error) => error.kind(),
            JobError::Lake(error) => error.kind(),
            JobError::Refused(_) => ErrorKind::Invalid,
        }
    }
}

/// How jobs run.
#[derive(Clone, Debug)]
pub(crate) struct JobRunSettings {
    pub(crate) kafka: ClientSettings,
    /// Folder of all jobs' state.
    pub(crate) state_root: PathBuf,
    /// Shortest time between the beginnings of two epochs; the first record after a longer silence is run at once.
    pub(crate) trigger: Duration,
    pub(crate) epoch_records_max: usize,
    pub(crate) epoch_bytes_max: usize,
    /// A caught-up partition that is silent this long holds the watermark back no longer.
    pub(crate) idle_timeout: Duration,
    pub(crate) snapshot_interval: Duration,
    pub(crate) job: JobSettings,
    /// What the state of all jobs may take.
    pub(crate) memory: Arc<StateMemory>,
    /// What reads topics for all jobs.
    pub(crate) readers: Arc<Readers>,
    pub(crate) runtime: tokio::runtime::Handle,
    /// Folder with the sessions of jobs that Spark was not told to stop.
    pub(crate) spark_sessions: PathBuf,
}

/// Longest wait for a record: what else a job looks after is looked after so often.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// Shortest time between two progress rows of a table.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// How often a job that stands still says so again.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(5);
/// How often the ends of the partitions are asked for.
const ENDS_INTERVAL: Duration = Duration::from_millis(500);

/// Name of the job that checks every source record against its contract.
pub(crate) const INTAKE: &str = "intake";

/// The consumer group of a job.
pub(crate) fn group_of(job: &str) -> String {
    format!("millrace-{job}")
}

/// Keeps whoever still runs this job on the embedded backend from writing.
///
/// # Errors
/// Kafka.
#[cfg(feature = "spark")]
pub(crate) fn fence(kafka: &ClientSettings, job: &str) -> Result<(), KafkaError> {
    Output::new(kafka, &group_of(job)).map(drop)
}

/// The topic of a source.
fn topic_of<'a>(source: &'a str, origin: &'a Origin) -> &'a str {
    match origin {
        Origin::Topic(topic) => topic,
        Origin::Ndjson(_) => source,
    }
}

/// Runs a job until it is told to stop, on the calling thread.
///
/// # Errors
/// What the supervisor decides on by its kind.
pub(crate) fn run(
    plan: JobPlan,
    settings: &JobRunSettings,
    statics: &dyn StaticTables,
    shutdown: &Shutdown,
    status: &Arc<JobStatus>,
) -> Result<(), JobError> {
    let mut job_settings = settings.job.clone();
    job_settings.secret = (random(), random());
    // All jobs share it, and wait for each other.
    job_settings.state_bytes_max = usize::MAX;
    let wanted: Vec<Wanted> = plan.sources.iter().filter_map(Wanted::of).collect();
    let mut job = Job::new(plan, job_settings)?;
    let name = job.name().to_owned();
    let group = group_of(&name);
    let sources: Vec<(String, String)> =
        job.sources().map(|(source, origin)| (topic_of(source, origin).to_owned(), source.to_owned())).collect();
    let claim = Claim::take(&settings.state_root, &name)?;
    // First the producer: it fences whoever still runs this job.
    let output = Output::new(&settings.kafka, &group)?;
    let mut input = Input::new(&settings.kafka, &group, &sources)?;
    let mut state = StateDir::open(claim)?;
    let given = recovery::restore(&mut input, &output, &mut state, &mut job, settings)?;
    let places = input.places()?;
    let input = Live::new(input, wanted, &settings.readers, &settings.kafka, group.clone())?;
    let now = Instant::now();
    let mut running = Running {
        job,
        input,
        output,
        state,
        settings,
        statics,
        status,
        epoch_at: now,
        snapshot_at: now,
        progress_at: None,
        progress_counts: 0,
        static_read: BTreeMap::new(),
        dead_letters_malformed: name == INTAKE,
        given,
        memory: settings.memory.share(&name),
        trouble: None,
        laps: Laps::new(),
    };
    let ends = Ends::new(&settings.kafka, &group, places)?;
    running.work(shutdown, &ends)?;
    // Another backend may go on from what it says.
    running.progress_at = None;
    running.publish_progress()?;
    running.state.snapshot(&running.job)?;
    running.state.settle()?;
    Ok(())
}

/// A random number that is different in every process; it seeds the deduplicator's hash.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

struct Running<'a> {
    job: Job,
    input: Live<'a>,
    output: Output,
    state: StateDir,
    settings: &'a JobRunSettings,
    statics: &'a dyn StaticTables,
    status: &'a Arc<JobStatus>,
    /// When the last epoch began.
    epoch_at: Instant,
    snapshot_at: Instant,
    progress_at: Option<Instant>,
    progress_counts: u64,
    static_read: BTreeMap<String, Instant>,
    dead_letters_malformed: bool,
    /// Rows that Spark gave before this job came here.
    given: Given,
    memory: Share,
    /// Why it stands still.
    trouble: Option<String>,
    laps: Laps,
}

impl Running<'_> {
    fn work(&mut self, shutdown: &Shutdown, ends: &Ends) -> Result<(), JobError> {
        let mut looked = None;
        loop {
            match shutdown.asked() {
                Ending::Stop => return Ok(()),
                Ending::Drain => ends.hurry(),
                Ending::None => {}
            }
            self.refresh_static();
            self.laps.lap("static tables");
            if let Some(why) = self.memory.hold(self.job.state_bytes()) {
                if shutdown.asked() == Ending::Drain {
                    self.status.failed(why);
                    return Ok(());
                }
                self.stand_still(why)?;
            } else {
                self.go_on()?;
                self.epoch()?;
            }
            if self.trouble.is_none() && self.snapshot_at.elapsed() >= self.settings.snapshot_interval {
                self.state.snapshot(&self.job)?;
                self.snapshot_at = Instant::now();
                self.laps.lap("snapshot");
            }
            self.laps.end(self.job.name());
            if let Some(known) = ends.after(looked) {
                looked = Some(known.asked);
                self.input.input.know_ends(known.ends);
                self.status.looked(self.input.lag(), self.unpublished(), known.asked);
            }
        }
    }

    /// Takes nothing for a moment, and says why.
    fn stand_still(&mut self, why: String) -> Result<(), JobError> {
        if self.trouble.is_none() {
            tracing::warn!(job = self.job.name(), "the job {why}");
            self.progress_at = None;
        }
        self.trouble = Some(why);
        if self.progress_at.is_none_or(|at| at.elapsed() >= TROUBLE_INTERVAL) {
            self.tell_progress()?;
        }
        std::thread::park_timeout(IDLE_WAIT);
        self.laps.skip();
        Ok(())
    }

    fn go_on(&mut self) -> Result<(), JobError> {
        if self.trouble.take().is_some() {
            tracing::info!(job = self.job.name(), "there is memory again: the job goes on");
            self.tell_progress()?;
        }
        Ok(())
    }

    /// One epoch: what has come since the last one, or comes within the trigger.
    fn epoch(&mut self) -> Result<(), JobError> {
        let bounds =
            EpochBounds { records_max: self.settings.epoch_records_max, bytes_max: self.settings.epoch_bytes_max };
        let idle = self.idle();
        let gather = self.epoch_at + self.settings.trigger;
        self.input.join()?;
        let taken = self.input.take(Instant::now() + IDLE_WAIT, gather, bounds)?;
        self.laps.skip();
        let started = Instant::now();
        let advance = Advance::Live { idle, ended: BTreeSet::new() };
        if taken.is_empty() && !self.job.would_advance(&advance) {
            return self.publish_progress();
        }
        self.epoch_at = started;
        let ranges = taken.ranges();
        let output = self.job.run(&taken.batches(&self.input.input), &advance)?;
        self.laps.lap("engine");
        let name_of = |place: &Place| self.input.input.source(&place.0).to_owned();
        let entry = EpochEntry {
            epoch: self.job.epoch(),
            ranges: ranges
                .iter()
                .map(|(place, first, last)| Range {
                    source: name_of(place),
                    partition: place.1,
                    from: *first,
                    to: last + 1,
                })
                .collect(),
            watermarks: self.job.watermarks(),
        };
        let now = Timestamp::from_system_time(std::time::SystemTime::now());
        let transaction = self.output.begin()?;
        let given = &mut self.given;
        for rows in &output.rows {
            match given.is_empty() {
                true => transaction.rows(rows)?,
                false => transaction.rows_but(rows, |row| given.has(&rows.table, row))?,
            }
        }
        let mut letters = letters::late(&taken, &output, self.job.name(), now);
        if self.dead_letters_malformed {
            letters.extend(letters::malformed(&taken, &output, self.job.name(), now));
        }
        for letter in &letters {
            transaction.own("dead_letters", &letter.dead_letter_id, letter)?;
        }
        let mut offsets = self.input.positions();
        for ((topic, partition), _, last) in &ranges {
            let next = offsets.entry((topic.clone(), *partition)).or_insert(last + 1);
            *next = (*next).max(last + 1);
        }
        let publish = self.progress_at.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL);
        let mut counted = self.progress_counts;
        if publish {
            let rows = self.progress(now, &offsets, started.elapsed());
            counted = counts_of(&rows);
            for row in rows {
                transaction.own("job_progress", &row.table, &row)?;
            }
        }
        self.laps.lap("send");
        // Durable before the commit; the rows are on their way to the broker meanwhile.
        self.state.append(&entry)?;
        self.laps.lap("log");
        let group = self.input.input.group()?;
        transaction.commit(group, &offsets, self.job.epoch(), self.state.mark())?;
        self.laps.lap("commit");
        let records = taken.len();
        drop(taken);
        let noted: Vec<(Place, i64)> = ranges.into_iter().map(|(place, _, last)| (place, last)).collect();
        self.input.input.note(&noted);
        if publish {
            (self.progress_at, self.progress_counts) = (Some(Instant::now()), counted);
        }
        self.status.committed(self.job.epoch(), records, started.elapsed());
        Ok(())
    }

    /// Nothing to do: if the last progress row is behind, a transaction of its own brings it up to date.
    fn publish_progress(&mut self) -> Result<(), JobError> {
        let due = self.progress_at.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL);
        if !due || !self.unpublished() || self.job.epoch() == 0 {
            return Ok(());
        }
        self.tell_progress()
    }

    fn tell_progress(&mut self) -> Result<(), JobError> {
        let now = Timestamp::from_system_time(std::time::SystemTime::now());
        let offsets = self.input.positions();
        let rows = self.progress(now, &offsets, Duration::ZERO);
        let transaction = self.output.begin()?;
        for row in &rows {
            transaction.own("job_progress", &row.table, row)?;
        }
        transaction.commit(self.input.input.group()?, &offsets, self.job.epoch(), self.state.mark())?;
        self.laps.lap("progress");
        (self.progress_at, self.progress_counts) = (Some(Instant::now()), counts_of(&rows));
        self.status.committed(self.job.epoch(), 0, Duration::ZERO);
        Ok(())
    }

    /// The last progress row tells of less than has been done.
    fn unpublished(&self) -> bool {
        self.job.progress("", Timestamp(0)).iter().map(measure).sum::<u64>() != self.progress_counts
    }

    fn progress(&self, now: Timestamp, offsets: &BTreeMap<Place, i64>, took: Duration) -> Vec<TableProgress> {
        let mut rows = told(&self.job, now, took, offsets, |place| self.input.input.end(place));
        rows.iter_mut().for_each(|row| row.trouble.clone_from(&self.trouble));
        rows
    }

    fn idle(&self) -> BTreeSet<(String, i32)> {
        let idle = self.input.idle(self.settings.idle_timeout).into_iter();
        idle.map(|(topic, partition)| (self.input.input.source(&topic).to_owned(), partition)).collect()
    }

    /// Reads static tables again whose interval has passed. A table that cannot be read now keeps its last rows.
    fn refresh_static(&mut self) {
        let read = &mut self.static_read;
        let mut due = BTreeSet::new();
        for table in self.job.static_tables() {
            let at = read.entry(table.name.clone()).or_insert_with(Instant::now);
            if at.elapsed() >= table.refresh {
                *at = Instant::now();
                due.insert(table.name.clone());
            }
        }
        if due.is_empty() {
            return;
        }
        for error in self.job.reload_static(self.statics, |table| due.contains(&table.name)) {
            tracing::warn!(job = self.job.name(), "{error}; going on with the rows read before");
        }
    }
}

/// A number that changes whenever a progress row would.
fn measure(row: &TableProgress) -> u64 {
    let watermark = row.watermark.map_or(0, |time| time.0.cast_unsigned());
    row.counts.records_in.wrapping_add(row.rows_out).wrapping_add(watermark)
}

fn counts_of(rows: &[TableProgress]) -> u64 {
    rows.iter().map(measure).fold(0, u64::wrapping_add)
}

/// The progress rows of a job that has come to these offsets.
fn told(
    job: &Job,
    now: Timestamp,
    took: Duration,
    offsets: &BTreeMap<Place, i64>,
    end: impl Fn(&Place) -> Option<i64>,
) -> Vec<TableProgress> {
    let topics: BTreeMap<&str, &str> =
        job.sources().map(|(source, origin)| (source, topic_of(source, origin))).collect();
    let mut rows = job.progress("embedded", now);
    for row in &mut rows {
        row.epoch_micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for source in &mut row.sources {
            if let Some(topic) = topics.get(source.topic.as_str()) {
                source.topic = (*topic).to_owned();
            }
            let place = (source.topic.clone(), source.partition);
            source.offset = offsets.get(&place).copied().unwrap_or(0);
            source.end_offset = end(&place).map(|end| end.max(source.offset));
        }
    }
    rows
}
