//! A job computed over the lake: the ordinary job, with the past as its input, up to the offsets from which it goes on live.
//!
//! ```text
//!  lake ─▶ arrivals ─▶ epochs (a thread ahead) ─▶ engine: Job::run ─▶ epoch log ─▶ transactions: rows · offsets ─▶ snapshot
//!  Kafka: results of this job, which other tables of it read ──────────▲
//! ```
//!
//! Its group's offsets begin at the lake's first records and move with every transaction, as they do live; so a backfill that
//! is stopped or killed goes on where it was, and when it has come to the end of what is archived, nothing has to be handed
//! over: whoever starts the job next finds offsets and state that belong together, and reads on from Kafka.
//!
//! Reading order: [`decide`] (from where to where) → [`begin`] → [`reading`] → [`pending`] → [`since`].

mod begin;
mod decide;
mod pending;
mod reading;
mod since;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use millrace_connectors::kafka::rdkafka::Message;
use millrace_connectors::kafka::rdkafka::message::BorrowedMessage;
use millrace_connectors::{Ending, Shutdown};
use millrace_engine::job::{Advance, EpochOutput, SourceBatch};
use millrace_engine::sql::Origin;
use millrace_engine::state::{Claim, EpochEntry, Range, StateDir};
use millrace_engine::{EngineError, Job, JobPlan};
use millrace_model::Timestamp;
use millrace_model::progress::TableProgress;

use super::input::{EpochBounds, Input, Place, batches, ranges};
use super::letters::as_late;
use super::output::{Output, Received, dead_letter, received};
use super::{JobError, JobRunSettings, PROGRESS_INTERVAL, group_of, random, recovery, told, topic_of};
use crate::history::epochs::{EpochLimits, PastEpoch, Watched};
use crate::history::records::{self, PastPlace};
use begin::Begin;
use pending::Pending;
use reading::{Past, Reading};
use since::Since;

/// Longest wait for the reading thread before the job looks whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Longest time at the end to take in what tables of the job gave to others of it.
const OWN_RESULTS_MAX: Duration = Duration::from_secs(30);

/// What is to be computed again.
#[derive(Clone, Debug)]
pub(crate) struct BackfillSettings {
    /// The lake.
    pub(crate) lake: PathBuf,
    /// Leave out what happened before.
    pub(crate) since: Option<Timestamp>,
    /// Begin anew, whatever the job has done before.
    pub(crate) recompute: bool,
    /// Pass over what is neither in the lake nor in Kafka.
    pub(crate) allow_gaps: bool,
}

/// What a backfill came to.
#[derive(Debug)]
pub(crate) struct BackfillReport {
    /// Records read.
    pub(crate) records: u64,
    /// Epochs they made.
    pub(crate) epochs: u64,
    /// Of each partition in the lake the first offset read, and where the job goes on.
    pub(crate) ranges: BTreeMap<Place, (i64, i64)>,
    /// It went on after this epoch.
    pub(crate) resumed: Option<u64>,
    /// It was stopped before its end.
    pub(crate) is_stopped: bool,
    /// Where the records went, by table.
    pub(crate) tables: Vec<TableProgress>,
}

/// Runs it, on the calling thread, which may wait.
///
/// # Errors
/// `Refused`: it cannot begin, with the reason and what to do. What stops any job.
pub(crate) fn run(
    plan: JobPlan,
    settings: &JobRunSettings,
    backfill: &BackfillSettings,
    shutdown: &Shutdown,
    bar: &ProgressBar,
) -> Result<BackfillReport, JobError> {
    if let Some(file) = plan.sources.iter().find(|source| matches!(source.origin, Origin::Ndjson(_))) {
        let text = format!("source `{}` is a file: run it with `millrace run`", file.contract.name);
        return Err(JobError::Refused(text));
    }
    let (columns, watched) = records::columns(&plan);
    let pending = Pending::new(&plan, settings.epoch_records_max);
    let mut job_settings = settings.job.clone();
    job_settings.secret = (random(), random());
    let mut job = Job::new(plan, job_settings)?;
    let group = group_of(job.name());
    let sources: Vec<(String, String)> =
        job.sources().map(|(source, origin)| (topic_of(source, origin).to_owned(), source.to_owned())).collect();
    let claim = Claim::take(&settings.state_root, job.name())?;
    // First the producer: it fences whoever still runs this job.
    let output = Output::new(&settings.kafka, &group)?;
    let mut input = Input::new(&settings.kafka, &group, &sources)?;
    let mut state = StateDir::open(claim)?;
    let begin = begin::begin(&mut job, &mut input, &output, &mut state, settings, backfill, &columns)?;
    let total: i64 = begin.reads.values().map(|read| read.end - read.from).sum();
    bar.set_length(total.unsigned_abs());
    let ranges = begin.reads.iter().map(|(place, read)| (place.clone(), (read.from, read.live))).collect();
    let resumed = begin.resumed;
    let mut running = Running {
        job,
        input,
        output,
        state,
        settings,
        lanes: begin.lanes.iter().map(|lane| lane.at.clone()).collect(),
        positions: begin.positions.clone(),
        ends: begin.ends.clone(),
        pending,
        snapshot_at: Instant::now(),
        progress_at: None,
        records: 0,
    };
    let began_at = resumed.unwrap_or(0);
    let is_stopped = running.work(begin, watched, shutdown, bar)?;
    Ok(BackfillReport {
        records: running.records,
        epochs: running.job.epoch() - began_at,
        ranges,
        resumed,
        is_stopped,
        tables: running.job.progress("embedded", Timestamp(0)),
    })
}

struct Running<'a> {
    job: Job,
    input: Input,
    output: Output,
    state: StateDir,
    settings: &'a JobRunSettings,
    /// Partitions that are read from the lake.
    lanes: Vec<PastPlace>,
    /// Next offset of every partition.
    positions: BTreeMap<Place, i64>,
    /// Where the topics ended at the beginning.
    ends: BTreeMap<Place, i64>,
    pending: Pending,
    snapshot_at: Instant,
    progress_at: Option<Instant>,
    records: u64,
}

impl Running<'_> {
    /// Computes until the past is over; whether it was stopped before.
    fn work(
        &mut self,
        begin: Begin,
        watched: BTreeMap<String, Vec<Watched>>,
        shutdown: &Shutdown,
        bar: &ProgressBar,
    ) -> Result<bool, JobError> {
        let engine = self.settings;
        let limits = EpochLimits {
            records_max: engine.epoch_records_max,
            bytes_max: engine.epoch_bytes_max,
            tick: micros(engine.trigger),
            idle: micros(engine.idle_timeout),
        };
        let has_recorded: Vec<bool> = begin.lanes.iter().map(|lane| lane.has_recorded).collect();
        let in_lake =
            |range: &Range| self.lanes.iter().position(|lane| is_of(lane, range)).filter(|at| has_recorded[*at]);
        let recorded: Vec<Vec<(usize, i64)>> = begin
            .entries
            .iter()
            .map(|entry| {
                let ends = entry.ranges.iter().filter_map(|range| Some((in_lake(range)?, range.to)));
                let mut ends: Vec<(usize, i64)> = ends.collect();
                ends.sort_unstable();
                ends
            })
            .collect();
        let stands = begin.entries.last().map_or_else(|| self.job.watermarks(), |last| last.watermarks.clone());
        let furthest = stands.tables.iter().copied().max().unwrap_or(i64::MIN);
        let Begin { lanes, entries, from_kafka, reads, span, .. } = begin;
        let reading = Reading { lanes, recorded, watched, span, limits, furthest };
        let epochs =
            reading::start(reading).map_err(|error| EngineError::Io { what: "cannot start a thread".into(), error })?;
        self.run_again(&entries, &has_recorded, &epochs)?;
        let of_kafka = self.positions.iter().filter(|(place, _)| from_kafka.contains(&place.0));
        let starts: BTreeMap<Place, i64> = of_kafka.map(|(place, next)| (place.clone(), *next)).collect();
        let reads_kafka = !starts.is_empty();
        if reads_kafka {
            self.input.assign(starts)?;
        }
        let mut is_stopped = false;
        loop {
            if shutdown.asked() == Ending::Stop {
                is_stopped = true;
                break;
            }
            let epoch = match epochs.recv_timeout(LOOK_EVERY) {
                Ok(epoch) => epoch?,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Err(cut_off()),
            };
            // The past is over.
            let Some(epoch) = epoch else { break };
            bar.inc(epoch.records as u64);
            self.epoch(&epoch, reads_kafka.then_some(Duration::ZERO))?;
            self.commit_when_due(false)?;
        }
        if !is_stopped {
            self.read_own_results(reads_kafka)?;
            // From here on Kafka has everything, also where transaction markers lie behind the last record.
            self.positions.extend(reads.into_iter().map(|(place, read)| (place, read.live)));
        }
        self.commit_when_due(true)?;
        self.state.settle()?;
        self.state.snapshot(&self.job)?;
        self.state.settle()?;
        if !is_stopped {
            Since::of(&self.settings.state_root, self.job.name()).end()?;
        }
        Ok(is_stopped)
    }

    /// Runs logged epochs again, without writing: of the lake what it has, of Kafka the rest.
    fn run_again(
        &mut self,
        entries: &[EpochEntry],
        has_recorded: &[bool],
        epochs: &Receiver<Past>,
    ) -> Result<(), JobError> {
        let topics: BTreeMap<String, String> = self
            .job
            .sources()
            .map(|(source, origin)| (source.to_owned(), topic_of(source, origin).to_owned()))
            .collect();
        let lanes = &self.lanes;
        let of_lake = |range: &Range| lanes.iter().zip(has_recorded).any(|(lane, has)| *has && is_of(lane, range));
        let of_kafka = |range: &&Range| !of_lake(range);
        let place = |range: &Range| (topics.get(&range.source).cloned().unwrap_or_default(), range.partition);
        let mut starts: BTreeMap<Place, i64> = BTreeMap::new();
        for range in entries.iter().flat_map(|entry| &entry.ranges).filter(of_kafka) {
            starts.entry(place(range)).or_insert(range.from);
        }
        if !starts.is_empty() {
            self.input.assign(starts)?;
        }
        let mut waiting: BTreeMap<Place, VecDeque<BorrowedMessage<'_>>> = BTreeMap::new();
        for entry in entries {
            let epoch = epochs.recv().map_err(|_| cut_off())??.ok_or_else(cut_off)?;
            let mut messages = Vec::new();
            for range in entry.ranges.iter().filter(of_kafka) {
                let place = place(range);
                recovery::fill(&self.input, &mut waiting, &place, range.to)?;
                let buffer = waiting.entry(place).or_default();
                while buffer.front().is_some_and(|message| message.offset() < range.to) {
                    messages.extend(buffer.pop_front());
                }
            }
            messages
                .sort_by(|a, b| (a.topic(), a.partition(), a.offset()).cmp(&(b.topic(), b.partition(), b.offset())));
            let mut records = records::batches(lanes, &epoch);
            records.extend(batches(&self.input, &messages));
            self.job.run(&records, &Advance::Recorded(entry.watermarks.clone()))?;
        }
        Ok(())
    }

    /// One epoch of the past, and what comes of topics that are read from Kafka, for which it waits so long.
    fn epoch(&mut self, epoch: &PastEpoch, kafka: Option<Duration>) -> Result<(), JobError> {
        let mut idle: std::collections::BTreeSet<(String, i32)> =
            epoch.idle.iter().map(|lane| (self.lanes[*lane].source.clone(), self.lanes[*lane].partition)).collect();
        let messages = match kafka {
            None => Vec::new(),
            Some(wait) => {
                self.input.refresh_ends(super::ENDS_INTERVAL)?;
                let silent = self.input.idle(self.settings.idle_timeout, &self.input.positions()).into_iter();
                idle.extend(silent.map(|(topic, partition)| (self.input.source(&topic).to_owned(), partition)));
                let bounds = EpochBounds {
                    records_max: self.settings.epoch_records_max,
                    bytes_max: self.settings.epoch_bytes_max,
                };
                let until = Instant::now() + wait;
                self.input.take(until, until, bounds)?
            }
        };
        if epoch.records == 0 && messages.is_empty() {
            return Ok(());
        }
        let past = records::batches(&self.lanes, epoch);
        let of_past = past.len();
        let mut records = past;
        records.extend(batches(&self.input, &messages));
        let advance = Advance::Live { idle, ended: Default::default() };
        let given = self.job.run(&records, &advance)?;
        let letters = self.letters(epoch, &records, of_past, &messages, &given);
        self.pending.letters.extend(letters);
        self.pending.add(given.rows);
        let of_lake = records::ranges(&self.lanes, epoch).into_iter();
        let mut of_epoch: Vec<(Place, Range)> = of_lake
            .map(|(lane, range)| ((self.lanes[lane].topic.clone(), self.lanes[lane].partition), range))
            .collect();
        let taken = ranges(&messages);
        of_epoch.extend(taken.iter().map(|(place, first, last)| {
            let source = self.input.source(&place.0).to_owned();
            (place.clone(), Range { source, partition: place.1, from: *first, to: last + 1 })
        }));
        let read = epoch.records + messages.len();
        drop(records);
        drop(messages);
        for (place, range) in &of_epoch {
            self.positions.insert(place.clone(), range.to);
        }
        let noted: Vec<(Place, i64)> = taken.into_iter().map(|(place, _, last)| (place, last)).collect();
        self.input.note(&noted);
        self.pending.records += read;
        self.records += epoch.records as u64;
        self.pending.entries.push(EpochEntry {
            epoch: self.job.epoch(),
            ranges: of_epoch.into_iter().map(|(_, range)| range).collect(),
            watermarks: self.job.watermarks(),
        });
        Ok(())
    }

    /// The late records of an epoch, whole.
    fn letters(
        &self,
        epoch: &PastEpoch,
        records: &[SourceBatch<'_>],
        of_past: usize,
        messages: &[BorrowedMessage<'_>],
        given: &EpochOutput,
    ) -> Vec<millrace_model::dead_letter::DeadLetter> {
        let now = Timestamp::from_system_time(std::time::SystemTime::now());
        let letter = |late: &millrace_engine::job::LateRecord| {
            if late.batch >= of_past {
                let before: usize = records[of_past..late.batch].iter().map(|batch| batch.records.len()).sum();
                let message = &messages[before + late.record];
                return as_late(dead_letter(received(message), self.job.name(), Some(&late.table), now), late);
            }
            let (batch, found) = (&records[late.batch], &records[late.batch].records[late.record]);
            let of_source = |lane: &&PastPlace| lane.source == batch.source;
            let topic = self.lanes.iter().find(of_source).map_or(batch.source, |lane| lane.topic.as_str());
            let received = Received {
                topic,
                partition: found.partition,
                offset: found.offset,
                time: found.time,
                key: records::key_of(&self.lanes, epoch, late.batch, late.record),
                value: found.value,
                // The lake does not keep them.
                headers: Vec::new(),
            };
            as_late(dead_letter(received, self.job.name(), Some(&late.table), now), late)
        };
        given.late.iter().map(letter).collect()
    }

    /// Takes in what tables of this job gave to other tables of it, as far as it is in Kafka by now.
    fn read_own_results(&mut self, reads_kafka: bool) -> Result<(), JobError> {
        if !reads_kafka {
            return Ok(());
        }
        self.commit_when_due(true)?;
        self.input.refresh_ends(Duration::ZERO)?;
        let began = Instant::now();
        // What does not come in time is read live.
        while self.input.lag(&self.input.positions()) > 0 && began.elapsed() < OWN_RESULTS_MAX {
            self.epoch(&PastEpoch::default(), Some(self.settings.trigger))?;
            self.commit_when_due(true)?;
            self.input.refresh_ends(Duration::ZERO)?;
        }
        Ok(())
    }

    /// The end of a partition, as far as it is known.
    fn end(&self, place: &Place) -> Option<i64> {
        self.input.end(place).or_else(|| self.ends.get(place).copied())
    }

    /// Writes what waits in one transaction; a snapshot when it is time for one.
    fn commit_when_due(&mut self, at_once: bool) -> Result<(), JobError> {
        if !at_once && !self.pending.is_due() {
            return Ok(());
        }
        self.state.append_all(&self.pending.entries)?;
        for (place, next) in self.input.positions() {
            self.positions.entry(place).and_modify(|known| *known = next.max(*known));
        }
        let transaction = self.output.begin()?;
        self.pending.send(&transaction)?;
        if at_once || self.progress_at.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL) {
            let now = Timestamp::from_system_time(std::time::SystemTime::now());
            for row in told(&self.job, now, Duration::ZERO, &self.positions, |place| self.end(place)) {
                transaction.own("job_progress", &row.table, &row)?;
            }
            self.progress_at = Some(Instant::now());
        }
        transaction.commit(self.input.group()?, &self.positions, self.job.epoch(), self.state.mark())?;
        if self.snapshot_at.elapsed() >= self.settings.snapshot_interval {
            self.state.snapshot(&self.job)?;
            self.snapshot_at = Instant::now();
        }
        Ok(())
    }
}

/// The reading thread has ended before the past had.
fn cut_off() -> JobError {
    let detail = "the thread that reads the lake panicked; the log says where".into();
    EngineError::State { job: "backfill".into(), detail }.into()
}

fn is_of(lane: &PastPlace, range: &Range) -> bool {
    lane.source == range.source && lane.partition == range.partition
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
