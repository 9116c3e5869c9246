//! `approx_count_distinct(x)`: HyperLogLog++ with the hash, registers and estimator of Spark, so that both backends give the
//! same number for the same values.

mod biases;
mod cardinalities;
mod estimate;
mod hashes;
mod registers;

use std::any::Any;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, Int64Array};
use arrow_schema::DataType;
use datafusion::common::Result;

use self::estimate::{estimate, precision};
use self::hashes::Hashes;
use self::registers::Registers;
use super::GroupState;
use super::rows::{foreign_state, same_kind, saved_column, valid_rows};

/// Spark's relative standard deviation when the statement names none.
pub(super) const DEVIATION: f64 = 0.05;

/// Registers by group.
pub(super) struct DistinctEstimate {
    precision: u32,
    hashes: Hashes,
    groups: Vec<Registers>,
    heap_bytes: usize,
}

impl DistinctEstimate {
    /// # Errors
    /// A deviation no precision reaches.
    pub(super) fn new(value_type: &DataType, deviation: f64) -> Result<Self, String> {
        let hashes = Hashes::new(value_type);
        Ok(DistinctEstimate { precision: precision(deviation)?, hashes, groups: Vec::new(), heap_bytes: 0 })
    }

    /// Changes a group's registers and keeps count of their memory.
    #[inline]
    fn change(&mut self, group: u32, change: impl FnOnce(&mut Registers, u32)) {
        let registers = &mut self.groups[group as usize];
        let before = registers.heap_bytes();
        change(registers, self.precision);
        self.heap_bytes = self.heap_bytes + registers.heap_bytes() - before;
    }
}

impl GroupState for DistinctEstimate {
    fn resize(&mut self, groups: usize) {
        self.groups.resize(groups.max(self.groups.len()), Registers::default());
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let (rows, groups) = valid_rows(arguments[0].logical_nulls().as_ref(), rows, groups);
        let hashes = self.hashes.of(&arguments[0], &rows)?;
        for (&hash, &group) in hashes.iter().zip(&groups) {
            self.change(group, |registers, precision| registers.add(hash as u64, precision));
        }
        Ok(())
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            self.change(into, |registers, precision| registers.merge(&other.groups[from as usize], precision));
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        let moved = std::mem::take(&mut self.groups[from as usize]);
        self.heap_bytes -= moved.heap_bytes();
        self.change(into, |registers, precision| registers.merge(&moved, precision));
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.change(group, |registers, _| *registers = Registers::default());
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values(groups.iter().map(|&group| {
            let (empty, inverse_sum) = self.groups[group as usize].summary(self.precision);
            estimate(self.precision, empty, inverse_sum)
        }))))
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let bytes = groups.iter().map(|&group| self.groups[group as usize].to_bytes());
        Ok(vec![Arc::new(BinaryArray::from_iter_values(bytes))])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let bytes: &BinaryArray = saved_column(columns, 0)?;
        for (i, &group) in groups.iter().enumerate() {
            let loaded = Registers::from_bytes(bytes.value(i), self.precision).ok_or_else(|| foreign_state(0))?;
            self.change(group, |registers, _| *registers = loaded);
        }
        Ok(())
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![DataType::Binary]
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Registers>() + self.heap_bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
