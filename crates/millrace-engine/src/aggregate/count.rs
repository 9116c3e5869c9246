//! `count(…)` and `count_if(…)`: how many rows.

use std::any::Any;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use datafusion::common::Result;

use super::GroupState;
use super::rows::{argument, each_valid, same_kind, saved_column};

/// Rows counted, by group.
pub(super) struct Count {
    counts: Vec<i64>,
    what: Counted,
}

/// Which rows count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Counted {
    /// Those in which no argument is null.
    NotNull,
    /// Those in which the one Boolean argument is true.
    True,
}

impl Count {
    pub(super) fn new(what: Counted) -> Self {
        Count { counts: Vec::new(), what }
    }
}

impl GroupState for Count {
    fn resize(&mut self, groups: usize) {
        self.counts.resize(groups.max(self.counts.len()), 0);
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let counts = self.counts.as_mut_slice();
        match self.what {
            Counted::NotNull => {
                let nulls = arguments
                    .iter()
                    .fold(None, |all, column| NullBuffer::union(all.as_ref(), column.logical_nulls().as_ref()));
                each_valid(nulls.as_ref(), rows, groups, |_, group| counts[group] += 1);
            }
            Counted::True => {
                let condition: &BooleanArray = argument(arguments, 0)?;
                let values = condition.values();
                each_valid(condition.nulls(), rows, groups, |row, group| counts[group] += i64::from(values.value(row)));
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            self.counts[into as usize] += other.counts[from as usize];
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        self.counts[into as usize] += std::mem::take(&mut self.counts[from as usize]);
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.counts[group as usize] = 0;
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(groups.iter().map(|&group| self.counts[group as usize]))))
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let counts: &Int64Array = saved_column(columns, 0)?;
        for (&group, &count) in groups.iter().zip(counts.values()) {
            self.counts[group as usize] = count;
        }
        Ok(())
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![DataType::Int64]
    }

    fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
