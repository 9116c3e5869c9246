//! A job's state outside its memory: what a snapshot holds, and what is done when it belongs to another statement.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use datafusion::common::DataFusionError;
use millrace_model::progress::RecordCounts;

use super::Job;
use super::account::Account;
use super::table::Table;
use super::watermark::EventTimes;
use crate::error::EngineError;
use crate::operator::saved::SavedBatch;

impl Job {
    /// The state as named batches, and the numbers that go with it. What takes long is left to whoever makes the batches.
    pub(crate) fn save(&self) -> Result<SavedJob, EngineError> {
        let failed = |error: DataFusionError| EngineError::State {
            job: self.name.clone(),
            detail: format!("cannot save: {}", error.strip_backtrace()),
        };
        let mut batches = Vec::new();
        for table in &self.tables {
            let saved = table.save().map_err(failed)?.into_iter().enumerate();
            batches.extend(saved.map(|(at, batch)| (part_name(&table.contract.name, at), batch)));
        }
        for source in &self.sources {
            if let Some(batch) = source.save() {
                batches.push((format!("source {}", source.name()), batch));
            }
        }
        let mut tables: Vec<TableNumbers> = self.tables.iter().map(Table::numbers).collect();
        if self.tables.is_empty() {
            let (watermark, rows_out) = (crate::operator::NO_WATERMARK, 0);
            tables.push(TableNumbers {
                table: self.name.clone(),
                watermark,
                rows_out,
                counts: self.checked.save(),
                answered: Vec::new(),
                keeps: Vec::new(),
            });
        }
        let sources = self.sources.iter().map(|source| (source.name().to_owned(), source.watermark)).collect();
        let head =
            SavedHead { epoch: self.epoch, secret: self.settings.secret, times: self.times.clone(), tables, sources };
        Ok(SavedJob { head, batches })
    }

    /// Replaces the state by a saved one. Tables that are new since start empty; tables that are gone are dropped.
    pub(crate) fn load(&mut self, saved: SavedJob) -> Result<(), EngineError> {
        let name = self.name.clone();
        let failed = |what: &str, error: DataFusionError| EngineError::State {
            job: name.clone(),
            detail: format!(
                "the saved state of {what} does not fit its statement ({}); the statement was edited: delete the \
                 job's consumer group and its state directory to recompute from the earliest record",
                error.strip_backtrace()
            ),
        };
        let head = saved.head;
        self.epoch = head.epoch;
        self.times.restore(head.times);
        let made = saved.batches.into_iter().map(|(what, batch)| match batch.make() {
            Ok(batch) => Ok((what, batch)),
            Err(error) => Err(failed(&what, error)),
        });
        let mut batches: BTreeMap<String, RecordBatch> = made.collect::<Result<_, _>>()?;
        for table in &mut self.tables {
            let table_name = table.contract.name.clone();
            let numbers = head.tables.iter().find(|numbers| numbers.table == table_name);
            if let Some(difference) = numbers.and_then(|numbers| table.differs_from(numbers)) {
                let edited = DataFusionError::Execution(difference);
                return Err(failed(&part_name(&table_name, 0), edited));
            }
            let loaded = table.load(|at| batches.remove(&part_name(&table_name, at)));
            loaded.map_err(|error| failed(&part_name(&table_name, 0), error))?;
            if let Some(numbers) = numbers {
                table.restore(numbers);
            }
        }
        for source in &mut self.sources {
            let what = format!("source {}", source.name());
            if let Some(batch) = batches.remove(&what) {
                source.load(&batch, head.secret).map_err(|error| failed(&what, error))?;
            }
            if let Some((_, watermark)) = head.sources.iter().find(|(name, _)| name == source.name()) {
                source.watermark = *watermark;
            }
        }
        if let Some(numbers) = head.tables.iter().find(|n| self.tables.is_empty() && n.table == self.name) {
            self.checked = Account::load(&numbers.counts);
        }
        self.settings.secret = head.secret;
        Ok(())
    }
}

/// Under which name a part of a table's state is saved.
fn part_name(table: &str, at: usize) -> String {
    if at == 0 { format!("table {table}") } else { format!("table {table}, part {}", at + 1) }
}

/// A job's state outside its memory.
pub(crate) struct SavedJob {
    pub(crate) head: SavedHead,
    pub(crate) batches: Vec<(String, SavedBatch)>,
}

/// The small part of a saved job.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct SavedHead {
    pub(crate) epoch: u64,
    pub(crate) secret: (u64, u64),
    pub(crate) times: EventTimes,
    pub(crate) tables: Vec<TableNumbers>,
    pub(crate) sources: Vec<(String, i64)>,
}

/// What a table counts, and its watermark.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct TableNumbers {
    pub(crate) table: String,
    pub(crate) watermark: i64,
    pub(crate) rows_out: u64,
    /// By source and partition.
    pub(crate) counts: Vec<(String, i32, RecordCounts)>,
    /// By source and partition: records before this offset were answered for by another backend.
    #[serde(default)]
    pub(crate) answered: Vec<(String, i32, i64)>,
    /// What the table's state holds, in words.
    #[serde(default)]
    pub(crate) keeps: Vec<String>,
}
