//! The rows of one input of a join that may still find partners.
//!
//! ```text
//!  key 7 ─▶ entry ─▶ entry ─▶ ·        a chain a key, the newest first
//!             │         │
//!             ▼         ▼
//!  segments  [ · · ▪ · ][ ▪ · · · ]    rows as they came, column by column; small segments are merged,
//!                                      one without a living row is dropped
//! ```

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use datafusion::common::Result;

/// No entry, no row.
pub(super) const NONE: u32 = u32::MAX;

/// Segments of fewer rows are merged with their neighbours.
const SEGMENT_ROWS_MIN: usize = 8_192;

/// A row in the state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Its event time, microseconds; 0 in a join without a time range.
    pub(super) time: i64,
    pub(super) key: u32,
    /// The next entry of the same key.
    pub(super) next: u32,
    /// It has found a partner.
    pub(super) matched: bool,
    segment: u32,
    /// [`NONE`] when the entry is free.
    row: u32,
}

/// A row to be entered.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewEntry {
    pub(super) row: u32,
    pub(super) key: u32,
    pub(super) time: i64,
    /// The last watermark at which it may still find a partner.
    pub(super) expiry: i64,
    pub(super) matched: bool,
}

struct Segment {
    columns: Vec<ArrayRef>,
    /// The entry of each row, [`NONE`] when it is gone.
    entries: Vec<u32>,
    expiry: Vec<i64>,
    living: usize,
    /// Least of `expiry` over the living.
    first_expiry: i64,
    bytes: usize,
}

/// One input's state.
pub(super) struct Side {
    schema: SchemaRef,
    segments: Vec<Option<Segment>>,
    /// Segments in use, oldest first.
    order: Vec<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// First entry of each key.
    heads: Vec<u32>,
    living: usize,
}

impl Side {
    /// Rows will have the columns of this schema.
    pub(super) fn new(schema: SchemaRef) -> Self {
        let (segments, order, entries) = (Vec::new(), Vec::new(), Vec::new());
        Side { schema, segments, order, entries, free: Vec::new(), heads: Vec::new(), living: 0 }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows in the state.
    pub(super) fn len(&self) -> usize {
        self.living
    }

    pub(super) fn bytes(&self) -> usize {
        let segments: usize = self.segments.iter().flatten().map(|s| s.bytes + s.entries.capacity() * 12).sum();
        segments + self.entries.capacity() * size_of::<Entry>() + self.heads.capacity() * 4
    }

    pub(super) fn entry(&self, entry: u32) -> &Entry {
        &self.entries[entry as usize]
    }

    pub(super) fn entry_mut(&mut self, entry: u32) -> &mut Entry {
        &mut self.entries[entry as usize]
    }

    /// The first entry of a key, [`NONE`] without one.
    pub(super) fn head(&self, key: u32) -> u32 {
        self.heads.get(key as usize).copied().unwrap_or(NONE)
    }

    /// Enters rows of a batch: gives their entries, in the order given.
    pub(super) fn insert(&mut self, columns: Vec<ArrayRef>, rows: usize, new: &[NewEntry]) -> Vec<u32> {
        if new.is_empty() {
            return Vec::new();
        }
        let number = match self.segments.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.segments.push(None);
                self.segments.len() - 1
            }
        };
        let segment_number = number as u32;
        let (mut entries, mut expiry, mut given) = (vec![NONE; rows], vec![i64::MAX; rows], Vec::new());
        for row in new {
            let (key, segment) = (row.key, segment_number);
            if self.heads.len() <= key as usize {
                self.heads.resize(key as usize + 1, NONE);
            }
            let entry = Entry {
                time: row.time,
                key,
                next: self.heads[key as usize],
                matched: row.matched,
                segment,
                row: row.row,
            };
            let at = match self.free.pop() {
                Some(free) => {
                    self.entries[free as usize] = entry;
                    free
                }
                None => {
                    self.entries.push(entry);
                    u32::try_from(self.entries.len() - 1).expect("groups_max is far below 2^32")
                }
            };
            self.heads[key as usize] = at;
            entries[row.row as usize] = at;
            expiry[row.row as usize] = row.expiry;
            given.push(at);
        }
        self.living += new.len();
        self.put_segment(number, columns, entries, expiry, new.len());
        self.order.push(segment_number);
        given
    }

    fn put_segment(&mut self, at: usize, columns: Vec<ArrayRef>, entries: Vec<u32>, expiry: Vec<i64>, living: usize) {
        let bytes = columns.iter().map(|column| column.get_array_memory_size()).sum();
        let first_expiry = expiry.iter().copied().min().unwrap_or(i64::MAX);
        self.segments[at] = Some(Segment { columns, entries, expiry, living, first_expiry, bytes });
    }

    /// The columns of these entries' rows.
    pub(super) fn gather(&self, entries: &[u32]) -> Result<Vec<ArrayRef>> {
        self.found(entries).columns()
    }

    /// Where the rows of these entries are.
    pub(super) fn found(&self, entries: &[u32]) -> Found {
        // Segments in use by these rows, numbered densely.
        let mut dense: Vec<Option<usize>> = vec![None; self.segments.len()];
        let mut segments: Vec<Vec<ArrayRef>> = Vec::new();
        let mut places = Vec::with_capacity(entries.len());
        for entry in entries {
            let Entry { segment, row, .. } = self.entries[*entry as usize];
            let Some(found) = self.segments[segment as usize].as_ref() else { continue };
            let at = *dense[segment as usize].get_or_insert_with(|| {
                segments.push(found.columns.clone());
                segments.len() - 1
            });
            places.push((at, row as usize));
        }
        Found { schema: Arc::clone(&self.schema), segments, places }
    }

    /// Entries that can find no partner any more.
    pub(super) fn expired(&mut self, watermark: i64) -> Vec<u32> {
        let mut expired = Vec::new();
        for number in &self.order {
            let Some(segment) = self.segments[*number as usize].as_mut() else { continue };
            if segment.first_expiry >= watermark {
                continue;
            }
            let mut first = i64::MAX;
            for (entry, expiry) in segment.entries.iter().zip(&segment.expiry) {
                if *entry == NONE {
                    continue;
                }
                if *expiry < watermark {
                    expired.push(*entry);
                } else {
                    first = first.min(*expiry);
                }
            }
            segment.first_expiry = first;
        }
        expired
    }

    /// Forgets entries; gives the keys that have none left.
    pub(super) fn remove(&mut self, gone: &[u32]) -> Vec<u32> {
        let mut keys = Vec::with_capacity(gone.len());
        for at in gone {
            let entry = &mut self.entries[*at as usize];
            if let Some(segment) = self.segments[entry.segment as usize].as_mut() {
                segment.entries[entry.row as usize] = NONE;
                segment.living -= 1;
            }
            entry.row = NONE;
            keys.push(entry.key);
        }
        self.living -= gone.len();
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| self.unlink(*key));
        self.free.extend(gone);
        self.order.retain(|number| {
            let slot = &mut self.segments[*number as usize];
            if slot.as_ref().is_some_and(|segment| segment.living == 0) {
                *slot = None;
            }
            slot.is_some()
        });
        keys
    }

    /// Takes the free entries out of a key's chain; true when none is left.
    fn unlink(&mut self, key: u32) -> bool {
        let (mut last, mut at) = (NONE, self.heads[key as usize]);
        let mut head = NONE;
        while at != NONE {
            let Entry { next, row, .. } = self.entries[at as usize];
            if row != NONE {
                match last {
                    NONE => head = at,
                    last => self.entries[last as usize].next = at,
                }
                last = at;
            }
            at = next;
        }
        if last != NONE {
            self.entries[last as usize].next = NONE;
        }
        self.heads[key as usize] = head;
        head == NONE
    }

    /// Merges small segments, so that a slow stream does not leave one for every epoch, and rewrites sparse ones.
    pub(super) fn tidy(&mut self) -> Result<()> {
        let living = |side: &Side, at: usize| {
            side.segments[side.order[at] as usize].as_ref().map_or(0, |segment| segment.living)
        };
        while self.order.len() >= 2 {
            let (a, b) = (living(self, self.order.len() - 2), living(self, self.order.len() - 1));
            // Like a binary counter: a row is copied a few times at most.
            if a >= SEGMENT_ROWS_MIN || b >= SEGMENT_ROWS_MIN || a > b * 2 {
                break;
            }
            let merged = self.order.split_off(self.order.len() - 2);
            self.rewrite(&merged)?;
        }
        for at in 0..self.order.len() {
            let number = self.order[at];
            let sparse =
                |segment: &Segment| segment.entries.len() > 1_024 && segment.living * 4 < segment.entries.len();
            if self.segments[number as usize].as_ref().is_some_and(sparse) {
                self.rewrite(&[number])?;
                // It went to the end of the order: put it back where its age belongs.
                let Some(rewritten) = self.order.pop() else { continue };
                self.order.insert(at, rewritten);
            }
        }
        Ok(())
    }

    /// Makes one segment of the living rows of these, and puts it last in the order.
    fn rewrite(&mut self, numbers: &[u32]) -> Result<()> {
        let (mut entries, mut expiry) = (Vec::new(), Vec::new());
        for segment in numbers.iter().filter_map(|number| self.segments[*number as usize].as_ref()) {
            for (entry, until) in segment.entries.iter().zip(&segment.expiry).filter(|(entry, _)| **entry != NONE) {
                entries.push(*entry);
                expiry.push(*until);
            }
        }
        let columns = self.gather(&entries)?;
        self.order.retain(|number| !numbers.contains(number));
        for number in numbers {
            self.segments[*number as usize] = None;
        }
        let Some(into) = numbers.first() else { return Ok(()) };
        for (row, entry) in entries.iter().enumerate() {
            let entry = &mut self.entries[*entry as usize];
            (entry.segment, entry.row) = (*into, row as u32);
        }
        let living = entries.len();
        self.put_segment(*into as usize, columns, entries, expiry, living);
        self.order.push(*into);
        Ok(())
    }

    /// Living entries, oldest segment first.
    pub(super) fn living(&self) -> Vec<u32> {
        let segments = self.order.iter().filter_map(|number| self.segments[*number as usize].as_ref());
        segments.flat_map(|segment| &segment.entries).copied().filter(|entry| *entry != NONE).collect()
    }
}

/// Rows in segments, which stay as they are.
pub(super) struct Found {
    schema: SchemaRef,
    segments: Vec<Vec<ArrayRef>>,
    /// Segment and row.
    places: Vec<(usize, usize)>,
}

impl Found {
    /// Their columns.
    pub(super) fn columns(&self) -> Result<Vec<ArrayRef>> {
        let columns = 0..self.schema.fields().len();
        if let [one] = self.segments.as_slice() {
            let rows = UInt32Array::from_iter_values(self.places.iter().map(|(_, row)| *row as u32));
            return columns.map(|column| Ok(take(&one[column], &rows, None)?)).collect();
        }
        columns
            .map(|column| {
                if self.segments.is_empty() {
                    return Ok(arrow_array::new_empty_array(self.schema.field(column).data_type()));
                }
                let arrays: Vec<&dyn Array> = self.segments.iter().map(|segment| segment[column].as_ref()).collect();
                Ok(interleave(&arrays, &self.places)?)
            })
            .collect()
    }
}

/// A batch of these columns.
pub(super) fn batch_with(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
