//! An embedded Kafka broker: one node that speaks the Kafka wire protocol on a TCP port and keeps its logs in a directory.
//!
//! ```text
//!  any Kafka client ══ TCP ══▶ server ─▶ api ─┬▶ topics ─▶ storage   logs/<topic>-<partition>/ segments, indexes,
//!   rdkafka, Java,            frames,  one    │                      checkpoint
//!   Python, Spark,            budgets  file   ├▶ groups  ─┐
//!   Kafka's tools                      a kind └▶ txn     ─┴▶ journal  names, settings, offsets, transactions
//! ```
//!
//! ```no_run
//! # async fn example() -> Result<(), millrace_broker::BrokerError> {
//! use millrace_broker::{Broker, BrokerSettings};
//! let settings = BrokerSettings { data_dir: "data/broker".into(), ..BrokerSettings::default() };
//! let broker = Broker::start(settings).await?;
//! println!("bootstrap.servers = {}", broker.address());
//! broker.shutdown().await
//! # }
//! ```
//!
//! Reading order: [`BrokerSettings`] (limits) → `broker` (its life) → `server` (frames, what is answered) → `api` (one file a kind
//! of request) → `storage` → `groups` → `txn` → `journal`.
//!
//! # What it promises
//!
//! - An acknowledged record, offset or transaction outlives `kill -9`: it is in the page cache before the answer.
//! - **Power cuts** ([`FsyncPolicy`]): by default everything is forced to disk every second and at shutdown, so a power cut
//!   may take what was acknowledged during the last second; `BeforeAck` forces it before each answer and loses nothing.
//!   After a forced write fails, the log takes no further writes until a restart has read what is really there.
//! - A torn tail is cut at the first batch whose CRC fails. Only what was written since the last checkpoint is read at
//!   start; a checkpoint follows each forced write.
//! - An idempotent producer's last five batches per partition are known, across restarts: a repeat is acknowledged and not
//!   stored. Transactions are atomic over partitions and group offsets, with fencing by epoch and a last stable offset.
//! - Batches are stored as received, compressed as the producer compressed them. Compaction keeps the last record of a key.
//! - Time look-ups are exact to the record. A fetch that waits is woken by the record, never by a timer.
//! - Everything a client can make it hold has a limit ([`Limits`]); a malformed frame closes its connection, no more.
//!
//! # What it answers
//!
//! Requests and versions; newer clients agree on the newest of these by themselves.
//!
//! | request | versions | request | versions |
//! |---|---|---|---|
//! | Produce | 3–11 | AddPartitionsToTxn | 0–3 |
//! | Fetch | 4–16 | AddOffsetsToTxn | 0–3 |
//! | ListOffsets | 1–9 | EndTxn | 0–3 |
//! | Metadata | 0–12 | TxnOffsetCommit | 0–3 |
//! | OffsetCommit | 2–9 | DescribeAcls | 1–3 |
//! | OffsetFetch | 1–9 | DescribeConfigs | 1–4 |
//! | FindCoordinator | 0–5 | AlterConfigs | 0–2 |
//! | JoinGroup | 0–9 | DescribeLogDirs | 1–4 |
//! | Heartbeat | 0–4 | CreatePartitions | 0–3 |
//! | LeaveGroup | 0–5 | DeleteGroups | 0–2 |
//! | SyncGroup | 0–5 | ElectLeaders | 0–2 |
//! | DescribeGroups | 0–5 | IncrementalAlterConfigs | 0–1 |
//! | ListGroups | 0–5 | ListPartitionReassignments | 0 |
//! | ApiVersions | 0–4 | OffsetDelete | 0 |
//! | CreateTopics | 2–7 | DescribeCluster | 0–1 |
//! | DeleteTopics | 1–6 | DescribeProducers | 0 |
//! | DeleteRecords | 0–2 | DescribeTransactions | 0 |
//! | InitProducerId | 0–4 | ListTransactions | 0–1 |
//! | OffsetForLeaderEpoch | 2–4 | DescribeTopicPartitions | 0 |
//!
//! Groups follow the classic protocol, eager and cooperative, with static members.
//!
//! # What it is not
//!
//! One node: no replication (a topic of replication factor 3 is refused), so no node's loss is survived; that is a
//! cluster's part, and nothing in a client changes. No authentication, no TLS, no ACLs: it listens on loopback unless told
//! otherwise. No consumer protocol of KIP-848, no share groups, no tiered storage, no quotas.
//!
//! **Invariant:** nothing outside talks to it but over its port; [`Broker`] only starts, stops and counts.

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
