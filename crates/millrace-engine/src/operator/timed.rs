//! GROUP BY keys of which one is an event time: `id, event_time`, or the window of an aggregate below.
//!
//! ```text
//!  key (w1, ann) (w1, bob) (w2, ann)      a group is final when the watermark has passed the time in its key
//!  end     10:01     10:01     10:02      append mode: given then; update mode: given whenever it changed
//!  watermark ────────▶│                   and forgotten in both
//! ```
//!
//! So Spark de-duplicates with `SELECT DISTINCT id, event_time`, and counts exactly with two levels of GROUP BY.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field};
use datafusion::common::Result;
use datafusion::physical_plan::PhysicalExpr;

use super::calls::{GroupTable, Grouping};
use super::saved::{Saved, SavedBatch};
use super::window::{record_number_of, record_numbers, times_of};
use super::{Give, NO_WATERMARK, Operator};
use crate::sql::OutputMode;

/// A row without a time has this one: it is never final.
const NEVER: i64 = i64::MAX;

/// An aggregate keyed by an event time.
pub(crate) struct TimedOperator {
    time: Arc<dyn PhysicalExpr>,
    row_at: Option<usize>,
    grouping: Grouping,
    mode: OutputMode,
    table: GroupTable,
    /// The time in each group's key.
    times: Vec<i64>,
    /// Groups by that time; a group stands here once.
    open: BinaryHeap<Reverse<(i64, u32)>>,
    dirty: Vec<u32>,
    is_dirty: Vec<bool>,
}

impl TimedOperator {
    pub(crate) fn new(
        time: Arc<dyn PhysicalExpr>,
        row_at: Option<usize>,
        grouping: Grouping,
        mode: OutputMode,
    ) -> Self {
        let table = GroupTable::new(&grouping);
        TimedOperator {
            time,
            row_at,
            grouping,
            mode,
            table,
            times: Vec::new(),
            open: BinaryHeap::new(),
            dirty: Vec::new(),
            is_dirty: Vec::new(),
        }
    }

    /// Enters groups that may be new.
    fn note(&mut self, groups: &[u32], times: impl Iterator<Item = i64>) {
        let capacity = self.table.keys.capacity();
        self.times.resize(capacity, NEVER);
        self.is_dirty.resize(capacity, false);
        for (group, time) in groups.iter().zip(times) {
            let known = &mut self.times[*group as usize];
            if *known == NEVER && time != NEVER {
                *known = time;
                self.open.push(Reverse((time, *group)));
            }
            if !std::mem::replace(&mut self.is_dirty[*group as usize], true) {
                self.dirty.push(*group);
            }
        }
    }

    fn rows(&self, groups: &[u32]) -> Result<Option<RecordBatch>> {
        if groups.is_empty() {
            return Ok(None);
        }
        let keys = self.table.key_columns(&self.grouping, groups)?;
        self.grouping.output(keys, None, self.table.states.evaluate(groups)?, groups.len()).map(Some)
    }
}

impl Operator for TimedOperator {
    fn push(&mut self, batch: &RecordBatch, watermark: i64) -> Result<Vec<i64>> {
        let times = times_of(&self.time, batch)?;
        let evaluated = self.grouping.evaluate(batch)?;
        let numbers = record_numbers(batch, self.row_at);
        let (mut late, mut rows) = (Vec::new(), Vec::with_capacity(batch.num_rows()));
        for row in 0..batch.num_rows() {
            // Without a time a group is never final: append mode would keep it for ever and never show it.
            let timeless = times.is_null(row);
            if timeless && self.mode == OutputMode::Append {
                continue;
            }
            if !timeless && watermark != NO_WATERMARK && times.value(row) < watermark {
                late.push(record_number_of(numbers, row));
                continue;
            }
            rows.push(row as u32);
        }
        let groups = self.table.add(&evaluated, &rows)?;
        let time = |row: &u32| if times.is_null(*row as usize) { NEVER } else { times.value(*row as usize) };
        self.note(&groups, rows.iter().map(time));
        Ok(late)
    }

    fn advance(&mut self, _before: i64, after: i64, give: &mut Give<'_>) -> Result<()> {
        let mut closed = Vec::new();
        while let Some(Reverse((time, group))) = self.open.peek().copied() {
            if after == NO_WATERMARK || time >= after {
                break;
            }
            self.open.pop();
            closed.push(group);
        }
        let dirty = std::mem::take(&mut self.dirty);
        for group in &dirty {
            self.is_dirty[*group as usize] = false;
        }
        let rows = match self.mode {
            OutputMode::Append => {
                // The order of rows must not depend on how keys were numbered.
                let (times, keys) = (&self.times, &self.table.keys);
                closed.sort_by(|a, b| (times[*a as usize], keys.key(*a)).cmp(&(times[*b as usize], keys.key(*b))));
                self.rows(&closed)?
            }
            // In complete mode such a group is a plain one: nothing is forgotten.
            OutputMode::Update | OutputMode::Complete => self.rows(&dirty)?,
        };
        for group in closed {
            self.table.states.clear(group);
            self.table.keys.remove(group);
            self.times[group as usize] = NEVER;
        }
        rows.map_or(Ok(()), give)
    }

    fn whole(&self) -> Result<Option<RecordBatch>> {
        self.rows(&self.table.keys.numbers())
    }

    fn groups(&self) -> usize {
        self.table.keys.len()
    }

    fn bytes(&self) -> usize {
        self.table.bytes() + self.times.len() * 9 + self.open.len() * 16
    }

    fn save(&self) -> Result<SavedBatch> {
        let groups = self.table.keys.numbers();
        let (mut fields, mut columns) = self.table.save(&self.grouping, &groups)?;
        fields.insert(0, Arc::new(Field::new("time", DataType::Int64, false)));
        let times = Int64Array::from_iter_values(groups.iter().map(|g| self.times[*g as usize]));
        columns.insert(0, Saved::Now(vec![Arc::new(times)]));
        Ok(SavedBatch::new(fields, columns, groups.len()))
    }

    fn load(&mut self, saved: &RecordBatch) -> Result<()> {
        self.table = GroupTable::new(&self.grouping);
        self.times.clear();
        self.open.clear();
        let groups = self.table.load(&self.grouping, &saved.columns()[1..], saved.num_rows())?;
        self.is_dirty = vec![false; self.table.keys.capacity()];
        let times = saved.column(0).as_primitive::<Int64Type>();
        self.note(&groups, times.values().iter().copied());
        self.dirty.clear();
        self.is_dirty.fill(false);
        Ok(())
    }
}
