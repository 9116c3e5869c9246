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

use super::slot::{Slot, SlotExec};
use super::stateful::{Kind, Stateful};
use super::stream::{record_number, to_stream};
use super::table::SlotTable;
use super::window_end::window_end_column;
use super::{RECORD_NUMBER, StatefulPlan, TableState};
use crate::SqlError;
use crate::aggregate::group_state;
use crate::operator::Operator;
use crate::operator::calls::{Call, Grouping};
use crate::operator::group::GroupOperator;
use crate::operator::keys::KeyCodec;
use crate::operator::session::SessionOperator;
use crate::operator::window::{WindowOperator, Windows};
use crate::sql::{OutputMode, StreamingTable};

/// What a table is planned from.
pub(crate) struct TableInputs<'a> {
    pub(crate) logical: &'a LogicalPlan,
    pub(crate) table: &'a StreamingTable,
    pub(crate) watermarked: bool,
    pub(crate) context: &'a SessionContext,
}

/// The executable parts of a table.
pub(crate) struct TableParts {
    pub(crate) input: Arc<dyn ExecutionPlan>,
    pub(crate) stateful: Option<StatefulPlan>,
    pub(crate) window_end: Option<String>,
    pub(crate) state: TableState,
    pub(crate) explanation: Vec<String>,
}

/// Columns needed of each source.
type NeededColumns = BTreeMap<String, Vec<String>>;

pub(crate) fn plan_table(inputs: TableInputs<'_>) -> Result<(TableParts, SchemaRef, NeededColumns)> {
    let state = inputs.context.state();
    let mode = inputs.table.output_mode;
    let analyzed = state.analyzer().execute_and_check(inputs.logical.clone(), state.config_options(), |_, _| {})?;
    let streaming = to_stream(&analyzed, mode, inputs.watermarked)?;
    let window_end = window_end_column(&streaming);
    let kept = kept_state(&streaming);
    let optimized = state.optimizer().optimize(streaming, &state, |_, _| {})?;
    let needed = needed_columns(&optimized)?;
    let cutter = Arc::new(Cutter {
        mode,
        state: state.clone(),
        context: PhysicalPlanningContext::default(),
        cut: Mutex::default(),
    });
    let planner = DefaultPhysicalPlanner::with_extension_planners(vec![cutter.clone()]);
    let plan = crate::session::block_on(planner.create_physical_plan(&optimized, &state))?;
    let cut = cutter.cut.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let mut explanation = explain_stateful(&optimized);
    explanation.push(format!("output: {} mode{}", mode.name(), explain_key(inputs.table)));
    let schema = without_record_number(&plan.schema());
    let parts = match cut {
        None => TableParts { input: plan, stateful: None, window_end, state: kept, explanation },
        Some(Cut { input, operator, slot }) => {
            let stateful = Some(StatefulPlan { operator, slot, output: plan });
            TableParts { input, stateful, window_end, state: kept, explanation }
        }
    };
    Ok((parts, schema, needed))
}

fn explain_key(table: &StreamingTable) -> String {
    if table.key.is_empty() { String::new() } else { format!(", one row a ({})", table.key.join(", ")) }
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
            found = if node.kind == Kind::Group { TableState::Groups } else { TableState::Windows };
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn explain_stateful(plan: &LogicalPlan) -> Vec<String> {
    let mut lines = Vec::new();
    let _ = plan.apply(|node| {
        if let LogicalPlan::Extension(extension) = node
            && let Some(node) = extension.node.as_any().downcast_ref::<Stateful>()
        {
            let names =
                |exprs: &[Expr]| exprs.iter().map(|e| e.schema_name().to_string()).collect::<Vec<_>>().join(", ");
            let seconds = |micros: i64| format!("{} s", micros as f64 / 1e6);
            let window = match node.kind {
                Kind::Window { size, slide, .. } if size == slide => format!("tumbling window of {}", seconds(size)),
                Kind::Window { size, slide, .. } => {
                    format!("window of {} sliding by {}", seconds(size), seconds(slide))
                }
                Kind::Session { gap } => format!("session window, gap {}", seconds(gap)),
                Kind::Group => "running aggregate without a window (state grows with the keys)".into(),
            };
            lines.push(format!("state: {window}"));
            lines.push(format!("  keys: {}", if node.keys.is_empty() { "none".into() } else { names(&node.keys) }));
            lines.push(format!("  aggregates: {}", names(&node.calls)));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    lines
}

/// Where the physical plan was cut.
struct Cut {
    input: Arc<dyn ExecutionPlan>,
    operator: Box<dyn Operator>,
    slot: Slot,
}

/// Plans a Stateful node as a leaf, and keeps what lies below it.
struct Cutter {
    mode: OutputMode,
    state: SessionState,
    context: PhysicalPlanningContext,
    cut: Mutex<Option<Cut>>,
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
        let Some(stateful) = node.as_any().downcast_ref::<Stateful>() else { return Ok(None) };
        let input = physical_inputs.first().ok_or_else(|| internal_datafusion_err!("a stateful node has an input"))?;
        let operator = self.operator(stateful)?;
        let slot = Slot::default();
        let schema = Arc::new(stateful.schema.as_arrow().clone());
        *self.cut.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(Cut { input: input.clone(), operator, slot: slot.clone() });
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
        Ok(match (&node.kind, time) {
            (Kind::Window { size, slide, offset }, Some(time)) => {
                let windows = Windows { size: *size, slide: *slide, offset: *offset };
                Box::new(WindowOperator::new(windows, time, record, grouping, self.mode))
            }
            (Kind::Session { gap }, Some(time)) => Box::new(SessionOperator::new(time, *gap, record, grouping)),
            _ => Box::new(GroupOperator::new(grouping)),
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
