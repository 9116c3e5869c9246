//! GROUP BY without a window: running totals of keys that never close. Update mode only, as in Spark.

use arrow_array::RecordBatch;
use datafusion::common::Result;

use super::calls::{GroupTable, Grouping};
use super::saved::SavedBatch;
use super::{Give, Operator};

/// A running aggregate.
pub(crate) struct GroupOperator {
    grouping: Grouping,
    table: GroupTable,
    dirty: Vec<u32>,
    is_dirty: Vec<bool>,
}

impl GroupOperator {
    pub(crate) fn new(grouping: Grouping) -> Self {
        let table = GroupTable::new(&grouping);
        GroupOperator { grouping, table, dirty: Vec::new(), is_dirty: Vec::new() }
    }
}

impl Operator for GroupOperator {
    fn push(&mut self, batch: &RecordBatch, _watermark: i64) -> Result<Vec<i64>> {
        let evaluated = self.grouping.evaluate(batch)?;
        let rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
        let groups = self.table.add(&evaluated, &rows)?;
        self.is_dirty.resize(self.table.keys.capacity(), false);
        for group in groups {
            if !std::mem::replace(&mut self.is_dirty[group as usize], true) {
                self.dirty.push(group);
            }
        }
        // Nothing closes, so nothing is late.
        Ok(Vec::new())
    }

    fn advance(&mut self, _before: i64, _after: i64, give: &mut Give<'_>) -> Result<()> {
        if self.dirty.is_empty() {
            return Ok(());
        }
        let groups = std::mem::take(&mut self.dirty);
        for group in &groups {
            self.is_dirty[*group as usize] = false;
        }
        let keys = self.table.key_columns(&self.grouping, &groups)?;
        give(self.grouping.output(keys, None, self.table.states.evaluate(&groups)?, groups.len())?)
    }

    fn whole(&self) -> Result<Option<RecordBatch>> {
        let groups = self.table.keys.numbers();
        let keys = self.table.key_columns(&self.grouping, &groups)?;
        self.grouping.output(keys, None, self.table.states.evaluate(&groups)?, groups.len()).map(Some)
    }

    fn groups(&self) -> usize {
        self.table.keys.len()
    }

    fn bytes(&self) -> usize {
        self.table.bytes()
    }

    fn save(&self) -> Result<SavedBatch> {
        let groups = self.table.keys.numbers();
        let (fields, columns) = self.table.save(&self.grouping, &groups)?;
        Ok(SavedBatch::new(fields, columns, groups.len()))
    }

    fn load(&mut self, saved: &RecordBatch) -> Result<()> {
        self.table = GroupTable::new(&self.grouping);
        self.table.load(&self.grouping, saved.columns(), saved.num_rows())?;
        self.dirty.clear();
        self.is_dirty = vec![false; self.table.keys.capacity()];
        Ok(())
    }
}
