//! What the planner sees of a stream or a static table: its schema, and a slot its rows will come from.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::slot::{Slot, SlotExec};

/// A table that is fed through a slot.
#[derive(Debug)]
pub(crate) struct SlotTable {
    /// For explanations.
    pub(crate) name: String,
    /// A stream: topic and what its WATERMARK clause says are known under the table's unique name.
    pub(crate) streaming: bool,
    /// The column its WATERMARK clause names.
    pub(crate) event_time: Option<String>,
    pub(crate) schema: SchemaRef,
    pub(crate) slot: Slot,
}

impl SlotTable {
    /// The same table with one more column: the number of the record a row came from.
    pub(crate) fn with_record_numbers(&self) -> Self {
        let mut fields = self.schema.fields().to_vec();
        fields.push(super::record_number_field());
        let schema = Arc::new(Schema::new(fields));
        SlotTable {
            name: self.name.clone(),
            streaming: self.streaming,
            event_time: self.event_time.clone(),
            schema,
            slot: self.slot.clone(),
        }
    }
}

#[async_trait]
impl TableProvider for SlotTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        Ok(Arc::new(SlotExec::new(self.slot.clone(), self.name.clone(), schema)))
    }
}
