//! `sum(…)`: exact over integers and decimals, with Spark's error when a sum leaves its type.

use std::any::Any;
use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::DataType;
use datafusion::common::{DataFusionError, Result};

use super::GroupState;
use super::rows::{each_valid, same_kind, saved_column, sum_overflow, values_of};

/// A type that can be added up.
pub(super) trait Summed: ArrowPrimitiveType {
    /// The sum, `None` when it leaves the type.
    fn add(a: Self::Native, b: Self::Native) -> Option<Self::Native>;

    /// Nothing, for integers and floats; for a decimal, that the sum still has the digits of its type.
    ///
    /// # Errors
    /// Spark's ARITHMETIC_OVERFLOW.
    fn check(_sum: Self::Native, _sum_type: &DataType) -> Result<()> {
        Ok(())
    }
}

impl Summed for Int64Type {
    #[inline]
    fn add(a: i64, b: i64) -> Option<i64> {
        a.checked_add(b)
    }
}

impl Summed for Float64Type {
    #[inline]
    fn add(a: f64, b: f64) -> Option<f64> {
        Some(a + b)
    }
}

impl Summed for Decimal128Type {
    #[inline]
    fn add(a: i128, b: i128) -> Option<i128> {
        a.checked_add(b)
    }

    fn check(sum: i128, sum_type: &DataType) -> Result<()> {
        match sum_type {
            DataType::Decimal128(precision, scale) => {
                validate_decimal(sum, *precision, *scale).map_err(|_| sum_overflow(&sum_type.to_string()))
            }
            _ => Ok(()),
        }
    }
}

fn validate_decimal(value: i128, precision: u8, scale: i8) -> Result<(), DataFusionError> {
    Ok(<Decimal128Type as arrow_array::types::DecimalType>::validate_decimal_precision(value, precision, scale)?)
}

/// Sums by group. A group without a number has no sum (NULL), not 0.
pub(super) struct Sum<T: Summed> {
    sums: Vec<T::Native>,
    seen: Vec<bool>,
    sum_type: DataType,
}

impl<T: Summed> Sum<T> {
    pub(super) fn new(sum_type: DataType) -> Self {
        Sum { sums: Vec::new(), seen: Vec::new(), sum_type }
    }

    fn add(&mut self, group: usize, value: T::Native) -> Result<()> {
        self.sums[group] = T::add(self.sums[group], value).ok_or_else(|| sum_overflow(&self.sum_type.to_string()))?;
        self.seen[group] = true;
        Ok(())
    }
}

impl<T: Summed> GroupState for Sum<T> {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups.max(self.sums.len()), T::default_value());
        self.seen.resize(groups.max(self.seen.len()), false);
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let values = values_of::<T>(arguments, 0)?;
        let (sums, seen) = (self.sums.as_mut_slice(), self.seen.as_mut_slice());
        let mut overflow = false;
        each_valid(arguments[0].nulls(), rows, groups, |row, group| {
            match T::add(sums[group], values[row]) {
                Some(sum) => sums[group] = sum,
                None => overflow = true,
            }
            seen[group] = true;
        });
        if overflow { Err(sum_overflow(&self.sum_type.to_string())) } else { Ok(()) }
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            if other.seen[from as usize] {
                self.add(into as usize, other.sums[from as usize])?;
            }
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        if self.seen[from as usize] {
            self.add(into as usize, self.sums[from as usize])?;
        }
        self.clear(from);
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.sums[group as usize] = T::default_value();
        self.seen[group as usize] = false;
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        for &group in groups {
            T::check(self.sums[group as usize], &self.sum_type)?;
        }
        let sums: PrimitiveArray<T> =
            groups.iter().map(|&group| self.seen[group as usize].then(|| self.sums[group as usize])).collect();
        Ok(Arc::new(sums.with_data_type(self.sum_type.clone())))
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let sums: &PrimitiveArray<T> = saved_column(columns, 0)?;
        for (i, &group) in groups.iter().enumerate() {
            self.seen[group as usize] = sums.is_valid(i);
            self.sums[group as usize] = if sums.is_valid(i) { sums.value(i) } else { T::default_value() };
        }
        Ok(())
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![self.sum_type.clone()]
    }

    fn bytes(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.seen.capacity()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
