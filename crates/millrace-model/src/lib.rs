//! What everything in Millrace agrees on, without any I/O.
//!
//! Reading order: [`contract`] (what a topic holds, one JSON Schema each) → [`time`] and [`money`] (the two
//! quantities that are easy to get wrong) → [`dead_letter`] and [`progress`] (the records the product writes about
//! itself) → [`error`] (a kind of error is an instruction) → [`retry`] and [`recovery`] (pure decisions).
//!
//! **Invariant:** nothing here reads a clock, a file or a socket.

pub mod contract;
pub mod dead_letter;
pub mod error;
pub mod money;
pub mod names;
pub mod progress;
pub mod recovery;
pub mod retry;
pub mod time;

pub use contract::{Column, ColumnType, Contract, Contracts, Role};
pub use error::{Classified, ErrorKind};
pub use time::Timestamp;
