//! Values of any type as bytes of their own: what `collect_list`, `max_by` and their kin keep for a group.
//!
//! The bytes are arrow-row's: they order as the values do (nulls first), and equal values have equal bytes.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow_row::{RowConverter, RowParser, Rows, SortField};
use arrow_schema::DataType;
use datafusion::common::{Result, plan_datafusion_err};

/// Encodes and decodes values of one type.
pub(super) struct RowBytes {
    converter: RowConverter,
    parser: RowParser,
    null: Box<[u8]>,
    value_type: DataType,
}

impl RowBytes {
    /// # Errors
    /// A type arrow-row does not know (a union, for example).
    pub(super) fn new(value_type: &DataType) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(value_type.clone())]).map_err(|_| {
            plan_datafusion_err!(
                "[DATATYPE_MISMATCH] values of type {} cannot be kept or compared by an aggregate; hint: collect \
                 the fields you need with named_struct()",
                crate::functions::type_name(value_type)
            )
        })?;
        let null = converter.convert_columns(&[new_null_array(value_type, 1)])?.row(0).data().into();
        Ok(RowBytes { parser: converter.parser(), converter, null, value_type: value_type.clone() })
    }

    /// Encodes these rows of a column; the result's row `i` is `rows[i]`.
    ///
    /// # Errors
    /// A column of another type.
    pub(super) fn encode(&self, column: &ArrayRef, rows: &[u32]) -> Result<Rows> {
        let all = rows.len() == column.len() && rows.iter().enumerate().all(|(i, &row)| i == row as usize);
        if all {
            return Ok(self.converter.convert_columns(std::slice::from_ref(column))?);
        }
        let picked = arrow_select::take::take(column, &UInt32Array::from(rows.to_vec()), None)?;
        Ok(self.converter.convert_columns(&[picked])?)
    }

    /// The bytes of NULL.
    pub(super) fn null(&self) -> &[u8] {
        &self.null
    }

    /// Values back from their bytes.
    ///
    /// # Errors
    /// Bytes that are not of this type.
    pub(super) fn decode<'a>(&'a self, values: impl IntoIterator<Item = &'a [u8]>) -> Result<ArrayRef> {
        let mut columns = self.converter.convert_rows(values.into_iter().map(|bytes| self.parser.parse(bytes)))?;
        Ok(columns.swap_remove(0))
    }

    /// The type it was made for.
    pub(super) fn value_type(&self) -> &DataType {
        &self.value_type
    }
}

/// Values of one group in one allocation, in order of arrival: each its length, then its bytes. A clone shares them until one
/// of the two changes: that is how a snapshot keeps a list as it was.
#[derive(Default, Clone)]
pub(super) struct ByteList {
    bytes: Option<Arc<Vec<u8>>>,
    len: u32,
}

/// Bytes before each value.
const LENGTH_BYTES: usize = size_of::<u32>();
/// Bytes of what is shared beside the values: two counts, and where they are.
const SHARED_BYTES: usize = 2 * size_of::<usize>() + size_of::<Vec<u8>>();

impl ByteList {
    /// Appends a value; gives its place, for [`at`](Self::at).
    pub(super) fn push(&mut self, value: &[u8]) -> u32 {
        let fits = "a group's values stay under the job's memory limit, far below 4 GiB";
        let bytes = Arc::make_mut(self.bytes.get_or_insert_default());
        let place = u32::try_from(bytes.len()).expect(fits);
        bytes.extend_from_slice(&u32::try_from(value.len()).expect(fits).to_ne_bytes());
        bytes.extend_from_slice(value);
        self.len += 1;
        place
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// The value that was pushed to this place.
    pub(super) fn at(&self, place: u32) -> &[u8] {
        first_value(&self.bytes()[place as usize..]).0
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.as_ref().map_or(&[], |bytes| bytes.as_slice())
    }

    /// The place after this one.
    pub(super) fn after(&self, place: u32) -> u32 {
        place + (LENGTH_BYTES + self.at(place).len()) as u32
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (value, after) = first_value(rest);
            rest = after;
            Some(value)
        })
    }

    /// Appends all of another list.
    pub(super) fn append(&mut self, other: &ByteList) {
        if self.len == 0 {
            self.clone_from(other);
            return;
        }
        Arc::make_mut(self.bytes.get_or_insert_default()).extend_from_slice(other.bytes());
        self.len += other.len;
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.as_ref().map_or(0, |bytes| bytes.capacity() + SHARED_BYTES)
    }
}

fn first_value(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().expect("a place is the start of a value");
    rest.split_at(u32::from_ne_bytes(*length) as usize)
}
