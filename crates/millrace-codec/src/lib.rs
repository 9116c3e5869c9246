//! JSON records to Arrow columns and back, typed by the contracts.
//!
//! ```text
//!  record bytes ─▶ cursor (validates every byte) ─▶ decode (shape of the contract) ─▶ columns (Arrow builders)
//!                                                        │ breaks the contract
//!                                                        ▼
//!                                                    Malformed (code, field, reason)
//!  RecordBatch ─▶ encode ─▶ one JSON text a row, and its key
//! ```
//!
//! Reading order: [`decode`] → [`columns`](mod@columns) → [`cursor`](mod@cursor); [`encode`] stands alone.
//!
//! **Invariant:** a record is malformed or not by its contract alone, whatever columns the reader asks for: fields that
//! are not needed are checked as they are skipped. So every job and the lake agree on what was counted.

mod columns;
mod cursor;
pub mod decode;
pub mod encode;

pub use decode::{DecodeLimits, Decoder, Malformed, Needed};
pub use encode::{EncodeError, encode_rows};
