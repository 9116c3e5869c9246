//! Who may write which records: a chain of claims a partition, each made by creating a file that nobody else can create.
//!
//! ```text
//!  _claims/TOPIC/p00003-000000002000.json    {"from": 2000, "next": 2750, "writer": "…"}
//!                       ▲ where the chain ended                ▲ where it ends now
//! ```
//!
//! Before an archiver writes the files of a batch it claims the batch's offsets. Two that believe they own a partition go
//! for the same name, and one gets it. Whoever takes the partition over finds the claim and writes the same files from the
//! same records again: with a claim the names and rows of the files are settled, so a process that was asleep meanwhile can
//! only write what is there already (decision 14).

use std::collections::BTreeMap;

use millrace_model::ErrorKind;
use serde::{Deserialize, Serialize};

use super::storage::Storage;
use crate::kafka::Place;
use crate::sink::SinkError;

/// Folder of the claims; no topic is called so.
const FOLDER: &str = "_claims";
/// Bytes of a claim that are read.
const CLAIM_BYTES_MAX: u64 = 4_096;
/// Times a listing is repeated when a claim in it has been replaced meanwhile.
const LISTINGS_MAX: usize = 20;

/// Offsets of one batch of a partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Claim {
    /// First offset.
    pub(super) from: i64,
    /// Offset after the last one: the end of the chain.
    pub(super) next: i64,
    /// Whose it is: no two claims ever have the same.
    writer: String,
}

impl Claim {
    /// A claim of this writer.
    pub(super) fn new(from: i64, next: i64, writer: &str) -> Self {
        Claim { from, next, writer: writer.to_owned() }
    }
}

fn folder(topic: &str) -> String {
    format!("{FOLDER}/{topic}")
}

fn path(place: &Place, end: i64) -> String {
    format!("{}/p{:05}-{end:012}.json", folder(&place.topic), place.partition)
}

/// Partition, and where the chain ended before this claim.
fn parse(path: &str) -> Option<(i32, i64)> {
    let name = path.rsplit('/').next()?.strip_prefix('p')?.strip_suffix(".json")?;
    let (partition, end) = name.split_once('-')?;
    Some((partition.parse().ok()?, end.parse().ok()?))
}

/// The last claim of each partition of a topic. List the topic's files before: whatever a claim was made for by then is
/// known here.
///
/// # Errors
/// `Invalid`: a claim that cannot be read.
pub(super) async fn last(storage: &Storage, topic: &str) -> Result<BTreeMap<i32, Claim>, SinkError> {
    for _ in 0..LISTINGS_MAX {
        let mut ends: BTreeMap<i32, (i64, String, u64)> = BTreeMap::new();
        for object in storage.list(&folder(topic)).await? {
            let Some((partition, end)) = parse(&object.path) else { continue };
            let newest = ends.entry(partition).or_insert((end, object.path.clone(), object.bytes));
            if newest.0 < end {
                *newest = (end, object.path, object.bytes);
            }
        }
        let mut claims = BTreeMap::new();
        let asked = ends.len();
        for (partition, (_, path, bytes)) in ends {
            // One that is gone was followed by another.
            let Some(text) = storage.read(&path, 0..bytes.min(CLAIM_BYTES_MAX)).await? else { break };
            let claim = serde_json::from_slice(&text).map_err(|e| {
                let text =
                    format!("lake: {path} is no claim ({e}); restore it: it says which files were being written");
                SinkError::new(ErrorKind::Invalid, text)
            })?;
            claims.insert(partition, claim);
        }
        if claims.len() == asked {
            return Ok(claims);
        }
    }
    let text = format!("lake: the claims of `{topic}` change faster than they are read");
    Err(SinkError::new(ErrorKind::Unavailable, text))
}

/// Claims a batch behind the end of the chain (0: there is none yet).
///
/// # Errors
/// `Fenced`: another archiver has gone on from there.
pub(super) async fn take(storage: &Storage, place: &Place, end: i64, claim: &Claim) -> Result<(), SinkError> {
    let text = serde_json::to_vec(claim).map_err(|e| SinkError::new(ErrorKind::Internal, format!("a claim: {e}")))?;
    let own = path(place, end);
    let lost = || {
        let Place { topic, partition } = place;
        let text = format!("lake: another archiver has topic `{topic}` partition {partition} from offset {end} on");
        Err(SinkError::new(ErrorKind::Fenced, text))
    };
    if !storage.create(&own, text).await? {
        return lost();
    }
    // The claims before the last are deleted, so who has slept long may create one of them again: it is not the last.
    let mut older = Vec::new();
    for object in storage.list(&folder(&place.topic)).await? {
        match parse(&object.path) {
            Some((partition, other)) if partition == place.partition && other > end => {
                storage.delete(&own).await?;
                return lost();
            }
            Some((partition, other)) if partition == place.partition && other < end => older.push(object.path),
            _ => {}
        }
    }
    for path in older {
        storage.delete(&path).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::Classified;

    #[tokio::test]
    async fn one_of_two_gets_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::open(folder.path(), true).expect("a folder");
        let place = Place::new("t", 3);
        assert!(last(&storage, "t").await.expect("none yet").is_empty());
        let claim = |from, next, writer| Claim::new(from, next, writer);
        take(&storage, &place, 0, &claim(5, 100, "a")).await.expect("free");
        for refused in [claim(5, 100, "b"), claim(5, 90, "a")] {
            let error = take(&storage, &place, 0, &refused).await.expect_err("taken");
            assert_eq!(error.kind(), ErrorKind::Fenced);
        }
        take(&storage, &place, 100, &claim(100, 250, "b")).await.expect("the next");
        take(&storage, &Place::new("t", 4), 0, &claim(0, 7, "a")).await.expect("another partition");
        let claims = last(&storage, "t").await.expect("claims");
        assert_eq!((claims[&3].next, claims[&4].next, claims.len()), (250, 7, 2));
        // It slept since before the first one, whose file is gone by now.
        let error = take(&storage, &place, 0, &claim(5, 100, "a")).await.expect_err("long taken");
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert_eq!(last(&storage, "t").await.expect("claims"), claims);
        assert_eq!(storage.list("_claims/t").await.expect("listed").len(), 2);
    }

    #[tokio::test]
    async fn a_broken_claim_is_left_to_a_person() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::open(folder.path(), true).expect("a folder");
        storage.put("_claims/t/p00000-000000000009.json", b"{".to_vec()).await.expect("written");
        let error = last(&storage, "t").await.expect_err("broken");
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("restore it"), "{error}");
    }
}
