//! `first(x)` and `last(x)`: the value that arrived first or last, with or without regard to nulls.

use std::any::Any;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_schema::DataType;
use datafusion::common::Result;

use super::GroupState;
use super::kept_values::KeptValues;
use super::rows::{each_valid, foreign_state, same_kind, saved_column};

/// One value a group, by order of arrival.
pub(super) struct FirstLast {
    kept: KeptValues,
    seen: Vec<bool>,
    last: bool,
    ignore_nulls: bool,
}

impl FirstLast {
    /// # Errors
    /// A type that cannot be kept.
    pub(super) fn new(value_type: &DataType, last: bool, ignore_nulls: bool) -> Result<Self> {
        Ok(FirstLast { kept: KeptValues::new(value_type)?, seen: Vec::new(), last, ignore_nulls })
    }
}

impl GroupState for FirstLast {
    fn resize(&mut self, groups: usize) {
        self.kept.resize(groups);
        self.seen.resize(groups.max(self.seen.len()), false);
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let nulls = if self.ignore_nulls { arguments[0].logical_nulls() } else { None };
        let (kept, seen, last) = (&mut self.kept, self.seen.as_mut_slice(), self.last);
        each_valid(nulls.as_ref(), rows, groups, |row, group| {
            if last || !seen[group] {
                seen[group] = true;
                kept.note(row, group);
            }
        });
        self.kept.settle(&arguments[0])
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            if other.seen[from as usize] && (self.last || !self.seen[into as usize]) {
                self.kept.copy(&other.kept, from, into);
                self.seen[into as usize] = true;
            }
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        if self.seen[from as usize] && (self.last || !self.seen[into as usize]) {
            self.kept.take(from, into);
            self.seen[into as usize] = true;
        }
        self.clear(from);
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.kept.clear(group);
        self.seen[group as usize] = false;
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.kept.values(groups)
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let seen: BooleanArray = groups.iter().map(|&group| Some(self.seen[group as usize])).collect();
        Ok(vec![self.kept.values(groups)?, Arc::new(seen)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let seen: &BooleanArray = saved_column(columns, 1)?;
        if columns[0].data_type() != self.kept.value_type() {
            return Err(foreign_state(0));
        }
        for (i, &group) in groups.iter().enumerate() {
            self.clear(group);
            if seen.value(i) {
                self.seen[group as usize] = true;
                self.kept.note(i, group as usize);
            }
        }
        self.kept.settle(&columns[0])
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![self.kept.value_type().clone(), DataType::Boolean]
    }

    fn bytes(&self) -> usize {
        self.kept.memory_bytes() + self.seen.capacity()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
