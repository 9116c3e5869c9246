//! The stateful operators of a table, one after the other: each takes what those before it gave in the same epoch.
//!
//! ```text
//!  epoch, watermark W → W'
//!    stage 0:  push its rows (late by W)  ─▶ advance to W' ─▶ slot ─┐
//!    stage 1:  push what is in the slot   ◀────────────────────────┘  ─▶ advance to W' ─▶ slot ─▶ output plan
//! ```
//!
//! What a stage gives when event time moves from W to W' is never late for the next: its times are after W (see
//! [`crate::plan::event_time`]), and it is there before the next stage closes anything up to W'.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::TryStreamExt;

use crate::operator::saved::SavedBatch;
use crate::operator::{Give, NO_RECORD, NO_WATERMARK};
use crate::plan::event_time::held_back;
use crate::plan::{Stage, StageOperator};

/// How event time moves in an epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) before: i64,
    pub(crate) after: i64,
    /// Records are read that another backend has answered for.
    pub(crate) rehearsing: bool,
}

/// Runs the plans of a stage's inputs and pushes their rows; notes the records that came too late.
pub(crate) fn take_in(stage: &mut Stage, task: &Arc<TaskContext>, by: Move, late: &mut BTreeSet<i64>) -> Result<()> {
    let started = stage.meter.start();
    for (at, input) in stage.inputs.iter_mut().enumerate() {
        let mut too_late = Vec::new();
        for batch in run(&mut input.plan, task)? {
            stage.meter.rows_in(batch.num_rows());
            too_late.extend(push(&mut stage.operator, at, &batch, by)?);
        }
        if !input.numbered && !too_late.is_empty() && !by.rehearsing {
            return internal_err!(
                "rows of one operator came too late for the next: the watermark between them is wrong"
            );
        }
        late.extend(too_late.into_iter().filter(|number| *number != NO_RECORD));
    }
    if stage.meter.on {
        // Before windows close: that is when there is most.
        let (groups, bytes) = (groups(stage), bytes(stage));
        stage.meter.state(groups, bytes);
    }
    stage.meter.stop(started);
    Ok(())
}

/// The watermark of an aggregate whose event time may be so far behind.
fn of_aggregate(watermark: i64, lag: Option<i64>) -> i64 {
    lag.map_or(NO_WATERMARK, |lag| held_back(watermark, lag))
}

fn push(operator: &mut StageOperator, input: usize, batch: &RecordBatch, by: Move) -> Result<Vec<i64>> {
    match operator {
        StageOperator::Aggregate { operator, lag } => operator.push(batch, of_aggregate(by.before, *lag)),
        // In a rehearsal epochs are cut elsewhere: what was in time for the other backend must be in time here.
        StageOperator::Join(join) => join.push(input, batch, if by.rehearsing { NO_WATERMARK } else { by.before }),
    }
}

/// Moves event time: gives what is known now.
pub(crate) fn advance(stage: &mut Stage, by: Move, give: &mut Give<'_>) -> Result<()> {
    let started = stage.meter.start();
    let mut rows = 0;
    let mut counted = |batch: RecordBatch| {
        rows += batch.num_rows();
        give(batch)
    };
    match &mut stage.operator {
        StageOperator::Aggregate { operator, lag } => {
            let (before, after) = (of_aggregate(by.before, *lag), of_aggregate(by.after, *lag));
            operator.advance(before, after, &mut counted)?;
        }
        StageOperator::Join(join) => join.advance(by.after)?.into_iter().try_for_each(counted)?,
    }
    stage.meter.rows_out(rows);
    stage.meter.stop(started);
    Ok(())
}

/// Open groups, or rows that wait for partners.
pub(crate) fn groups(stage: &Stage) -> usize {
    match &stage.operator {
        StageOperator::Aggregate { operator, .. } => operator.groups(),
        StageOperator::Join(join) => join.rows(),
    }
}

/// A join whose rows no watermark forgets.
pub(crate) fn keeps_for_ever(stage: &Stage) -> bool {
    matches!(&stage.operator, StageOperator::Join(join) if !join.is_bounded())
}

/// Bytes of memory, estimated.
pub(crate) fn bytes(stage: &Stage) -> usize {
    match &stage.operator {
        StageOperator::Aggregate { operator, .. } => operator.bytes(),
        StageOperator::Join(join) => join.bytes(),
    }
}

/// The state: one batch, two of a join.
pub(crate) fn save(stage: &Stage) -> Result<Vec<SavedBatch>> {
    match &stage.operator {
        StageOperator::Aggregate { operator, .. } => Ok(vec![operator.save()?]),
        StageOperator::Join(join) => Ok(join.save()),
    }
}

/// Replaces the state by what [`save`] gave, as far as it is there.
pub(crate) fn load(stage: &mut Stage, mut saved: impl FnMut() -> Option<RecordBatch>) -> Result<()> {
    match &mut stage.operator {
        StageOperator::Aggregate { operator, .. } => saved().map_or(Ok(()), |batch| operator.load(&batch)),
        StageOperator::Join(join) => {
            [0, 1].into_iter().try_for_each(|input| saved().map_or(Ok(()), |batch| join.load(input, &batch)))
        }
    }
}

/// Does the plan make every row of its result from one row of its one input, so that it may be run over parts of it?
pub(crate) fn is_row_by_row(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let simple = ["SlotExec", "ProjectionExec", "FilterExec", "CoalesceBatchesExec", "CooperativeExec"];
    let children = plan.children();
    simple.contains(&plan.name()) && children.len() <= 1 && children.into_iter().all(is_row_by_row)
}

/// Runs a plan over what is in its slots now. The plan is renewed first: operators of DataFusion are made for one run.
pub(crate) fn run(plan: &mut Arc<dyn ExecutionPlan>, task: &Arc<TaskContext>) -> Result<Vec<RecordBatch>> {
    *plan = reset_plan_states(plan.clone())?;
    let mut batches = Vec::new();
    for partition in 0..plan.output_partitioning().partition_count() {
        let stream = plan.execute(partition, task.clone())?;
        let rows: Vec<RecordBatch> = crate::session::block_on(stream.try_collect())?;
        batches.extend(rows.into_iter().filter(|batch| batch.num_rows() > 0));
    }
    Ok(batches)
}
