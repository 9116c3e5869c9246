//! A job running on Spark: queries started or taken over, watched, started again, and ended in order.
//!
//! ```text
//!  session (its id on disk) ─▶ views ─▶ a query a table: still running? take it over : start from its checkpoint
//!        ▲                                   │ every poll_interval: progress, status, exception
//!        └── server lost: back-off ◀─────────┴─▶ query failed: back-off, start again from its checkpoint
//! ```
//!
//! The queries run on Spark whether we watch or not: our end without warning stops nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millrace_model::ErrorKind;
use millrace_model::retry::{RetryDecision, after_failure};

use crate::connect::{RunningQuery, Session};
use crate::error::SparkError;
use crate::job::{SparkJob, SparkSettings, SparkTable, SparkTrigger, query_name};
use crate::progress::SparkProgress;
use crate::session_file::{SessionFile, server_of};
use crate::setup::Prepared;

/// What a running job tells.
#[derive(Clone, Debug)]
pub enum SparkEvent {
    /// A session is open.
    Connected {
        /// Its id.
        session: String,
        /// Spark's version.
        version: String,
    },
    /// A table's query runs.
    Started {
        /// Streaming table.
        table: String,
        /// It was running before we came.
        taken_over: bool,
    },
    /// A batch has ended. Each comes once, in order.
    Progress(Box<SparkProgress>),
    /// Something failed and is tried again.
    Retrying {
        /// What.
        error: SparkError,
        /// After this time.
        wait: Duration,
    },
    /// A query has done all there was ([`SparkTrigger::AvailableNow`]).
    Finished {
        /// Streaming table.
        table: String,
    },
}

/// A server or query that has held this long has recovered: its next failure is a first one.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);
/// Longest sleep between two looks at the stop signal.
const STEP: Duration = Duration::from_millis(50);
/// Longest wait, when asked to stop, for a query to run out of new records; with records always coming it is stopped between
/// two batches, where the next may just have begun and is then done again.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// Runs a job on the calling thread until `stop` says so, or until all queries have finished (with
/// [`SparkTrigger::AvailableNow`]). Not for threads of a tokio runtime.
///
/// Asked to stop, it lets the batches in work end, stops the queries and releases the session.
///
/// # Errors
/// What trying again does not mend, with job, table and Spark's words. The queries of other tables go on running on
/// Spark, to be taken over by the next start.
pub fn run(
    job: &SparkJob,
    settings: &SparkSettings,
    stop: &dyn Fn() -> bool,
    observe: &mut dyn FnMut(SparkEvent),
) -> Result<(), SparkError> {
    let prepared = Prepared::new(job, settings)?;
    let mut told = BTreeMap::new();
    let mut failures = 0;
    loop {
        let started = Instant::now();
        let mut running = Running { prepared: &prepared, settings, stop, observe, told: &mut told };
        let error = match running.attempt() {
            Ok(()) => return Ok(()),
            Err(error) => error.of_job(&job.name),
        };
        failures = if started.elapsed() > RECOVERED_AFTER { 1 } else { failures + 1 };
        match after_failure(&settings.retry, error.kind, failures, 1.0) {
            RetryDecision::GiveUp => return Err(error),
            RetryDecision::After(wait) => {
                tracing::warn!(job = job.name, %error, wait_ms = wait.as_millis() as u64, "Spark is tried again");
                observe(SparkEvent::Retrying { error, wait });
                if slept(wait, stop) {
                    return Ok(());
                }
            }
        }
    }
}

/// Sleeps; true when asked to stop meanwhile.
fn slept(wait: Duration, stop: &dyn Fn() -> bool) -> bool {
    let until = Instant::now() + wait;
    loop {
        if stop() {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::park_timeout(left.min(STEP));
    }
}

/// The last batch of each table that was told of: its run and number.
type Told = BTreeMap<String, (String, u64)>;

struct Running<'a> {
    prepared: &'a Prepared<'a>,
    settings: &'a SparkSettings,
    stop: &'a dyn Fn() -> bool,
    observe: &'a mut dyn FnMut(SparkEvent),
    told: &'a mut Told,
}

/// A table's query, watched.
struct Watched<'a> {
    table: &'a SparkTable,
    query: RunningQuery,
    state: State,
    failures: u32,
    since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// To be started again then.
    Waiting(Instant),
    Finished,
}

impl<'a> Running<'a> {
    fn attempt(&mut self) -> Result<(), SparkError> {
        let job = self.prepared.job;
        let folder = &self.settings.session_dir;
        let server = server_of(&self.settings.url);
        let (session, kept) = self.connect(&server)?;
        self.prepared.configure(&session)?;
        self.prepared.create_views(&session, Err)?;
        let active = session.active()?;
        let mut file = SessionFile { server, session: session.id().to_owned(), queries: kept.queries.clone() };
        file.save(folder, &job.name)?;
        let mut watched = Vec::new();
        for table in &job.tables {
            let name = &table.contract.name;
            let fingerprint = self.prepared.fingerprint(table);
            let same = kept.queries.get(name) == Some(&fingerprint);
            let running = active.iter().find(|query| query.name == query_name(&job.name, name)).cloned();
            let query = match running {
                Some(query) if same => query,
                Some(query) => {
                    self.end(&session, &query)?;
                    self.prepared.start(&session, table)?
                }
                None => self.prepared.start(&session, table)?,
            };
            file.queries.insert(name.clone(), fingerprint);
            file.save(folder, &job.name)?;
            let taken_over = active.contains(&query);
            (self.observe)(SparkEvent::Started { table: name.clone(), taken_over });
            watched.push(Watched { table, query, state: State::Running, failures: 0, since: Instant::now() });
        }
        // A table that is no longer in the file must not go on.
        let prefix = query_name(&job.name, "");
        for query in active.iter().filter(|query| query.name.starts_with(&prefix)) {
            if !job.tables.iter().any(|table| query_name(&job.name, &table.contract.name) == query.name) {
                self.end(&session, query)?;
            }
        }
        self.watch(&session, &mut watched)?;
        if watched.iter().all(|watched| watched.state == State::Finished) || (self.stop)() {
            self.stop_all(&session, &watched)?;
            session.release()?;
            SessionFile::remove(folder, &job.name);
        }
        Ok(())
    }

    /// The kept session if the server still knows it, else a new one.
    fn connect(&mut self, server: &str) -> Result<(Session, SessionFile), SparkError> {
        let settings = self.settings;
        let kept = SessionFile::load(&settings.session_dir, &self.prepared.job.name, server);
        if let Some(kept) = kept {
            let session = Session::open(&settings.url, Some(&kept.session), settings.request_max)?;
            match session.version() {
                Ok(version) => {
                    (self.observe)(SparkEvent::Connected { session: session.id().to_owned(), version });
                    return Ok((session, kept));
                }
                Err(error) if error.session_lost() => {
                    tracing::info!(%error, "the session has ended; a new one is opened")
                }
                Err(error) => return Err(error),
            }
        }
        let session = Session::open(&settings.url, None, settings.request_max)?;
        let version = session.version()?;
        (self.observe)(SparkEvent::Connected { session: session.id().to_owned(), version });
        Ok((session, SessionFile::default()))
    }

    /// Watches until asked to stop, or until all have finished.
    fn watch(&mut self, session: &Session, watched: &mut [Watched<'a>]) -> Result<(), SparkError> {
        loop {
            for one in watched.iter_mut() {
                match one.state {
                    State::Finished => {}
                    State::Waiting(until) if Instant::now() >= until => match self.prepared.start(session, one.table) {
                        Ok(query) => {
                            (one.query, one.state, one.since) = (query, State::Running, Instant::now());
                            let table = one.table.contract.name.clone();
                            (self.observe)(SparkEvent::Started { table, taken_over: false });
                        }
                        Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
                        Err(error) => self.failed(one, error)?,
                    },
                    State::Waiting(_) => {}
                    State::Running => self.look(session, one)?,
                }
            }
            let finished = watched.iter().all(|one| one.state == State::Finished);
            if finished || slept(self.settings.poll_interval, self.stop) {
                return Ok(());
            }
        }
    }

    fn look(&mut self, session: &Session, one: &mut Watched<'a>) -> Result<(), SparkError> {
        // First the status: what was written after it is told by the next look.
        let status = session.status(&one.query)?;
        self.tell(session, one)?;
        if status.active {
            return Ok(());
        }
        match session.exception(&one.query)? {
            Some(error) => self.failed(one, error),
            None if self.settings.trigger == SparkTrigger::AvailableNow => {
                one.state = State::Finished;
                (self.observe)(SparkEvent::Finished { table: one.table.contract.name.clone() });
                Ok(())
            }
            None => {
                let text = "the query was stopped by someone else".to_owned();
                self.failed(one, SparkError::new(ErrorKind::Internal, text))
            }
        }
    }

    /// Hands on the batches that have ended since the last look.
    fn tell(&mut self, session: &Session, one: &Watched<'a>) -> Result<(), SparkError> {
        let table = &one.table.contract.name;
        let job = self.prepared.job;
        let topics = job.sources.iter().map(|source| (source.topic.clone(), source.contract.name.clone())).collect();
        for text in session.recent_progress(&one.query)? {
            let progress = SparkProgress::parse(&job.name, table, &topics, &text)?;
            let last = self.told.get(table);
            if last.is_some_and(|(run, batch)| *run == progress.run_id && *batch >= progress.batch) {
                continue;
            }
            self.told.insert(table.clone(), (progress.run_id.clone(), progress.batch));
            (self.observe)(SparkEvent::Progress(Box::new(progress)));
        }
        Ok(())
    }

    /// A query has failed: it is started again after a while, but not for ever.
    fn failed(&mut self, one: &mut Watched<'a>, error: SparkError) -> Result<(), SparkError> {
        let error = error.of_job(&self.prepared.job.name).of_table(&one.table.contract.name);
        one.failures = if one.since.elapsed() > RECOVERED_AFTER { 1 } else { one.failures + 1 };
        // A statement Spark refuses does not get better.
        let kind = if error.kind == ErrorKind::Invalid { ErrorKind::Invalid } else { ErrorKind::Unavailable };
        let decision = match one.failures >= self.settings.failures_max {
            true => RetryDecision::GiveUp,
            false => after_failure(&self.settings.retry, kind, one.failures, 1.0),
        };
        match decision {
            RetryDecision::GiveUp => Err(error),
            RetryDecision::After(wait) => {
                tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "the query starts again");
                one.state = State::Waiting(Instant::now() + wait);
                (self.observe)(SparkEvent::Retrying { error, wait });
                Ok(())
            }
        }
    }

    /// Stops all queries, each when it has run out of new records or at least between two batches; whichever comes there first.
    fn stop_all(&mut self, session: &Session, watched: &[Watched<'a>]) -> Result<(), SparkError> {
        let until = Instant::now() + self.settings.stop_max;
        let settle_until = Instant::now() + SETTLE_MAX.min(self.settings.stop_max);
        let mut left: Vec<&Watched<'a>> = watched.iter().filter(|one| one.state == State::Running).collect();
        while !left.is_empty() {
            let mut still = Vec::new();
            for one in left {
                let status = session.status(&one.query)?;
                let now = Instant::now();
                let busy = status.in_batch || (!status.settled && now < settle_until);
                if status.active && busy && now < until {
                    still.push(one);
                } else {
                    session.stop(&one.query)?;
                    self.tell(session, one)?;
                }
            }
            left = still;
            std::thread::park_timeout(STEP);
        }
        Ok(())
    }

    /// Stops a query between two batches. One that does not end its batch in time is cut short; it does that batch again.
    fn end(&self, session: &Session, query: &RunningQuery) -> Result<(), SparkError> {
        let until = Instant::now() + self.settings.stop_max;
        while session.status(query)?.in_batch && Instant::now() < until {
            std::thread::park_timeout(STEP);
        }
        session.stop(query)
    }
}
