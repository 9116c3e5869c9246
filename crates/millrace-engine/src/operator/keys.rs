//! Group keys: any columns, encoded row by row into comparable bytes, numbered densely.

use std::hash::BuildHasher;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{DataType, FieldRef};
use datafusion::common::Result;
use hashbrown::{DefaultHashBuilder, HashTable};

/// Numbers keys: equal keys get the same number, a removed key's number is used again.
///
/// ```text
///  number     0         1         2         3       8 bytes a number: where its key begins, and how long it is
///  places   (0, 3)    (3, 5)     free     (10, 3)
///  bytes     a b c d e f g h . . x y z              keys one after the other; what is removed leaves a hole, and when
///                                                   half of the bytes are holes, the rest moves together
/// ```
#[derive(Default)]
pub(crate) struct KeyTable {
    table: HashTable<u32>,
    places: Vec<Place>,
    bytes: Vec<u8>,
    /// Bytes of removed keys.
    holes: usize,
    free: Vec<u32>,
    hasher: DefaultHashBuilder,
}

/// Where a key begins in the bytes, and its length in the lower bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(u64);

/// Bits of a place that hold the length: keys of up to 256 MiB, 64 GiB of them.
const LENGTH_BITS: u32 = 28;

impl Place {
    const FREE: Place = Place(u64::MAX);

    fn new(start: usize, length: usize) -> Self {
        let fits = (length as u64) < (1 << LENGTH_BITS) && (start as u64) < (1 << (u64::BITS - LENGTH_BITS)) - 1;
        assert!(fits, "a record is far below 256 MiB, and state_bytes_max far below 64 GiB");
        Place((start as u64) << LENGTH_BITS | length as u64)
    }

    fn length(self) -> usize {
        (self.0 & ((1 << LENGTH_BITS) - 1)) as usize
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        let start = (self.0 >> LENGTH_BITS) as usize;
        &bytes[start..start + self.length()]
    }
}

impl KeyTable {
    /// Keys in use.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Numbers given out so far, in use or free: what a state column must hold.
    pub(crate) fn capacity(&self) -> usize {
        self.places.len()
    }

    /// Bytes of memory, estimated.
    pub(crate) fn bytes(&self) -> usize {
        let numbers = self.places.capacity() * size_of::<Place>() + self.free.capacity() * size_of::<u32>();
        self.bytes.capacity() + numbers + self.table.allocation_size()
    }

    /// The number of a key; a new one if it has none.
    pub(crate) fn intern(&mut self, key: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(key);
        let (places, bytes) = (&self.places, &self.bytes);
        if let Some(found) = self.table.find(hash, |number| places[*number as usize].of(bytes) == key) {
            return *found;
        }
        let place = Place::new(self.bytes.len(), key.len());
        self.bytes.extend_from_slice(key);
        let number = match self.free.pop() {
            Some(number) => {
                self.places[number as usize] = place;
                number
            }
            None => {
                self.places.push(place);
                u32::try_from(self.places.len() - 1).expect("groups_max is far below 2^32")
            }
        };
        let (places, bytes, hasher) = (&self.places, &self.bytes, &self.hasher);
        self.table.insert_unique(hash, number, |n| hasher.hash_one(places[*n as usize].of(bytes)));
        number
    }

    /// The key of a number in use.
    pub(crate) fn key(&self, number: u32) -> &[u8] {
        let place = self.places[number as usize];
        if place == Place::FREE { &[] } else { place.of(&self.bytes) }
    }

    /// Forgets a key; its number is free.
    pub(crate) fn remove(&mut self, number: u32) {
        let place = self.places[number as usize];
        if place == Place::FREE {
            return;
        }
        let hash = self.hasher.hash_one(place.of(&self.bytes));
        if let Ok(entry) = self.table.find_entry(hash, |n| *n == number) {
            entry.remove();
        }
        self.places[number as usize] = Place::FREE;
        self.free.push(number);
        self.holes += place.length();
        // The second condition keeps a large table with few keys from being walked again and again.
        if self.holes > self.bytes.len() / 2 && self.holes > self.places.len() {
            self.close_holes();
        }
    }

    fn close_holes(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.holes);
        for place in self.places.iter_mut().filter(|place| **place != Place::FREE) {
            let key = place.of(&self.bytes);
            let moved = Place::new(bytes.len(), key.len());
            bytes.extend_from_slice(key);
            *place = moved;
        }
        self.bytes = bytes;
        self.holes = 0;
        let (places, bytes, hasher) = (&self.places, &self.bytes, &self.hasher);
        let wanted = self.table.len() * 2;
        if self.table.capacity() > wanted * 2 {
            self.table.shrink_to(wanted, |n| hasher.hash_one(places[*n as usize].of(bytes)));
        }
    }

    /// Numbers in use, ascending.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        (0..self.places.len() as u32).filter(|n| self.places[*n as usize] != Place::FREE).collect()
    }
}

/// Encodes key columns into row bytes and back. A statement without key columns has one key, the empty one.
pub(crate) struct KeyCodec {
    converter: Option<RowConverter>,
}

/// The encoded keys of a batch.
pub(crate) enum KeyRows {
    None,
    Rows(Rows),
}

impl KeyRows {
    pub(crate) fn key(&self, row: usize) -> KeyRef<'_> {
        match self {
            KeyRows::None => KeyRef(None),
            KeyRows::Rows(rows) => KeyRef(Some(rows.row(row))),
        }
    }
}

/// The encoded key of one row.
pub(crate) struct KeyRef<'a>(Option<arrow_row::Row<'a>>);

impl AsRef<[u8]> for KeyRef<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], AsRef::as_ref)
    }
}

impl KeyCodec {
    pub(crate) fn new(types: &[DataType]) -> Result<Self> {
        if types.is_empty() {
            return Ok(KeyCodec { converter: None });
        }
        let fields = types.iter().map(|data_type| SortField::new(data_type.clone())).collect();
        Ok(KeyCodec { converter: Some(RowConverter::new(fields)?) })
    }

    pub(crate) fn encode(&self, columns: &[ArrayRef]) -> Result<KeyRows> {
        match &self.converter {
            None => Ok(KeyRows::None),
            Some(converter) => Ok(KeyRows::Rows(converter.convert_columns(columns)?)),
        }
    }

    /// The key columns of encoded keys.
    pub(crate) fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        Ok(converter.convert_rows(keys.map(|key| parser.parse(key)))?)
    }
}

/// The rows of one batch as columns named by fields.
pub(crate) fn batch_of(fields: &[FieldRef], columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let schema = std::sync::Arc::new(arrow_schema::Schema::new(fields.to_vec()));
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_used_again() {
        let mut table = KeyTable::default();
        assert_eq!([table.intern(b"a"), table.intern(b"b"), table.intern(b"a"), table.intern(b"")], [0, 1, 0, 2]);
        table.remove(1);
        assert_eq!((table.len(), table.numbers()), (2, vec![0, 2]));
        assert_eq!(table.intern(b"c"), 1);
        assert_eq!((table.key(1), table.capacity()), (b"c".as_slice(), 3));
    }

    #[test]
    fn removed_keys_leave_no_holes_behind() {
        let mut table = KeyTable::default();
        let key = |n: u32| format!("key {n}").into_bytes();
        for round in 0..50 {
            let numbers: Vec<u32> = (0..1000).map(|n| table.intern(&key(round * 1000 + n))).collect();
            for (n, number) in (0..1000).zip(&numbers) {
                assert_eq!(table.key(*number), key(round * 1000 + n));
            }
            // One key in a hundred stays.
            (0..1000).filter(|n| n % 100 != 0).for_each(|n| table.remove(numbers[n]));
        }
        assert_eq!((table.len(), table.capacity()), (500, 1490));
        assert!(table.bytes.len() < 25_000, "{} bytes of 500 keys", table.bytes.len());
        for round in 0..50 {
            let known = table.capacity();
            let number = table.intern(&key(round * 1000));
            assert_eq!((table.capacity(), table.key(number)), (known, key(round * 1000).as_slice()));
        }
    }
}
