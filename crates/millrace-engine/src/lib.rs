//! Spark's streaming SQL in one process.
//!
//! ```text
//!  pipelines/*.sql ─▶ sql ─▶ plan ─▶ JobPlan ─▶ Job ── run(records) ─▶ rows, dead letters, progress
//!                                               ▲ │
//!                                  snapshots and └─┘ epoch log (state)
//! ```
//!
//! Reading order: [`sql`] (text to statements) → [`plan`] (statements to plans; DataFusion plans and evaluates the stateless
//! parts) → `operator` (the stateful parts, which are ours) with `aggregate` (their aggregate functions) → [`job`] (one
//! pipeline file running, epoch by epoch) → [`state`] (snapshots, epoch log, recovery) → [`batch`] (queries over files).
//!
//! **Invariant:** only this crate names DataFusion. **Invariant:** nothing here opens a socket; records come in and rows go
//! out through [`job::Job`], whoever calls it does the I/O.

mod aggregate;
pub mod batch;
mod error;
mod functions;
pub mod job;
mod operator;
pub mod plan;
mod session;
pub mod sql;
pub mod state;

pub use error::{EngineError, SqlError};
pub use job::{Job, JobSettings};
pub use plan::{JobPlan, PipelineFile, StaticTables, plan_pipelines};

#[cfg(test)]
mod tests;
