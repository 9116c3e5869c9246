//! Growing Arrow columns that can be cut back: a record that turns out malformed halfway leaves no trace.

use std::sync::Arc;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};

use crate::cursor::{RawStr, unescape};

/// One growing column.
pub(crate) struct ColumnBuilder {
    data_type: DataType,
    /// One flag a value; false is null.
    valid: Vec<bool>,
    null_count: usize,
    values: Values,
}

pub(crate) enum Values {
    Integer(Vec<i64>),
    Number(Vec<f64>),
    Boolean(Vec<bool>),
    Text { bytes: Vec<u8>, ends: Vec<i32> },
    List { item: Box<ColumnBuilder>, ends: Vec<i32> },
    Struct(Vec<ColumnBuilder>),
    Map { keys: Box<ColumnBuilder>, values: Box<ColumnBuilder>, ends: Vec<i32> },
}

impl ColumnBuilder {
    pub(crate) fn new(data_type: &DataType) -> Self {
        let values = match data_type {
            DataType::Int64 | DataType::Timestamp(..) => Values::Integer(Vec::new()),
            DataType::Float64 => Values::Number(Vec::new()),
            DataType::Boolean => Values::Boolean(Vec::new()),
            DataType::Utf8 => Values::Text { bytes: Vec::new(), ends: Vec::new() },
            DataType::List(item) => {
                Values::List { item: Box::new(ColumnBuilder::new(item.data_type())), ends: Vec::new() }
            }
            DataType::Struct(fields) => {
                Values::Struct(fields.iter().map(|field| ColumnBuilder::new(field.data_type())).collect())
            }
            DataType::Map(entries, _) => {
                let DataType::Struct(fields) = entries.data_type() else {
                    unreachable!("the entries of a map are a struct")
                };
                Values::Map {
                    keys: Box::new(ColumnBuilder::new(fields[0].data_type())),
                    values: Box::new(ColumnBuilder::new(fields[1].data_type())),
                    ends: Vec::new(),
                }
            }
            other => unreachable!("contracts have no column of type {other}"),
        };
        ColumnBuilder { data_type: data_type.clone(), valid: Vec::new(), null_count: 0, values }
    }

    pub(crate) fn len(&self) -> usize {
        self.valid.len()
    }

    #[inline]
    pub(crate) fn push_integer(&mut self, value: i64) {
        if let Values::Integer(values) = &mut self.values {
            values.push(value);
            self.valid.push(true);
        }
    }

    #[inline]
    pub(crate) fn push_number(&mut self, value: f64) {
        if let Values::Number(values) = &mut self.values {
            values.push(value);
            self.valid.push(true);
        }
    }

    #[inline]
    pub(crate) fn push_boolean(&mut self, value: bool) {
        if let Values::Boolean(values) = &mut self.values {
            values.push(value);
            self.valid.push(true);
        }
    }

    #[inline]
    pub(crate) fn push_text(&mut self, raw: RawStr<'_>) {
        if let Values::Text { bytes, ends } = &mut self.values {
            unescape(raw, bytes);
            ends.push(end_of(bytes.len()));
            self.valid.push(true);
        }
    }

    /// Ends a list, map or struct whose items have been pushed.
    pub(crate) fn close(&mut self) {
        match &mut self.values {
            Values::List { item, ends } => ends.push(end_of(item.len())),
            Values::Map { keys, ends, .. } => ends.push(end_of(keys.len())),
            _ => {}
        }
        self.valid.push(true);
    }

    #[inline]
    pub(crate) fn push_null(&mut self) {
        match &mut self.values {
            Values::Integer(values) => values.push(0),
            Values::Number(values) => values.push(0.0),
            Values::Boolean(values) => values.push(false),
            Values::Text { bytes, ends } => ends.push(end_of(bytes.len())),
            Values::List { item, ends } => ends.push(end_of(item.len())),
            Values::Map { keys, ends, .. } => ends.push(end_of(keys.len())),
            Values::Struct(fields) => fields.iter_mut().for_each(ColumnBuilder::push_null),
        }
        self.valid.push(false);
        self.null_count += 1;
    }

    /// Items of a list.
    pub(crate) fn item(&mut self) -> Option<&mut ColumnBuilder> {
        match &mut self.values {
            Values::List { item, .. } => Some(item),
            _ => None,
        }
    }

    /// Fields of a struct; empty for anything else.
    pub(crate) fn fields(&mut self) -> &mut [ColumnBuilder] {
        match &mut self.values {
            Values::Struct(fields) => fields,
            _ => &mut [],
        }
    }

    /// Keys and values of a map.
    pub(crate) fn entries(&mut self) -> Option<(&mut ColumnBuilder, &mut ColumnBuilder)> {
        match &mut self.values {
            Values::Map { keys, values, .. } => Some((keys, values)),
            _ => None,
        }
    }

    /// Cuts back to the first `len` values, and what hangs below them.
    pub(crate) fn truncate(&mut self, len: usize) {
        let last_end = |ends: &[i32]| ends.last().map_or(0, |end| *end as usize);
        match &mut self.values {
            Values::Integer(values) => values.truncate(len),
            Values::Number(values) => values.truncate(len),
            Values::Boolean(values) => values.truncate(len),
            Values::Text { bytes, ends } => {
                ends.truncate(len);
                bytes.truncate(last_end(ends));
            }
            Values::List { item, ends } => {
                ends.truncate(len);
                item.truncate(last_end(ends));
            }
            Values::Map { keys, values, ends } => {
                ends.truncate(len);
                keys.truncate(last_end(ends));
                values.truncate(last_end(ends));
            }
            Values::Struct(fields) => fields.iter_mut().for_each(|field| field.truncate(len)),
        }
        if self.valid.len() > len {
            self.valid.truncate(len);
            self.null_count = self.valid.iter().filter(|valid| !**valid).count();
        }
    }

    /// The array of everything pushed; the builder is empty again.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        let len = self.valid.len();
        let nulls = (self.null_count > 0).then(|| NullBuffer::from(std::mem::take(&mut self.valid)));
        self.valid.clear();
        self.null_count = 0;
        match &mut self.values {
            Values::Integer(values) => {
                let values = ScalarBuffer::from(std::mem::take(values));
                match &self.data_type {
                    DataType::Timestamp(_, zone) => Arc::new(
                        PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls).with_timezone_opt(zone.clone()),
                    ),
                    _ => Arc::new(PrimitiveArray::<Int64Type>::new(values, nulls)),
                }
            }
            Values::Number(values) => {
                Arc::new(PrimitiveArray::<Float64Type>::new(ScalarBuffer::from(std::mem::take(values)), nulls))
            }
            Values::Boolean(values) => {
                let mut bits = BooleanBufferBuilder::new(len);
                bits.append_slice(values);
                values.clear();
                Arc::new(BooleanArray::new(bits.finish(), nulls))
            }
            Values::Text { bytes, ends } => {
                let array = StringArray::try_new(offsets(ends), std::mem::take(bytes).into(), nulls);
                Arc::new(array.expect("pieces of UTF-8 text, cut at character boundaries"))
            }
            Values::List { item, ends } => {
                let DataType::List(field) = &self.data_type else { unreachable!("a list builder") };
                Arc::new(ListArray::new(field.clone(), offsets(ends), item.finish(), nulls))
            }
            Values::Struct(fields) => {
                let DataType::Struct(types) = &self.data_type else { unreachable!("a struct builder") };
                let arrays = fields.iter_mut().map(ColumnBuilder::finish).collect();
                let array = StructArray::try_new_with_length(types.clone(), arrays, nulls, len);
                Arc::new(array.expect("all fields have the length of the struct"))
            }
            Values::Map { keys, values, ends } => {
                let DataType::Map(field, sorted) = &self.data_type else { unreachable!("a map builder") };
                let offsets = offsets(ends);
                let entries = entries(field, keys.finish(), values.finish());
                Arc::new(MapArray::new(field.clone(), offsets, entries, nulls, *sorted))
            }
        }
    }
}

fn entries(field: &Field, keys: ArrayRef, values: ArrayRef) -> StructArray {
    let DataType::Struct(types) = field.data_type() else { unreachable!("the entries of a map are a struct") };
    StructArray::new(types.clone(), vec![keys, values], None)
}

fn end_of(len: usize) -> i32 {
    i32::try_from(len).expect("a batch is limited far below 2 GiB")
}

/// Ends of the values → Arrow's offsets, which begin with 0.
fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    ends.insert(0, 0);
    OffsetBuffer::new(ScalarBuffer::from(std::mem::take(ends)))
}
