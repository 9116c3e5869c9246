//! Runs of a shop, and records as JSON.

use bytes::Bytes;
use millrace_model::Timestamp;
use millrace_model::time::MINUTE_MICROS;
use millrace_simulate::{Delivery, Record, Shop, ShopSettings, Topic};
use serde_json::Value;

/// 2026-11-22T08:00:00Z
pub(crate) const START: Timestamp = Timestamp(1_795_334_400_000_000);

pub(crate) fn minutes(minutes: i64) -> Timestamp {
    Timestamp(START.0 + minutes * MINUTE_MICROS)
}

pub(crate) fn settings(seed: u64, rate_per_second: f64) -> ShopSettings {
    ShopSettings::new(seed, START, rate_per_second)
}

pub(crate) fn open(settings: ShopSettings) -> Shop {
    Shop::new(settings).expect("settings in range")
}

/// Every record of the first `minutes`, and what `finish` adds.
pub(crate) fn run(settings: ShopSettings, until: i64) -> Vec<Record> {
    let mut shop = open(settings);
    let mut records = Vec::new();
    shop.advance(minutes(until), &mut records);
    shop.finish(&mut records);
    records
}

/// As [`run`], but only the records of some topics, each with memory of its own: a long run is mostly user events.
pub(crate) fn run_of(settings: ShopSettings, until: i64, topics: &[Topic]) -> Vec<Record> {
    let mut shop = open(settings);
    let (mut kept, mut records) = (Vec::new(), Vec::new());
    for minute in 1..=until + 1 {
        if minute <= until {
            shop.advance(minutes(minute), &mut records);
        } else {
            shop.finish(&mut records);
        }
        kept.extend(records.drain(..).filter(|record| topics.contains(&record.topic)).map(|record| Record {
            key: Bytes::copy_from_slice(&record.key),
            value: Bytes::copy_from_slice(&record.value),
            ..record
        }));
    }
    kept
}

/// A well-formed record. Fields are looked up in the text: a run has a million records.
pub(crate) struct Parsed {
    pub(crate) topic: Topic,
    pub(crate) delivery: Delivery,
    pub(crate) time: Timestamp,
    raw: Bytes,
}

impl Parsed {
    /// A field of the record itself (not of its lines); empty when it is not there.
    pub(crate) fn text(&self, field: &str) -> &str {
        let found = self.find(field).unwrap_or_default();
        found.strip_prefix('"').and_then(|text| text.split('"').next()).unwrap_or_default()
    }

    pub(crate) fn number(&self, field: &str) -> i64 {
        let found = self.find(field).unwrap_or_default();
        let end = found.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(found.len());
        found[..end].parse().unwrap_or_default()
    }

    pub(crate) fn flag(&self, field: &str) -> Option<bool> {
        let found = self.find(field)?;
        if found.starts_with("true") { Some(true) } else { found.starts_with("false").then_some(false) }
    }

    pub(crate) fn kind(&self) -> &str {
        self.text(if self.topic == Topic::AnswerKey { "kind" } else { "event_type" })
    }

    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.raw).expect("JSON")
    }

    /// The lines of an order or a refund.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.value()["lines"].as_array().cloned().unwrap_or_default()
    }

    /// What follows the name of a field.
    fn find(&self, field: &str) -> Option<&str> {
        let text = std::str::from_utf8(&self.raw).expect("UTF-8");
        let mut rest = text;
        loop {
            rest = &rest[rest.find(field)? + field.len()..];
            let before = text.len() - rest.len() - field.len();
            if let Some(value) = rest.strip_prefix("\":")
                && (text[..before].ends_with(",\"") || text[..before].ends_with("{\""))
            {
                return Some(value);
            }
        }
    }
}

/// All records that are neither malformed nor second copies.
pub(crate) fn parsed(records: &[Record]) -> Vec<Parsed> {
    records
        .iter()
        .filter(|record| !matches!(record.delivery, Delivery::Malformed | Delivery::Duplicate))
        .map(|record| Parsed {
            topic: record.topic,
            delivery: record.delivery,
            time: record.event_time,
            raw: record.value.clone(),
        })
        .collect()
}

/// Those of one kind (event type, or kind of answer).
pub(crate) fn of_kind<'a>(records: &'a [Parsed], kind: &str) -> Vec<&'a Parsed> {
    records.iter().filter(|record| record.kind() == kind).collect()
}

pub(crate) fn time(text: &str) -> Timestamp {
    Timestamp::parse(text.as_bytes()).expect("RFC 3339")
}
