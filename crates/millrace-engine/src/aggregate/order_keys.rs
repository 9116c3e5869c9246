//! The smallest or largest value so far of each group, for `min`, `max`, `min_by` and `max_by`.
//!
//! Every type is compared in one of three ways, the fastest it allows:
//!
//! | type | compared as |
//! |---|---|
//! | integers, DATE, TIMESTAMP, BOOLEAN | an `i64` |
//! | FLOAT, DOUBLE | an `i64` whose order is Spark's: -0.0 equals 0.0, NaN is larger than any number |
//! | STRING | its UTF-8 bytes |
//! | anything else (DECIMAL, structs, arrays …) | arrow-row's bytes |
//!
//! The smallest is found as the largest of the inverted keys, so that there is one loop.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_cast::cast;
use arrow_schema::DataType;
use datafusion::common::Result;

use super::row_bytes::RowBytes;
use super::rows::each_valid;

/// The extreme value of each group, under one ordering.
pub(super) struct Extremes {
    longs: Vec<i64>,
    bytes: Vec<Vec<u8>>,
    seen: Vec<bool>,
    heap_bytes: usize,
    least: bool,
    value_type: DataType,
    comparison: Comparison,
}

enum Comparison {
    Long,
    Float,
    Text,
    Rows(RowBytes),
}

impl Extremes {
    /// # Errors
    /// A type without an order.
    pub(super) fn new(value_type: &DataType, least: bool) -> Result<Self> {
        use DataType::*;
        let comparison = match value_type {
            Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | Date32 | Timestamp(_, _) => {
                Comparison::Long
            }
            Float16 | Float32 | Float64 => Comparison::Float,
            Utf8 => Comparison::Text,
            _ => Comparison::Rows(RowBytes::new(value_type)?),
        };
        let (longs, bytes, seen) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Extremes { longs, bytes, seen, heap_bytes: 0, least, value_type: value_type.clone(), comparison })
    }

    fn by_bytes(&self) -> bool {
        matches!(self.comparison, Comparison::Text | Comparison::Rows(_))
    }

    pub(super) fn resize(&mut self, groups: usize) {
        let groups = groups.max(self.seen.len());
        self.seen.resize(groups, false);
        if self.by_bytes() {
            self.bytes.resize(groups, Vec::new());
        } else {
            self.longs.resize(groups, 0);
        }
    }

    /// Whether the group has a value.
    pub(super) fn seen(&self, group: u32) -> bool {
        self.seen[group as usize]
    }

    /// Lets rows compete; `won(row, group)` hears of each that is at least as extreme as all before it, so a later value wins
    /// a tie.
    ///
    /// # Errors
    /// A column of another type.
    #[inline]
    pub(super) fn update(
        &mut self,
        column: &ArrayRef,
        rows: &[u32],
        groups: &[u32],
        mut won: impl FnMut(usize, usize),
    ) -> Result<()> {
        match &self.comparison {
            Comparison::Long | Comparison::Float => {
                let (keys, nulls) = self.long_keys(column)?;
                let inverted = if self.least { -1 } else { 0 };
                let (longs, seen) = (self.longs.as_mut_slice(), self.seen.as_mut_slice());
                each_valid(nulls.as_ref(), rows, groups, |row, group| {
                    let key = keys[row] ^ inverted;
                    if key >= longs[group] || !seen[group] {
                        longs[group] = key;
                        seen[group] = true;
                        won(row, group);
                    }
                });
            }
            Comparison::Text => {
                let texts: &StringArray = column.as_string();
                each_valid(texts.nulls(), rows, groups, |row, group| {
                    if self.offer(group, texts.value(row).as_bytes()) {
                        won(row, group);
                    }
                });
            }
            Comparison::Rows(encoding) => {
                let nulls = column.logical_nulls();
                let encoded = encoding.encode(column, rows)?;
                for (i, (&row, &group)) in rows.iter().zip(groups).enumerate() {
                    let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row as usize));
                    if valid && self.offer(group as usize, encoded.row(i).data()) {
                        won(row as usize, group as usize);
                    }
                }
            }
        }
        Ok(())
    }

    /// Lets one key compete; true when it is at least as extreme.
    #[inline]
    fn offer(&mut self, group: usize, key: &[u8]) -> bool {
        let best = &mut self.bytes[group];
        let order = if self.seen[group] { key.cmp(best.as_slice()) } else { Ordering::Greater };
        match if self.least && self.seen[group] { order.reverse() } else { order } {
            Ordering::Less => false,
            Ordering::Equal => true,
            Ordering::Greater => {
                let before = best.capacity();
                best.clear();
                best.extend_from_slice(key);
                self.heap_bytes += best.capacity() - before;
                self.seen[group] = true;
                true
            }
        }
    }

    /// Lets group `from` of another state compete for group `into`; true when it won.
    pub(super) fn merge(&mut self, other: &Self, from: u32, into: u32) -> bool {
        let (from, into) = (from as usize, into as usize);
        if !other.seen[from] {
            return false;
        }
        if self.by_bytes() {
            return self.offer(into, &other.bytes[from]);
        }
        self.offer_long(into, other.longs[from])
    }

    /// Lets group `from` compete for group `into` and empties it; true when it won.
    pub(super) fn merge_within(&mut self, from: u32, into: u32) -> bool {
        if !self.seen(from) {
            return false;
        }
        let won = if self.by_bytes() {
            let key = std::mem::take(&mut self.bytes[from as usize]);
            self.heap_bytes -= key.capacity();
            self.offer(into as usize, &key)
        } else {
            self.offer_long(into as usize, self.longs[from as usize])
        };
        self.clear(from);
        won
    }

    fn offer_long(&mut self, group: usize, key: i64) -> bool {
        let won = key >= self.longs[group] || !self.seen[group];
        if won {
            self.longs[group] = key;
            self.seen[group] = true;
        }
        won
    }

    pub(super) fn clear(&mut self, group: u32) {
        let group = group as usize;
        self.seen[group] = false;
        if self.by_bytes() {
            self.heap_bytes -= self.bytes[group].capacity();
            self.bytes[group] = Vec::new();
        } else {
            self.longs[group] = 0;
        }
    }

    /// The extreme values of these groups, as a column of the value's type.
    ///
    /// # Errors
    /// Internal only.
    pub(super) fn values(&self, groups: &[u32]) -> Result<ArrayRef> {
        let texts = |group: &u32| self.seen(*group).then(|| self.bytes[*group as usize].as_slice());
        match &self.comparison {
            Comparison::Long | Comparison::Float => {
                let inverted = if self.least { -1 } else { 0 };
                let keys = groups.iter().map(|&group| self.seen(group).then(|| self.longs[group as usize] ^ inverted));
                let column: ArrayRef = match self.comparison {
                    Comparison::Float => Arc::new(Float64Array::from_iter(keys.map(|key| key.map(float_of_key)))),
                    _ => Arc::new(Int64Array::from_iter(keys)),
                };
                Ok(cast(&column, &self.value_type)?)
            }
            Comparison::Text => Ok(Arc::new(StringArray::from_iter(groups.iter().map(|group| {
                texts(group).map(|bytes| std::str::from_utf8(bytes).expect("the bytes came from a text column"))
            })))),
            Comparison::Rows(encoding) => {
                encoding.decode(groups.iter().map(|group| texts(group).unwrap_or(encoding.null())))
            }
        }
    }

    pub(super) fn value_type(&self) -> &DataType {
        &self.value_type
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let fixed = self.longs.capacity() * size_of::<i64>() + self.bytes.capacity() * size_of::<Vec<u8>>();
        fixed + self.seen.capacity() + self.heap_bytes
    }

    fn long_keys(&self, column: &ArrayRef) -> Result<(ScalarBuffer<i64>, Option<NullBuffer>)> {
        if matches!(self.comparison, Comparison::Float) {
            let floats = cast(column, &DataType::Float64)?;
            let floats = floats.as_primitive::<Float64Type>();
            return Ok((floats.values().iter().map(|&value| key_of_float(value)).collect(), floats.nulls().cloned()));
        }
        let longs = cast(column, &DataType::Int64)?;
        let longs: &Int64Array = longs.as_primitive();
        Ok((longs.values().clone(), longs.nulls().cloned()))
    }
}

/// An integer that orders as Spark orders doubles.
fn key_of_float(value: f64) -> i64 {
    let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
    flip_negative(value.to_bits() as i64)
}

fn float_of_key(key: i64) -> f64 {
    f64::from_bits(flip_negative(key) as u64)
}

/// IEEE 754's order is that of the bits, with the negative numbers the wrong way round.
fn flip_negative(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}
