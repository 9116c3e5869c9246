//! Repeats dropped within the watermark: the first record of an id counts, later ones within the delay do not.
//!
//! An id is remembered until the watermark passes its event time plus the delay (Spark's `dropDuplicatesWithinWatermark`).
//! Ids are kept as 128-bit SipHash-1-3 values under a key of the job: two different ids fall together once in 2^64 pairs,
//! and nobody who does not know the key can make them.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema};
use datafusion::common::Result;
use hashbrown::HashMap;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::NO_WATERMARK;
use super::keys::KeyCodec;
use super::saved::SavedBatch;

/// Remembers ids of one source topic.
pub(crate) struct Deduplicator {
    delay: i64,
    secret: (u64, u64),
    codec: KeyCodec,
    seen: HashMap<u128, i64>,
    /// Ids by the second they may be forgotten in.
    expiry: BTreeMap<i64, Vec<u128>>,
}

/// Ids are forgotten in steps of a second of event time.
const STEP_MICROS: i64 = 1_000_000;

impl Deduplicator {
    pub(crate) fn new(types: &[DataType], delay: i64, secret: (u64, u64)) -> Result<Self> {
        Ok(Deduplicator { delay, secret, codec: KeyCodec::new(types)?, seen: HashMap::new(), expiry: BTreeMap::new() })
    }

    /// Which rows of the batch are the first of their id.
    pub(crate) fn first(
        &mut self,
        ids: &[arrow_array::ArrayRef],
        times: &TimestampMicrosecondArray,
    ) -> Result<BooleanArray> {
        let keys = self.codec.encode(ids)?;
        let mut first = Vec::with_capacity(times.len());
        for row in 0..times.len() {
            let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
            hasher.write(keys.key(row).as_ref());
            let id = hasher.finish128().as_u128();
            let until = (if times.is_valid(row) { times.value(row) } else { 0 }).saturating_add(self.delay);
            let new = self.remember(id, until);
            first.push(new);
        }
        Ok(BooleanArray::from(first))
    }

    fn remember(&mut self, id: u128, until: i64) -> bool {
        match self.seen.entry(id) {
            hashbrown::hash_map::Entry::Occupied(_) => false,
            hashbrown::hash_map::Entry::Vacant(entry) => {
                entry.insert(until);
                self.expiry.entry(until.div_euclid(STEP_MICROS) + 1).or_default().push(id);
                true
            }
        }
    }

    /// Forgets what the watermark has passed.
    pub(crate) fn advance(&mut self, watermark: i64) {
        if watermark == NO_WATERMARK {
            return;
        }
        let keep = self.expiry.split_off(&(watermark.div_euclid(STEP_MICROS) + 1));
        for ids in std::mem::replace(&mut self.expiry, keep).into_values() {
            for id in ids {
                self.seen.remove(&id);
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.seen.capacity() * 33 + self.seen.len() * 20
    }

    pub(crate) fn save(&self) -> SavedBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::FixedSizeBinary(16), true),
            Field::new("until", DataType::Int64, false),
        ]);
        let seen: Vec<(u128, i64)> = self.seen.iter().map(|(id, until)| (*id, *until)).collect();
        SavedBatch::behind(&Arc::new(schema), seen.len(), move || {
            let ids = seen.iter().map(|(id, _)| Some(id.to_le_bytes()));
            let ids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids, 16)?;
            let until = Int64Array::from_iter_values(seen.iter().map(|(_, until)| *until));
            Ok(vec![Arc::new(ids), Arc::new(until)])
        })
    }

    pub(crate) fn load(&mut self, saved: &RecordBatch) -> Result<()> {
        self.seen.clear();
        self.expiry.clear();
        let ids = saved.column(0).as_fixed_size_binary();
        let until = saved.column(1).as_primitive::<Int64Type>();
        for row in 0..saved.num_rows() {
            let id = ids.value(row).try_into().map(u128::from_le_bytes).unwrap_or_default();
            self.remember(id, until.value(row));
        }
        Ok(())
    }
}

/// The event-time column of a decoded batch.
pub(crate) fn event_times(batch: &RecordBatch, at: usize) -> &TimestampMicrosecondArray {
    batch.column(at).as_primitive::<TimestampMicrosecondType>()
}

#[cfg(test)]
mod tests {
    use arrow_array::StringArray;

    use super::*;

    fn push(dedup: &mut Deduplicator, rows: &[(&str, i64)]) -> Vec<bool> {
        let ids = StringArray::from_iter_values(rows.iter().map(|(id, _)| id));
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|(_, at)| at * STEP_MICROS));
        let first = dedup.first(&[Arc::new(ids)], &times).expect("text ids");
        first.iter().map(|f| f.unwrap_or(false)).collect()
    }

    #[test]
    fn remembers_until_the_watermark_passes() {
        let mut dedup = Deduplicator::new(&[DataType::Utf8], 10 * STEP_MICROS, (1, 2)).expect("text ids");
        assert_eq!(push(&mut dedup, &[("a", 0), ("b", 1), ("a", 0)]), [true, true, false]);
        dedup.advance(10 * STEP_MICROS);
        assert_eq!(push(&mut dedup, &[("a", 0), ("c", 9)]), [false, true]);
        let saved = dedup.save().make().expect("saved");
        let mut again = Deduplicator::new(&[DataType::Utf8], 10 * STEP_MICROS, (1, 2)).expect("text ids");
        again.load(&saved).expect("loaded");
        for dedup in [&mut dedup, &mut again] {
            dedup.advance(11 * STEP_MICROS);
            assert_eq!(push(dedup, &[("a", 0), ("b", 1), ("c", 9)]), [true, false, false]);
            assert_eq!(dedup.seen.len(), 3);
        }
    }
}
