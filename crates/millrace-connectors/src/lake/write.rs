//! Records into files: claim the batch, make its files durable, commit its offsets. Each step waits for the one before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_model::{Contract, ErrorKind};
use tokio::task::spawn_blocking;

use super::buffer::Records;
use super::claims::{self, Claim};
use super::session::Contracts;
use super::storage::Storage;
use super::{catalog, encode};
use crate::kafka::{Cluster, Place};
use crate::retry::now;
use crate::sink::SinkError;

/// Writes the batches of one session.
pub(super) struct Writer {
    storage: Arc<Storage>,
    cluster: Cluster,
    /// Where the chain of claims of each partition ends; 0 where there is none.
    chain: HashMap<Place, i64>,
    /// No other session has this name.
    name: String,
}

/// Rows, and the next offset of each partition.
pub(super) type Written = (u64, HashMap<Place, i64>);

impl Writer {
    pub(super) fn new(storage: &Arc<Storage>, cluster: &Cluster, chain: HashMap<Place, i64>) -> Self {
        static SESSIONS: AtomicU64 = AtomicU64::new(0);
        let session = SESSIONS.fetch_add(1, Ordering::Relaxed);
        // Of two processes with one id on two machines the clocks differ, by a microsecond at least.
        let name = format!("{}-{session}-{}", std::process::id(), now().0);
        Writer { storage: Arc::clone(storage), cluster: cluster.clone(), chain, name }
    }

    /// Where it writes.
    pub(super) fn storage(&self) -> Arc<Storage> {
        Arc::clone(&self.storage)
    }

    /// What was written is the end of the chain now.
    pub(super) fn goes_on(&mut self, next: &HashMap<Place, i64>) {
        self.chain.extend(next.iter().map(|(place, next)| (place.clone(), *next)));
    }

    /// Claims and writes a batch, then commits it.
    pub(super) fn write(
        &self,
        contracts: Contracts,
        taken: BTreeMap<Place, Records>,
    ) -> impl Future<Output = Result<Written, SinkError>> + Send + 'static {
        let (storage, cluster) = (Arc::clone(&self.storage), self.cluster.clone());
        let (chain, name) = (self.chain.clone(), self.name.clone());
        async move {
            let mut rows = 0;
            let mut next = HashMap::new();
            for (place, records) in taken {
                let Some(contract) = contracts.get(&place.topic).map(Arc::clone) else { continue };
                let (Some(first), Some(after)) = (records.first_offset(), records.next_offset()) else { continue };
                let files = make(contract, &place, records).await?;
                let end = chain.get(&place).copied().unwrap_or(0);
                claims::take(&storage, &place, end, &Claim::new(first, after, &name)).await?;
                for file in files {
                    rows += file.rows as u64;
                    storage.put(&file.path, file.bytes).await?;
                }
                next.insert(place, after);
            }
            cluster.commit(&next).await?;
            Ok((rows, next))
        }
    }

    /// Writes the files of claimed batches, as whoever claimed them has or would have, then commits them.
    pub(super) fn write_again(
        &self,
        contracts: Contracts,
        read: BTreeMap<Place, Records>,
        ranges: HashMap<Place, (i64, i64)>,
    ) -> impl Future<Output = Result<Written, SinkError>> + Send + 'static {
        let (storage, cluster) = (Arc::clone(&self.storage), self.cluster.clone());
        async move {
            let mut rows = 0;
            for (place, records) in read {
                let (Some(contract), Some(range)) = (contracts.get(&place.topic), ranges.get(&place)) else { continue };
                let mut names = BTreeSet::new();
                for file in make(Arc::clone(contract), &place, records).await? {
                    rows += file.rows as u64;
                    names.insert(file.path.clone());
                    storage.put(&file.path, file.bytes).await?;
                }
                // Of another version of the contract, which had put some records under another hour.
                for file in catalog::all(&storage, &place.topic).await? {
                    let of_batch = file.name.partition == place.partition
                        && !file.name.merged
                        && (range.0..range.1).contains(&file.name.first);
                    if of_batch && !names.contains(&file.path) {
                        storage.delete(&file.path).await?;
                    }
                }
            }
            let next = ranges.into_iter().map(|(place, (_, next))| (place, next)).collect();
            cluster.commit(&next).await?;
            Ok((rows, next))
        }
    }
}

/// A batch's files; every record is in one of them.
async fn make(contract: Arc<Contract>, place: &Place, records: Records) -> Result<Vec<encode::DataFile>, SinkError> {
    let (place, rows) = (place.clone(), records.len());
    let made = spawn_blocking(move || encode::files(&contract, &place, &records)).await;
    let made = made.map_err(|e| SinkError::new(ErrorKind::Internal, format!("make files: {e}")))??;
    let in_files: usize = made.iter().map(|file| file.rows).sum();
    if in_files != rows {
        let text = format!("{rows} records became {in_files} rows; nothing was written");
        return Err(SinkError::new(ErrorKind::Internal, text));
    }
    Ok(made)
}

/// Runs a write in a task of its own: a session that is dropped does not cut it off between two files.
pub(super) async fn written(
    write: impl Future<Output = Result<Written, SinkError>> + Send + 'static,
) -> Result<Written, SinkError> {
    tokio::spawn(write).await.map_err(|e| SinkError::new(ErrorKind::Internal, format!("write files: {e}")))?
}
