//! Tumbling and sliding windows.
//!
//! ```text
//!  size 5, slide 1 (minutes); a pane is gcd(size, slide) = 1 minute wide
//!
//!  panes    │ 0 │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │      a row touches one pane, not five windows
//!  windows  └─────────0─────────┘              a window is merged from its panes when it is emitted
//!               └─────────1─────────┘
//!                   └─────────2─────────┘
//!  watermark ──────────────────▶│              window 0 has closed; pane 0 belongs to no open window and goes
//! ```
//!
//! Panes: Li et al., "No pane, no gain" (SIGMOD Record 34, 2005). A row is late when the last window that holds its pane
//! has closed; a row of an older pane that an open window still holds counts there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StructArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion::common::Result;
use datafusion::physical_plan::PhysicalExpr;

use super::calls::{Grouping, States, evaluate, foreign};
use super::pane::{Pane, SharedKeys};
use super::saved::{Saved, SavedBatch};
use super::{Give, NO_RECORD, NO_WATERMARK, Operator};
use crate::sql::OutputMode;

/// Windows of `size`, one every `slide`, aligned to `offset` after the epoch. Microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Windows {
    pub(crate) size: i64,
    pub(crate) slide: i64,
    pub(crate) offset: i64,
}

impl Windows {
    /// Width of a pane.
    pub(crate) fn pane(self) -> i64 {
        let (mut a, mut b) = (self.size, self.slide);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    }

    /// Start of the pane that holds a time.
    fn pane_of(self, time: i64) -> i64 {
        let pane = self.pane();
        time - (time - self.offset).rem_euclid(pane)
    }

    /// Start of the last window that holds a pane.
    fn last_start(self, pane: i64) -> i64 {
        pane - (pane - self.offset).rem_euclid(self.slide)
    }

    /// Starts of the windows that hold a pane, latest first.
    fn starts(self, pane: i64) -> impl Iterator<Item = i64> {
        let first = pane + self.pane() - self.size;
        (0..).map(move |n| self.last_start(pane) - n * self.slide).take_while(move |start| *start >= first)
    }

    /// Every window that holds the pane has closed.
    fn is_over(self, pane: i64, watermark: i64) -> bool {
        self.last_start(pane) + self.size <= watermark
    }
}

/// A window aggregate.
pub(crate) struct WindowOperator {
    windows: Windows,
    time: Arc<dyn PhysicalExpr>,
    row_at: Option<usize>,
    grouping: Grouping,
    mode: OutputMode,
    keys: SharedKeys,
    panes: BTreeMap<i64, Pane>,
}

/// Rows given at a time: what a closing window of millions of keys takes in memory on its way out.
const ROWS_AT_A_TIME: usize = 1 << 16;

/// Batches on their way out, put together while they are small.
struct Rows<'a> {
    waiting: Vec<RecordBatch>,
    give: &'a mut Give<'a>,
}

impl Rows<'_> {
    fn take(&mut self, batch: RecordBatch) -> Result<()> {
        self.waiting.push(batch);
        let rows: usize = self.waiting.iter().map(RecordBatch::num_rows).sum();
        if rows >= ROWS_AT_A_TIME { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.waiting);
        match batches.as_slice() {
            [] => Ok(()),
            [one] => (self.give)(one.clone()),
            [first, ..] => (self.give)(arrow_select::concat::concat_batches(&first.schema(), &batches)?),
        }
    }
}

impl WindowOperator {
    pub(crate) fn new(
        windows: Windows,
        time: Arc<dyn PhysicalExpr>,
        row_at: Option<usize>,
        grouping: Grouping,
        mode: OutputMode,
    ) -> Self {
        WindowOperator { windows, time, row_at, grouping, mode, keys: SharedKeys::default(), panes: BTreeMap::new() }
    }

    /// Gives the rows of one window: the groups of `chosen` keys, merged over all panes of the window.
    fn give_window(&self, start: i64, only_dirty: bool, rows: &mut Rows<'_>) -> Result<()> {
        let panes: Vec<&Pane> = self.panes.range(start..start + self.windows.size).map(|(_, pane)| pane).collect();
        if let [pane] = panes.as_slice() {
            // The window is one pane: nothing to merge.
            for groups in pane.groups(only_dirty).chunks(ROWS_AT_A_TIME) {
                let keys: Vec<u32> = groups.iter().map(|group| pane.keys[*group as usize]).collect();
                rows.take(self.window_rows(start, &keys, &pane.states, groups)?)?;
            }
            return Ok(());
        }
        let chosen = self.chosen(&panes, only_dirty);
        let (mut from, mut into) = (Vec::new(), Vec::new());
        for keys in chosen.chunks(ROWS_AT_A_TIME) {
            let mut merged = States::new(&self.grouping);
            merged.resize(keys.len());
            for pane in &panes {
                from.clear();
                into.clear();
                for (at, key) in (0..).zip(keys) {
                    if let Some(group) = pane.find(*key) {
                        from.push(group);
                        into.push(at);
                    }
                }
                merged.merge(&pane.states, &from, &into)?;
            }
            let groups: Vec<u32> = (0..keys.len() as u32).collect();
            rows.take(self.window_rows(start, keys, &merged, &groups)?)?;
        }
        Ok(())
    }

    /// The keys of some panes, each once.
    fn chosen(&self, panes: &[&Pane], only_dirty: bool) -> Vec<u32> {
        let mut seen = vec![0_u64; self.keys.table.capacity().div_ceil(64)];
        let mut chosen = Vec::new();
        for pane in panes {
            for group in pane.groups(only_dirty) {
                let key = pane.keys[group as usize];
                let (word, bit) = (&mut seen[key as usize / 64], 1 << (key % 64));
                if *word & bit == 0 {
                    *word |= bit;
                    chosen.push(key);
                }
            }
        }
        chosen
    }

    /// Gives the rows of these windows.
    fn give_windows(&self, starts: impl IntoIterator<Item = i64>, only_dirty: bool, give: &mut Give<'_>) -> Result<()> {
        let mut rows = Rows { waiting: Vec::new(), give };
        for start in starts {
            self.give_window(start, only_dirty, &mut rows)?;
        }
        rows.flush()
    }

    fn window_rows(&self, start: i64, keys: &[u32], states: &States, groups: &[u32]) -> Result<RecordBatch> {
        let window = window_column(start, start + self.windows.size, groups.len());
        let keys = self.grouping.codec.decode(keys.iter().map(|key| self.keys.table.key(*key)))?;
        self.grouping.output(keys, Some(window), states.evaluate(groups)?, groups.len())
    }
}

/// Fields of a window: `start` and `end`.
pub(crate) fn window_fields() -> Fields {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    Fields::from(vec![Field::new("start", time(), true), Field::new("end", time(), true)])
}

/// A column of windows that are all the same one.
fn window_column(start: i64, end: i64, rows: usize) -> ArrayRef {
    windows_column(vec![start; rows], vec![end; rows])
}

/// A column of windows.
pub(crate) fn windows_column(starts: Vec<i64>, ends: Vec<i64>) -> ArrayRef {
    let times =
        |values: Vec<i64>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(values).with_timezone("+00:00")) };
    Arc::new(StructArray::new(window_fields(), vec![times(starts), times(ends)], None))
}

/// Record numbers of a batch, when it carries them.
pub(crate) fn record_numbers(batch: &RecordBatch, row_at: Option<usize>) -> Option<&Int64Array> {
    row_at.map(|at| batch.column(at).as_primitive::<Int64Type>())
}

/// The number of a late row's record; [`NO_RECORD`] when the batch carries none.
pub(crate) fn record_number_of(numbers: Option<&Int64Array>, row: usize) -> i64 {
    numbers.map_or(NO_RECORD, |numbers| numbers.value(row))
}

/// Evaluates the event time of a batch, as microseconds; that of a window is the last one in it.
pub(crate) fn times_of(time: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<TimestampMicrosecondArray> {
    let column = evaluate(time, batch)?;
    if let Some(windows) = column.as_struct_opt() {
        let ends = windows.column(1).as_primitive::<TimestampMicrosecondType>();
        let times: TimestampMicrosecondArray = ends.unary(|end| end - 1);
        let valid = arrow_buffer::NullBuffer::union(windows.nulls(), times.nulls());
        let (_, values, _) = times.into_parts();
        return Ok(TimestampMicrosecondArray::try_new(values, valid)?);
    }
    Ok(match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => times.clone(),
        None => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
            arrow_cast::cast(&column, &micros)?.as_primitive::<TimestampMicrosecondType>().clone()
        }
    })
}

impl Operator for WindowOperator {
    fn push(&mut self, batch: &RecordBatch, watermark: i64) -> Result<Vec<i64>> {
        let times = times_of(&self.time, batch)?;
        let evaluated = self.grouping.evaluate(batch)?;
        let numbers = record_numbers(batch, self.row_at);
        let mut late = Vec::new();
        // Rows by pane. Most batches touch one or two panes, so the last one found is tried first.
        let mut by_pane: Vec<(i64, Vec<u32>)> = Vec::new();
        let mut current = 0;
        for row in 0..batch.num_rows() {
            if times.is_null(row) {
                continue;
            }
            let pane = self.windows.pane_of(times.value(row));
            if by_pane.get(current).is_none_or(|(start, _)| *start != pane) {
                current = by_pane.iter().position(|(start, _)| *start == pane).unwrap_or_else(|| {
                    by_pane.push((pane, Vec::new()));
                    by_pane.len() - 1
                });
            }
            by_pane[current].1.push(row as u32);
        }
        for (start, rows) in by_pane {
            if watermark != NO_WATERMARK && self.windows.is_over(start, watermark) {
                late.extend(rows.iter().map(|row| record_number_of(numbers, *row as usize)));
                continue;
            }
            let pane = self.panes.entry(start).or_insert_with(|| Pane::new(&self.grouping));
            let groups = pane.add(&mut self.keys, &evaluated, &rows)?;
            if self.mode == OutputMode::Update {
                pane.touch(&groups);
            }
        }
        Ok(late)
    }

    fn advance(&mut self, before: i64, after: i64, give: &mut Give<'_>) -> Result<()> {
        let ends_after = |start: &i64, watermark: i64| start + self.windows.size > watermark;
        match self.mode {
            OutputMode::Update => {
                let changed = self.panes.iter().filter(|(_, pane)| pane.is_dirty());
                let starts: BTreeSet<i64> = changed
                    .flat_map(|(pane, _)| self.windows.starts(*pane))
                    .filter(|start| before == NO_WATERMARK || ends_after(start, before))
                    .collect();
                self.give_windows(starts, true, give)?;
            }
            OutputMode::Append if after > before => {
                let all = self.panes.keys().flat_map(|pane| self.windows.starts(*pane));
                let closing: BTreeSet<i64> = all
                    .filter(|start| !ends_after(start, after) && (before == NO_WATERMARK || ends_after(start, before)))
                    .collect();
                self.give_windows(closing, false, give)?;
            }
            OutputMode::Append | OutputMode::Complete => {}
        }
        self.panes.values_mut().for_each(Pane::settle);
        if after != NO_WATERMARK {
            let (windows, keys) = (self.windows, &mut self.keys);
            self.panes.retain(|start, pane| {
                let over = windows.is_over(*start, after);
                if over {
                    keys.leave(pane);
                }
                !over
            });
        }
        Ok(())
    }

    fn whole(&self) -> Result<Option<RecordBatch>> {
        let starts: BTreeSet<i64> = self.panes.keys().flat_map(|pane| self.windows.starts(*pane)).collect();
        let mut batches = Vec::new();
        self.give_windows(starts, false, &mut |batch| {
            batches.push(batch);
            Ok(())
        })?;
        let Some(first) = batches.first() else { return Ok(None) };
        Ok(Some(arrow_select::concat::concat_batches(&first.schema(), &batches)?))
    }

    fn groups(&self) -> usize {
        self.panes.values().map(Pane::len).sum()
    }

    fn bytes(&self) -> usize {
        self.keys.bytes() + self.panes.values().map(Pane::bytes).sum::<usize>()
    }

    fn save(&self) -> Result<SavedBatch> {
        let rows = self.groups();
        let mut starts = Vec::with_capacity(rows);
        let mut keys = Vec::with_capacity(rows);
        let mut states: Vec<Vec<Saved>> = Vec::with_capacity(self.panes.len() + 1);
        for (start, pane) in &self.panes {
            starts.resize(starts.len() + pane.len(), *start);
            keys.extend_from_slice(&pane.keys);
            states.push(pane.states.save(&pane.groups(false))?);
        }
        // No pane gives no rows, but the columns.
        let none = States::new(&self.grouping);
        states.push(none.save(&[])?);
        let mut fields: Vec<FieldRef> = vec![Arc::new(Field::new("pane", DataType::Int64, false))];
        fields.extend(self.grouping.saved_key_fields());
        fields.extend(none.saved_fields(&self.grouping));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(starts))];
        columns.extend(self.grouping.codec.decode(keys.iter().map(|key| self.keys.table.key(*key)))?);
        Ok(SavedBatch::new(fields, vec![Saved::Now(columns), Saved::below_each_other(states)], rows))
    }

    fn load(&mut self, saved: &RecordBatch) -> Result<()> {
        self.panes.clear();
        self.keys = SharedKeys::default();
        let key_count = self.grouping.key_types.len();
        if saved.num_columns() < 1 + key_count {
            return foreign();
        }
        let Some(starts) = saved.column(0).as_primitive_opt::<Int64Type>() else { return foreign() };
        let mut from = 0;
        while from < saved.num_rows() {
            let start = starts.value(from);
            let same = starts.values()[from..].iter().take_while(|other| **other == start).count();
            let columns: Vec<ArrayRef> = saved.columns()[1..].iter().map(|column| column.slice(from, same)).collect();
            let mut pane = Pane::new(&self.grouping);
            let keys = self.grouping.codec.encode(&columns[..key_count])?;
            let keys: Vec<_> = (0..same).map(|row| keys.key(row)).collect();
            let groups = pane.restore(&mut self.keys, keys.iter().map(AsRef::as_ref));
            pane.states.load(&self.grouping, &groups, &columns[key_count..])?;
            self.panes.insert(start, pane);
            from += same;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panes_and_windows() {
        let sliding = Windows { size: 5, slide: 1, offset: 0 };
        assert_eq!((sliding.pane(), sliding.pane_of(7), sliding.pane_of(-1)), (1, 7, -1));
        assert_eq!(sliding.starts(7).collect::<Vec<_>>(), [7, 6, 5, 4, 3]);
        let uneven = Windows { size: 10, slide: 4, offset: 0 };
        assert_eq!((uneven.pane(), uneven.pane_of(9)), (2, 8));
        assert_eq!(uneven.starts(8).collect::<Vec<_>>(), [8, 4, 0]);
        assert_eq!(uneven.starts(10).collect::<Vec<_>>(), [8, 4]);
        assert!(uneven.is_over(10, 18) && !uneven.is_over(10, 17));
        let tumbling = Windows { size: 10, slide: 10, offset: 3 };
        assert_eq!((tumbling.pane_of(2), tumbling.pane_of(3), tumbling.pane_of(12)), (-7, 3, 3));
        assert_eq!(tumbling.starts(3).collect::<Vec<_>>(), [3]);
    }
}
