//! Pipelines to plans.
//!
//! ```text
//!  Statement ─▶ sqlparser AST ─▶ DataFusion: LogicalPlan ─▶ analyzer (types) ─▶ stream.rs: record numbers, Stateful nodes
//!            ─▶ optimizer (columns pruned, filters pushed) ─▶ physical plan, cut at every Stateful node:
//!
//!     source slots ─▶ input plan ─▶ Operator ─▶ slot ─▶ input plan ─▶ Operator ─▶ slot ─▶ output plan ─▶ rows
//!                     └──────────── stage 0 ───────┘    └──────────── stage 1 ───────┘
//! ```
//!
//! Reading order: [`catalog`] → [`event_time`] → [`stream`] → [`join`] → [`stateful`] → [`physical`].

pub(crate) mod catalog;
pub(crate) mod event_time;
mod explain;
mod grouping_sets;
mod join;
mod physical;
pub(crate) mod slot;
pub(crate) mod stateful;
mod stream;
mod stream_join;
mod table;
mod window_end;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion::physical_plan::ExecutionPlan;
use millrace_model::Contract;

pub use catalog::{Catalog, PipelineFile, StaticTables, plan_pipelines};

use crate::operator::Operator;
use crate::operator::join::JoinOperator;
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
    /// What its state holds, in words: state saved by another statement is told by it.
    pub(crate) keeps: Vec<String>,
    /// Its stateful operators, each after those it reads.
    pub(crate) stages: Vec<Stage>,
    /// What comes after them, or the whole statement when it has none.
    pub(crate) output: Arc<dyn ExecutionPlan>,
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

/// One stateful operator of a table: the plans of the rows it takes, and the slot its own rows go to.
pub(crate) struct Stage {
    pub(crate) id: usize,
    /// What it is, for people.
    pub(crate) title: String,
    pub(crate) meter: crate::job::Meter,
    /// One, or the left and the right of a join.
    pub(crate) inputs: Vec<StageInput>,
    pub(crate) operator: StageOperator,
    pub(crate) slot: Slot,
}

/// Rows an operator takes.
pub(crate) struct StageInput {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// They carry the numbers of source records.
    pub(crate) numbered: bool,
}

/// The operator of a stage.
pub(crate) enum StageOperator {
    /// An aggregate.
    Aggregate {
        operator: Box<dyn Operator>,
        /// How far its event time may be behind the table's watermark; none when no watermark moves it.
        lag: Option<i64>,
    },
    Join(Box<JoinOperator>),
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
