//! `collect_set(x)`: the different values that are not null, in order of their first arrival.

use std::any::Any;
use std::hash::BuildHasher;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use datafusion::common::Result;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::GroupState;
use super::collect_list::{flat_rows, list_of, lists_of, saved_behind, saved_lists};
use super::row_bytes::{ByteList, RowBytes};
use super::rows::{same_kind, valid_rows};
use crate::operator::saved::Saved;

/// Up to this many values are searched one by one; more get a hash table.
const SEARCHED_VALUES_MAX: usize = 8;

/// The different values of each group, as bytes.
pub(super) struct CollectSet {
    encoding: RowBytes,
    sets: Vec<ByteSet>,
    heap_bytes: usize,
    hasher: DefaultHashBuilder,
}

#[derive(Default, Clone)]
struct ByteSet {
    values: ByteList,
    index: HashTable<u32>,
}

impl ByteSet {
    fn insert(&mut self, value: &[u8], hasher: &DefaultHashBuilder) {
        let ByteSet { values, index } = self;
        if values.len() < SEARCHED_VALUES_MAX {
            if !values.iter().any(|known| known == value) {
                values.push(value);
            }
            return;
        }
        if index.is_empty() {
            let mut place = 0;
            for known in values.iter() {
                index.insert_unique(hasher.hash_one(known), place, |&place| hasher.hash_one(values.at(place)));
                place = values.after(place);
            }
        }
        let hash = hasher.hash_one(value);
        if index.find(hash, |&place| values.at(place) == value).is_none() {
            let place = values.push(value);
            index.insert_unique(hash, place, |&place| hasher.hash_one(values.at(place)));
        }
    }

    fn heap_bytes(&self) -> usize {
        self.values.heap_bytes() + self.index.capacity() * (size_of::<u32>() + 1)
    }
}

impl CollectSet {
    /// # Errors
    /// A type that cannot be kept.
    pub(super) fn new(value_type: &DataType) -> Result<Self> {
        let encoding = RowBytes::new(value_type)?;
        Ok(CollectSet { encoding, sets: Vec::new(), heap_bytes: 0, hasher: DefaultHashBuilder::default() })
    }

    /// Changes a set and keeps count of its memory.
    fn change(&mut self, group: usize, change: impl FnOnce(&mut ByteSet, &DefaultHashBuilder)) {
        let set = &mut self.sets[group];
        let before = set.heap_bytes();
        change(set, &self.hasher);
        self.heap_bytes = self.heap_bytes + set.heap_bytes() - before;
    }
}

impl GroupState for CollectSet {
    fn resize(&mut self, groups: usize) {
        self.sets.resize(groups.max(self.sets.len()), ByteSet::default());
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let (rows, groups) = valid_rows(arguments[0].logical_nulls().as_ref(), rows, groups);
        let encoded = self.encoding.encode(&arguments[0], &rows)?;
        for (i, &group) in groups.iter().enumerate() {
            self.change(group as usize, |set, hasher| set.insert(encoded.row(i).data(), hasher));
        }
        Ok(())
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            let values = &other.sets[from as usize].values;
            self.change(into as usize, |set, hasher| values.iter().for_each(|value| set.insert(value, hasher)));
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        let moved = std::mem::take(&mut self.sets[from as usize]);
        self.heap_bytes -= moved.heap_bytes();
        self.change(into as usize, |set, hasher| moved.values.iter().for_each(|value| set.insert(value, hasher)));
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.change(group as usize, |set, _| *set = ByteSet::default());
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let lists: Vec<&ByteList> = groups.iter().map(|&group| &self.sets[group as usize].values).collect();
        lists_of(&self.encoding, &lists)
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn save_behind(&self, groups: &[u32]) -> Result<Saved> {
        saved_behind(groups.iter().map(|&group| self.sets[group as usize].values.clone()).collect(), &self.encoding)
    }

    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()> {
        let lists = saved_lists(columns, self.encoding.value_type())?;
        groups.iter().for_each(|&group| self.clear(group));
        let (rows, groups) = flat_rows(lists, groups);
        self.update(std::slice::from_ref(lists.values()), &rows, &groups)
    }

    fn saved_types(&self) -> Vec<DataType> {
        vec![list_of(self.encoding.value_type())]
    }

    fn bytes(&self) -> usize {
        self.sets.capacity() * size_of::<ByteSet>() + self.heap_bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
