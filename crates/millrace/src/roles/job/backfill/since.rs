//! The time a backfill was begun from, kept beside its state: who goes on with it leaves out the same records.

use std::fs;
use std::path::{Path, PathBuf};

use millrace_engine::EngineError;
use millrace_model::Timestamp;

use super::super::JobError;

/// The note of one job.
pub(super) struct Since(PathBuf);

impl Since {
    /// Beside the state of a job.
    pub(super) fn of(state_root: &Path, job: &str) -> Self {
        Since(state_root.join(job).join("backfill-since"))
    }

    fn failed(&self, error: std::io::Error) -> JobError {
        EngineError::Io { what: format!("cannot keep {}", self.0.display()), error }.into()
    }

    /// A backfill begins: notes its time, durably, or that it has none.
    pub(super) fn begin(&self, since: Option<Timestamp>) -> Result<(), JobError> {
        let Some(since) = since else { return self.end() };
        let write = || fs::write(&self.0, since.to_string()).and_then(|()| fs::File::open(&self.0)?.sync_all());
        write().map_err(|error| self.failed(error))
    }

    /// A backfill goes on: the time it was begun from.
    ///
    /// # Errors
    /// `Refused`: it is asked to go on from another.
    pub(super) fn go_on(&self, asked: Option<Timestamp>) -> Result<Option<Timestamp>, JobError> {
        let noted = match fs::read(&self.0) {
            Ok(text) => Timestamp::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.failed(error)),
        };
        if asked.is_none() || asked == noted {
            return Ok(noted);
        }
        let begun = noted.map_or_else(|| "without --since".to_owned(), |noted| format!("with --since {noted}"));
        Err(JobError::Refused(format!("it was begun {begun}: go on with that, or begin anew with --recompute")))
    }

    /// A backfill is over.
    pub(super) fn end(&self) -> Result<(), JobError> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_where_it_was_begun() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("j")).expect("a folder");
        let note = Since::of(folder.path(), "j");
        let (one, other) = (Some(Timestamp(1_000_000)), Some(Timestamp(2_000_000)));
        note.begin(None).expect("nothing to keep");
        assert_eq!(note.go_on(None).expect("from the beginning"), None);
        assert!(note.go_on(one).expect_err("too late").to_string().contains("without --since"));
        note.begin(one).expect("kept");
        assert_eq!((note.go_on(None).expect("known"), note.go_on(one).expect("the same")), (one, one));
        assert!(note.go_on(other).expect_err("another").to_string().contains("1970-01-01T00:00:01"));
        note.end().expect("removed");
        assert_eq!(note.go_on(None).expect("over"), None);
    }
}
