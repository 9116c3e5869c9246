//! `collect_list(x)` / `array_agg(x)`: all values that are not null, in order of arrival.

use std::any::Any;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use datafusion::common::Result;

use super::GroupState;
use super::row_bytes::{ByteList, RowBytes};
use super::rows::{foreign_state, same_kind, valid_rows};
use crate::operator::saved::Saved;

/// The values of each group, as bytes.
pub(super) struct CollectList {
    encoding: RowBytes,
    lists: Vec<ByteList>,
    heap_bytes: usize,
}

/// The type of a collected array.
pub(super) fn list_of(value_type: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(value_type.clone(), true)))
}

/// An array of arrays from its flat values and the length of each.
pub(super) fn list_array(values: ArrayRef, lengths: impl IntoIterator<Item = usize>) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, None)?))
}

/// The column of these lists, made when it is asked for.
pub(super) fn saved_behind(lists: Vec<ByteList>, encoding: &RowBytes) -> Result<Saved> {
    let encoding = RowBytes::new(encoding.value_type())?;
    Ok(Saved::Behind(Box::new(move || Ok(vec![lists_of(&encoding, &lists.iter().collect::<Vec<_>>())?]))))
}

/// The array of these lists.
pub(super) fn lists_of(encoding: &RowBytes, lists: &[&ByteList]) -> Result<ArrayRef> {
    list_array(encoding.decode(lists.iter().flat_map(|list| list.iter()))?, lists.iter().map(|list| list.len()))
}

/// A saved column of lists, checked to hold values of this type.
pub(super) fn saved_lists<'a>(columns: &'a [ArrayRef], value_type: &DataType) -> Result<&'a ListArray> {
    let lists = columns.first().and_then(|column| column.as_any().downcast_ref::<ListArray>());
    lists.filter(|lists| lists.value_type() == *value_type).ok_or_else(|| foreign_state(0))
}

/// The values of these lists as rows of the flat column, with the group each belongs to.
pub(super) fn flat_rows(lists: &ListArray, groups: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let spans = lists.value_offsets().windows(2).zip(groups);
    spans.flat_map(|(span, &group)| (span[0]..span[1]).map(move |row| (row as u32, group))).unzip()
}

impl CollectList {
    /// # Errors
    /// A type that cannot be kept.
    pub(super) fn new(value_type: &DataType) -> Result<Self> {
        Ok(CollectList { encoding: RowBytes::new(value_type)?, lists: Vec::new(), heap_bytes: 0 })
    }

    /// Changes a list and keeps count of its memory.
    fn change(&mut self, group: usize, change: impl FnOnce(&mut ByteList)) {
        let list = &mut self.lists[group];
        let before = list.heap_bytes();
        change(list);
        self.heap_bytes = self.heap_bytes + list.heap_bytes() - before;
    }
}

impl GroupState for CollectList {
    fn resize(&mut self, groups: usize) {
        self.lists.resize(groups.max(self.lists.len()), ByteList::default());
    }

    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()> {
        let (rows, groups) = valid_rows(arguments[0].logical_nulls().as_ref(), rows, groups);
        let encoded = self.encoding.encode(&arguments[0], &rows)?;
        for (i, &group) in groups.iter().enumerate() {
            self.change(group as usize, |list| {
                list.push(encoded.row(i).data());
            });
        }
        Ok(())
    }

    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()> {
        let other: &Self = same_kind(other)?;
        for (&from, &into) in from.iter().zip(into) {
            self.change(into as usize, |list| list.append(&other.lists[from as usize]));
        }
        Ok(())
    }

    fn merge_within(&mut self, from: u32, into: u32) -> Result<()> {
        let moved = std::mem::take(&mut self.lists[from as usize]);
        self.heap_bytes -= moved.heap_bytes();
        self.change(into as usize, |list| list.append(&moved));
        Ok(())
    }

    fn clear(&mut self, group: u32) {
        self.change(group as usize, |list| *list = ByteList::default());
    }

    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef> {
        let lists: Vec<&ByteList> = groups.iter().map(|&group| &self.lists[group as usize]).collect();
        lists_of(&self.encoding, &lists)
    }

    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(groups)?])
    }

    fn save_behind(&self, groups: &[u32]) -> Result<Saved> {
        saved_behind(groups.iter().map(|&group| self.lists[group as usize].clone()).collect(), &self.encoding)
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
        self.lists.capacity() * size_of::<ByteList>() + self.heap_bytes
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
