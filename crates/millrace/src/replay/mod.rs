//! Files of real data as records of the source topics, one reader a kind of file; and the lake's past, sent again.

mod clicks;
mod events;
mod online_retail;
pub(crate) mod past;

use std::path::Path;

use clap::ValueEnum;
use millrace_model::Timestamp;
use serde_json::{Map, Value};

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The UCI Online Retail data (Parquet): invoices, cancellations, stock adjustments
    OnlineRetail,
    /// Click sessions (text: SessionId, ItemId, Time in epoch seconds, with tabs)
    Clicks,
    /// Records as the contracts have them, one JSON object a line, of one topic
    Events,
}

/// A record of a source topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SourceRecord {
    pub(crate) topic: &'static str,
    pub(crate) key: String,
    pub(crate) event_time: Timestamp,
    /// Fields without the event time; `None`: `raw` is the record as it stands.
    pub(crate) fields: Map<String, Value>,
    pub(crate) raw: Option<Vec<u8>>,
}

impl SourceRecord {
    /// The record's bytes, its event time moved by `shift` microseconds.
    pub(crate) fn value(&self, shift: i64) -> Vec<u8> {
        if let (Some(raw), 0) = (&self.raw, shift) {
            return raw.clone();
        }
        let mut fields = self.fields.clone();
        if !fields.is_empty() {
            fields.insert("event_time".into(), Value::String(Timestamp(self.event_time.0 + shift).to_string()));
            return Value::Object(fields).to_string().into_bytes();
        }
        self.raw.clone().unwrap_or_default()
    }
}

/// Reads a file whole, in order of event time.
///
/// # Errors
/// The file, or a row that cannot be such a record.
pub(crate) async fn read(kind: Kind, path: &Path, topic: Option<&str>) -> anyhow::Result<Vec<SourceRecord>> {
    let mut records = match kind {
        Kind::OnlineRetail => online_retail::read(path).await?,
        Kind::Clicks => clicks::read(path)?,
        Kind::Events => events::read(path, topic)?,
    };
    records.sort_by_key(|record| record.event_time);
    Ok(records)
}

/// A field that is left out when there is nothing to say.
fn put(fields: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    let value = value.into();
    if !value.is_null() {
        fields.insert(name.into(), value);
    }
}
