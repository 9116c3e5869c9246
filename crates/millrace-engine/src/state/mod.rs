//! A job's state on disk: snapshots, and a log of what each epoch since read.
//!
//! ```text
//!  state/JOB/
//!    snapshot-0000000000000007.mrs         state after epoch 7 (checksummed, renamed into place when whole)
//!    epochs-0000000000000008-00000003.log  what epochs 8, 9 … read, and where their watermarks went; the third life wrote it
//!    claim                                 locked by who begins a life
//! ```
//!
//! The log of an epoch is durable before the epoch's transaction commits; snapshots are written behind, off the hot path.
//! After a crash the newest snapshot that is not ahead of the committed epoch is loaded and the logged epochs since are
//! replayed from Kafka: an epoch is a pure function, so the state is the same to the bit. Which of these applies is decided
//! in [`millrace_model::recovery`].

mod log;
mod snapshot;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::EpochLog;
pub use log::{EpochEntry, Range};
use millrace_model::recovery::RecoveryFacts;

use crate::Job;
use crate::error::EngineError;

/// Longest wait for another process that begins a life at the same time.
const CLAIM_MAX: Duration = Duration::from_secs(60);
/// Wait between two looks at the claim.
const CLAIM_STEP: Duration = Duration::from_millis(20);

/// The right to begin a life. Take it before the job's transactional id is taken over: so lives follow each other in the order in
/// which Kafka fences their owners.
pub struct Claim {
    job: String,
    path: PathBuf,
    lock: File,
}

impl Claim {
    /// Makes the folder of a job and waits for its claim.
    ///
    /// # Errors
    /// The folder cannot be made; another process keeps the claim.
    pub fn take(root: &Path, job: &str) -> Result<Self, EngineError> {
        let path = root.join(job);
        fs::create_dir_all(&path).map_err(io_error(format!("cannot make {}", path.display())))?;
        let name = path.join("claim");
        let cannot = format!("cannot lock {}", name.display());
        let lock = File::options().create(true).truncate(false).write(true).open(&name).map_err(io_error(&cannot))?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Claim { job: job.to_owned(), path, lock }),
                Err(TryLockError::WouldBlock) if began.elapsed() < CLAIM_MAX => std::thread::park_timeout(CLAIM_STEP),
                Err(TryLockError::WouldBlock) => {
                    let detail = format!("another process has been starting this job for {CLAIM_MAX:?}: stop it first");
                    return Err(EngineError::State { job: job.to_owned(), detail });
                }
                Err(TryLockError::Error(error)) => return Err(io_error(cannot)(error)),
            }
        }
    }
}

/// Where a job keeps its state.
pub struct StateDir {
    job: String,
    path: PathBuf,
    snapshots: Vec<u64>,
    log: EpochLog,
    writing: Option<JoinHandle<Result<u64, EngineError>>>,
    /// Until a life has begun.
    claim: Option<File>,
}

pub(crate) fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> EngineError {
    let what = what.into();
    move |error| EngineError::Io { what, error }
}

/// Makes a rename or a removal in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

impl StateDir {
    /// Reads what is in the folder of a job. Unreadable snapshots and a torn end of the log are left out, with a warning.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(claim: Claim) -> Result<Self, EngineError> {
        let Claim { job, path, lock } = claim;
        let mut snapshots = Vec::new();
        for epoch in snapshot::list(&path)? {
            match snapshot::check(&path, epoch) {
                Ok(()) => snapshots.push(epoch),
                Err(error) => tracing::warn!(%job, epoch, %error, "left out a snapshot that cannot be read"),
            }
        }
        let log = EpochLog::open(&path)?;
        Ok(StateDir { job, path, snapshots, log, writing: None, claim: Some(lock) })
    }

    /// What recovery decides from, but for the committed epoch.
    pub fn facts(&self) -> RecoveryFacts {
        let (snapshots, log, marks) = (self.snapshots.clone(), self.log.range(), self.log.marks().to_vec());
        RecoveryFacts { snapshots, log, marks, ..RecoveryFacts::default() }
    }

    /// Mark of the newest entry of the log, to be committed with its epoch; `None`: the log has none.
    pub fn mark(&self) -> Option<u32> {
        self.log.marks().last().copied()
    }

    /// Loads a snapshot into the job.
    ///
    /// # Errors
    /// The file, or a state that does not fit the statements.
    pub fn load(&self, job: &mut Job, epoch: u64) -> Result<(), EngineError> {
        job.load(snapshot::read(&self.path, epoch)?)
    }

    /// The logged epochs after one, up to another.
    ///
    /// # Errors
    /// Reading the log.
    pub fn entries(&self, after: u64, up_to: u64) -> Result<Vec<EpochEntry>, EngineError> {
        Ok(self.log.read()?.into_iter().filter(|entry| entry.epoch > after && entry.epoch <= up_to).collect())
    }

    /// Forgets epochs whose transactions were aborted, so that theirs can be written again, and begins a life: whoever wrote here
    /// before writes in vain from now on.
    ///
    /// # Errors
    /// Writing.
    pub fn forget_after(&mut self, epoch: u64) -> Result<(), EngineError> {
        for ahead in self.snapshots.iter().filter(|snapshot| **snapshot > epoch) {
            snapshot::remove(&self.path, *ahead)?;
        }
        self.snapshots.retain(|snapshot| *snapshot <= epoch);
        self.log.begin_life(epoch + 1)?;
        self.claim = None;
        Ok(())
    }

    /// Writes what an epoch read; durable when this returns.
    ///
    /// # Errors
    /// Writing.
    pub fn append(&mut self, entry: &EpochEntry) -> Result<(), EngineError> {
        self.append_all(std::slice::from_ref(entry))
    }

    /// Writes what several epochs read, in their order; durable when this returns.
    ///
    /// # Errors
    /// Writing.
    pub fn append_all(&mut self, entries: &[EpochEntry]) -> Result<(), EngineError> {
        self.log.append(entries)
    }

    /// Starts writing a snapshot of the job as it is now, behind. Does nothing while the last one is still being written, or
    /// when no epoch has run since.
    ///
    /// # Errors
    /// Encoding, or the failure of the last snapshot.
    pub fn snapshot(&mut self, job: &Job) -> Result<(), EngineError> {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return Ok(());
        }
        self.settle()?;
        let epoch = job.epoch();
        if self.snapshots.last() == Some(&epoch) {
            return Ok(());
        }
        let saved = job.save()?;
        self.log.roll(epoch + 1)?;
        let (path, name, life) = (self.path.clone(), self.job.clone(), self.log.life());
        let write = move || {
            step_back();
            snapshot::write(&path, &name, life, saved).map(|()| epoch)
        };
        let thread = std::thread::Builder::new().name(format!("snapshot-{}", self.job));
        self.writing = Some(thread.spawn(write).map_err(io_error("cannot start a thread"))?);
        Ok(())
    }

    /// Waits for the snapshot being written, and drops what is older than the one before it.
    ///
    /// # Errors
    /// The failure of the snapshot.
    pub fn settle(&mut self) -> Result<(), EngineError> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let epoch = writing.join().map_err(|_| EngineError::State {
            job: self.job.clone(),
            detail: "the thread that wrote the snapshot panicked".into(),
        })??;
        self.snapshots.push(epoch);
        self.snapshots.sort_unstable();
        while self.snapshots.len() > SNAPSHOTS_KEPT {
            snapshot::remove(&self.path, self.snapshots.remove(0))?;
        }
        if let Some(oldest) = self.snapshots.first().filter(|_| self.snapshots.len() == SNAPSHOTS_KEPT) {
            self.log.drop_before(oldest + 1)?;
        }
        Ok(())
    }

    /// Removes all state of a job: it will be computed again from the earliest record.
    ///
    /// # Errors
    /// Removing.
    pub fn reset(root: &Path, job: &str) -> Result<(), EngineError> {
        let path = root.join(job);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(io_error(format!("cannot remove {}", path.display())))?;
        }
        Ok(())
    }
}

/// Lets the threads that take records go first. On Linux a priority is a thread's; elsewhere it would be the process's.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a snapshot is written at the ordinary priority");
    }
}

/// Niceness of the thread that writes a snapshot.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Snapshots kept: the newest, and one before it in case that one is torn.
const SNAPSHOTS_KEPT: usize = 2;
