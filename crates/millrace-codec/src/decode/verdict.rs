//! Why a record is refused, and the way a fault takes up to the record.

use millrace_model::Timestamp;
use millrace_model::dead_letter::MalformedCode;

use crate::cursor::JsonError;

/// A record that breaks its contract.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    /// Machine-readable cause.
    pub code: MalformedCode,
    /// Field it is about, as a path (`lines[2].quantity`).
    pub field: Option<String>,
    /// What is wrong, in words.
    pub reason: String,
    /// The event time, if it was read before the fault was found.
    pub event_time: Option<Timestamp>,
}

impl Malformed {
    /// What is wrong and where, as a person reads it.
    pub fn in_words(&self) -> String {
        match &self.field {
            Some(field) => format!("`{field}`: {}", self.reason),
            None => self.reason.clone(),
        }
    }
}

/// A fault on its way up; every level adds its part of the path in front.
pub(super) struct Fault {
    pub(super) code: MalformedCode,
    pub(super) path: String,
    pub(super) reason: String,
}

pub(super) type Outcome = Result<(), Fault>;

impl From<JsonError> for Fault {
    fn from(error: JsonError) -> Self {
        Fault { code: error.code, path: String::new(), reason: error.reason }
    }
}

impl Fault {
    pub(super) fn new(code: MalformedCode, reason: impl Into<String>) -> Self {
        Fault { code, path: String::new(), reason: reason.into() }
    }

    pub(super) fn inside(mut self, step: &str) -> Self {
        // Broken JSON is about the text, not about a field.
        if matches!(self.code, MalformedCode::NotJson | MalformedCode::TooDeep) {
            return self;
        }
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{step}{dot}{}", self.path);
        self
    }
}
