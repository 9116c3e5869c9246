//! Aggregates that need all values: `median`, `percentile`, `mode`, `string_agg`. They keep the list of `collect_list`, so
//! their state grows with the rows, as Spark's does with the distinct values; `percentile_approx` has a bound.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, ListArray, StringArray, UInt32Array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::DataType;
use arrow_select::take::take;
use datafusion::common::{Result, ScalarValue};

use super::GroupState;
use super::collect_list::{CollectList, list_array};
use super::rows::same_kind;
use crate::operator::saved::Saved;

/// What is made of the values.
#[derive(Clone, Debug)]
pub(super) enum Finish {
    /// Exact percentiles, between the two nearest values; one, or a list of them.
    Percentiles { shares: Vec<f64>, list: bool },
    /// The most frequent value, of several the smallest.
    Mode,
    /// The texts, with this between them.
    Joined(String),
}

impl Finish {
    /// From the second argument of `percentile`.
    pub(super) fn percentile(share: Option<&ScalarValue>) -> std::result::Result<Self, String> {
        let shares = match share {
            Some(ScalarValue::Float64(Some(share))) => Some((vec![*share], false)),
            Some(ScalarValue::List(shares)) if shares.value_type() == DataType::Float64 => {
                Some((shares.values().as_primitive::<Float64Type>().iter().flatten().collect(), true))
            }
            _ => None,
        };
        match shares {
            Some((shares, list)) if shares.iter().all(|share| (0.0..=1.0).contains(share)) => {
                Ok(Finish::Percentiles { shares, list })
            }
            _ => Err(
                "the second argument of percentile() must be a number from 0 to 1, or an array of them, written out"
                    .to_owned(),
            ),
        }
    }
}

/// The values of each group, and what is made of them.
pub(super) struct OfList {
    values: CollectList,
    finish: Finish,
}

impl OfList {
    /// # Errors
    /// A type that cannot be kept.
    pub(super) fn new(value_type: &DataType, finish: Finish) -> Result<Self> {
        Ok(OfList { values: CollectList::new(value_type)?, finish })
    }
}

fn spans(lists: &ListArray) -> impl Iterator<Item = std::ops::Range<usize>> {
    lists.value_offsets().windows(2).map(|span| span[0] as usize..span[1] as usize)
}

fn percentiles(lists: &ListArray, shares: &[f64]) -> Vec<Option<Vec<f64>>> {
    let values = lists.values().as_primitive::<Float64Type>();
    let of = |span: std::ops::Range<usize>| {
        let mut sorted = values.values()[span].to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: &f64| {
            let place = last as f64 * share;
            let (lower, higher) = (place.floor(), place.ceil());
            let (low, high) = (sorted[lower as usize], sorted[higher as usize]);
            if lower == higher || low == high { low } else { (higher - place) * low + (place - lower) * high }
        };
        Some(shares.iter().map(at).collect())
    };
    spans(lists).map(of).collect()
}

fn modes(lists: &ListArray) -> Result<ArrayRef> {
    let converter = RowConverter::new(vec![SortField::new(lists.value_type())])?;
    let rows = converter.convert_columns(std::slice::from_ref(lists.values()))?;
    let most = spans(lists).map(|span| {
        // Number and a place of each value, the smallest first.
        let mut counts = BTreeMap::new();
        for place in span {
            counts.entry(rows.row(place)).or_insert((0_usize, place as u32)).0 += 1;
        }
        counts.into_values().reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, place)| place)
    });
    Ok(take(lists.values(), &most.collect::<UInt32Array>(), None)?)
}

impl GroupState for OfList {
    fn resize(&mut self, groups: usize) {
        self.values.resize(groups);
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        self.values.update(&arguments[..1], rows, groups)
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        self.values.merge(&other.values, from, into)
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        self.values.merge_within(from, into)
    }

    fn clear(&mut self, group: u32) {
        self.values.clear(group);
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let lists = self.values.evaluate(groups)?;
        let lists = lists.as_list::<i32>();
        Ok(match &self.finish {
            Finish::Percentiles { shares, list: false } => {
                let found = percentiles(lists, shares).into_iter().map(|found| found.and_then(|f| f.first().copied()));
                Arc::new(found.collect::<Float64Array>())
            }
            Finish::Percentiles { shares, list: true } => {
                let found = percentiles(lists, shares);
                let lengths: Vec<usize> = found.iter().map(|found| found.as_ref().map_or(0, Vec::len)).collect();
                let nulls = found.iter().map(Option::is_some).collect::<Vec<_>>();
                let flat = Float64Array::from_iter_values(found.into_iter().flatten().flatten());
                let made = list_array(Arc::new(flat), lengths)?;
                let (field, offsets, values, _) = made.as_list::<i32>().clone().into_parts();
                Arc::new(ListArray::try_new(field, offsets, values, Some(nulls.into()))?)
            }
            Finish::Mode => modes(lists)?,
            Finish::Joined(between) => {
                let texts = lists.values().as_string::<i32>();
                let joined = spans(lists).map(|span| {
                    (!span.is_empty()).then(|| span.map(|at| texts.value(at)).collect::<Vec<_>>().join(between))
                });
                Arc::new(joined.collect::<StringArray>())
            }
        })
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.values.save(groups)
    }

    fn save_behind(&self, groups: &[u32]) -> Result<Saved> {
        self.values.save_behind(groups)
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        self.values.load(groups, columns)
    }

    fn saved_types(&self) -> Vec<DataType> {
        self.values.saved_types()
    }

    fn bytes(&self) -> usize {
        self.values.bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
