//! A group state as DataFusion's `GroupsAccumulator`: GROUP BY of a batch query.

use arrow_array::{Array, ArrayRef, BooleanArray};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::Call;
use crate::aggregate::GroupState;

/// All groups of one aggregate call.
pub(super) struct ManyGroups {
    call: Call,
    state: Box<dyn GroupState>,
    groups: usize,
}

impl ManyGroups {
    pub(super) fn new(call: Call) -> Result<Self> {
        let state = call.state(0)?;
        Ok(ManyGroups { call, state, groups: 0 })
    }

    fn resize(&mut self, groups: usize) {
        self.groups = self.groups.max(groups);
        self.state.resize(self.groups);
    }

    /// Takes groups out by `read`; those that stay move to the front.
    fn emit<T>(&mut self, emit_to: EmitTo, read: impl FnOnce(&dyn GroupState, &[u32]) -> Result<T>) -> Result<T> {
        let leaving = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(first) => first,
        };
        let result = read(self.state.as_ref(), &numbers(0, leaving))?;
        let staying = self.groups - leaving;
        let mut state = self.call.state(staying)?;
        if staying > 0 {
            state.merge(self.state.as_ref(), &numbers(leaving, self.groups), &numbers(0, staying))?;
        }
        self.state = state;
        self.groups = staying;
        Ok(result)
    }
}

fn numbers(from: usize, to: usize) -> Vec<u32> {
    (from as u32..to as u32).collect()
}

/// The rows the filter lets through.
fn filtered(rows: usize, filter: Option<&BooleanArray>) -> Vec<u32> {
    match filter {
        None => numbers(0, rows),
        Some(filter) => {
            (0..rows).filter(|&row| filter.is_valid(row) && filter.value(row)).map(|row| row as u32).collect()
        }
    }
}

impl GroupsAccumulator for ManyGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let rows = filtered(group_indices.len(), opt_filter);
        let groups: Vec<u32> = rows.iter().map(|&row| group_indices[row as usize] as u32).collect();
        self.state.update(values, &rows, &groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to, |state, groups| state.evaluate(groups))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.emit(emit_to, |state, groups| state.save(groups))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.resize(total_num_groups);
        let from = numbers(0, group_indices.len());
        let mut other = self.call.state(from.len())?;
        other.load(&from, values)?;
        let into: Vec<u32> = group_indices.iter().map(|&group| group as u32).collect();
        self.state.merge(other.as_ref(), &from, &into)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let mut each = self.call.state(rows)?;
        let kept = filtered(rows, opt_filter);
        each.update(values, &kept, &kept)?;
        each.save(&numbers(0, rows))
    }

    fn size(&self) -> usize {
        self.state.bytes()
    }
}
