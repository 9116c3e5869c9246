//! A leaf of a physical plan that gives whatever batches were last put into its slot.
//!
//! DataFusion plans the stateless parts of a statement once; every epoch puts its batches into the slots and runs them again.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
};

/// Batches handed from the job to a plan. Cheap to clone; all clones are the same slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot(Arc<Mutex<Vec<RecordBatch>>>);

impl Slot {
    /// Replaces what is in the slot.
    pub(crate) fn put(&self, batches: Vec<RecordBatch>) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = batches;
    }

    fn batches(&self) -> Vec<RecordBatch> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// Gives the columns of its schema from the batches in a slot, by name: a batch may hold more.
#[derive(Debug)]
pub(crate) struct SlotExec {
    slot: Slot,
    name: String,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl SlotExec {
    pub(crate) fn new(slot: Slot, name: String, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        SlotExec { slot, name, schema, properties: Arc::new(properties) }
    }

    /// The columns of the schema, in its order.
    fn select(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        // An operator gives exactly these columns; two of them may have the same name.
        let names = |schema: &SchemaRef| schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        if names(batch.schema_ref()) == names(&self.schema) {
            let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().to_vec();
            return Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?);
        }
        let columns = self.schema.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name());
            column.cloned().ok_or_else(|| internal_datafusion_err!("slot {} has no column {}", self.name, field.name()))
        });
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = columns.collect::<Result<_>>()?;
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

impl DisplayAs for SlotExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotExec: {}", self.name)
    }
}

impl ExecutionPlan for SlotExec {
    fn name(&self) -> &str {
        "SlotExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.slot.batches().iter().map(|batch| self.select(batch)).collect::<Result<_>>()?;
        Ok(Box::pin(MemoryStream::try_new(batches, self.schema.clone(), None)?))
    }
}
