//! Which files of a topic there are, and which of them count.
//!
//! A merged file replaces those it was made of from the moment it is there; they are deleted after it. So a reader takes what
//! a listing shows and leaves out what a merged file beside it replaces. A listing that changes while it is made may show
//! neither; hence two listings that agree.

use std::collections::HashMap;

use millrace_model::ErrorKind;

use super::layout::FileName;
use super::storage::{Object, Storage};
use crate::sink::SinkError;

/// Listings of a topic before a reader gives up: files come and go much more slowly.
const LISTINGS_MAX: usize = 20;

/// A data file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    /// Path below the lake.
    pub(super) path: String,
    pub(super) name: FileName,
    /// Its size.
    pub(super) bytes: u64,
}

impl Stored {
    /// `TOPIC/date=…/hour=…`.
    pub(super) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Topic it belongs to.
    pub(super) fn topic(&self) -> &str {
        self.path.split_once('/').map_or("", |(topic, _)| topic)
    }
}

/// Every data file below `folder`; files of other names are not ours and are left alone.
pub(super) async fn all(storage: &Storage, folder: &str) -> Result<Vec<Stored>, SinkError> {
    let stored = |object: Object| {
        let name = FileName::parse(object.path.rsplit('/').next()?)?;
        Some(Stored { name, path: object.path, bytes: object.bytes })
    };
    Ok(storage.list(folder).await?.into_iter().filter_map(stored).collect())
}

/// The files that count: each record of the topic is in one of them, once.
pub(super) async fn current(storage: &Storage, folder: &str) -> Result<Vec<Stored>, SinkError> {
    let mut before = all(storage, folder).await?;
    for _ in 1..LISTINGS_MAX {
        let now = all(storage, folder).await?;
        if now == before {
            return Ok(divide(now).0);
        }
        before = now;
    }
    let text = format!("lake: the files of `{folder}` change faster than they are listed");
    Err(SinkError::new(ErrorKind::Unavailable, text))
}

/// Those that count, and those a merged one replaces.
pub(super) fn divide(files: Vec<Stored>) -> (Vec<Stored>, Vec<Stored>) {
    let mut merged: HashMap<String, Vec<FileName>> = HashMap::new();
    for file in files.iter().filter(|file| file.name.merged) {
        merged.entry(file.folder().to_owned()).or_default().push(file.name.clone());
    }
    let counts = |file: &Stored| {
        let beside = merged.get(file.folder());
        !beside.is_some_and(|beside| beside.iter().any(|other| other.replaces(&file.name)))
    };
    files.into_iter().partition(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_files_do_not_count() {
        let file = |path: &str| Stored {
            path: format!("t/date=2026-01-31/{path}.parquet"),
            name: FileName::parse(&format!("{}.parquet", path.rsplit('/').next().expect("a name"))).expect("a name"),
            bytes: 1,
        };
        let kept = [
            file("hour=09/p00001-000000000020-000000000029"),
            file("hour=09/q00001-000000000000-000000000019"),
            file("hour=10/p00001-000000000000-000000000009"),
        ];
        let replaced =
            [file("hour=09/p00001-000000000000-000000000009"), file("hour=09/q00001-000000000010-000000000019")];
        let (counts, left) = divide(kept.iter().chain(&replaced).cloned().collect());
        assert_eq!((counts, left), (kept.to_vec(), replaced.to_vec()));
        assert_eq!((kept[0].topic(), kept[0].folder()), ("t", "t/date=2026-01-31/hour=09"));
    }
}
