//! `percentile_approx(x, share[, accuracy])`: the value below which a share of the values lies.

mod summary;

use std::any::Any;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, ListArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use datafusion::common::{Result, ScalarValue};

use self::summary::{Sample, Summary};
use super::GroupState;
use super::collect_list::{list_array, list_of};
use super::rows::{each_valid, foreign_state, same_kind, saved_column};

/// Spark's accuracy when the statement names none.
const ACCURACY: f64 = 10_000.0;

/// Summaries by group.
pub(super) struct Percentile {
    value_type: DataType,
    shares: Vec<f64>,
    /// One array of results a group, rather than one result.
    many: bool,
    error: f64,
    groups: Vec<Summary>,
    heap_bytes: usize,
}

impl Percentile {
    /// # Errors
    /// A share or an accuracy that is not a constant, or out of range.
    pub(super) fn new(
        value_type: &DataType,
        share: Option<&ScalarValue>,
        accuracy: Option<&ScalarValue>,
    ) -> Result<Self, String> {
        let wrong =
            || "percentile_approx: the percentage must be a number from 0 to 1, written out; hint: 0.95".to_owned();
        let (shares, many) = match share {
            Some(ScalarValue::Float64(Some(share))) => (vec![*share], false),
            Some(ScalarValue::List(list)) => {
                let shares = cast(&list.value(0), &DataType::Float64).map_err(|_| wrong())?;
                (shares.as_primitive::<Float64Type>().values().to_vec(), true)
            }
            _ => return Err(wrong()),
        };
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err(wrong());
        }
        let accuracy = match accuracy {
            None => ACCURACY,
            Some(ScalarValue::Int64(Some(accuracy))) if *accuracy > 0 => *accuracy as f64,
            Some(_) => return Err("percentile_approx: the accuracy must be a positive integer, written out".to_owned()),
        };
        let (value_type, groups) = (value_type.clone(), Vec::new());
        Ok(Percentile { value_type, shares, many, error: 1.0 / accuracy, groups, heap_bytes: 0 })
    }

    /// Changes a summary and keeps count of its memory.
    fn change(&mut self, group: usize, change: impl FnOnce(&mut Summary, f64)) {
        let summary = &mut self.groups[group];
        let before = summary.heap_bytes();
        change(summary, self.error);
        self.heap_bytes = self.heap_bytes + summary.heap_bytes() - before;
    }
}

impl GroupState for Percentile {
    fn resize(&mut self, groups: usize) {
        self.groups.resize(groups.max(self.groups.len()), Summary::default());
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let values = as_doubles(&arguments[0])?;
        let values = values.as_primitive::<Float64Type>();
        each_valid(values.nulls(), rows, groups, |row, group| {
            self.change(group, |summary, error| summary.add(values.value(row), error));
        });
        Ok(())
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            self.change(into as usize, |summary, error| summary.merge(&other.groups[from as usize], error));
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        let moved = std::mem::take(&mut self.groups[from as usize]);
        self.heap_bytes -= moved.heap_bytes();
        self.change(into as usize, |summary, error| summary.merge(&moved, error));
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.change(group as usize, |summary, _| *summary = Summary::default());
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let found: Vec<Option<Vec<f64>>> =
            groups.iter().map(|&group| self.groups[group as usize].percentiles(&self.shares, self.error)).collect();
        if !self.many {
            let values: Float64Array = found.iter().map(|found| found.as_ref().map(|found| found[0])).collect();
            return of_doubles(&(Arc::new(values) as ArrayRef), &self.value_type);
        }
        let values: ArrayRef = Arc::new(Float64Array::from_iter_values(found.iter().flatten().flatten().copied()));
        let lists = list_array(
            of_doubles(&values, &self.value_type)?,
            found.iter().map(|found| found.as_ref().map_or(0, Vec::len)),
        )?;
        let (field, offsets, values, _) = lists.as_list::<i32>().clone().into_parts();
        let valid = found.iter().map(Option::is_some).collect::<Vec<bool>>();
        Ok(Arc::new(ListArray::try_new(field, offsets, values, Some(valid.into()))?))
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let all = || groups.iter().map(|&group| &self.groups[group as usize]);
        let samples = || all().flat_map(|summary| &summary.samples);
        let lengths = || all().map(|summary| summary.samples.len());
        let longs = |of: fn(&Sample) -> i64| -> Result<ArrayRef> {
            list_array(Arc::new(Int64Array::from_iter_values(samples().map(of))), lengths())
        };
        let values = Float64Array::from_iter_values(samples().map(|sample| sample.value));
        let buffered = Float64Array::from_iter_values(all().flat_map(|summary| summary.buffer.iter().copied()));
        Ok(vec![
            list_array(Arc::new(values), lengths())?,
            longs(|sample| sample.gap)?,
            longs(|sample| sample.slack)?,
            list_array(Arc::new(buffered), all().map(|summary| summary.buffer.len()))?,
        ])
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let [values, gaps, slacks, buffers]: [&ListArray; 4] = [
            saved_column(columns, 0)?,
            saved_column(columns, 1)?,
            saved_column(columns, 2)?,
            saved_column(columns, 3)?,
        ];
        let types = [values, gaps, slacks, buffers].map(|lists| lists.data_type().clone());
        if let Some(foreign) = types.iter().zip(self.saved_types()).position(|(found, expected)| *found != expected) {
            return Err(foreign_state(foreign));
        }
        for (i, &group) in groups.iter().enumerate() {
            let (value, gap, slack) = (values.value(i), gaps.value(i), slacks.value(i));
            let longs = |column: &ArrayRef| column.as_primitive::<Int64Type>().values().to_vec();
            let ranks = longs(&gap).into_iter().zip(longs(&slack));
            let samples = value.as_primitive::<Float64Type>().values().iter().zip(ranks);
            let samples = samples.map(|(&value, (gap, slack))| Sample { value, gap, slack }).collect();
            let buffer = buffers.value(i).as_primitive::<Float64Type>().values().to_vec();
            self.change(group as usize, |summary, _| *summary = Summary { samples, buffer });
        }
        Ok(())
    }

    fn saved_types(&self) -> Vec<DataType> {
        use DataType::{Float64, Int64};
        [Float64, Int64, Int64, Float64].iter().map(list_of).collect()
    }

    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Summary>() + self.heap_bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn as_doubles(column: &ArrayRef) -> Result<ArrayRef> {
    let numbers = match column.data_type() {
        DataType::Timestamp(_, _) | DataType::Date32 => cast(column, &DataType::Int64)?,
        _ => Arc::clone(column),
    };
    Ok(cast(&numbers, &DataType::Float64)?)
}

fn of_doubles(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    match to {
        DataType::Timestamp(_, _) | DataType::Date32 => Ok(cast(&cast(column, &DataType::Int64)?, to)?),
        _ => Ok(cast(column, to)?),
    }
}
