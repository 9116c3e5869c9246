//! Records the sink sets aside: complete, on the `dead_letters` topic, acknowledged before the sink goes on.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millrace_model::ErrorKind;
use millrace_model::dead_letter::DeadLetter;

use super::row::Misfit;
use super::session::Taken;
use super::settings::LETTER_MS_MAX;
use crate::kafka::ClientSettings;
use crate::kafka::producer::{Outgoing, Producer};
use crate::retry::now;
use crate::sink::SinkError;

/// Topic of the records set aside.
pub(super) const DEAD_LETTERS: &str = "dead_letters";
/// `job` of the sink's dead letters.
const JOB: &str = "store";
/// `kind` of the sink's dead letters.
const KIND: &str = "sink";

/// What becomes of a record that fits no row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It goes to `dead_letters`.
    SetAside,
    /// It is a dead letter of this sink itself: it stays in its topic, and the log says so. Setting it aside again
    /// would never end.
    LeaveInTopic,
}

/// Decides by where the record came from and whose it is.
pub(super) fn fate(topic: &str, value: Option<&[u8]>) -> Fate {
    let ours = || {
        let letter = value.and_then(|value| serde_json::from_slice::<DeadLetter>(value).ok());
        letter.is_some_and(|letter| letter.kind == KIND && letter.job == JOB)
    };
    if topic == DEAD_LETTERS && ours() { Fate::LeaveInTopic } else { Fate::SetAside }
}

/// Writes dead letters. Made when the first is needed.
#[derive(Default)]
pub(super) struct Letters {
    producer: Option<Arc<Producer>>,
}

impl Letters {
    /// Produces the dead letters of these records and waits until the broker has them. The ids are made of the records'
    /// places, so doing it again after a crash makes no second letter.
    pub(super) async fn send(
        &mut self,
        client: &ClientSettings,
        records: &[(&Taken, &Misfit)],
    ) -> Result<(), SinkError> {
        let producer = match &self.producer {
            Some(producer) => Arc::clone(producer),
            None => Arc::clone(self.producer.insert(Arc::new(Producer::new(client, None)?))),
        };
        let mut texts = Vec::with_capacity(records.len());
        for (taken, misfit) in records {
            let letter = letter(taken, misfit);
            let text = serde_json::to_vec(&letter).map_err(|e| SinkError::new(ErrorKind::Internal, e.to_string()))?;
            texts.push((letter.dead_letter_id, text));
        }
        let patience = Duration::from_millis(LETTER_MS_MAX);
        let sent = tokio::task::spawn_blocking(move || {
            for (id, text) in &texts {
                let (key, value) = (Some(id.as_bytes()), Some(text.as_slice()));
                producer.send(Outgoing { topic: DEAD_LETTERS, partition: None, key, value, time: None }, patience)?;
            }
            producer.flush(patience)
        });
        let outcome = sent.await.map_err(|e| SinkError::new(ErrorKind::Internal, e.to_string()))?;
        if outcome.is_err() {
            // A producer that failed once reports that failure for ever.
            self.producer = None;
        }
        outcome.map_err(SinkError::from)
    }
}

fn letter(taken: &Taken, misfit: &Misfit) -> DeadLetter {
    let topic = &*taken.place.topic;
    DeadLetter {
        dead_letter_id: DeadLetter::id(topic, taken.place.partition, taken.offset, None),
        kind: KIND.into(),
        code: misfit.code.into(),
        reason: misfit.reason.clone(),
        field: misfit.field.clone(),
        topic: topic.into(),
        partition: taken.place.partition,
        offset: taken.offset,
        record_time: taken.time,
        event_time: None,
        watermark: None,
        table: Some(topic.into()),
        job: JOB.into(),
        first_seen: now(),
        key_base64: taken.key.as_ref().map(|key| BASE64.encode(key)),
        value_base64: taken.value.as_ref().map(|value| BASE64.encode(value)),
        headers: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Place;
    use crate::sink::store::row::row;
    use crate::store::Table;
    use millrace_model::Contracts;

    fn taken() -> Taken {
        let place = Place::new("store_metrics", 2);
        Taken { place, offset: 7, time: None, key: Some(b"k".to_vec()), value: Some(b"{".to_vec()), row: None }
    }

    #[test]
    fn a_letter_is_complete_and_fits_its_own_table() {
        let misfit = Misfit { code: "not_json", field: None, reason: "the value is not JSON".into() };
        let letter = letter(&taken(), &misfit);
        assert_eq!(
            (letter.dead_letter_id.as_str(), letter.value_base64.as_deref()),
            ("store_metrics/2/7", Some("ew=="))
        );
        let text = serde_json::to_vec(&letter).expect("JSON");
        let contracts = Contracts::builtin();
        let table = Table::of(contracts.get(DEAD_LETTERS).expect("it ships")).expect("a table");
        assert!(row(&table, Some(&text), 0, 0).is_ok());
        assert_eq!(fate(DEAD_LETTERS, Some(&text)), Fate::LeaveInTopic);
        assert_eq!(fate(DEAD_LETTERS, Some(b"{")), Fate::SetAside);
        assert_eq!(fate("store_metrics", Some(&text)), Fate::SetAside);
    }
}
