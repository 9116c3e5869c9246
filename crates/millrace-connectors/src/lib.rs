//! Kafka in and out, the store and the lake: everything of Millrace that talks to something outside.
//!
//! What each connector promises about a record, whatever crashes in between:
//!
//! | connector | reads | writes | promise | rests on |
//! |---|---|---|---|---|
//! | [`kafka::producer`] | — | any topic | at least once; once while the process lives | idempotent producer, acks=all; a failed delivery is an error of the next call |
//! | [`kafka::tail`] | committed records | a channel | in order, none skipped while it runs; nothing is remembered | own positions, bounded channel |
//! | [`sink::store`] | result topics, `dead_letters`, `job_progress` | tables of the [`store`] | exactly once | rows and offsets in one transaction; an offset moves only from where it was left, so a second sink is fenced |
//! | — records that fit no row | | `dead_letters` | at least once under one id, so one row | acknowledged before the sink goes on |
//! | [`sink::search`] | result topics | indices of Elasticsearch, OpenSearch | at least once, so once: a document has the row's key as id and the offset as version | offsets are committed after the answer; an older version never replaces a newer |
//! | [`lake`] | source topics | Parquet files | exactly once | files durable before the commit; left-overs of an interrupted batch are deleted and read again; one archiver a folder |
//! | [`notify`] | messages of the role `notify` | Slack, email, webhooks | at least once, a repeat under the same id | what is sent is kept in the store before and after |
//! | [`kafka::topics`] | contracts | topics | the same again changes nothing; never shrinks, never deletes | plan of differences |
//!
//! A database, disk or broker that is away is waited for, with back-off, as long as it takes; nothing is dropped. Records
//! that retention deleted before a sink had read them are counted as missed.
//!
//! Reading order: [`kafka`] → [`store`] → [`sink`] → [`lake`] → [`notify`] ([`secret`], [`http`]) → [`alerts`], [`dead_letters`]. Every connector has one anatomy: settings and limits,
//! client, source or sink, retry, tests.
//!
//! **Invariant:** nothing outside this crate names rdkafka, sqlx, reqwest, lettre or object_store.

pub mod alerts;
pub mod dead_letters;
pub mod http;
pub mod kafka;
pub mod lake;
pub mod notify;
pub mod secret;
pub mod sink;
pub mod store;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;

mod retry;
mod shutdown;
mod tls;

pub use shutdown::{Ending, Shutdown, ShutdownSwitch, shutdown};
