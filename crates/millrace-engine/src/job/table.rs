//! A streaming table of a job: its plans, its operator, and the account of where its records went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use arrow_select::filter::filter_record_batch;
use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::TryStreamExt;
use millrace_codec::encode_rows;
use millrace_model::progress::TableProgress;
use millrace_model::{Contract, Timestamp};

use super::account::Account;
use super::source::Decoded;
use super::{LateRecord, SourceBatch, TableNumbers, TableRows, TableSources, batch_and_record};
use crate::error::EngineError;
use crate::operator::NO_WATERMARK;
use crate::plan::{RECORD_NUMBER, StatefulPlan, StreamRef, TablePlan, TableState};
use crate::sql::OutputMode;

/// A streaming table, running.
pub(crate) struct Table {
    pub(crate) contract: Contract,
    pub(crate) streams: Vec<StreamRef>,
    pub(crate) watermark: i64,
    pub(crate) state: TableState,
    output_mode: OutputMode,
    input: Arc<dyn ExecutionPlan>,
    stateful: Option<StatefulPlan>,
    /// Rows of a statement without state, kept from push to advance.
    passed: Vec<RecordBatch>,
    account: Account,
    rows_out: u64,
    /// Records before these offsets gave their rows on another backend; by source and partition.
    answered: BTreeMap<(String, i32), i64>,
}

impl Table {
    pub(crate) fn new(plan: TablePlan) -> Self {
        Table {
            contract: plan.contract,
            streams: plan.streams,
            watermark: NO_WATERMARK,
            state: plan.state,
            output_mode: plan.output_mode,
            input: plan.input,
            stateful: plan.stateful,
            passed: Vec::new(),
            account: Account::default(),
            rows_out: 0,
            answered: BTreeMap::new(),
        }
    }

    /// The sources it reads, by name.
    pub(crate) fn sources(&self) -> TableSources<'_> {
        let sources = self.streams.iter().map(|stream| stream.source.as_str()).collect();
        TableSources { table: &self.contract.name, sources }
    }

    fn failed(&self, error: &datafusion::common::DataFusionError) -> EngineError {
        EngineError::Expression { table: self.contract.name.clone(), message: error.strip_backtrace() }
    }

    /// Counts the records of a batch, if this table reads its source.
    pub(crate) fn account(&mut self, source: &str, decoded: &Decoded) {
        if self.streams.iter().any(|stream| stream.source == source) {
            self.account.add(source, decoded);
        }
    }

    /// Takes the epoch's rows in; gives the numbers of records that came too late.
    pub(crate) fn push(&mut self, task: &Arc<TaskContext>, watermark: i64) -> Result<BTreeSet<i64>, EngineError> {
        let batches = run(&mut self.input, task).map_err(|error| self.failed(&error))?;
        let mut late = BTreeSet::new();
        match &mut self.stateful {
            None => self.passed = batches,
            Some(stateful) => {
                for batch in batches {
                    let name = &self.contract.name;
                    late.extend(stateful.operator.push(&batch, watermark).map_err(|error| {
                        EngineError::Expression { table: name.clone(), message: error.strip_backtrace() }
                    })?);
                }
            }
        }
        Ok(late)
    }

    /// Another backend has given this many rows, and those of records before these offsets.
    pub(crate) fn answered_elsewhere(&mut self, rows_out: u64, offsets: BTreeMap<(String, i32), i64>) {
        self.rows_out = rows_out;
        self.answered = if self.stateful.is_some() { BTreeMap::new() } else { offsets };
    }

    /// Drops the rows of records that another backend has answered for; a table with state tells them by its watermark.
    pub(crate) fn skip_answered(&mut self, input: &[SourceBatch<'_>]) {
        if self.answered.is_empty() {
            return;
        }
        let answered = |number: i64| {
            let (batch, record) = batch_and_record(number);
            let place = (input[batch].source.to_owned(), input[batch].records[record].partition);
            self.answered.get(&place).is_some_and(|next| input[batch].records[record].offset < *next)
        };
        for batch in &mut self.passed {
            let Some(numbers) = batch.column_by_name(RECORD_NUMBER).and_then(|c| c.as_primitive_opt::<Int64Type>())
            else {
                continue;
            };
            let new: BooleanArray = numbers.iter().map(|number| Some(!number.is_some_and(answered))).collect();
            if let Ok(kept) = filter_record_batch(batch, &new) {
                *batch = kept;
            }
        }
    }

    pub(crate) fn account_late(&mut self, input: &[SourceBatch<'_>], late: &BTreeSet<i64>, out: &mut Vec<LateRecord>) {
        for number in late {
            let (batch, record) = batch_and_record(*number);
            let source = &input[batch];
            self.account.late(source.source, source.records[record].partition);
            let watermark = Timestamp(self.watermark);
            out.push(LateRecord { table: self.contract.name.clone(), batch, record, watermark });
        }
    }

    /// Event time has moved on from `before` to the table's watermark: the rows that gives.
    pub(crate) fn advance(&mut self, task: &Arc<TaskContext>, before: i64) -> Result<Option<TableRows>, EngineError> {
        let batches = match &mut self.stateful {
            None => std::mem::take(&mut self.passed),
            Some(stateful) => {
                let emitted = stateful.operator.advance(before, self.watermark);
                let emitted = emitted.map_err(|error| EngineError::Expression {
                    table: self.contract.name.clone(),
                    message: error.strip_backtrace(),
                })?;
                match emitted {
                    None => Vec::new(),
                    Some(batch) => {
                        stateful.slot.put(vec![batch]);
                        let rows = run(&mut stateful.output, task);
                        stateful.slot.put(Vec::new());
                        rows.map_err(|error| self.failed(&error))?
                    }
                }
            }
        };
        self.encode(&batches)
    }

    fn encode(&mut self, batches: &[RecordBatch]) -> Result<Option<TableRows>, EngineError> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            return Ok(None);
        }
        let failed = |message: String| EngineError::Expression { table: self.contract.name.clone(), message };
        let one =
            arrow_select::concat::concat_batches(&batches[0].schema(), batches).map_err(|e| failed(e.to_string()))?;
        let columns = self.contract.columns.iter().map(|column| column.name.as_str());
        let values = named(&one, columns).map_err(|e| failed(e.to_string()))?;
        let encoded = encode_rows(&values).map_err(|e| failed(e.to_string()))?;
        let keys = if self.contract.key.is_empty() {
            None
        } else {
            let keys = named(&one, self.contract.key.iter().map(String::as_str)).map_err(|e| failed(e.to_string()))?;
            Some(encode_rows(&keys).map_err(|e| failed(e.to_string()))?)
        };
        self.rows_out += rows as u64;
        Ok(Some(TableRows { table: self.contract.name.clone(), rows: encoded, keys }))
    }

    pub(crate) fn groups(&self) -> usize {
        self.stateful.as_ref().map_or(0, |stateful| stateful.operator.groups())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.stateful.as_ref().map_or(0, |stateful| stateful.operator.bytes())
    }

    pub(crate) fn save(&self) -> Result<Option<RecordBatch>> {
        self.stateful.as_ref().map(|stateful| stateful.operator.save()).transpose()
    }

    pub(crate) fn load(&mut self, saved: &RecordBatch) -> Result<()> {
        match &mut self.stateful {
            Some(stateful) => stateful.operator.load(saved),
            None => Ok(()),
        }
    }

    pub(crate) fn numbers(&self) -> TableNumbers {
        TableNumbers {
            table: self.contract.name.clone(),
            watermark: self.watermark,
            rows_out: self.rows_out,
            counts: self.account.save(),
            answered: self.answered.iter().map(|((source, part), next)| (source.clone(), *part, *next)).collect(),
        }
    }

    pub(crate) fn restore(&mut self, numbers: &TableNumbers) {
        self.watermark = numbers.watermark;
        self.rows_out = numbers.rows_out;
        self.account = Account::load(&numbers.counts);
        self.answered = numbers.answered.iter().map(|(source, part, next)| ((source.clone(), *part), *next)).collect();
    }

    pub(crate) fn progress(&self, job: &str, backend: &str, epoch: u64, now: Timestamp) -> TableProgress {
        TableProgress {
            table: self.contract.name.clone(),
            job: job.to_owned(),
            backend: backend.to_owned(),
            epoch,
            time: now,
            watermark: (self.watermark != NO_WATERMARK).then_some(Timestamp(self.watermark)),
            output_mode: Some(self.output_mode.name().to_owned()),
            counts: self.account.total(),
            rows_out: self.rows_out,
            state_groups: self.groups() as u64,
            state_bytes: self.bytes() as u64,
            epoch_micros: 0,
            phases_ms: BTreeMap::new(),
            sources: self.account.sources(),
            taken_over: None,
        }
    }
}

/// The columns of these names, in this order.
fn named<'a>(batch: &RecordBatch, names: impl Iterator<Item = &'a str>) -> Result<RecordBatch> {
    let schema = batch.schema();
    let places: Vec<usize> =
        names.filter(|name| *name != RECORD_NUMBER).map(|name| schema.index_of(name)).collect::<Result<_, _>>()?;
    let fields: Vec<_> = places.iter().map(|at| schema.field(*at).clone()).collect();
    let columns = places.iter().map(|at| batch.column(*at).clone()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// Runs a plan over what is in its slots now. The plan is renewed first: operators of DataFusion are made for one run.
fn run(plan: &mut Arc<dyn ExecutionPlan>, task: &Arc<TaskContext>) -> Result<Vec<RecordBatch>> {
    *plan = reset_plan_states(plan.clone())?;
    let mut batches = Vec::new();
    for partition in 0..plan.output_partitioning().partition_count() {
        let stream = plan.execute(partition, task.clone())?;
        let rows: Vec<RecordBatch> = crate::session::block_on(stream.try_collect())?;
        batches.extend(rows.into_iter().filter(|batch| batch.num_rows() > 0));
    }
    Ok(batches)
}
