//! A group state of one group as DataFusion's `Accumulator`: aggregates without GROUP BY, and window functions of a batch.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use arrow_array::{Array, ArrayRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::Call;
use crate::aggregate::GroupState;

/// One group, number 0.
pub(super) struct OneGroup {
    call: Call,
    /// Never locked: DataFusion asks that accumulators can be shared, but changes them through `&mut` alone.
    state: Mutex<Box<dyn GroupState>>,
    bytes: usize,
}

impl OneGroup {
    pub(super) fn new(call: Call) -> Result<Self> {
        let state = Mutex::new(call.state(1)?);
        Ok(OneGroup { call, state, bytes: 0 })
    }

    fn state_mut(&mut self) -> &mut dyn GroupState {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }
}

impl fmt::Debug for OneGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneGroup").field("call", &self.call).finish_non_exhaustive()
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows: Vec<u32> = (0..values[0].len() as u32).collect();
        let state = self.state_mut();
        state.update(values, &rows, &vec![0; rows.len()])?;
        self.bytes = state.bytes();
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.state_mut().evaluate(&[0])?, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.state_mut().save(&[0])?.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let others: Vec<u32> = (0..states[0].len() as u32).collect();
        let mut other = self.call.state(others.len())?;
        other.load(&others, states)?;
        let state = self.state_mut();
        state.merge(other.as_ref(), &others, &vec![0; others.len()])?;
        self.bytes = state.bytes();
        Ok(())
    }
}
