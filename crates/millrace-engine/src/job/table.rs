//! A streaming table of a job: its plans, its operators, and the account of where its records went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use arrow_select::filter::filter_record_batch;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use millrace_codec::encode_rows;
use millrace_model::progress::TableProgress;
use millrace_model::{Contract, Timestamp};

use super::account::Account;
use super::profile::{Meter, OperatorProfile};
use super::source::Decoded;
use super::stage::{self, Move, run};
use super::{LateRecord, SourceBatch, TableNumbers, TableRows, TableSources, batch_and_record};
use crate::error::EngineError;
use crate::operator::NO_WATERMARK;
use crate::operator::saved::SavedBatch;
use crate::plan::{RECORD_NUMBER, Stage, StreamRef, TablePlan, TableState};
use crate::sql::OutputMode;

/// A streaming table, running.
pub(crate) struct Table {
    pub(crate) contract: Contract,
    pub(crate) streams: Vec<StreamRef>,
    pub(crate) watermark: i64,
    pub(crate) state: TableState,
    output_mode: OutputMode,
    stages: Vec<Stage>,
    output: Output,
    account: Account,
    /// Records before these offsets gave their rows on another backend; by source and partition.
    answered: BTreeMap<(String, i32), i64>,
    /// What its state holds, in words: another statement's state is told by it.
    keeps: Vec<String>,
}

/// What comes after a table's operators.
struct Output {
    plan: Arc<dyn ExecutionPlan>,
    /// It may be run over parts of what an operator gives.
    row_by_row: bool,
    rows_out: u64,
    meter: Meter,
}

/// An epoch, as a table sees it.
pub(crate) struct TableEpoch<'a, 'g> {
    pub(crate) task: &'a Arc<TaskContext>,
    pub(crate) input: &'a [SourceBatch<'a>],
    /// Event time moves there.
    pub(crate) after: i64,
    /// Records are read that another backend has answered for.
    pub(crate) rehearsing: bool,
    /// Takes the rows.
    pub(crate) give: &'g mut GiveRows<'g>,
}

/// Where a job's rows go: called several times for a table whose windows close by the million.
pub type GiveRows<'a> = dyn FnMut(TableRows) -> Result<(), EngineError> + 'a;

impl Table {
    pub(crate) fn new(plan: TablePlan) -> Self {
        Table {
            contract: plan.contract,
            streams: plan.streams,
            watermark: NO_WATERMARK,
            state: plan.state,
            output_mode: plan.output_mode,
            stages: plan.stages,
            output: Output {
                row_by_row: stage::is_row_by_row(&plan.output),
                plan: plan.output,
                rows_out: 0,
                meter: Meter::default(),
            },
            account: Account::default(),
            answered: BTreeMap::new(),
            keeps: plan.keeps,
        }
    }

    /// The sources it reads, by name.
    pub(crate) fn sources(&self) -> TableSources<'_> {
        let sources = self.streams.iter().map(|stream| stream.source.as_str()).collect();
        TableSources { table: &self.contract.name, sources }
    }

    /// Counts the records of a batch, if this table reads its source.
    pub(crate) fn account(&mut self, source: &str, decoded: &Decoded) {
        if self.streams.iter().any(|stream| stream.source == source) {
            self.account.add(source, decoded);
        }
    }

    /// Runs an epoch: takes the rows in its slots, moves event time, gives its rows; gives the numbers of records that came
    /// too late.
    pub(crate) fn step(&mut self, epoch: TableEpoch<'_, '_>) -> Result<BTreeSet<i64>, EngineError> {
        let by = Move { before: self.watermark, after: epoch.after, rehearsing: epoch.rehearsing };
        let mut late = BTreeSet::new();
        let mut any = self.stages.is_empty();
        let mut stopped = None;
        let last = self.stages.len().wrapping_sub(1);
        let Table { contract, stages, output, answered, .. } = self;
        let answered = |batch: &mut RecordBatch| skip_answered(answered, batch, epoch.input);
        for (at, stage) in stages.iter_mut().enumerate() {
            let said = |error| failed(&contract.name, &error);
            stage::take_in(stage, epoch.task, by, &mut late).map_err(said)?;
            let slot = stage.slot.clone();
            if at == last && output.row_by_row {
                let before = output.meter.cpu();
                let given = stage::advance(stage, by, &mut |batch| {
                    slot.put(vec![batch]);
                    output.deliver(contract, epoch.task, &answered, epoch.give).map_err(|error| {
                        stopped = Some(error);
                        internal_datafusion_err!("the rows of an operator were refused")
                    })
                });
                stage.meter.without(output.meter.cpu() - before);
                if let Some(error) = stopped.take() {
                    return Err(error);
                }
                given.map_err(said)?;
                any = false;
            } else {
                let mut batches = Vec::new();
                let collect = &mut |batch: RecordBatch| {
                    batches.push(batch);
                    Ok(())
                };
                stage::advance(stage, by, collect).map_err(said)?;
                any |= !batches.is_empty();
                slot.put(batches);
            }
        }
        // Without rows the plan after the operators has nothing to do.
        if any {
            output.deliver(contract, epoch.task, &answered, epoch.give)?;
        }
        for stage in &self.stages {
            stage.slot.put(Vec::new());
        }
        self.watermark = epoch.after;
        Ok(late)
    }

    /// Another backend has given this many rows, and those of records before these offsets.
    pub(crate) fn answered_elsewhere(&mut self, rows_out: u64, offsets: BTreeMap<(String, i32), i64>) {
        self.output.rows_out = rows_out;
        self.answered = if self.stages.is_empty() { offsets } else { BTreeMap::new() };
    }

    /// Enters the late records of an epoch that began with this watermark.
    pub(crate) fn account_late(
        &mut self,
        input: &[SourceBatch<'_>],
        late: &BTreeSet<i64>,
        watermark: i64,
        out: &mut Vec<LateRecord>,
    ) {
        for number in late {
            let (batch, record) = batch_and_record(*number);
            let source = &input[batch];
            self.account.late(source.source, source.records[record].partition);
            let table = self.contract.name.clone();
            out.push(LateRecord { table, batch, record, watermark: Timestamp(watermark) });
        }
    }

    pub(crate) fn groups(&self) -> usize {
        self.stages.iter().map(stage::groups).sum()
    }

    /// It has a join without a bound on its state.
    pub(crate) fn keeps_for_ever(&self) -> bool {
        self.stages.iter().any(stage::keeps_for_ever)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.stages.iter().map(stage::bytes).sum()
    }

    /// Begins to count what its operators do.
    pub(crate) fn start_profile(&mut self) {
        self.stages.iter_mut().for_each(|stage| stage.meter.on = true);
        self.output.meter.on = true;
    }

    /// What its operators have done, in order.
    pub(crate) fn profile(&self) -> impl Iterator<Item = OperatorProfile> {
        let table = &self.contract.name;
        let stages = self.stages.iter().map(|stage| stage.meter.profile(table, &stage.title));
        stages.chain([self.output.meter.profile(table, "output to JSON")])
    }

    /// What its state holds, when that is not what was saved.
    pub(crate) fn differs_from(&self, saved: &TableNumbers) -> Option<String> {
        let (kept, keeps) = (&saved.keeps, &self.keeps);
        // Snapshots did not always say.
        (!kept.is_empty() && kept != keeps).then(|| format!("saved: {}; now: {}", kept.join(" | "), keeps.join(" | ")))
    }

    /// The state of its operators, in order, in parts.
    pub(crate) fn save(&self) -> Result<Vec<SavedBatch>> {
        let saved = self.stages.iter().map(stage::save).collect::<Result<Vec<_>>>()?;
        Ok(saved.into_iter().flatten().collect())
    }

    /// Operators whose state was not saved start empty.
    pub(crate) fn load(&mut self, mut saved: impl FnMut(usize) -> Option<RecordBatch>) -> Result<()> {
        let mut parts = 0..;
        self.stages.iter_mut().try_for_each(|stage| stage::load(stage, || parts.next().and_then(&mut saved)))
    }

    pub(crate) fn numbers(&self) -> TableNumbers {
        TableNumbers {
            table: self.contract.name.clone(),
            watermark: self.watermark,
            rows_out: self.output.rows_out,
            counts: self.account.save(),
            answered: self.answered.iter().map(|((source, part), next)| (source.clone(), *part, *next)).collect(),
            keeps: self.keeps.clone(),
        }
    }

    pub(crate) fn restore(&mut self, numbers: &TableNumbers) {
        self.watermark = numbers.watermark;
        self.output.rows_out = numbers.rows_out;
        self.account = Account::load(&numbers.counts);
        self.answered = numbers.answered.iter().map(|(source, part, next)| ((source.clone(), *part), *next)).collect();
    }

    pub(crate) fn progress(&self, job: &str, backend: &str, epoch: u64, now: Timestamp) -> TableProgress {
        TableProgress {
            epoch,
            time: now,
            watermark: (self.watermark != NO_WATERMARK).then_some(Timestamp(self.watermark)),
            output_mode: Some(self.output_mode.name().to_owned()),
            counts: self.account.total(),
            rows_out: self.output.rows_out,
            state_groups: self.groups() as u64,
            state_bytes: self.bytes() as u64,
            sources: self.account.sources(),
            ..TableProgress::begun(&self.contract.name, job, backend)
        }
    }
}

impl Output {
    /// Runs the plan over what is in its slots and gives the rows as they go to the result topic.
    fn deliver(
        &mut self,
        contract: &Contract,
        task: &Arc<TaskContext>,
        answered: &dyn Fn(&mut RecordBatch),
        give: &mut GiveRows<'_>,
    ) -> Result<(), EngineError> {
        let started = self.meter.start();
        let mut batches = run(&mut self.plan, task).map_err(|error| failed(&contract.name, &error))?;
        batches.iter_mut().for_each(answered);
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        self.meter.rows_in(rows);
        if rows == 0 {
            self.meter.stop(started);
            return Ok(());
        }
        let encoded = encode(contract, &batches)?;
        self.rows_out += rows as u64;
        self.meter.rows_out(rows);
        if self.meter.on {
            self.meter.bytes(encoded.rows.iter().map(<[u8]>::len).sum());
        }
        self.meter.stop(started);
        give(encoded)
    }
}

/// Rows as they go to the result topic.
fn encode(contract: &Contract, batches: &[RecordBatch]) -> Result<TableRows, EngineError> {
    let failed = |message: String| EngineError::Expression { table: contract.name.clone(), message };
    let one = arrow_select::concat::concat_batches(&batches[0].schema(), batches).map_err(|e| failed(e.to_string()))?;
    let columns = contract.columns.iter().map(|column| column.name.as_str());
    let values = named(&one, columns).map_err(|e| failed(e.to_string()))?;
    let encoded = encode_rows(&values).map_err(|e| failed(e.to_string()))?;
    let keys = if contract.key.is_empty() {
        None
    } else {
        let keys = named(&one, contract.key.iter().map(String::as_str)).map_err(|e| failed(e.to_string()))?;
        Some(encode_rows(&keys).map_err(|e| failed(e.to_string()))?)
    };
    Ok(TableRows { table: contract.name.clone(), rows: encoded, keys })
}

/// Drops the rows of records that another backend has answered for; a table with state tells them by its watermark.
fn skip_answered(answered: &BTreeMap<(String, i32), i64>, batch: &mut RecordBatch, input: &[SourceBatch<'_>]) {
    if answered.is_empty() {
        return;
    }
    let is_answered = |number: i64| {
        let (batch, record) = batch_and_record(number);
        let place = (input[batch].source.to_owned(), input[batch].records[record].partition);
        answered.get(&place).is_some_and(|next| input[batch].records[record].offset < *next)
    };
    let Some(numbers) = batch.column_by_name(RECORD_NUMBER).and_then(|c| c.as_primitive_opt::<Int64Type>()) else {
        return;
    };
    let new: BooleanArray = numbers.iter().map(|number| Some(!number.is_some_and(is_answered))).collect();
    if let Ok(kept) = filter_record_batch(batch, &new) {
        *batch = kept;
    }
}

fn failed(table: &str, error: &datafusion::common::DataFusionError) -> EngineError {
    EngineError::Expression {
        table: table.to_owned(),
        message: crate::functions::in_sparks_words(&error.strip_backtrace()),
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
