//! Kafka in and out, the store and the lake: everything of Millrace that talks to something outside.
#![warn(missing_docs)]

pub mod kafka;
pub mod lake;
pub mod sink;
pub mod store;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;

mod retry;
mod shutdown;

pub use shutdown::{Ending, Shutdown, ShutdownSwitch, shutdown};
