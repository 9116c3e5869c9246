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

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StructArray, TimestampMicrosecondArray, UInt32Array};
use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion::common::Result;
use datafusion::physical_plan::PhysicalExpr;

use super::calls::{GroupTable, Grouping, evaluate};
use super::keys::{KeyTable, batch_of};
use super::{NO_WATERMARK, Operator};
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
    panes: BTreeMap<i64, Pane>,
}

struct Pane {
    groups: GroupTable,
    /// Groups changed in this epoch, each once.
    dirty: Vec<u32>,
    is_dirty: Vec<bool>,
}

impl WindowOperator {
    pub(crate) fn new(
        windows: Windows,
        time: Arc<dyn PhysicalExpr>,
        row_at: Option<usize>,
        grouping: Grouping,
        mode: OutputMode,
    ) -> Self {
        WindowOperator { windows, time, row_at, grouping, mode, panes: BTreeMap::new() }
    }

    /// The groups of one window: keys of `chosen` panes, merged over all panes of the window.
    fn emit(&self, start: i64, only_dirty: bool) -> Result<Option<(GroupTable, Vec<u32>)>> {
        let panes: Vec<&Pane> = self.panes.range(start..start + self.windows.size).map(|(_, pane)| pane).collect();
        let mut merged = GroupTable::new(&self.grouping);
        // Key and its group in the merged table, for the keys to be given.
        let mut chosen = KeyTable::default();
        for pane in &panes {
            let numbers = if only_dirty { pane.dirty.clone() } else { pane.groups.keys.numbers() };
            for number in numbers {
                chosen.intern(pane.groups.keys.key(number));
            }
        }
        if chosen.len() == 0 {
            return Ok(None);
        }
        let groups = chosen.numbers();
        for number in &groups {
            merged.keys.intern(chosen.key(*number));
        }
        for pane in panes {
            let (mut from, mut into) = (Vec::new(), Vec::new());
            for number in &groups {
                if let Some(group) = pane.groups.keys.get(chosen.key(*number)) {
                    from.push(group);
                    into.push(*number);
                }
            }
            merged.merge(&pane.groups, &from, &into)?;
        }
        Ok(Some((merged, groups)))
    }

    /// Rows of these windows, as one batch.
    fn rows_of(&self, starts: impl Iterator<Item = i64>, only_dirty: bool) -> Result<Option<RecordBatch>> {
        let mut batches = Vec::new();
        for start in starts {
            if self.windows.size == self.windows.slide {
                // A tumbling window is its one pane: nothing to merge.
                if let Some(pane) = self.panes.get(&start) {
                    let groups = if only_dirty { pane.dirty.clone() } else { pane.groups.keys.numbers() };
                    batches.extend(self.window_rows(start, &pane.groups, &groups)?);
                }
            } else if let Some((merged, groups)) = self.emit(start, only_dirty)? {
                batches.extend(self.window_rows(start, &merged, &groups)?);
            }
        }
        let Some(first) = batches.first() else { return Ok(None) };
        Ok(Some(arrow_select::concat::concat_batches(&first.schema(), &batches)?))
    }

    fn window_rows(&self, start: i64, table: &GroupTable, groups: &[u32]) -> Result<Option<RecordBatch>> {
        if groups.is_empty() {
            return Ok(None);
        }
        let window = window_column(start, start + self.windows.size, groups.len());
        let keys = table.key_columns(&self.grouping, groups)?;
        let aggregates = table.states.evaluate(groups)?;
        self.grouping.output(keys, Some(window), aggregates, groups.len()).map(Some)
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

/// Evaluates the event time of a batch, as microseconds.
pub(crate) fn times_of(time: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<TimestampMicrosecondArray> {
    let column = evaluate(time, batch)?;
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
                late.extend(rows.iter().filter_map(|row| numbers.map(|n| n.value(*row as usize))));
                continue;
            }
            let pane = self.panes.entry(start).or_insert_with(|| Pane {
                groups: GroupTable::new(&self.grouping),
                dirty: Vec::new(),
                is_dirty: Vec::new(),
            });
            let groups = pane.groups.add(&evaluated, &rows)?;
            if self.mode == OutputMode::Update {
                pane.is_dirty.resize(pane.groups.keys.capacity(), false);
                for group in groups {
                    if !std::mem::replace(&mut pane.is_dirty[group as usize], true) {
                        pane.dirty.push(group);
                    }
                }
            }
        }
        Ok(late)
    }

    fn advance(&mut self, before: i64, after: i64) -> Result<Option<RecordBatch>> {
        let ends_after = |start: &i64, watermark: i64| start + self.windows.size > watermark;
        let rows = match self.mode {
            OutputMode::Update => {
                let changed = self.panes.iter().filter(|(_, pane)| !pane.dirty.is_empty());
                let starts: std::collections::BTreeSet<i64> = changed
                    .flat_map(|(pane, _)| self.windows.starts(*pane))
                    .filter(|start| before == NO_WATERMARK || ends_after(start, before))
                    .collect();
                self.rows_of(starts.into_iter(), true)?
            }
            OutputMode::Append if after > before => {
                let all = self.panes.keys().flat_map(|pane| self.windows.starts(*pane));
                let closing: std::collections::BTreeSet<i64> = all
                    .filter(|start| !ends_after(start, after) && (before == NO_WATERMARK || ends_after(start, before)))
                    .collect();
                self.rows_of(closing.into_iter(), false)?
            }
            OutputMode::Append => None,
        };
        for pane in self.panes.values_mut() {
            for group in pane.dirty.drain(..) {
                pane.is_dirty[group as usize] = false;
            }
        }
        if after != NO_WATERMARK {
            let windows = self.windows;
            self.panes.retain(|start, _| !windows.is_over(*start, after));
        }
        Ok(rows)
    }

    fn groups(&self) -> usize {
        self.panes.values().map(|pane| pane.groups.keys.len()).sum()
    }

    fn bytes(&self) -> usize {
        self.panes.values().map(|pane| pane.groups.bytes()).sum()
    }

    fn save(&self) -> Result<RecordBatch> {
        let pane_field: FieldRef = Arc::new(Field::new("pane", DataType::Int64, false));
        let mut batches = Vec::new();
        // An empty table gives the schema when there is no pane.
        let empty = GroupTable::new(&self.grouping);
        for (start, table) in self.panes.iter().map(|(start, pane)| (*start, &pane.groups)).chain([(0, &empty)]) {
            let groups = table.keys.numbers();
            let (mut fields, mut columns) = table.save(&self.grouping, &groups)?;
            fields.insert(0, pane_field.clone());
            columns.insert(0, Arc::new(Int64Array::from(vec![start; groups.len()])));
            batches.push(batch_of(&fields, columns, groups.len())?);
        }
        Ok(arrow_select::concat::concat_batches(&batches[0].schema(), &batches)?)
    }

    fn load(&mut self, saved: &RecordBatch) -> Result<()> {
        self.panes.clear();
        let starts = saved.column(0).as_primitive::<Int64Type>();
        let mut from = 0;
        while from < saved.num_rows() {
            let start = starts.value(from);
            let to = (from..saved.num_rows()).find(|row| starts.value(*row) != start).unwrap_or(saved.num_rows());
            let rows = UInt32Array::from_iter_values(from as u32..to as u32);
            let columns: Vec<ArrayRef> = saved.columns()[1..]
                .iter()
                .map(|column| arrow_select::take::take(column, &rows, None))
                .collect::<Result<_, _>>()?;
            let mut groups = GroupTable::new(&self.grouping);
            groups.load(&self.grouping, &columns, to - from)?;
            let is_dirty = vec![false; groups.keys.capacity()];
            self.panes.insert(start, Pane { groups, dirty: Vec::new(), is_dirty });
            from = to;
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
