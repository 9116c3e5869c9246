//! `min_by(x, y)` and `max_by(x, y)`: the x of the row with the smallest or largest y.
//!
//! As in Spark, a row whose y is NULL does not compete, an x of NULL may win, and of equal y the later row wins.

use std::any::Any;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion::common::Result;

use super::GroupState;
use super::kept_values::KeptValues;
use super::order_keys::Extremes;
use super::rows::{foreign_state, same_kind};
use crate::operator::saved::Saved;

/// The extreme y of each group, and the x it came with.
pub(super) struct ExtremeBy {
    extremes: Extremes,
    kept: KeptValues,
}

impl ExtremeBy {
    /// # Errors
    /// A y without an order, or an x that cannot be kept.
    pub(super) fn new(value_type: &DataType, order_type: &DataType, least: bool) -> Result<Self> {
        Ok(ExtremeBy { extremes: Extremes::new(order_type, least)?, kept: KeptValues::new(value_type)? })
    }
}

impl GroupState for ExtremeBy {
    fn resize(&mut self, groups: usize) {
        self.extremes.resize(groups);
        self.kept.resize(groups);
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let kept = &mut self.kept;
        self.extremes.update(&arguments[1], rows, groups, |row, group| kept.note(row, group))?;
        self.kept.settle(&arguments[0])
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            if self.extremes.merge(&other.extremes, from, into) {
                self.kept.copy(&other.kept, from, into);
            }
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        if self.extremes.merge_within(from, into) {
            self.kept.take(from, into);
        } else {
            self.kept.clear(from);
        }
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.extremes.clear(group);
        self.kept.clear(group);
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.kept.values(groups)
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.kept.values(groups)?, self.extremes.values(groups)?])
    }

    fn save_behind(&self, groups: &[u32]) -> Result<Saved> {
        let (kept, extremes) = (self.kept.values_behind(groups)?, self.extremes.values(groups)?);
        Ok(Saved::Behind(Box::new(move || Ok(vec![kept()?, extremes]))))
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for (i, expected) in self.saved_types().iter().enumerate() {
            columns.get(i).filter(|column| column.data_type() == expected).ok_or_else(|| foreign_state(i))?;
        }
        groups.iter().for_each(|&group| self.clear(group));
        let rows: Vec<u32> = (0..groups.len() as u32).collect();
        self.update(columns, &rows, groups)
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![self.kept.value_type().clone(), self.extremes.value_type().clone()]
    }

    fn bytes(&self) -> usize {
        self.extremes.memory_bytes() + self.kept.memory_bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
