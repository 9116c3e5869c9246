//! `stddev`, `variance` and their population forms: Welford's running moments, merged by Chan's formula.

use std::any::Any;
use std::sync::Arc;

use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array};
use arrow_schema::DataType;
use datafusion::common::Result;

use super::GroupState;
use super::rows::{each_valid, same_kind, saved_column, values_of};

/// Number, mean and squared deviations of the values, by group.
pub(super) struct Moments {
    groups: Vec<Moment>,
    result: Deviation,
}

/// Which figure is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Deviation {
    /// Divided by n, rather than by n − 1.
    pub(super) population: bool,
    /// The root, rather than the variance.
    pub(super) root: bool,
}

#[derive(Clone, Copy, Default)]
struct Moment {
    number: f64,
    mean: f64,
    squares: f64,
}

impl Moment {
    #[inline]
    fn add(&mut self, value: f64) {
        self.number += 1.0;
        let delta = value - self.mean;
        let step = delta / self.number;
        self.mean += step;
        self.squares += delta * (delta - step);
    }

    fn merge(&mut self, other: Moment) {
        let number = self.number + other.number;
        if other.number > 0.0 {
            let delta = other.mean - self.mean;
            let step = delta / number;
            self.squares += other.squares + delta * step * self.number * other.number;
            self.mean += step * other.number;
            self.number = number;
        }
    }

    /// As Spark: NULL of nothing; a sample of one has no deviation (NULL since Spark 3.1).
    fn result(self, what: Deviation) -> Option<f64> {
        let divisor = if what.population { self.number } else { self.number - 1.0 };
        (divisor > 0.0).then(|| {
            let variance = self.squares / divisor;
            if what.root { variance.sqrt() } else { variance }
        })
    }
}

impl Moments {
    pub(super) fn new(result: Deviation) -> Self {
        Moments { groups: Vec::new(), result }
    }
}

impl GroupState for Moments {
    fn resize(&mut self, groups: usize) {
        self.groups.resize(groups.max(self.groups.len()), Moment::default());
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let values = values_of::<Float64Type>(arguments, 0)?;
        let moments = self.groups.as_mut_slice();
        each_valid(arguments[0].nulls(), rows, groups, |row, group| moments[group].add(values[row]));
        Ok(())
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            self.groups[into as usize].merge(other.groups[from as usize]);
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        let moment = std::mem::take(&mut self.groups[from as usize]);
        self.groups[into as usize].merge(moment);
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.groups[group as usize] = Moment::default();
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let results: Float64Array =
            groups.iter().map(|&group| self.groups[group as usize].result(self.result)).collect();
        Ok(Arc::new(results))
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let column = |part: fn(&Moment) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(groups.iter().map(|&group| part(&self.groups[group as usize]))))
        };
        Ok(vec![column(|m| m.number), column(|m| m.mean), column(|m| m.squares)])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let [number, mean, squares]: [&Float64Array; 3] =
            [saved_column(columns, 0)?, saved_column(columns, 1)?, saved_column(columns, 2)?];
        for (i, &group) in groups.iter().enumerate() {
            self.groups[group as usize] =
                Moment { number: number.value(i), mean: mean.value(i), squares: squares.value(i) };
        }
        Ok(())
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![DataType::Float64; 3]
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Moment>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
