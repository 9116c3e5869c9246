//! Taking a job over from another backend: its state is computed again, its rows are not given again.
//!
//! ```text
//!  earliest ──────── records the other backend has read ────────▶ O ── records to come ──▶
//!             rehearse: state is built, no row is given            run: as ever
//!             event time stops at W, where the other's stood
//! ```
//!
//! Windows that end by W were final there and are not given again; later ones are given here, of all their records.

use std::collections::BTreeMap;

use super::table::TableEpoch;
use super::{Advance, Job, SourceBatch};
use crate::error::EngineError;
use crate::operator::NO_WATERMARK;
use crate::plan::TableState;

/// Where another backend left a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableTakeover {
    /// The streaming table.
    pub table: String,
    /// Its watermark, microseconds since 1970; `i64::MIN` when it had none.
    pub watermark: i64,
    /// Result rows it has given.
    pub rows_out: u64,
    /// Next offset it would have read, by source (name in SQL) and partition.
    pub offsets: BTreeMap<(String, i32), i64>,
}

impl Job {
    /// It has a table without windows, which counts all records there ever were, or a join that keeps its rows for ever.
    pub fn needs_every_record(&self) -> bool {
        self.tables.iter().any(|table| table.state == TableState::Groups || table.keeps_for_ever())
    }

    /// Takes in records the other backend has read: the state is built, event time goes no further than the other's, and no
    /// row, late record or malformed record comes of it. Call before any [`run`](Self::run), then
    /// [`take_over`](Self::take_over).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn rehearse(&mut self, input: &[SourceBatch<'_>], from: &[TableTakeover]) -> Result<(), EngineError> {
        if self.rehearsing.is_none() {
            let unknown = |table: &str| TableTakeover {
                table: table.to_owned(),
                watermark: NO_WATERMARK,
                rows_out: 0,
                offsets: BTreeMap::new(),
            };
            let of_table = |name: &str| from.iter().find(|known| known.table == name).cloned();
            let tables = self.tables.iter().map(|table| table.contract.name.as_str());
            self.rehearsing = Some(tables.map(|name| of_table(name).unwrap_or_else(|| unknown(name))).collect());
        }
        self.run(input, &Advance::Live { idle: Default::default(), ended: Default::default() })?;
        Ok(())
    }

    /// Ends the rehearsal: event time stands where the other backend's stood, and epochs count on from `epoch`.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn take_over(&mut self, from: &[TableTakeover], epoch: u64) -> Result<(), EngineError> {
        self.rehearse(&[], from)?;
        let known = self.rehearsing.take().unwrap_or_default();
        for (table, known) in self.tables.iter_mut().zip(known) {
            // What that closes was given by the other backend.
            let after = table.watermark.max(known.watermark);
            let give = &mut |_| Ok(());
            table.step(TableEpoch { task: &self.task, input: &[], after, rehearsing: true, give })?;
            table.answered_elsewhere(known.rows_out, known.offsets);
        }
        self.epoch = epoch;
        Ok(())
    }
}
