//! `min(…)` and `max(…)`.

use std::any::Any;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion::common::Result;

use super::GroupState;
use super::order_keys::Extremes;
use super::rows::{foreign_state, same_kind};

/// The smallest or largest value of each group.
pub(super) struct Extreme {
    extremes: Extremes,
}

impl Extreme {
    /// # Errors
    /// A type without an order.
    pub(super) fn new(value_type: &DataType, least: bool) -> Result<Self> {
        Ok(Extreme { extremes: Extremes::new(value_type, least)? })
    }
}

impl GroupState for Extreme {
    fn resize(&mut self, groups: usize) {
        self.extremes.resize(groups);
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        self.extremes.update(&arguments[0], rows, groups, |_, _| {})
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            self.extremes.merge(&other.extremes, from, into);
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        self.extremes.merge_within(from, into);
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.extremes.clear(group);
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.extremes.values(groups)
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.extremes.values(groups)?])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let column = columns.first().filter(|column| column.data_type() == self.extremes.value_type());
        let column = column.ok_or_else(|| foreign_state(0))?;
        groups.iter().for_each(|&group| self.extremes.clear(group));
        let rows: Vec<u32> = (0..groups.len() as u32).collect();
        self.extremes.update(column, &rows, groups, |_, _| {})
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![self.extremes.value_type().clone()]
    }

    fn bytes(&self) -> usize {
        self.extremes.memory_bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
