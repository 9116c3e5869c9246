//! Group keys: any columns, encoded row by row into comparable bytes, numbered densely.

use std::hash::BuildHasher;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{DataType, FieldRef};
use datafusion::common::Result;
use hashbrown::{DefaultHashBuilder, HashTable};

/// Numbers keys: equal keys get the same number, a removed key's number is used again.
#[derive(Default)]
pub(crate) struct KeyTable {
    table: HashTable<u32>,
    keys: Vec<Option<Box<[u8]>>>,
    free: Vec<u32>,
    hasher: DefaultHashBuilder,
    key_bytes: usize,
}

impl KeyTable {
    /// Keys in use.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Numbers given out so far, in use or free: what a state column must hold.
    pub(crate) fn capacity(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of memory, estimated.
    pub(crate) fn bytes(&self) -> usize {
        self.key_bytes + self.keys.len() * 24 + self.table.capacity() * 5
    }

    /// The number of a key; a new one if it has none.
    pub(crate) fn intern(&mut self, key: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(key);
        let keys = &self.keys;
        if let Some(found) = self.table.find(hash, |number| keys[*number as usize].as_deref() == Some(key)) {
            return *found;
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.keys.push(None);
                u32::try_from(self.keys.len() - 1).expect("groups_max is far below 2^32")
            }
        };
        self.keys[number as usize] = Some(key.into());
        self.key_bytes += key.len();
        let (keys, hasher) = (&self.keys, &self.hasher);
        self.table.insert_unique(hash, number, |n| hasher.hash_one(keys[*n as usize].as_deref().unwrap_or_default()));
        number
    }

    /// The number of a key that has one.
    pub(crate) fn get(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |number| self.keys[*number as usize].as_deref() == Some(key)).copied()
    }

    /// The key of a number in use.
    pub(crate) fn key(&self, number: u32) -> &[u8] {
        self.keys[number as usize].as_deref().unwrap_or_default()
    }

    /// Forgets a key; its number is free.
    pub(crate) fn remove(&mut self, number: u32) {
        let Some(key) = self.keys[number as usize].take() else { return };
        let hash = self.hasher.hash_one(&*key);
        if let Ok(entry) = self.table.find_entry(hash, |n| *n == number) {
            entry.remove();
        }
        self.key_bytes -= key.len();
        self.free.push(number);
    }

    /// Numbers in use, ascending.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        (0..self.keys.len() as u32).filter(|n| self.keys[*n as usize].is_some()).collect()
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
        assert_eq!((table.get(b"b"), table.get(b"a"), table.len(), table.numbers()), (None, Some(0), 2, vec![0, 2]));
        assert_eq!(table.intern(b"c"), 1);
        assert_eq!((table.key(1), table.capacity()), (b"c".as_slice(), 3));
    }
}
