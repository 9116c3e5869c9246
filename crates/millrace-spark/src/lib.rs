//! The Spark backend: the pipeline files that run embedded, run by Spark Structured Streaming, from Kafka to Kafka.
//!
//! ```text
//!  contract ─▶ decode ─┐
//!  SQL text ─▶ watermark ─▶ setup ─▶ relation ─▶ connect ══ Spark Connect (gRPC) ══▶ Spark ◀══▶ Kafka
//!  contract ─▶ encode ─┘      ▲                     │
//!                        check, run ◀── progress ◀──┘
//! ```
//!
//! Reading order: [`SparkJob`] and [`SparkSettings`] (what is given) → `decode` and `encode` (contracts as Spark
//! expressions, pure) → `watermark` (the texts, pure) → `setup` → [`check()`] → [`run()`] → `connect`.
//!
//! **Delivery:** at least once. A batch that was cut short is written again; rows with a key then repeat under it, so a
//! table that keeps the last row of a key is right. `docs/spark-differences.md` lists what else differs from the embedded
//! backend.
//!
//! **Invariant:** only this crate names Spark Connect. It blocks, on threads of its own; never call it inside a tokio runtime.

mod check;
mod connect;
mod decode;
mod encode;
mod error;
mod job;
mod kafka;
mod progress;
mod relation;
mod run;
mod session_file;
mod setup;
mod watermark;

pub use check::check;
pub use error::SparkError;
pub use job::{
    SparkJob, SparkNew, SparkOutputMode, SparkQuery, SparkRead, SparkSettings, SparkSource, SparkStatic, SparkTable,
    SparkTakeover, SparkTrigger, SparkView, TRIGGER_DEFAULT, query_name,
};
pub use progress::{SparkPosition, SparkProgress, SparkSourceCounts};
pub use run::{SparkEvent, run};
