//! An embedded Kafka broker: speaks the Kafka wire protocol on a TCP port, keeps its logs in a directory.

mod api;
mod broker;
mod clock;
mod error;
mod fields;
mod groups;
mod journal;
mod node;
mod server;
mod settings;
mod stats;
mod storage;
mod sync;
mod tasks;
#[cfg(feature = "testing")]
pub mod testing;
mod topics;
mod txn;

pub use broker::Broker;
pub use clock::{Clock, SystemClock};
pub use error::BrokerError;
pub use settings::{BrokerSettings, FsyncPolicy, Limits};
pub use stats::BrokerStats;
