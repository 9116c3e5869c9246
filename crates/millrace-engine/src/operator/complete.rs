//! Complete mode over any operator: nothing closes, nothing is late, and a change gives the whole result again.
//!
//! Spark keeps all state in this mode, too: the watermark moves, but no window is forgotten by it.

use arrow_array::RecordBatch;
use datafusion::common::Result;

use super::saved::SavedBatch;
use super::{Give, NO_WATERMARK, Operator};

/// Another operator, in complete mode.
pub(crate) struct CompleteOperator {
    inner: Box<dyn Operator>,
    changed: bool,
}

impl CompleteOperator {
    pub(crate) fn new(inner: Box<dyn Operator>) -> Self {
        CompleteOperator { inner, changed: false }
    }
}

impl Operator for CompleteOperator {
    fn push(&mut self, batch: &RecordBatch, _watermark: i64) -> Result<Vec<i64>> {
        self.changed |= batch.num_rows() > 0;
        self.inner.push(batch, NO_WATERMARK)
    }

    fn advance(&mut self, _before: i64, _after: i64, give: &mut Give<'_>) -> Result<()> {
        // What changed is told again with the rest; the inner operator only forgets that it was to tell it.
        self.inner.advance(NO_WATERMARK, NO_WATERMARK, &mut |_| Ok(()))?;
        if std::mem::take(&mut self.changed) { self.whole()?.map_or(Ok(()), give) } else { Ok(()) }
    }

    fn whole(&self) -> Result<Option<RecordBatch>> {
        self.inner.whole()
    }

    fn groups(&self) -> usize {
        self.inner.groups()
    }

    fn bytes(&self) -> usize {
        self.inner.bytes()
    }

    fn save(&self) -> Result<SavedBatch> {
        self.inner.save()
    }

    fn load(&mut self, saved: &RecordBatch) -> Result<()> {
        self.inner.load(saved)
    }
}
