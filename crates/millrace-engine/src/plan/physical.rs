//! One table's logical plan to its parts: input plan, operator, output plan.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, internal_datafusion_err};
use datafusion::datasource::source_as_provider;
use datafusion::execution::context::{SessionContext, SessionState};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::explain::{explain_output, explain_stateful, kept_in_words, title, title_of_join};
use super::slot::{Slot, SlotExec};
use super::stateful::{Kind, Stateful};
use super::stream::{record_number, to_stream};
use super::stream_join::{StreamJoin, without_record};
use super::table::SlotTable;
use super::window_end::window_end_column;
use super::{RECORD_NUMBER, Stage, StageInput, StageOperator, TableState};
use crate::SqlError;
use crate::aggregate::group_state;
use crate::operator::Operator;
use crate::operator::calls::{Call, Grouping};
use crate::operator::complete::CompleteOperator;
use crate::operator::group::GroupOperator;
use crate::operator::join::{JoinInput, JoinOperator, JoinPlan};
use crate::operator::keys::KeyCodec;
use crate::operator::session::{Gap, SessionOperator};
use crate::operator::timed::TimedOperator;
use crate::operator::window::{WindowOperator, Windows};
use crate::sql::{OutputMode, StreamingTable};

/// What a table is planned from.
pub(crate) struct TableInputs<'a> {
    pub(crate) logical: &'a LogicalPlan,
    pub(crate) table: &'a StreamingTable,
    pub(crate) context: &'a SessionContext,
}

/// The executable parts of a table.
pub(crate) struct TableParts {
    pub(crate) stages: Vec<Stage>,
    pub(crate) output: Arc<dyn ExecutionPlan>,
    pub(crate) window_end: Option<String>,
    pub(crate) state: TableState,
    pub(crate) explanation: Vec<String>,
    pub(crate) keeps: Vec<String>,
}

/// Columns needed of each source.
type NeededColumns = BTreeMap<String, Vec<String>>;

pub(crate) fn plan_table(inputs: TableInputs<'_>) -> Result<(TableParts, SchemaRef, NeededColumns)> {
    let state = inputs.context.state();
    let mode = inputs.table.output_mode;
    let analyzed = state.analyzer().execute_and_check(inputs.logical.clone(), state.config_options(), |_, _| {})?;
    let streaming = to_stream(&analyzed, mode)?;
    let window_end = window_end_column(&streaming);
    let keeps = kept_in_words(&streaming);
    // In complete mode nothing closes.
    let kept = match kept_state(&streaming) {
        TableState::Windows if mode == OutputMode::Complete => TableState::Groups,
        kept => kept,
    };
    let optimized = state.optimizer().optimize(streaming, &state, |_, _| {})?;
    let needed = needed_columns(&optimized)?;
    let cutter = Arc::new(Cutter {
        mode,
        state: state.clone(),
        context: PhysicalPlanningContext::default(),
        stages: Mutex::default(),
    });
    let planner = DefaultPhysicalPlanner::with_extension_planners(vec![cutter.clone()]);
    let output = crate::session::block_on(planner.create_physical_plan(&optimized, &state))?;
    let mut stages = std::mem::take(&mut *cutter.stages.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    stages.sort_by_key(|stage| stage.id);
    let mut explanation = explain_stateful(&optimized, mode);
    explanation.push(explain_output(inputs.table));
    let schema = without_record_number(&output.schema());
    Ok((TableParts { stages, output, window_end, state: kept, explanation, keeps }, schema, needed))
}

/// The result's columns: all but the record number of a statement without state.
fn without_record_number(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().filter(|field| field.name() != RECORD_NUMBER).cloned().collect();
    Arc::new(Schema::new(fields))
}

/// The columns every stream scan is left with after optimisation, record number aside.
fn needed_columns(plan: &LogicalPlan) -> Result<NeededColumns> {
    let mut needed = NeededColumns::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            if let Some(table) = (provider.as_ref() as &dyn std::any::Any).downcast_ref::<SlotTable>()
                && table.streaming
            {
                let columns = needed.entry(table.name.clone()).or_default();
                for field in scan.projected_schema.fields() {
                    if field.name() != RECORD_NUMBER && !columns.contains(field.name()) {
                        columns.push(field.name().clone());
                    }
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(needed)
}

fn kept_state(plan: &LogicalPlan) -> TableState {
    let mut found = TableState::Nothing;
    let _ = plan.apply(|node| {
        if let LogicalPlan::Extension(extension) = node
            && let Some(node) = extension.node.as_any().downcast_ref::<Stateful>()
        {
            let endless = node.kind == Kind::Group || found == TableState::Groups;
            found = if endless { TableState::Groups } else { TableState::Windows };
        }
        if let LogicalPlan::Extension(extension) = node
            && extension.node.as_any().is::<StreamJoin>()
            && found == TableState::Nothing
        {
            found = TableState::Windows;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Plans a Stateful node as a leaf, and keeps what lies below it.
struct Cutter {
    mode: OutputMode,
    state: SessionState,
    context: PhysicalPlanningContext,
    stages: Mutex<Vec<Stage>>,
}

#[async_trait]
impl ExtensionPlanner for Cutter {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (id, title, operator) = if let Some(stateful) = node.as_any().downcast_ref::<Stateful>() {
            let operator = self.operator(stateful)?;
            (stateful.id, title(&stateful.kind), StageOperator::Aggregate { operator, lag: stateful.lag })
        } else if let Some(join) = node.as_any().downcast_ref::<StreamJoin>() {
            (join.id, title_of_join(join), StageOperator::Join(Box::new(self.join(join)?)))
        } else {
            return Ok(None);
        };
        let slot = Slot::default();
        let schema = Arc::new(node.schema().as_arrow().clone());
        let inputs = node.inputs().into_iter().zip(physical_inputs);
        let inputs = inputs.map(|(logical, plan)| StageInput {
            plan: plan.clone(),
            numbered: record_number(logical.schema()).is_some(),
        });
        let meter = crate::job::Meter::default();
        let stage = Stage { id, title, meter, inputs: inputs.collect(), operator, slot: slot.clone() };
        self.stages.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(stage);
        Ok(Some(Arc::new(SlotExec::new(slot, "operator".into(), schema))))
    }
}

impl Cutter {
    fn operator(&self, node: &Stateful) -> Result<Box<dyn Operator>> {
        let schema = node.input.schema();
        let props = self.state.execution_props();
        let physical = |expr: &Expr| create_physical_expr(expr, schema, props, &self.context);
        let arrow = schema.as_arrow();
        let keys: Vec<Arc<dyn PhysicalExpr>> = node.keys.iter().map(physical).collect::<Result<_>>()?;
        let key_types = keys.iter().map(|key| key.data_type(arrow)).collect::<Result<Vec<_>>>()?;
        let calls = node.calls.iter().map(|call| self.call(call, schema)).collect::<Result<Vec<_>>>()?;
        let output = node.schema.as_arrow().fields().iter().cloned().collect();
        let codec = KeyCodec::new(&key_types)?;
        let grouping = Grouping { keys, key_types, codec, calls, output, window_at: node.window_at };
        let record = record_number(schema).and_then(|column| schema.maybe_index_of_column(&column));
        let time = node.time.first().map(physical).transpose()?;
        let gap = node.time.get(1).map(physical).transpose()?;
        let operator: Box<dyn Operator> = match (&node.kind, time) {
            (Kind::Window { size, slide, offset }, Some(time)) => {
                let windows = Windows { size: *size, slide: *slide, offset: *offset };
                Box::new(WindowOperator::new(windows, time, record, grouping, self.mode))
            }
            (Kind::Session { gap: constant }, Some(time)) => {
                let gap = match (constant, gap) {
                    (None, Some(by_row)) => Gap::ByRow(by_row),
                    (constant, _) => Gap::Constant(constant.unwrap_or_default()),
                };
                Box::new(SessionOperator::new(time, gap, record, grouping))
            }
            (Kind::Timed, Some(time)) => Box::new(TimedOperator::new(time, record, grouping, self.mode)),
            _ => Box::new(GroupOperator::new(grouping)),
        };
        Ok(if self.mode == OutputMode::Complete { Box::new(CompleteOperator::new(operator)) } else { operator })
    }

    fn join(&self, node: &StreamJoin) -> Result<JoinOperator> {
        let props = self.state.execution_props();
        let schemas = [without_record(node.inputs[0].schema())?, without_record(node.inputs[1].schema())?];
        let physical = |expr: &Expr, schema: &DFSchema| create_physical_expr(expr, schema, props, &self.context);
        let input = |side: usize| -> Result<JoinInput> {
            let schema = &schemas[side];
            let of = |pair: &(Expr, Expr)| physical(if side == 0 { &pair.0 } else { &pair.1 }, schema);
            let range = node.range.as_ref().map(|range| if side == 0 { &range.left } else { &range.right });
            let logical = node.inputs[side].schema();
            Ok(JoinInput {
                schema: Arc::new(schema.as_arrow().clone()),
                record_at: record_number(logical).and_then(|column| logical.maybe_index_of_column(&column)),
                keys: node.on.iter().map(of).collect::<Result<_>>()?,
                time: range.map(|time| physical(time, schema)).transpose()?,
                lag: node.lags[side],
                wait: node.wait(side),
            })
        };
        let inputs = [input(0)?, input(1)?];
        let types = inputs[0].keys.iter().map(|key| key.data_type(schemas[0].as_arrow()));
        let key_types = types.collect::<Result<Vec<_>>>()?;
        let both = schemas[0].join(&schemas[1])?;
        let range = node.range.as_ref();
        JoinOperator::new(JoinPlan {
            kind: node.kind,
            inputs,
            key_types,
            range: (
                range.and_then(|range| range.least).unwrap_or(i64::MIN),
                range.and_then(|range| range.most).unwrap_or(i64::MAX),
            ),
            condition: node.condition.as_ref().map(|condition| physical(condition, &both)).transpose()?,
            pair: Arc::new(both.as_arrow().clone()),
            output: Arc::new(node.schema.as_arrow().clone()),
        })
    }

    fn call(&self, expr: &Expr, schema: &DFSchema) -> Result<Call> {
        let mut inner = expr;
        while let Expr::Alias(alias) = inner {
            inner = &alias.expr;
        }
        let Expr::AggregateFunction(function) = inner else {
            return Err(internal_datafusion_err!("{} is no aggregate call", expr.schema_name()));
        };
        let props = self.state.execution_props();
        let physical = |expr: &Expr| create_physical_expr(expr, schema, props, &self.context);
        let params = &function.params;
        let arguments: Vec<_> = params.args.iter().map(physical).collect::<Result<_>>()?;
        let filter = params.filter.as_deref().map(physical).transpose()?;
        let arrow = schema.as_arrow();
        let types = arguments.iter().map(|argument| argument.data_type(arrow)).collect::<Result<Vec<_>>>()?;
        let constants: Vec<_> = params
            .args
            .iter()
            .map(|argument| match argument {
                Expr::Literal(value, _) => Some(value.clone()),
                _ => None,
            })
            .collect();
        let name = function.func.name().to_lowercase();
        let return_type = function.func.return_type(&types)?;
        let distinct = params.distinct;
        let make = move || group_state(&name, &types, &return_type, distinct, &constants);
        if let Err(message) = make() {
            let place = sqlparser::tokenizer::Location { line: 0, column: 0 };
            return Err(SqlError::at(place, message).through());
        }
        let function = function.func.name().to_lowercase();
        let state = Box::new(move || make().expect("it was made once already"));
        Ok(Call { function, arguments, filter, state })
    }
}
