//! Epochs whose results are not in Kafka yet: what one transaction will hold.
//!
//! Nobody watches the past change, so of a table in update mode only the last row of each key goes out with a transaction.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millrace_connectors::kafka::KafkaError;
use millrace_engine::JobPlan;
use millrace_engine::job::TableRows;
use millrace_engine::sql::OutputMode;
use millrace_engine::state::EpochEntry;
use millrace_model::dead_letter::DeadLetter;

use super::super::output::Transaction;

/// Full epochs of one transaction.
const EPOCHS_MAX: usize = 4;
/// Bytes of rows of one transaction, about.
const ROWS_BYTES_MAX: usize = 32 << 20;
/// Longest wait for a transaction: the progress of the job is in it.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// How a table's rows follow each other.
enum Rows {
    /// Each is there to stay.
    All(Vec<TableRows>),
    /// A later row of a key takes the place of an earlier one.
    ByKey(BTreeMap<Vec<u8>, Vec<u8>>),
    /// A later result takes the place of an earlier one.
    Last(Option<TableRows>),
}

/// What waits.
pub(super) struct Pending {
    tables: BTreeMap<String, Rows>,
    pub(super) entries: Vec<EpochEntry>,
    pub(super) letters: Vec<DeadLetter>,
    pub(super) records: usize,
    records_max: usize,
    bytes: usize,
    since: Instant,
}

impl Pending {
    /// For the tables of a job whose epochs have at most so many records.
    pub(super) fn new(plan: &JobPlan, epoch_records_max: usize) -> Self {
        let rows = plan.tables.iter().map(|table| {
            let rows = match table.output_mode {
                OutputMode::Update if !table.contract.key.is_empty() => Rows::ByKey(BTreeMap::new()),
                OutputMode::Complete => Rows::Last(None),
                _ => Rows::All(Vec::new()),
            };
            (table.contract.name.clone(), rows)
        });
        Pending {
            tables: rows.collect(),
            entries: Vec::new(),
            letters: Vec::new(),
            records: 0,
            records_max: epoch_records_max.saturating_mul(EPOCHS_MAX),
            bytes: 0,
            since: Instant::now(),
        }
    }

    /// Takes the rows of an epoch.
    pub(super) fn add(&mut self, given: Vec<TableRows>) {
        for rows in given {
            match (self.tables.get_mut(&rows.table), &rows.keys) {
                (Some(Rows::ByKey(known)), Some(keys)) => {
                    for (key, row) in keys.iter().zip(rows.rows.iter()) {
                        match known.get_mut(key) {
                            Some(earlier) => {
                                earlier.clear();
                                earlier.extend_from_slice(row);
                            }
                            None => {
                                self.bytes += key.len() + row.len();
                                known.insert(key.to_vec(), row.to_vec());
                            }
                        }
                    }
                }
                (Some(Rows::Last(known)), _) => *known = Some(rows),
                (Some(Rows::All(known)), _) => {
                    self.bytes += rows.rows.iter().map(<[u8]>::len).sum::<usize>();
                    known.push(rows);
                }
                // A table of the plan is among them, and one in update mode has keys.
                (Some(Rows::ByKey(_)) | None, _) => {}
            }
        }
    }

    /// It is time for a transaction.
    pub(super) fn is_due(&self) -> bool {
        let due = self.records >= self.records_max || self.bytes >= ROWS_BYTES_MAX || self.since.elapsed() >= WAIT_MAX;
        due && !self.entries.is_empty()
    }

    /// Puts rows and dead letters into a transaction; nothing waits then.
    ///
    /// # Errors
    /// Kafka.
    pub(super) fn send(&mut self, transaction: &Transaction<'_>) -> Result<(), KafkaError> {
        for (table, rows) in &mut self.tables {
            match rows {
                Rows::All(all) => std::mem::take(all).iter().try_for_each(|rows| transaction.rows(rows))?,
                Rows::Last(last) => last.take().iter().try_for_each(|rows| transaction.rows(rows))?,
                Rows::ByKey(known) => {
                    for (key, row) in std::mem::take(known) {
                        transaction.send(table, Some(&key), &row)?;
                    }
                }
            }
        }
        for letter in self.letters.drain(..) {
            transaction.own("dead_letters", &letter.dead_letter_id, &letter)?;
        }
        self.entries.clear();
        (self.records, self.bytes, self.since) = (0, 0, Instant::now());
        Ok(())
    }
}
