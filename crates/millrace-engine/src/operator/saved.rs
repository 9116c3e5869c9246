//! State on its way to a snapshot: what can be copied at once is, what takes long to make is made behind, from values that are
//! shared with the running state and stay as they were.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{FieldRef, SchemaRef};
use datafusion::common::Result;

use super::keys::batch_of;

/// Columns of a state as they were when it was saved.
pub(crate) enum Saved {
    /// Made already.
    Now(Vec<ArrayRef>),
    /// Made when they are asked for.
    Behind(Box<dyn FnOnce() -> Result<Vec<ArrayRef>> + Send>),
}

impl Saved {
    /// The columns.
    ///
    /// # Errors
    /// Internal only.
    pub(crate) fn columns(self) -> Result<Vec<ArrayRef>> {
        match self {
            Saved::Now(columns) => Ok(columns),
            Saved::Behind(make) => make(),
        }
    }

    /// The columns of several states of one kind, one below the other.
    pub(crate) fn below_each_other(states: Vec<Vec<Saved>>) -> Saved {
        Saved::Behind(Box::new(move || {
            let states = states.into_iter().map(all).collect::<Result<Vec<_>>>()?;
            let width = states.first().map_or(0, Vec::len);
            let column = |at: usize| {
                let parts: Vec<&dyn Array> = states.iter().map(|columns| columns[at].as_ref()).collect();
                Ok(arrow_select::concat::concat(&parts)?)
            };
            (0..width).map(column).collect()
        }))
    }
}

fn all(saved: Vec<Saved>) -> Result<Vec<ArrayRef>> {
    let columns = saved.into_iter().map(Saved::columns).collect::<Result<Vec<_>>>()?;
    Ok(columns.into_iter().flatten().collect())
}

/// A state as it was when it was saved.
pub(crate) struct SavedBatch {
    fields: Vec<FieldRef>,
    columns: Vec<Saved>,
    rows: usize,
}

impl SavedBatch {
    /// Fields for all the columns, which have so many rows.
    pub(crate) fn new(fields: Vec<FieldRef>, columns: Vec<Saved>, rows: usize) -> Self {
        SavedBatch { fields, columns, rows }
    }

    /// One that is there as it is.
    pub(crate) fn of(batch: &RecordBatch) -> Self {
        let fields = batch.schema_ref().fields().iter().map(Arc::clone).collect();
        SavedBatch::new(fields, vec![Saved::Now(batch.columns().to_vec())], batch.num_rows())
    }

    /// The batch.
    ///
    /// # Errors
    /// Internal only.
    pub(crate) fn make(self) -> Result<RecordBatch> {
        batch_of(&self.fields, all(self.columns)?, self.rows)
    }

    /// A batch made of parts of these rows and this schema when it is asked for.
    pub(crate) fn behind(
        schema: &SchemaRef,
        rows: usize,
        make: impl FnOnce() -> Result<Vec<ArrayRef>> + Send + 'static,
    ) -> Self {
        let fields = schema.fields().iter().map(Arc::clone).collect();
        SavedBatch::new(fields, vec![Saved::Behind(Box::new(make))], rows)
    }
}
