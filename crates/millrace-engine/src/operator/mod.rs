//! The stateful operators: what DataFusion has no form of.
//!
//! Every operator is pushed a batch, then told how far event time has come, and gives what that makes known. It can save its
//! state as record batches and load it again. Reading order: [`keys`] → [`calls`] → [`pane`] → [`window`] →
//! [`open_sessions`] → [`session`] → [`timed`] → [`group`] → [`join`]; [`dedup`] works on source records, before any statement.
//!
//! ```text
//!  epoch:   push(rows, W)  ─▶ late rows (every window they belong to has closed by W)
//!           advance(W')    ─▶ update mode: groups changed by this epoch, their windows still open at W
//!                             append mode: groups of windows that end in (W, W']
//!                          ─▶ state of windows that end by W' is dropped
//! ```

pub(crate) mod calls;
pub(crate) mod complete;
pub(crate) mod dedup;
pub(crate) mod group;
pub(crate) mod join;
pub(crate) mod keys;
pub(crate) mod open_sessions;
pub(crate) mod pane;
pub(crate) mod saved;
pub(crate) mod session;
pub(crate) mod timed;
pub(crate) mod window;

use arrow_array::RecordBatch;
use datafusion::common::Result;

use saved::SavedBatch;

/// The beginning of time: a watermark that has not moved yet closes nothing.
pub(crate) const NO_WATERMARK: i64 = i64::MIN;

/// Number of a row that comes from another operator, not from a record.
pub(crate) const NO_RECORD: i64 = -1;

/// Where an operator's rows go, a batch at a time: a closing window of millions of keys is never in memory as a whole.
pub(crate) type Give<'a> = dyn FnMut(RecordBatch) -> Result<()> + 'a;

/// A stateful operator of one statement. Times and watermarks are microseconds since 1970.
pub(crate) trait Operator: Send {
    /// Takes rows in; gives the record numbers of those that came too late, [`NO_RECORD`] for those without.
    fn push(&mut self, batch: &RecordBatch, watermark: i64) -> Result<Vec<i64>>;

    /// Event time has come from `before` to `after`: gives what is known now, and forgets what is over.
    fn advance(&mut self, before: i64, after: i64, give: &mut Give<'_>) -> Result<()>;

    /// The rows of all groups as they are now: what complete mode gives.
    fn whole(&self) -> Result<Option<RecordBatch>>;

    /// Open groups.
    fn groups(&self) -> usize;

    /// Bytes of memory, estimated.
    fn bytes(&self) -> usize;

    /// The whole state as one batch, which may be made behind.
    fn save(&self) -> Result<SavedBatch>;

    /// Replaces the state by what [`save`](Self::save) gave.
    fn load(&mut self, saved: &RecordBatch) -> Result<()>;
}
