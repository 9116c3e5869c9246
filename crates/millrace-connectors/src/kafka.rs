//! Kafka, in and out. The only crate that names rdkafka; nothing here knows whether the broker is the embedded one.
//!
//! Reading order: `settings` (how a client is configured) → `error` (the one place that turns Kafka's codes into
//! instructions) → `topics` (made from contracts) → `cluster` (what partitions hold, what groups committed) → `reader`
//! (assigned partitions, read without a group's rebalances) → `member` (which partitions are this process's share) → `tail`
//! (records for the page) → `producer` (fast, bounded) → `lag` (how far behind a group is) → `inspect`, `unread`, `browse`
//! (a look at a whole cluster, since when groups are behind, records of a topic: for who operates it).

pub mod browse;
pub mod cluster;
pub mod inspect;
pub mod lag;
pub mod member;
pub mod producer;
pub mod reader;
pub mod settings;
pub mod tail;
pub mod topics;
pub mod unread;

mod context;
mod error;

pub use cluster::{Cluster, Extent, Place};
pub use context::{Context, broker_ends};
pub use error::KafkaError;
pub use rdkafka;
pub use settings::ClientSettings;
