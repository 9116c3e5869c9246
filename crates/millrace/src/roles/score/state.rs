//! All the role knows, and its file: the judge, and how far the streams were read when it was so.
//!
//! ```text
//!  millfrd2 │ batch │ offset in fraud_batches │ offsets │ judge │ checksum of all before
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use millrace_connectors::kafka::Place;
use millrace_intelligence::fraud::live::{Judge, JudgeSettings};
use millrace_intelligence::recommend::stored::{Bytes, Stored};

use crate::commands::Invalid;
use crate::roles::state_file::{seal, unseal};

const MAGIC: u64 = u64::from_le_bytes(*b"millfrd2");

/// What the role knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) judge: Judge,
    /// Next offset of each partition.
    pub(super) offsets: BTreeMap<Place, i64>,
    /// Batches taken in.
    pub(super) batch: u64,
    /// From where on `fraud_batches` may hold later batches.
    pub(super) batches_from: i64,
}

impl State {
    /// One that knows nothing.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub(super) fn new(settings: JudgeSettings) -> anyhow::Result<Self> {
        let judge = Judge::new(settings).map_err(|why| Invalid(format!("score: {why}")))?;
        Ok(State { judge, offsets: BTreeMap::new(), batch: 0, batches_from: 0 })
    }

    /// As bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        (MAGIC, (self.batch, self.batches_from)).store(&mut out);
        let offsets = self.offsets.iter().map(|(place, at)| ((place.topic.clone(), place.partition as u32), *at));
        offsets.collect::<Vec<((Arc<str>, u32), i64)>>().store(&mut out);
        self.judge.snapshot(&mut out);
        seal(out)
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are no state of this version.
    pub(super) fn decode(settings: JudgeSettings, bytes: &[u8]) -> anyhow::Result<Self> {
        let mut from = Bytes::new(unseal(bytes)?);
        let (magic, (batch, batches_from)) = <(u64, (u64, i64))>::restore(&mut from)?;
        ensure!(magic == MAGIC, "another version wrote it, or something else");
        let offsets = Vec::<((Arc<str>, u32), i64)>::restore(&mut from)?;
        let judge = Judge::restore(settings, &mut from).map_err(anyhow::Error::msg)?;
        let place = |(topic, partition): (Arc<str>, u32)| Place { topic, partition: partition as i32 };
        let offsets = offsets.into_iter().map(|(at, offset)| (place(at), offset)).collect();
        Ok(State { judge, offsets, batch, batches_from })
    }

    /// The state that is kept, else a new one; what is wrong with a kept one is told.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub(super) fn open(settings: &JudgeSettings, file: &Path) -> anyhow::Result<Self> {
        match std::fs::read(file) {
            Ok(bytes) => match State::decode(settings.clone(), &bytes) {
                Ok(state) => return Ok(state),
                Err(error) => {
                    let file = file.display();
                    tracing::warn!(
                        "the scorer's state in {file} cannot be used ({error:#}); the topics are read again"
                    );
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, file = %file.display(), "the scorer's state cannot be read"),
        }
        State::new(settings.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::score::records::{Record, take};
    use crate::roles::state_file::put;
    use serde_json::json;

    fn payment(at: usize) -> Record {
        let event = json!({ "event_id": format!("e{at}"), "event_type": "payment_authorized", "order_id": format!("o{at}"),
            "event_time": format!("2026-01-01T10:00:{at:02}Z"), "payment_id": format!("p{at}"), "card_token": "c", "amount_minor": 500 });
        Record::read("transactions", 0, at as i64, event.to_string().as_bytes(), None).expect("a record")
    }

    #[test]
    fn what_is_kept_goes_on_as_before_and_what_is_damaged_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("score/state");
        let settings = JudgeSettings::default();
        let mut state = State::new(settings.clone()).expect("a state");
        (0..5).for_each(|at| drop(take(&mut state.judge, payment(at))));
        (state.batch, state.batches_from) = (7, 21);
        state.offsets.insert(Place::new("transactions", 3), 5);
        put(&file, &state.encode()).expect("kept");
        let mut kept = State::open(&settings, &file).expect("a state");
        assert_eq!((kept.batch, kept.batches_from, &kept.offsets), (7, 21, &state.offsets));
        // As bytes: what is not known of a payment is NaN, which equals nothing.
        assert!(kept.encode() == state.encode());
        let (next, same) = (take(&mut state.judge, payment(5)), take(&mut kept.judge, payment(5)));
        assert!(next.is_some() && next == same);
        let mut bytes = state.encode();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        assert!(State::decode(settings.clone(), &bytes).is_err());
        std::fs::write(&file, bytes).expect("written");
        assert_eq!(State::open(&settings, &file).expect("a new state").batch, 0);
    }
}
