//! Joins of two streams: equal keys, and a range of time between the partners.
//!
//! ```text
//!  click  t ├──────10 minutes──────┤       lo = 0, hi = 10 minutes: an order at u joins a click at t when lo ≤ u − t ≤ hi
//!  order                u                  a click is kept until the watermark of orders has passed t + hi,
//!  watermark ───────────────▶│             an order until that of clicks has passed u − lo
//! ```
//!
//! A row looks for partners among the rows the other input has in the state, then waits there itself, so every pair is found
//! once, in the epoch of the later of the two. A row that leaves the state without a partner is given in an outer join: the
//! watermark has proved that none will come. A row older than the watermark is late, as in Spark.

mod side;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray, UInt32Array, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take;
use datafusion::common::{Result, internal_err};
use datafusion::physical_plan::PhysicalExpr;

use super::NO_WATERMARK;
use super::calls::evaluate;
use super::keys::{KeyCodec, KeyTable};
use super::saved::{Saved, SavedBatch};
use super::window::{record_number_of, record_numbers, times_of};
use crate::plan::event_time::held_back;
use side::{NONE, NewEntry, Side, batch_with};

/// Pairs looked at, and rows given, at once.
const PAIRS_MAX: usize = 8_192;

/// Which rows a join gives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Debug)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    /// Rows of the left input that have a partner, once each.
    Semi,
}

impl JoinKind {
    /// Rows of this input (0 left, 1 right) are given without a partner too.
    pub(crate) fn keeps_unmatched(self, input: usize) -> bool {
        match self {
            JoinKind::Full => true,
            JoinKind::Left => input == 0,
            JoinKind::Right => input == 1,
            JoinKind::Inner | JoinKind::Semi => false,
        }
    }
}

/// One input of a join. Expressions are over its columns without the record number.
pub(crate) struct JoinInput {
    pub(crate) schema: SchemaRef,
    /// Place of the record number in the batches that come.
    pub(crate) record_at: Option<usize>,
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) time: Option<Arc<dyn PhysicalExpr>>,
    /// How far its event time may be behind the table's watermark; none when it has no watermark.
    pub(crate) lag: Option<i64>,
    /// How far the table's watermark must be past a row's time before the row can find no partner; none for never.
    pub(crate) wait: Option<i64>,
}

/// What a join computes.
pub(crate) struct JoinPlan {
    pub(crate) kind: JoinKind,
    pub(crate) inputs: [JoinInput; 2],
    pub(crate) key_types: Vec<DataType>,
    /// Least and most of right time − left time, microseconds; the ends of i64 where there is no bound.
    pub(crate) range: (i64, i64),
    /// What else must hold, over the columns of both.
    pub(crate) condition: Option<Arc<dyn PhysicalExpr>>,
    /// The columns of both.
    pub(crate) pair: SchemaRef,
    pub(crate) output: SchemaRef,
}

/// A join of two streams.
pub(crate) struct JoinOperator {
    plan: JoinPlan,
    codec: KeyCodec,
    keys: KeyTable,
    sides: [Side; 2],
    /// Rows to be given at the end of the epoch.
    found: Vec<RecordBatch>,
}

/// Pairs to be looked at: entries of the left and the right side.
#[derive(Default)]
struct Pairs([Vec<u32>; 2]);

impl JoinOperator {
    pub(crate) fn new(plan: JoinPlan) -> Result<Self> {
        let codec = KeyCodec::new(&plan.key_types)?;
        let sides = [0, 1].map(|input| Side::new(plan.inputs[input].schema.clone()));
        Ok(JoinOperator { plan, codec, keys: KeyTable::default(), sides, found: Vec::new() })
    }

    /// Takes rows of an input in; gives the record numbers of those that came too late.
    pub(crate) fn push(&mut self, input: usize, batch: &RecordBatch, watermark: i64) -> Result<Vec<i64>> {
        let (rows, late) = self.in_time(input, batch, watermark)?;
        let times = self.times(input, &rows)?;
        let (keys, joinable) = self.encoded_keys(input, &rows, times.as_ref())?;
        let wait = self.plan.inputs[input].wait;
        let mut new = Vec::with_capacity(rows.num_rows());
        let mut alone = Vec::new();
        for row in 0..rows.num_rows() {
            if joinable.as_ref().is_some_and(|joinable| joinable.is_null(row)) {
                alone.push(row as u32);
                continue;
            }
            let key = self.keys.intern(keys.key(row).as_ref());
            let time = times.as_ref().map_or(0, |times| times.value(row));
            let expiry = wait.map_or(i64::MAX, |wait| time.saturating_add(wait));
            new.push(NewEntry { row: row as u32, key, time, expiry, matched: false });
        }
        if self.plan.kind.keeps_unmatched(input) && !alone.is_empty() {
            // Without a key or a time a row has no partner, ever.
            let alone = UInt32Array::from(alone);
            let columns = rows.columns().iter().map(|column| Ok(take(column, &alone, None)?)).collect::<Result<_>>()?;
            self.give_alone(input, columns, alone.len())?;
        }
        let entries = self.sides[input].insert(rows.columns().to_vec(), rows.num_rows(), &new);
        self.match_all(input, &entries, &new)?;
        self.sides[input].tidy()?;
        Ok(late)
    }

    /// The rows that are not late, without record numbers; and the numbers of the late ones.
    fn in_time(&self, input: usize, batch: &RecordBatch, watermark: i64) -> Result<(RecordBatch, Vec<i64>)> {
        let of = &self.plan.inputs[input];
        let numbers = record_numbers(batch, of.record_at);
        let columns = batch.columns().iter().enumerate().filter(|(at, _)| Some(*at) != of.record_at);
        let rows = batch_with(&of.schema, columns.map(|(_, column)| column.clone()).collect(), batch.num_rows())?;
        let (Some(lag), Some(times)) = (of.lag, self.times(input, &rows)?) else { return Ok((rows, Vec::new())) };
        let bound = held_back(watermark, lag);
        let too_late = |row: usize| times.is_valid(row) && times.value(row) < bound;
        if watermark == NO_WATERMARK || !(0..rows.num_rows()).any(too_late) {
            return Ok((rows, Vec::new()));
        }
        let keep: BooleanArray = (0..rows.num_rows()).map(|row| Some(!too_late(row))).collect();
        let late = (0..rows.num_rows()).filter(|row| too_late(*row));
        let late = late.map(|row| record_number_of(numbers, row)).collect();
        Ok((filter_record_batch(&rows, &keep)?, late))
    }

    fn times(&self, input: usize, rows: &RecordBatch) -> Result<Option<TimestampMicrosecondArray>> {
        self.plan.inputs[input].time.as_ref().map(|time| times_of(time, rows)).transpose()
    }

    /// The encoded keys, and which rows have all of key and time: a NULL among them joins nothing.
    fn encoded_keys(
        &self,
        input: usize,
        rows: &RecordBatch,
        times: Option<&TimestampMicrosecondArray>,
    ) -> Result<(super::keys::KeyRows, Option<NullBuffer>)> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        let mut valid = times.and_then(|times| times.nulls().cloned());
        for (key, wanted) in self.plan.inputs[input].keys.iter().zip(&self.plan.key_types) {
            let column = evaluate(key, rows)?;
            let column = if column.data_type() == wanted { column } else { arrow_cast::cast(&column, wanted)? };
            valid = NullBuffer::union(valid.as_ref(), column.nulls());
            columns.push(column);
        }
        Ok((self.codec.encode(&columns)?, valid))
    }

    /// Looks for the partners of new entries of an input.
    fn match_all(&mut self, input: usize, entries: &[u32], new: &[NewEntry]) -> Result<()> {
        let (least, most) = self.plan.range;
        let ranged = (least, most) != (i64::MIN, i64::MAX);
        let semi = self.plan.kind == JoinKind::Semi;
        let mut pairs = Pairs::default();
        for (own, row) in entries.iter().zip(new) {
            let mut at = self.sides[1 - input].head(row.key);
            while at != NONE {
                let other = *self.sides[1 - input].entry(at);
                let apart =
                    if input == 0 { other.time.wrapping_sub(row.time) } else { row.time.wrapping_sub(other.time) };
                // In a semi join a left row that has been given is done with.
                if (!ranged || (least <= apart && apart <= most)) && !(semi && input == 1 && other.matched) {
                    pairs.0[input].push(*own);
                    pairs.0[1 - input].push(at);
                    if pairs.0[0].len() >= PAIRS_MAX {
                        self.join(std::mem::take(&mut pairs))?;
                    }
                }
                at = other.next;
            }
        }
        self.join(pairs)
    }

    /// Gives the pairs for which the rest of the condition holds.
    fn join(&mut self, mut pairs: Pairs) -> Result<()> {
        if pairs.0[0].is_empty() {
            return Ok(());
        }
        let count = pairs.0[0].len();
        let mut batch = None;
        if self.plan.condition.is_some() || self.plan.kind != JoinKind::Semi {
            let mut columns = self.sides[0].gather(&pairs.0[0])?;
            columns.extend(self.sides[1].gather(&pairs.0[1])?);
            let mut rows = batch_with(&self.plan.pair, columns, count)?;
            if let Some(condition) = &self.plan.condition {
                let holds = evaluate(condition, &rows)?;
                let holds = true_or_false(holds.as_boolean());
                if holds.true_count() < count {
                    rows = filter_record_batch(&rows, &holds)?;
                    for side in &mut pairs.0 {
                        let mut kept = holds.values().iter();
                        side.retain(|_| kept.next().unwrap_or(false));
                    }
                }
            }
            batch = Some(rows);
        }
        match self.plan.kind {
            JoinKind::Inner => {}
            JoinKind::Semi => {
                pairs.0[0].retain(|entry| !std::mem::replace(&mut self.sides[0].entry_mut(*entry).matched, true));
                let columns = self.sides[0].gather(&pairs.0[0])?;
                batch = Some(batch_with(&self.plan.output, columns, pairs.0[0].len())?);
            }
            JoinKind::Left | JoinKind::Right | JoinKind::Full => {
                for (side, entries) in self.sides.iter_mut().zip(&pairs.0) {
                    entries.iter().for_each(|entry| side.entry_mut(*entry).matched = true);
                }
            }
        }
        if let Some(rows) = batch.filter(|rows| rows.num_rows() > 0) {
            let count = rows.num_rows();
            self.found.push(batch_with(&self.plan.output, rows.columns().to_vec(), count)?);
        }
        Ok(())
    }

    /// Gives rows of an input without a partner: the columns of the other input are NULL.
    fn give_alone(&mut self, input: usize, columns: Vec<ArrayRef>, rows: usize) -> Result<()> {
        let missing = self.sides[1 - input].schema().fields().clone();
        let missing = missing.iter().map(|field| new_null_array(field.data_type(), rows));
        let columns = match input {
            0 => columns.into_iter().chain(missing).collect(),
            _ => missing.chain(columns).collect(),
        };
        self.found.push(batch_with(&self.plan.output, columns, rows)?);
        Ok(())
    }

    /// Event time has come to `after`: the pairs of this epoch, and the rows that will have no partner; and forget what is
    /// over.
    pub(crate) fn advance(&mut self, after: i64) -> Result<Vec<RecordBatch>> {
        for input in [0, 1] {
            if after == NO_WATERMARK || self.plan.inputs[input].wait.is_none() {
                continue;
            }
            let expired = self.sides[input].expired(after);
            if expired.is_empty() {
                continue;
            }
            if self.plan.kind.keeps_unmatched(input) {
                let alone = expired.iter().copied().filter(|entry| !self.sides[input].entry(*entry).matched);
                let alone: Vec<u32> = alone.collect();
                for part in alone.chunks(PAIRS_MAX) {
                    let columns = self.sides[input].gather(part)?;
                    self.give_alone(input, columns, part.len())?;
                }
            }
            for key in self.sides[input].remove(&expired) {
                if self.sides[1 - input].head(key) == NONE {
                    self.keys.remove(key);
                }
            }
            self.sides[input].tidy()?;
        }
        Ok(std::mem::take(&mut self.found))
    }

    /// The watermark bounds the state of both inputs.
    pub(crate) fn is_bounded(&self) -> bool {
        self.plan.inputs.iter().all(|input| input.wait.is_some())
    }

    /// Rows in the state.
    pub(crate) fn rows(&self) -> usize {
        self.sides.iter().map(Side::len).sum()
    }

    /// Bytes of memory, estimated.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.bytes() + self.sides.iter().map(Side::bytes).sum::<usize>()
    }

    /// The rows of both inputs, and whether each has found a partner; made behind.
    pub(crate) fn save(&self) -> Vec<SavedBatch> {
        let one = |side: &Side| {
            let living = side.living();
            let mut fields = side.schema().fields().to_vec();
            fields.push(Arc::new(Field::new("matched", DataType::Boolean, false)));
            let found = side.found(&living);
            let matched: BooleanArray = living.iter().map(|entry| Some(side.entry(*entry).matched)).collect();
            let columns = vec![Saved::Behind(Box::new(move || found.columns())), Saved::Now(vec![Arc::new(matched)])];
            SavedBatch::new(fields, columns, living.len())
        };
        self.sides.iter().map(one).collect()
    }

    /// Replaces the state of an input by what [`save`](Self::save) gave; the left one first.
    pub(crate) fn load(&mut self, input: usize, saved: &RecordBatch) -> Result<()> {
        let schema = self.plan.inputs[input].schema.clone();
        let width = schema.fields().len();
        let types = |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
        if saved.num_columns() != width + 1 || types(&saved.schema())[..width] != types(&schema) {
            return internal_err!("the saved columns do not belong to this statement");
        }
        if input == 0 {
            self.keys = KeyTable::default();
            self.sides = [0, 1].map(|input| Side::new(self.plan.inputs[input].schema.clone()));
        }
        let rows = batch_with(&schema, saved.columns()[..width].to_vec(), saved.num_rows())?;
        let matched = saved.column(width).as_boolean();
        let times = self.times(input, &rows)?;
        let (keys, _) = self.encoded_keys(input, &rows, times.as_ref())?;
        let wait = self.plan.inputs[input].wait;
        let mut new = Vec::with_capacity(rows.num_rows());
        for row in 0..rows.num_rows() {
            let key = self.keys.intern(keys.key(row).as_ref());
            let time = times.as_ref().map_or(0, |times| times.value(row));
            let expiry = wait.map_or(i64::MAX, |wait| time.saturating_add(wait));
            new.push(NewEntry { row: row as u32, key, time, expiry, matched: matched.value(row) });
        }
        self.sides[input].insert(rows.columns().to_vec(), rows.num_rows(), &new);
        Ok(())
    }
}

/// NULL is not true.
fn true_or_false(holds: &BooleanArray) -> BooleanArray {
    match holds.nulls() {
        None => holds.clone(),
        Some(valid) => BooleanArray::new(holds.values() & valid.inner(), None),
    }
}
