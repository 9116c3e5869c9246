//! The aggregate calls of a statement, and tables of groups that hold their states.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_plan::PhysicalExpr;

use super::keys::{KeyCodec, KeyRows, KeyTable};
use super::saved::Saved;
use crate::aggregate::GroupState;

/// One aggregate of a SELECT: `sum(amount) FILTER (WHERE …)`.
pub(crate) struct Call {
    /// Name of the function, lower case.
    pub(crate) function: String,
    pub(crate) arguments: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// Makes an empty state.
    pub(crate) state: Box<dyn Fn() -> Box<dyn GroupState> + Send>,
}

/// What a statement groups by and computes.
pub(crate) struct Grouping {
    /// Key columns without the window.
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) key_types: Vec<DataType>,
    pub(crate) codec: KeyCodec,
    pub(crate) calls: Vec<Call>,
    /// Fields of the result: group columns, then aggregates.
    pub(crate) output: Vec<FieldRef>,
    /// Place of the window among the group columns.
    pub(crate) window_at: Option<usize>,
}

/// A batch with keys and aggregate arguments evaluated.
pub(crate) struct Evaluated {
    pub(crate) keys: KeyRows,
    arguments: Vec<(Vec<ArrayRef>, Option<BooleanArray>)>,
}

pub(crate) fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef> {
    match expr.evaluate(batch)? {
        ColumnarValue::Array(array) => Ok(array),
        ColumnarValue::Scalar(scalar) => scalar.to_array_of_size(batch.num_rows()),
    }
}

impl Grouping {
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated> {
        let keys: Vec<_> = self.keys.iter().map(|key| evaluate(key, batch)).collect::<Result<_>>()?;
        let mut arguments = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            let columns = call.arguments.iter().map(|argument| evaluate(argument, batch)).collect::<Result<_>>()?;
            let filter = match &call.filter {
                Some(filter) => Some(evaluate(filter, batch)?.as_boolean().clone()),
                None => None,
            };
            arguments.push((columns, filter));
        }
        Ok(Evaluated { keys: self.codec.encode(&keys)?, arguments })
    }

    /// A result batch: the window column (if there is one) put in its place among the keys.
    pub(crate) fn output(
        &self,
        mut keys: Vec<ArrayRef>,
        window: Option<ArrayRef>,
        aggregates: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<RecordBatch> {
        if let (Some(at), Some(window)) = (self.window_at, window) {
            keys.insert(at, window);
        }
        keys.extend(aggregates);
        super::keys::batch_of(&self.output, keys, rows)
    }

    /// Names and types of saved key columns: `key_0 …`.
    pub(crate) fn saved_key_fields(&self) -> Vec<FieldRef> {
        let keys = self.key_types.iter().enumerate();
        keys.map(|(at, data_type)| Arc::new(Field::new(format!("key_{at}"), data_type.clone(), true)) as FieldRef)
            .collect()
    }
}

/// The state on disk was written for another statement.
///
/// # Errors
/// Always.
pub(crate) fn foreign<T>() -> Result<T> {
    internal_err!("the saved columns do not belong to this statement")
}

/// The states of all calls of a statement, group by group.
pub(crate) struct States(Vec<Box<dyn GroupState>>);

impl States {
    pub(crate) fn new(grouping: &Grouping) -> Self {
        States(grouping.calls.iter().map(|call| (call.state)()).collect())
    }

    /// Makes room for groups `0..groups`.
    pub(crate) fn resize(&mut self, groups: usize) {
        self.0.iter_mut().for_each(|state| state.resize(groups));
    }

    /// Adds row `rows[i]` to group `groups[i]`.
    pub(crate) fn update(&mut self, batch: &Evaluated, rows: &[u32], groups: &[u32]) -> Result<()> {
        let (mut kept_rows, mut kept_groups) = (Vec::new(), Vec::new());
        for (state, (arguments, filter)) in self.0.iter_mut().zip(&batch.arguments) {
            let Some(filter) = filter else {
                state.update(arguments, rows, groups)?;
                continue;
            };
            kept_rows.clear();
            kept_groups.clear();
            for (row, group) in rows.iter().zip(groups) {
                if filter.is_valid(*row as usize) && filter.value(*row as usize) {
                    kept_rows.push(*row);
                    kept_groups.push(*group);
                }
            }
            state.update(arguments, &kept_rows, &kept_groups)?;
        }
        Ok(())
    }

    /// Merges group `from[i]` of another table into group `into[i]` of this one.
    pub(crate) fn merge(&mut self, other: &States, from: &[u32], into: &[u32]) -> Result<()> {
        self.0.iter_mut().zip(&other.0).try_for_each(|(state, other)| state.merge(other.as_ref(), from, into))
    }

    /// Merges group `from` into group `into`, and empties it.
    pub(crate) fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        self.0.iter_mut().try_for_each(|state| state.merge_within(from, into))
    }

    pub(crate) fn clear(&mut self, group: u32) {
        self.0.iter_mut().for_each(|state| state.clear(group));
    }

    pub(crate) fn evaluate(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.0.iter().map(|state| state.evaluate(groups)).collect()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|state| state.bytes()).sum()
    }

    /// Names and types of saved columns: `state_0_0_count …`.
    pub(crate) fn saved_fields(&self, grouping: &Grouping) -> Vec<FieldRef> {
        let mut fields: Vec<FieldRef> = Vec::new();
        for (call, state) in self.0.iter().enumerate() {
            for (column, data_type) in state.saved_types().into_iter().enumerate() {
                let name = format!("state_{call}_{column}_{}", grouping.calls[call].function);
                fields.push(Arc::new(Field::new(name, data_type, true)));
            }
        }
        fields
    }

    pub(crate) fn save(&self, groups: &[u32]) -> Result<Vec<Saved>> {
        self.0.iter().map(|state| state.save_behind(groups)).collect()
    }

    /// Sets the states of these groups from saved columns.
    pub(crate) fn load(&mut self, grouping: &Grouping, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let wanted = self.saved_fields(grouping);
        let fits = wanted.len() == columns.len()
            && wanted.iter().zip(columns).all(|(field, column)| field.data_type() == column.data_type());
        if !fits {
            return foreign();
        }
        let mut at = 0;
        for state in &mut self.0 {
            let width = state.saved_types().len();
            state.load(groups, &columns[at..at + width])?;
            at += width;
        }
        Ok(())
    }
}

/// Keyed groups with their states.
pub(crate) struct GroupTable {
    pub(crate) keys: KeyTable,
    pub(crate) states: States,
}

impl GroupTable {
    pub(crate) fn new(grouping: &Grouping) -> Self {
        GroupTable { keys: KeyTable::default(), states: States::new(grouping) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.keys.bytes() + self.states.bytes()
    }

    /// Adds rows to the groups of their keys; gives the group of each row.
    pub(crate) fn add(&mut self, batch: &Evaluated, rows: &[u32]) -> Result<Vec<u32>> {
        let groups: Vec<u32> =
            rows.iter().map(|row| self.keys.intern(batch.keys.key(*row as usize).as_ref())).collect();
        self.states.resize(self.keys.capacity());
        self.states.update(batch, rows, &groups)?;
        Ok(groups)
    }

    pub(crate) fn key_columns(&self, grouping: &Grouping, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        grouping.codec.decode(groups.iter().map(|group| self.keys.key(*group)))
    }

    /// Fields and columns of these groups' keys and states.
    pub(crate) fn save(&self, grouping: &Grouping, groups: &[u32]) -> Result<(Vec<FieldRef>, Vec<Saved>)> {
        let mut fields = grouping.saved_key_fields();
        fields.extend(self.states.saved_fields(grouping));
        let mut columns = vec![Saved::Now(self.key_columns(grouping, groups)?)];
        columns.extend(self.states.save(groups)?);
        Ok((fields, columns))
    }

    /// Adds saved groups; gives the group of each row.
    pub(crate) fn load(&mut self, grouping: &Grouping, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let key_count = grouping.key_types.len();
        if columns.len() < key_count {
            return foreign();
        }
        let keys = grouping.codec.encode(&columns[..key_count])?;
        let groups: Vec<u32> = (0..rows).map(|row| self.keys.intern(keys.key(row).as_ref())).collect();
        self.states.resize(self.keys.capacity());
        self.states.load(grouping, &groups, &columns[key_count..])?;
        Ok(groups)
    }
}
