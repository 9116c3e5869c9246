//! `bit_and`, `bit_or`, `bit_xor` of integers.

use std::any::Any;
use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_schema::DataType;
use datafusion::common::Result;

use super::GroupState;
use super::rows::{each_valid, same_kind, saved_column, values_of};

/// One integer a group; NULL while there was none.
pub(super) struct Bits {
    values: Vec<Option<i64>>,
    joined: fn(i64, i64) -> i64,
}

impl Bits {
    pub(super) fn new(joined: fn(i64, i64) -> i64) -> Self {
        Bits { values: Vec::new(), joined }
    }

    fn add(&mut self, group: usize, value: i64) {
        let joined = self.values[group].map_or(value, |so_far| (self.joined)(so_far, value));
        self.values[group] = Some(joined);
    }
}

impl GroupState for Bits {
    fn resize(&mut self, groups: usize) {
        self.values.resize(groups.max(self.values.len()), None);
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let values = values_of::<Int64Type>(arguments, 0)?;
        each_valid(arguments[0].nulls(), rows, groups, |row, group| self.add(group, values[row]));
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
        Ok(Arc::new(groups.iter().map(|&group| self.values[group as usize]).collect::<Int64Array>()))
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let column: &Int64Array = saved_column(columns, 0)?;
        for (value, &group) in column.iter().zip(groups) {
            self.values[group as usize] = value;
        }
        Ok(())
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![DataType::Int64]
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<i64>>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
