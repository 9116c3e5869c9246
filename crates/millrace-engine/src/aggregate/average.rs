//! `avg(…)`: a sum and a count; of a decimal, with the four more digits Spark gives.

use std::any::Any;
use std::sync::Arc;

use arrow_array::types::{Decimal128Type, DecimalType, Float64Type};
use arrow_array::{Array, ArrayRef, Decimal128Array, Float64Array, Int64Array, PrimitiveArray};
use arrow_buffer::i256;
use arrow_schema::DataType;
use datafusion::common::{Result, internal_err};

use super::GroupState;
use super::rows::{argument, each_valid, same_kind, saved_column, sum_overflow, values_of};

/// Averages of numbers by group. As in Spark, integers are added up as doubles: the planner casts them.
#[derive(Default)]
pub(super) struct Average {
    sums: Vec<f64>,
    counts: Vec<i64>,
}

impl GroupState for Average {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups.max(self.sums.len()), 0.0);
        self.counts.resize(groups.max(self.counts.len()), 0);
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let (sums, counts) = (self.sums.as_mut_slice(), self.counts.as_mut_slice());
        let values = values_of::<Float64Type>(arguments, 0)?;
        each_valid(arguments[0].nulls(), rows, groups, |row, group| {
            sums[group] += values[row];
            counts[group] += 1;
        });
        Ok(())
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            self.sums[into as usize] += other.sums[from as usize];
            self.counts[into as usize] += other.counts[from as usize];
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        self.sums[into as usize] += std::mem::take(&mut self.sums[from as usize]);
        self.counts[into as usize] += std::mem::take(&mut self.counts[from as usize]);
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.sums[group as usize] = 0.0;
        self.counts[group as usize] = 0;
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let averages: Float64Array = groups
            .iter()
            .map(|&group| {
                let count = self.counts[group as usize];
                (count > 0).then(|| self.sums[group as usize] / count as f64)
            })
            .collect();
        Ok(Arc::new(averages))
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![
            Arc::new(Float64Array::from_iter_values(groups.iter().map(|&group| self.sums[group as usize]))),
            Arc::new(Int64Array::from_iter_values(groups.iter().map(|&group| self.counts[group as usize]))),
        ])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (sums, counts): (&Float64Array, &Int64Array) = (saved_column(columns, 0)?, saved_column(columns, 1)?);
        for (i, &group) in groups.iter().enumerate() {
            self.sums[group as usize] = sums.value(i);
            self.counts[group as usize] = counts.value(i);
        }
        Ok(())
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![DataType::Float64, DataType::Int64]
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<f64>() + self.counts.capacity() * size_of::<i64>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Averages of decimals by group: an exact sum, divided with rounding half up.
pub(super) struct DecimalAverage {
    sums: Vec<i128>,
    counts: Vec<i64>,
    argument_scale: i8,
    precision: u8,
    scale: i8,
}

impl DecimalAverage {
    /// # Errors
    /// Types that are not decimals.
    pub(super) fn new(argument_type: &DataType, return_type: &DataType) -> Result<Self> {
        match (argument_type, return_type) {
            (DataType::Decimal128(_, argument_scale), DataType::Decimal128(precision, scale)) => Ok(DecimalAverage {
                sums: Vec::new(),
                counts: Vec::new(),
                argument_scale: *argument_scale,
                precision: *precision,
                scale: *scale,
            }),
            _ => internal_err!("decimal average of {argument_type}"),
        }
    }

    fn add(&mut self, group: usize, sum: i128, count: i64) -> Result<()> {
        self.sums[group] = self.sums[group].checked_add(sum).ok_or_else(|| sum_overflow("DECIMAL(38)"))?;
        self.counts[group] += count;
        Ok(())
    }

    fn average(&self, group: usize) -> Result<Option<i128>> {
        let count = self.counts[group];
        if count == 0 {
            return Ok(None);
        }
        let more_digits = u32::try_from(self.scale - self.argument_scale).unwrap_or(0);
        let sum = i256::from_i128(self.sums[group]) * i256::from_i128(10_i128.pow(more_digits));
        let count = i256::from_i128(i128::from(count));
        let (whole, rest) = (sum / count, sum % count);
        let twice = rest.wrapping_abs() + rest.wrapping_abs();
        let up = if twice < count {
            i256::ZERO
        } else if sum.is_negative() {
            i256::MINUS_ONE
        } else {
            i256::ONE
        };
        let average = (whole + up).to_i128().ok_or_else(|| sum_overflow("DECIMAL(38)"))?;
        Decimal128Type::validate_decimal_precision(average, self.precision, self.scale)?;
        Ok(Some(average))
    }
}

impl GroupState for DecimalAverage {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups.max(self.sums.len()), 0);
        self.counts.resize(groups.max(self.counts.len()), 0);
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let values: &Decimal128Array = argument(arguments, 0)?;
        let mut overflow = false;
        each_valid(values.nulls(), rows, groups, |row, group| {
            overflow |= self.add(group, values.value(row), 1).is_err();
        });
        if overflow { Err(sum_overflow("DECIMAL(38)")) } else { Ok(()) }
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            self.add(into as usize, other.sums[from as usize], other.counts[from as usize])?;
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        let (sum, count) = (self.sums[from as usize], self.counts[from as usize]);
        self.clear(from);
        self.add(into as usize, sum, count)
    }

    fn clear(&mut self, group: u32) {
        self.sums[group as usize] = 0;
        self.counts[group as usize] = 0;
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let averages: Decimal128Array =
            groups.iter().map(|&group| self.average(group as usize)).collect::<Result<PrimitiveArray<_>>>()?;
        Ok(Arc::new(averages.with_precision_and_scale(self.precision, self.scale)?))
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let sums = Decimal128Array::from_iter_values(groups.iter().map(|&group| self.sums[group as usize]));
        Ok(vec![
            Arc::new(sums.with_data_type(self.saved_types()[0].clone())),
            Arc::new(Int64Array::from_iter_values(groups.iter().map(|&group| self.counts[group as usize]))),
        ])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let (sums, counts): (&Decimal128Array, &Int64Array) = (saved_column(columns, 0)?, saved_column(columns, 1)?);
        for (i, &group) in groups.iter().enumerate() {
            self.sums[group as usize] = sums.value(i);
            self.counts[group as usize] = counts.value(i);
        }
        Ok(())
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![DataType::Decimal128(38, self.argument_scale), DataType::Int64]
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.counts.capacity() * size_of::<i64>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
