//! A record that could not be counted, as it is written to the `dead_letters` topic.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Why a record breaks its contract. The names are what `code` says in `dead_letters`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MalformedCode {
    /// No value, or only white space.
    Empty,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// Not JSON (RFC 8259).
    NotJson,
    /// JSON, but not an object.
    NotAnObject,
    /// Longer than the limit.
    TooLarge,
    /// Nested deeper than the limit.
    TooDeep,
    /// A required field is not there.
    MissingField,
    /// A field that must not be null (or empty) is.
    NullField,
    /// A value of another type than the contract's.
    WrongType,
    /// A field that occurs twice in one object.
    DuplicateField,
    /// A time that is not RFC 3339.
    BadTime,
    /// An event time far after the record's own time.
    FutureTime,
}

impl MalformedCode {
    /// The name, as in the topic.
    pub fn name(self) -> &'static str {
        match self {
            MalformedCode::Empty => "empty",
            MalformedCode::NotUtf8 => "not_utf8",
            MalformedCode::NotJson => "not_json",
            MalformedCode::NotAnObject => "not_an_object",
            MalformedCode::TooLarge => "too_large",
            MalformedCode::TooDeep => "too_deep",
            MalformedCode::MissingField => "missing_field",
            MalformedCode::NullField => "null_field",
            MalformedCode::WrongType => "wrong_type",
            MalformedCode::DuplicateField => "duplicate_field",
            MalformedCode::BadTime => "bad_time",
            MalformedCode::FutureTime => "future_time",
        }
    }
}

/// One row of `dead_letters`; the fields are the contract's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// `topic/partition/offset`, and `/table` for a late record.
    pub dead_letter_id: String,
    /// `malformed` or `late`.
    pub kind: String,
    /// Machine-readable cause.
    pub code: String,
    /// What is wrong, in words.
    pub reason: String,
    /// Field it is about.
    pub field: Option<String>,
    /// Source topic.
    pub topic: String,
    /// Source partition.
    pub partition: i32,
    /// Source offset.
    pub offset: i64,
    /// Kafka timestamp of the record.
    pub record_time: Option<Timestamp>,
    /// Event time, if it could be read.
    pub event_time: Option<Timestamp>,
    /// The watermark a late record came after.
    pub watermark: Option<Timestamp>,
    /// The streaming table a late record was too late for.
    pub table: Option<String>,
    /// Job that set it aside.
    pub job: String,
    /// When it was set aside.
    pub first_seen: Timestamp,
    /// Key as received.
    pub key_base64: Option<String>,
    /// Value as received.
    pub value_base64: Option<String>,
    /// Headers as received.
    pub headers: Option<Vec<DeadLetterHeader>>,
}

/// A record header of a dead letter.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeadLetterHeader {
    /// Name of the header.
    pub name: String,
    /// Value as received.
    pub value_base64: Option<String>,
}

impl DeadLetter {
    /// The id of a record set aside: deterministic, so a retry writes the same id.
    pub fn id(topic: &str, partition: i32, offset: i64, table: Option<&str>) -> String {
        match table {
            None => format!("{topic}/{partition}/{offset}"),
            Some(table) => format!("{topic}/{partition}/{offset}/{table}"),
        }
    }
}
