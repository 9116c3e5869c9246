//! The log of a partition: files, indexes, producers, transactions.
//!
//! Reading order: [`batch`] and [`record`] (the bytes), [`producers`] and [`aborted`] (what is remembered), [`log`]
//! (appending), [`read`] (fetching), [`checkpoint`] and [`recovery`] (starting), [`partition`] (the outside), then
//! [`retention`], [`maintenance`] and the compaction files.
//!
//! ```text
//!  <topic>-<partition>/
//!    checkpoint                     what the log knows, and which files it is made of
//!    00000000000000000000.log       a sealed segment: batches as the clients sent them
//!    00000000000000000000.index     its sparse index
//!    00000000000000104729.2.log     a segment that compaction has rewritten twice
//!    00000000000000209458.log       the active segment; only its tail after the checkpoint is read at start
//! ```

pub(crate) mod aborted;
pub(crate) mod batch;
pub(crate) mod cache;
pub(crate) mod checkpoint;
pub(crate) mod cleaner;
pub(crate) mod codec;
pub(crate) mod compaction;
pub(crate) mod error;
pub(crate) mod index;
pub(crate) mod log;
pub(crate) mod maintenance;
pub(crate) mod marker;
pub(crate) mod partition;
pub(crate) mod producers;
pub(crate) mod read;
pub(crate) mod record;
pub(crate) mod recovery;
pub(crate) mod retention;
pub(crate) mod rewrite;
pub(crate) mod segment;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod time;
