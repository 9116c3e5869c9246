//! Supervises the jobs: a thread each, started again when that can help, stopped with the reason when it cannot.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use millrace_connectors::{Ending, Shutdown};
use millrace_engine::JobPlan;
use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::{Classified, ErrorKind};

use super::job::trouble::{self, Stopped};
use super::job::{self, JobError, JobRunSettings, JobStatus, Seen, all_caught_up};
use crate::statics::Statics;

/// A job that fails this often in a row by our own fault is given up.
const INTERNAL_FAILURES_MAX: u32 = 5;
/// A job that has run this long has recovered: its next failure is a first one.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// How often it is looked whether a job still runs.
const FAILED_LOOK: Duration = Duration::from_millis(500);

/// Makes the plan of a job anew: a plan is used up by running it.
pub(crate) type MakePlan = Arc<dyn Fn(&str) -> Option<JobPlan> + Send + Sync>;

/// A supervised job.
pub(crate) struct JobHandle {
    pub(crate) name: String,
    pub(crate) status: Arc<JobStatus>,
    /// It reads on, and goes on, when we end: nobody waits for it to catch up.
    elsewhere: bool,
    thread: JoinHandle<()>,
}

impl JobHandle {
    /// Runs a job on a thread of its own.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(crate) fn spawn(name: String, run: impl FnOnce(&Arc<JobStatus>) + Send + 'static) -> std::io::Result<Self> {
        let status = Arc::new(JobStatus::default());
        let told = status.clone();
        let thread = std::thread::Builder::new().name(format!("job-{name}"));
        let thread = thread.spawn(move || run(&told))?;
        Ok(JobHandle { name, status, elsewhere: false, thread })
    }

    /// The job runs on another machine, by its own time.
    #[cfg(feature = "spark")]
    pub(crate) fn elsewhere(self) -> Self {
        JobHandle { elsewhere: true, ..self }
    }
}

/// Starts a thread for each plan.
///
/// # Errors
/// The system gives no more threads.
pub(crate) fn start(
    plans: Vec<JobPlan>,
    make_plan: &MakePlan,
    settings: &JobRunSettings,
    runtime: &tokio::runtime::Handle,
    shutdown: &Shutdown,
) -> std::io::Result<Vec<JobHandle>> {
    let start = |plan: JobPlan| {
        let (make_plan, settings, shutdown) = (make_plan.clone(), settings.clone(), shutdown.clone());
        let statics = Statics::new(runtime.clone());
        JobHandle::spawn(plan.name.clone(), move |status| {
            let name = plan.name.clone();
            let status = status.clone();
            Supervised { name, make_plan, settings, statics, shutdown, status }.supervise(plan);
        })
    };
    plans.into_iter().map(start).collect()
}

/// How the jobs stand.
pub(crate) fn seen(jobs: &[JobHandle]) -> Vec<Seen> {
    jobs.iter().map(|job| job.status.seen()).collect()
}

/// Nothing is left to read for any job that still runs here.
pub(crate) fn caught_up(jobs: &[JobHandle]) -> bool {
    let here = jobs.iter().filter(|job| !job.elsewhere && job.status.failure().is_none());
    let running: Vec<Seen> = here.map(|job| job.status.seen()).collect();
    all_caught_up(&running)
}

/// Waits until no job runs any more, each for a reason of its own; for ever, when there are no jobs.
pub(crate) async fn all_failed(jobs: &[JobHandle]) {
    while jobs.is_empty() || jobs.iter().any(|job| job.status.failure().is_none()) {
        tokio::time::sleep(FAILED_LOOK).await;
    }
}

/// Waits for the threads to end.
pub(crate) fn join(jobs: Vec<JobHandle>) -> Vec<(String, Arc<JobStatus>)> {
    let ended = jobs.into_iter().map(|job| {
        if job.thread.join().is_err() {
            job.status.failed("its thread panicked; the log says where".into());
        }
        (job.name, job.status)
    });
    ended.collect()
}

struct Supervised {
    name: String,
    make_plan: MakePlan,
    settings: JobRunSettings,
    statics: Statics,
    shutdown: Shutdown,
    status: Arc<JobStatus>,
}

impl Supervised {
    fn supervise(self, first: JobPlan) {
        let mut tables: Vec<String> = first.tables.iter().map(|table| table.contract.name.clone()).collect();
        if tables.is_empty() {
            tables.push(self.name.clone());
        }
        let policy = RetryPolicy::default();
        let mut failures = 0;
        let mut plan = Some(first);
        loop {
            let Some(ready) = plan.take().or_else(|| (self.make_plan)(&self.name)) else {
                self.status.failed("its pipeline file can no longer be planned".into());
                return;
            };
            let started = std::time::Instant::now();
            let result = job::run(ready, &self.settings, &self.statics, &self.shutdown, &self.status);
            let Err(error) = result else { return };
            failures = if started.elapsed() > RECOVERED_AFTER { 1 } else { failures + 1 };
            match self.decide(&error, failures, &policy) {
                None => {
                    tracing::error!(job = self.name, %error, "the job has stopped");
                    self.status.failed(error.to_string());
                    self.tell(&error, &tables);
                    return;
                }
                Some(wait) => {
                    tracing::warn!(job = self.name, %error, wait_ms = wait.as_millis() as u64, "the job starts again");
                    if self.wait(wait) {
                        return;
                    }
                }
            }
        }
    }

    /// Says where people look why it has stopped; another process that took its place says for itself how it is.
    fn tell(&self, error: &JobError, tables: &[String]) {
        if error.kind() == ErrorKind::Fenced {
            return;
        }
        let why = format!("stopped: {error}");
        let stopped = Stopped { job: &self.name, backend: "embedded", tables, why: &why };
        if let Err(error) = trouble::tell(&self.settings.kafka, &self.settings.runtime, &stopped) {
            tracing::warn!(job = self.name, %error, "the reason is told here alone");
        }
    }

    /// How long to wait before starting again; `None`: not at all.
    fn decide(&self, error: &JobError, failures: u32, policy: &RetryPolicy) -> Option<Duration> {
        // A fault of our own may be gone after restoring the state; trying is limited.
        let kind = match error.kind() {
            ErrorKind::Internal | ErrorKind::Data if failures < INTERNAL_FAILURES_MAX => ErrorKind::Unavailable,
            kind => kind,
        };
        match after_failure(policy, kind, failures, 1.0) {
            RetryDecision::After(wait) => Some(wait),
            RetryDecision::GiveUp => None,
        }
    }

    /// Waits; true when asked to stop meanwhile.
    fn wait(&self, wait: Duration) -> bool {
        let until = std::time::Instant::now() + wait;
        while std::time::Instant::now() < until {
            if self.shutdown.asked() == Ending::Stop {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        self.shutdown.asked() == Ending::Stop
    }
}
