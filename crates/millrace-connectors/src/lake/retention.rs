//! Days that are older than the lake is to keep are deleted, whole.
//!
//! Readers that have listed a file which is then deleted list again. Claims are left alone, and of a batch that is not
//! committed yet no file is deleted: whoever writes it again finds what it expects. The next pass takes those.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use millrace_model::Timestamp;
use millrace_model::time::DAY_MICROS;

use super::catalog;
use super::layout::Hour;
use super::storage::Storage;
use crate::kafka::Place;
use crate::sink::SinkError;

/// What a pass deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Deleted {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Deletes the files of days that ended longer ago than `keep`, of these partitions, whose batches are archived up to these
/// offsets.
///
/// # Errors
/// The storage. What is half done goes on with the next pass.
pub(super) async fn pass(
    storage: &Storage,
    keep: Duration,
    archived: &HashMap<Place, i64>,
    now: Timestamp,
) -> Result<Deleted, SinkError> {
    let oldest = now.0.saturating_sub(i64::try_from(keep.as_micros()).unwrap_or(i64::MAX));
    let topics: BTreeSet<&Arc<str>> = archived.keys().map(|place| &place.topic).collect();
    let mut deleted = Deleted::default();
    for topic in topics {
        let mut folders = BTreeSet::new();
        for file in catalog::all(storage, topic).await? {
            let hour = Hour::of_folder(file.folder());
            let is_old = hour.is_some_and(|hour| hour.start().floor(DAY_MICROS).0.saturating_add(DAY_MICROS) <= oldest);
            let next = archived.get(&Place::new(Arc::clone(topic), file.name.partition));
            if is_old && next.is_some_and(|next| file.name.last < *next) {
                storage.delete(&file.path).await?;
                folders.insert(file.folder().to_owned());
                deleted.files += 1;
                deleted.bytes += file.bytes;
            }
        }
        folders.iter().for_each(|folder| storage.delete_empty(folder));
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn old_days_go_whole_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::open(folder.path(), true).expect("a folder");
        let file = |day: &str, name: &str| format!("t/date=2026-01-{day}/hour=09/{name}.parquet");
        let old = [
            file("28", "p00000-000000000000-000000000009"),
            file("29", "q00000-000000000010-000000000019"),
            file("29", "p00001-000000000000-000000000009"),
        ];
        let kept = [
            // Not over for two days.
            file("30", "p00000-000000000020-000000000029"),
            // Of a batch that is not committed.
            file("29", "p00000-000000000030-000000000039"),
            // Another archiver's partition.
            file("29", "p00002-000000000000-000000000009"),
            "_claims/t/p00000-000000000030.json".to_owned(),
        ];
        for path in old.iter().chain(&kept) {
            storage.put(path, b"1234".to_vec()).await.expect("written");
        }
        let archived = HashMap::from([(Place::new("t", 0), 30), (Place::new("t", 1), 30)]);
        let now = Timestamp::parse(b"2026-02-01T00:00:00Z").expect("a time");
        let two_days = Duration::from_secs(2 * 86_400);
        let deleted = pass(&storage, two_days, &archived, now).await.expect("a pass");
        assert_eq!(deleted, Deleted { files: 3, bytes: 12 });
        let mut left: Vec<String> =
            storage.list("").await.expect("listed").into_iter().map(|object| object.path).collect();
        let mut expected = kept.to_vec();
        left.sort();
        expected.sort();
        assert_eq!(left, expected);
        assert!(!folder.path().join("t/date=2026-01-28").exists(), "an empty folder is left");
        assert_eq!(pass(&storage, two_days, &archived, now).await.expect("a pass"), Deleted::default());
    }
}
