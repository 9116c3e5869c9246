//! Aggregates that keep a few DOUBLEs a group: skewness, kurtosis, covariance, correlation and linear regression.
//!
//! The running formulas are Spark's (its CentralMomentAgg, Covariance and PearsonCorrelation; after Pébay, "Formulas for
//! robust, one-pass parallel computation of covariances and arbitrary-order statistical moments", 2008), in the same order
//! of operations, so that results agree to the last digit.

use std::any::Any;
use std::sync::Arc;

use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use datafusion::common::Result;

use super::GroupState;
use super::rows::{each_valid, same_kind, saved_column, values_of};

/// What is computed from `N` numbers.
#[derive(Clone, Copy)]
pub(super) struct Rule<const N: usize> {
    /// Takes one or two arguments; the second is 0 when there is one.
    arguments: usize,
    add: fn(&mut [f64; N], f64, f64),
    merge: fn(&mut [f64; N], &[f64; N]),
    result: fn(&[f64; N]) -> Option<f64>,
}

/// `N` numbers a group.
pub(super) struct Numbers<const N: usize> {
    groups: Vec<[f64; N]>,
    rule: Rule<N>,
}

impl<const N: usize> Numbers<N> {
    pub(super) fn new(rule: Rule<N>) -> Self {
        Numbers { groups: Vec::new(), rule }
    }
}

/// Number, mean, and sums of the second, third and fourth powers of the deviations.
fn add_moments([n, mean, m2, m3, m4]: &mut [f64; 5], x: f64, _: f64) {
    *n += 1.0;
    let delta = x - *mean;
    let step = delta / *n;
    *mean += step;
    *m2 += delta * (delta - step);
    let (delta_2, step_2) = (delta * delta, step * step);
    *m3 = *m3 - 3.0 * step * *m2 + delta * (delta_2 - step_2);
    *m4 = *m4 - 4.0 * step * *m3 - 6.0 * step_2 * *m2 + delta * (delta * delta_2 - step * step_2);
}

fn merge_moments(one: &mut [f64; 5], other: &[f64; 5]) {
    let ([n1, mean1, a2, a3, a4], [n2, mean2, b2, b3, b4]) = (*one, *other);
    let n = n1 + n2;
    if n == 0.0 {
        return;
    }
    let delta = mean2 - mean1;
    let step = delta / n;
    *one = [
        n,
        mean1 + step * n2,
        a2 + b2 + delta * step * n1 * n2,
        a3 + b3 + step * step * delta * n1 * n2 * (n1 - n2) + 3.0 * step * (n1 * b2 - n2 * a2),
        a4 + b4
            + step * step * step * delta * n1 * n2 * (n1 * n1 - n1 * n2 + n2 * n2)
            + 6.0 * step * step * (n1 * n1 * b2 + n2 * n2 * a2)
            + 4.0 * step * (n1 * b3 - n2 * a3),
    ];
}

const fn moments(result: fn(&[f64; 5]) -> Option<f64>) -> Rule<5> {
    Rule { arguments: 1, add: add_moments, merge: merge_moments, result }
}

pub(super) const SKEWNESS: Rule<5> =
    moments(|[n, _, m2, m3, _]| (*n > 0.0 && *m2 != 0.0).then(|| n.sqrt() * m3 / (m2 * m2 * m2).sqrt()));
pub(super) const KURTOSIS: Rule<5> =
    moments(|[n, _, m2, _, m4]| (*n > 0.0 && *m2 != 0.0).then(|| n * m4 / (m2 * m2) - 3.0));

/// Number, means of both, sum of products of the deviations, and of their squares.
fn add_pair([n, mean_x, mean_y, xy, xx, yy]: &mut [f64; 6], x: f64, y: f64) {
    *n += 1.0;
    let (dx, dy) = (x - *mean_x, y - *mean_y);
    *mean_x += dx / *n;
    *mean_y += dy / *n;
    *xy += dx * (y - *mean_y);
    *xx += dx * (x - *mean_x);
    *yy += dy * (y - *mean_y);
}

fn merge_pairs(one: &mut [f64; 6], other: &[f64; 6]) {
    let ([n1, x1, y1, xy1, xx1, yy1], [n2, x2, y2, xy2, xx2, yy2]) = (*one, *other);
    let n = n1 + n2;
    if n == 0.0 {
        return;
    }
    let (dx, dy) = (x2 - x1, y2 - y1);
    let (step_x, step_y) = (dx / n, dy / n);
    *one = [
        n,
        x1 + step_x * n2,
        y1 + step_y * n2,
        xy1 + xy2 + dx * step_y * n1 * n2,
        xx1 + xx2 + dx * step_x * n1 * n2,
        yy1 + yy2 + dy * step_y * n1 * n2,
    ];
}

const fn pairs(result: fn(&[f64; 6]) -> Option<f64>) -> Rule<6> {
    Rule { arguments: 2, add: add_pair, merge: merge_pairs, result }
}

pub(super) const COVAR_POP: Rule<6> = pairs(|[n, _, _, xy, _, _]| (*n > 0.0).then(|| xy / n));
pub(super) const COVAR_SAMP: Rule<6> = pairs(|[n, _, _, xy, _, _]| (*n > 1.0).then(|| xy / (n - 1.0)));
pub(super) const CORR: Rule<6> = pairs(|[n, _, _, xy, xx, yy]| {
    let spread = (xx * yy).sqrt();
    (*n > 1.0 && spread != 0.0).then(|| xy / spread)
});
// regr_…(y, x): the first argument is y, so the places of the two are changed.
pub(super) const REGR_SLOPE: Rule<6> = pairs(|[n, _, _, xy, _, yy]| (*n > 1.0 && *yy != 0.0).then(|| xy / yy));
pub(super) const REGR_INTERCEPT: Rule<6> =
    pairs(|[n, mean_y, mean_x, xy, _, xx]| (*n > 1.0 && *xx != 0.0).then(|| mean_y - xy / xx * mean_x));
pub(super) const REGR_R2: Rule<6> = pairs(|[n, _, _, xy, yy, xx]| {
    let r2 = || if *yy == 0.0 { 1.0 } else { xy / (xx * yy).sqrt() * (xy / (xx * yy).sqrt()) };
    (*n > 1.0 && *xx != 0.0).then(r2)
});
pub(super) const REGR_AVGY: Rule<6> = pairs(|[n, mean_y, ..]| (*n > 0.0).then_some(*mean_y));
pub(super) const REGR_AVGX: Rule<6> = pairs(|[n, _, mean_x, ..]| (*n > 0.0).then_some(*mean_x));
pub(super) const REGR_SXX: Rule<6> = pairs(|[n, .., xx]| (*n > 0.0).then_some(*xx));
pub(super) const REGR_SYY: Rule<6> = pairs(|[n, _, _, _, yy, _]| (*n > 0.0).then_some(*yy));
pub(super) const REGR_SXY: Rule<6> = pairs(|[n, _, _, xy, ..]| (*n > 0.0).then_some(*xy));

impl<const N: usize> GroupState for Numbers<N> {
    fn resize(&mut self, groups: usize) {
        self.groups.resize(groups.max(self.groups.len()), [0.0; N]);
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let first = values_of::<Float64Type>(arguments, 0)?;
        let (numbers, add) = (self.groups.as_mut_slice(), self.rule.add);
        if self.rule.arguments == 1 {
            each_valid(arguments[0].nulls(), rows, groups, |row, group| add(&mut numbers[group], first[row], 0.0));
            return Ok(());
        }
        let second = values_of::<Float64Type>(arguments, 1)?;
        let nulls = NullBuffer::union(arguments[0].nulls(), arguments[1].nulls());
        each_valid(nulls.as_ref(), rows, groups, |row, group| add(&mut numbers[group], first[row], second[row]));
        Ok(())
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            (self.rule.merge)(&mut self.groups[into as usize], &other.groups[from as usize]);
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        let moved = std::mem::replace(&mut self.groups[from as usize], [0.0; N]);
        (self.rule.merge)(&mut self.groups[into as usize], &moved);
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.groups[group as usize] = [0.0; N];
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let results = groups.iter().map(|&group| (self.rule.result)(&self.groups[group as usize]));
        Ok(Arc::new(results.collect::<Float64Array>()))
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let column = |at: usize| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(groups.iter().map(|&group| self.groups[group as usize][at])))
        };
        Ok((0..N).map(column).collect())
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        for at in 0..N {
            let column: &Float64Array = saved_column(columns, at)?;
            for (row, &group) in groups.iter().enumerate() {
                self.groups[group as usize][at] = column.value(row);
            }
        }
        Ok(())
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![DataType::Float64; N]
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<[f64; N]>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
