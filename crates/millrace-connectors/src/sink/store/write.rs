//! Writes what was taken: again while the store is away, in halves when a row is refused, until the refused one is alone.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::{Classified, ErrorKind};

use super::history::{self, JOB_PROGRESS};
use super::letters::{Fate, fate};
use super::row::Misfit;
use super::session::{Session, Taken};
use super::settings::STORE_GROUP;
use crate::kafka::Place;
use crate::retry::{jitter, now};
use crate::shutdown::{Ending, Shutdown};
use crate::sink::SinkError;
use crate::store::{OffsetAdvance, StoreError, Table, WriteBatch};

/// `code` of a record whose row the database refused.
const REFUSED: &str = "store_refused";

impl Session<'_> {
    /// Writes the records, in order, and where that brings the sink. `false`: it was asked to stop before it could.
    pub(super) async fn write(&mut self, taken: &[Taken], shutdown: &mut Shutdown) -> Result<bool, SinkError> {
        let set_aside = taken.iter().filter_map(|taken| Some((taken, taken.row.as_ref()?.as_ref().err()?)));
        self.set_aside(&set_aside.collect::<Vec<_>>()).await?;
        // Slices still to be written, the next one last.
        let mut rest = vec![taken];
        while let Some(slice) = rest.pop() {
            let batch = batch(slice, &self.tables, &self.history, &self.stored)?;
            match self.write_batch(&batch, shutdown).await {
                Ok(true) => self.moved(slice),
                Ok(false) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Data => match slice {
                    [] => return Err(error.into()),
                    [refused] => self.refused(refused, &error, shutdown).await?,
                    _ => {
                        let (first, second) = slice.split_at(slice.len() / 2);
                        rest.extend([second, first]);
                    }
                },
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Writes one batch, trying again while the store is away. `false`: it was asked to stop.
    async fn write_batch(&self, batch: &WriteBatch, shutdown: &mut Shutdown) -> Result<bool, StoreError> {
        let policy = RetryPolicy::default();
        let mut failures = 0;
        loop {
            let Err(error) = self.store.write(batch).await else {
                return Ok(true);
            };
            failures += 1;
            let RetryDecision::After(wait) = after_failure(&policy, error.kind(), failures, jitter()) else {
                return Err(error);
            };
            tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "store sink waits for the store");
            self.stats.waits_for(&error.to_string());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.at_least(Ending::Stop) => return Ok(false),
            }
        }
    }

    /// A single record the database refuses: it is set aside, and only the offset is written.
    async fn refused(&mut self, taken: &Taken, error: &StoreError, shutdown: &mut Shutdown) -> Result<(), SinkError> {
        let misfit = Misfit { code: REFUSED, field: None, reason: error.to_string() };
        self.set_aside(&[(taken, &misfit)]).await?;
        let place = Taken { row: None, ..taken.clone() };
        let slice = std::slice::from_ref(&place);
        let batch = batch(slice, &self.tables, &self.history, &self.stored)?;
        if self.write_batch(&batch, shutdown).await? {
            self.moved(slice);
        }
        Ok(())
    }

    async fn set_aside(&mut self, records: &[(&Taken, &Misfit)]) -> Result<(), SinkError> {
        let mut letters = Vec::with_capacity(records.len());
        for (taken, misfit) in records {
            let place = &taken.place;
            tracing::warn!(
                topic = &*place.topic,
                place.partition,
                taken.offset,
                reason = misfit.reason,
                "record set aside"
            );
            match fate(&place.topic, taken.value.as_deref()) {
                Fate::SetAside => letters.push((*taken, *misfit)),
                Fate::LeaveInTopic => {}
            }
            self.stats.set_aside();
        }
        if letters.is_empty() {
            return Ok(());
        }
        self.letters.send(&self.settings.client, &letters).await
    }

    /// Notes that the records are in the store.
    fn moved(&mut self, slice: &[Taken]) {
        let mut rows = 0;
        for taken in slice {
            self.stored.insert(taken.place.clone(), Some(taken.offset + 1));
            rows += u64::from(matches!(taken.row, Some(Ok(_))));
        }
        self.stats.wrote(rows, now());
    }
}

/// Rows and offsets of a slice of records.
fn batch(
    slice: &[Taken],
    tables: &HashMap<Arc<str>, Arc<Table>>,
    history: &Arc<Table>,
    stored: &HashMap<Place, Option<i64>>,
) -> Result<WriteBatch, SinkError> {
    let mut batch = WriteBatch::new(STORE_GROUP);
    let mut next: HashMap<&Place, i64> = HashMap::new();
    for taken in slice {
        next.insert(&taken.place, taken.offset + 1);
        let (Some(Ok(row)), Some(table)) = (&taken.row, tables.get(&taken.place.topic)) else {
            continue;
        };
        batch.upsert(table, Arc::clone(row))?;
        if &*taken.place.topic == JOB_PROGRESS
            && let Some(row) = taken.value.as_deref().and_then(history::row)
        {
            batch.upsert(history, row)?;
        }
    }
    let mut next: Vec<(&Place, i64)> = next.into_iter().collect();
    // Always in one order: two transactions that lock the same rows in different orders can block each other.
    next.sort();
    for (place, to) in next {
        let from = stored.get(place).copied().flatten();
        batch.advance(OffsetAdvance { topic: place.topic.to_string(), partition: place.partition, from, to });
    }
    Ok(batch)
}
