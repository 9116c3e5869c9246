//! `bool_and` / `every` and `bool_or` / `some` / `any`.

use std::any::Any;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_schema::DataType;
use datafusion::common::Result;

use super::GroupState;
use super::rows::{argument, each_valid, same_kind, saved_column};

/// One Boolean a group; NULL while there was none.
pub(super) struct Logical {
    values: Vec<Option<bool>>,
    all: bool,
}

impl Logical {
    /// `all`: whether every value must be true, rather than one.
    pub(super) fn new(all: bool) -> Self {
        Logical { values: Vec::new(), all }
    }

    #[inline]
    fn add(&mut self, group: usize, value: bool) {
        let so_far = self.values[group].unwrap_or(self.all);
        self.values[group] = Some(if self.all { so_far && value } else { so_far || value });
    }
}

impl GroupState for Logical {
    fn resize(&mut self, groups: usize) {
        self.values.resize(groups.max(self.values.len()), None);
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let column: &BooleanArray = argument(arguments, 0)?;
        each_valid(column.nulls(), rows, groups, |row, group| self.add(group, column.value(row)));
        Ok(())
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            if let Some(value) = other.values[from as usize] {
                self.add(into as usize, value);
            }
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        if let Some(value) = self.values[from as usize].take() {
            self.add(into as usize, value);
        }
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.values[group as usize] = None;
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::from_iter(groups.iter().map(|&group| self.values[group as usize]))))
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let values: &BooleanArray = saved_column(columns, 0)?;
        for (&group, value) in groups.iter().zip(values) {
            self.values[group as usize] = value;
        }
        Ok(())
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![DataType::Boolean]
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<bool>>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
