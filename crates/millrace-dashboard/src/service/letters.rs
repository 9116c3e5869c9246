//! Who repairs dead letters and sends them again: the code of `millrace dead-letters`, handed in by whoever starts the page.

use serde_json::Value;

use super::Refused;

/// What becomes of a letter's value.
#[derive(Clone, PartialEq, Debug)]
pub enum Mend {
    /// These bytes, for one letter.
    Value(Vec<u8>),
    /// A JSON patch (RFC 6902), for any number.
    Patch(Value),
}

/// Letters to be repaired.
#[derive(Clone, PartialEq, Debug)]
pub struct RepairWanted {
    /// Their ids.
    pub ids: Vec<String>,
    /// How.
    pub mend: Mend,
    /// Keep nothing, and say what would be kept.
    pub dry_run: bool,
    /// Keep values that still break their contract too.
    pub unchecked: bool,
    /// Who repairs.
    pub by: String,
}

/// What a repair came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Repaired {
    /// Letters that have another value now, or would.
    pub kept: u64,
    /// Of a dry run the first few: id, value before, value after. Not masked.
    pub shown: Vec<(String, Option<Vec<u8>>, Vec<u8>)>,
    /// Letters that cannot be repaired so, and why.
    pub refused: Vec<(String, String)>,
}

/// Letters to be sent again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedriveWanted {
    /// Their ids.
    pub ids: Vec<String>,
    /// Send nothing, and say what would be sent.
    pub dry_run: bool,
    /// Also those that were sent before.
    pub force: bool,
    /// Also those that still break their contract.
    pub unchecked: bool,
    /// Also late ones.
    pub late: bool,
    /// Who sends.
    pub by: String,
}

/// What a redrive came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Redriven {
    /// Letters that were sent, or would be.
    pub sent: u64,
    /// How many stayed, by the reason.
    pub stayed: Vec<(String, u64)>,
}

/// Who mends dead letters. Called on a thread that may wait.
pub trait Mends: Send + Sync {
    /// Keeps other values for letters.
    ///
    /// # Errors
    /// Why it cannot.
    fn repair(&self, wanted: &RepairWanted) -> Result<Repaired, Refused>;

    /// Sends letters again to the topics they came from, each once unless forced.
    ///
    /// # Errors
    /// Why it cannot.
    fn redrive(&self, wanted: &RedriveWanted) -> Result<Redriven, Refused>;
}
