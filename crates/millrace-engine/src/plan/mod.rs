//! Pipelines to plans.
//!
//! ```text
//!  Statement ─▶ sqlparser AST ─▶ DataFusion: LogicalPlan ─▶ analyzer (types) ─▶ stream.rs: record numbers, Stateful nodes
//!            ─▶ optimizer (columns pruned, filters pushed) ─▶ physical plan, cut at the Stateful node:
//!
//!     source slots ─▶ input plan ─▶ Operator ─▶ output slot ─▶ output plan ─▶ rows
//! ```
//!
//! Reading order: [`catalog`] → [`stream`] → [`stateful`] → [`physical`].

pub(crate) mod catalog;
mod physical;
pub(crate) mod slot;
pub(crate) mod stateful;
mod stream;
mod table;
mod window_end;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion::physical_plan::ExecutionPlan;
use millrace_model::Contract;

pub use catalog::{Catalog, PipelineFile, StaticTables, plan_pipelines};

use crate::operator::Operator;
use crate::sql::OutputMode;
use slot::Slot;

/// Hidden column: the number of the source record a row came from, in its epoch.
pub(crate) const RECORD_NUMBER: &str = "__record";

pub(crate) fn record_number_field() -> FieldRef {
    Arc::new(Field::new(RECORD_NUMBER, DataType::Int64, true))
}

/// A pipeline file, planned: one job.
pub struct JobPlan {
    /// Name of the job: the file's stem.
    pub name: String,
    /// Source topics with the columns its statements need.
    pub sources: Vec<SourcePlan>,
    /// Its streaming tables.
    pub tables: Vec<TablePlan>,
    pub(crate) static_slots: Vec<StaticSlot>,
    pub(crate) task: Arc<datafusion::execution::TaskContext>,
}

/// A topic (or file) a job reads.
pub struct SourcePlan {
    /// Contract of its records, named as in SQL.
    pub contract: Contract,
    /// Where they come from.
    pub origin: crate::sql::Origin,
    /// Columns to decode.
    pub columns: Vec<String>,
    /// Longest watermark delay of the statements that read it: how long repeats are remembered.
    pub delay_micros: i64,
    pub(crate) slots: Vec<Slot>,
}

/// A streaming table, planned.
pub struct TablePlan {
    /// Contract of its result topic.
    pub contract: Contract,
    /// When rows are given.
    pub output_mode: OutputMode,
    /// Streams it reads: topic, event-time column and delay of each reference.
    pub streams: Vec<StreamRef>,
    /// The column that holds the end of a row's window, if it has one.
    pub window_end: Option<String>,
    /// What it keeps between epochs.
    pub state: TableState,
    /// The plan as a person thinks of it, a line each.
    pub explanation: Vec<String>,
    pub(crate) input: Arc<dyn ExecutionPlan>,
    pub(crate) stateful: Option<StatefulPlan>,
}

/// What a table keeps between epochs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableState {
    /// Nothing: every row follows from one record.
    Nothing,
    /// Groups of windows, until the watermark has passed their ends.
    Windows,
    /// Groups without a window, for ever.
    Groups,
}

/// One reference to a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamRef {
    /// The source's name in SQL.
    pub source: String,
    /// Event-time column and delay, if it has a watermark.
    pub watermark: Option<(String, i64)>,
}

/// The stateful part of a table, and what comes after it.
pub(crate) struct StatefulPlan {
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) slot: Slot,
    pub(crate) output: Arc<dyn ExecutionPlan>,
}

/// A static table a job joins with.
pub(crate) struct StaticSlot {
    pub(crate) table: crate::sql::StaticTable,
    pub(crate) slot: Slot,
}

/// Static tables by name, read whole at planning.
pub(crate) type StaticSlots = BTreeMap<String, StaticSlot>;

impl JobPlan {
    /// The job that checks every record of the sources against its contract, and nothing else: what is malformed goes to
    /// `dead_letters` once, however many pipelines read the topic.
    pub fn intake<'a>(name: &str, sources: impl Iterator<Item = &'a Contract>) -> Self {
        let source = |contract: &Contract| SourcePlan {
            contract: contract.clone(),
            origin: crate::sql::Origin::Topic(contract.name.clone()),
            columns: Vec::new(),
            delay_micros: 0,
            slots: Vec::new(),
        };
        JobPlan {
            name: name.to_owned(),
            sources: sources.map(source).collect(),
            tables: Vec::new(),
            static_slots: Vec::new(),
            task: Arc::new(datafusion::execution::TaskContext::default()),
        }
    }
}
