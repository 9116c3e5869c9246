//! A real cluster as plain processes on one machine, without containers: three Apache Kafka brokers (KRaft, combined
//! roles), a Spark standalone master with a worker and a Spark Connect server (or a smaller, local one), PostgreSQL 15.
//!
//! Reading order: [`settings`] (what is wanted, which ports), [`state`] (`cluster.json`: what runs), [`cluster`] (up,
//! status, kill, start, stop, down), then [`kafka`], [`spark`] and [`postgres`] (what each node is started with: pure
//! functions), [`packages`] (where the programs come from) and [`process`] (`/proc`, signals).
//!
//! Everything listens on 127.0.0.1. The processes outlive the program that started them; `cluster.json` in the
//! cluster's folder says what runs, and every later call works from it. A process is only ever signalled when both its
//! id and its start time are the ones written there, so that a reused id is never hit.
//!
//! Invariants: nothing is stopped by name; a package folder is whole or absent; one call at a time changes a cluster.

pub mod cluster;
mod error;
pub mod kafka;
pub mod packages;
pub mod postgres;
pub mod process;
pub mod settings;
pub mod spark;
pub mod state;

pub use cluster::{Cluster, ClusterGuard, NodeStatus, Step};
pub use error::Error;
pub use settings::{ClusterSettings, Ports, SparkMode};
