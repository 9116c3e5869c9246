//! One value kept a group, for `min_by`, `max_by`, `first` and `last`: of a batch, only the winning rows are encoded.

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion::common::Result;

use super::row_bytes::RowBytes;

const NONE: u32 = u32::MAX;

/// The kept value of each group, as bytes.
pub(super) struct KeptValues {
    encoding: RowBytes,
    values: Vec<Vec<u8>>,
    heap_bytes: usize,
    /// While a batch is read: the row that wins each group so far, and the groups that have one.
    winners: Vec<u32>,
    touched: Vec<u32>,
}

impl KeptValues {
    /// # Errors
    /// A type that cannot be kept.
    pub(super) fn new(value_type: &DataType) -> Result<Self> {
        let encoding = RowBytes::new(value_type)?;
        Ok(KeptValues { encoding, values: Vec::new(), heap_bytes: 0, winners: Vec::new(), touched: Vec::new() })
    }

    pub(super) fn resize(&mut self, groups: usize) {
        let groups = groups.max(self.values.len());
        self.values.resize(groups, Vec::new());
        self.winners.resize(groups, NONE);
    }

    /// This row wins the group, for now.
    #[inline]
    pub(super) fn note(&mut self, row: usize, group: usize) {
        if self.winners[group] == NONE {
            self.touched.push(group as u32);
        }
        self.winners[group] = row as u32;
    }

    /// Keeps the values of the noted rows of this column.
    ///
    /// # Errors
    /// A column of another type.
    pub(super) fn settle(&mut self, column: &ArrayRef) -> Result<()> {
        if self.touched.is_empty() {
            return Ok(());
        }
        let touched = std::mem::take(&mut self.touched);
        let rows: Vec<u32> =
            touched.iter().map(|&group| std::mem::replace(&mut self.winners[group as usize], NONE)).collect();
        let encoded = self.encoding.encode(column, &rows)?;
        for (i, &group) in touched.iter().enumerate() {
            self.set(group as usize, encoded.row(i).data());
        }
        self.touched = touched;
        self.touched.clear();
        Ok(())
    }

    fn set(&mut self, group: usize, value: &[u8]) {
        let kept = &mut self.values[group];
        let before = kept.capacity();
        kept.clear();
        kept.extend_from_slice(value);
        self.heap_bytes += kept.capacity() - before;
    }

    /// Group `into` takes the value of another state's group.
    pub(super) fn copy(&mut self, other: &Self, from: u32, into: u32) {
        self.set(into as usize, &other.values[from as usize]);
    }

    /// Group `into` takes the value of group `from`, which is then empty.
    pub(super) fn take(&mut self, from: u32, into: u32) {
        let value = std::mem::take(&mut self.values[from as usize]);
        self.heap_bytes -= self.values[into as usize].capacity();
        self.values[into as usize] = value;
    }

    pub(super) fn clear(&mut self, group: u32) {
        self.heap_bytes -= std::mem::take(&mut self.values[group as usize]).capacity();
    }

    /// The values of these groups; NULL where none is kept.
    ///
    /// # Errors
    /// Internal only.
    pub(super) fn values(&self, groups: &[u32]) -> Result<ArrayRef> {
        self.encoding.decode(groups.iter().map(|&group| match self.values[group as usize].as_slice() {
            [] => self.encoding.null(),
            kept => kept,
        }))
    }

    /// The same, made when it is asked for: only the bytes are copied now.
    ///
    /// # Errors
    /// Internal only.
    pub(super) fn values_behind(&self, groups: &[u32]) -> Result<impl FnOnce() -> Result<ArrayRef> + Send + use<>> {
        let encoding = RowBytes::new(self.encoding.value_type())?;
        let values = groups.iter().map(|&group| self.values[group as usize].as_slice());
        let lengths: Vec<usize> = values.clone().map(<[u8]>::len).collect();
        let mut bytes = Vec::with_capacity(lengths.iter().sum());
        values.for_each(|value| bytes.extend_from_slice(value));
        Ok(move || {
            let mut rest = bytes.as_slice();
            encoding.decode(lengths.iter().map(|length| match rest.split_at(*length) {
                ([], _) => encoding.null(),
                (value, after) => {
                    rest = after;
                    value
                }
            }))
        })
    }

    pub(super) fn value_type(&self) -> &DataType {
        self.encoding.value_type()
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let fixed = self.values.capacity() * size_of::<Vec<u8>>() + self.winners.capacity() * size_of::<u32>();
        fixed + self.touched.capacity() * size_of::<u32>() + self.heap_bytes
    }
}
