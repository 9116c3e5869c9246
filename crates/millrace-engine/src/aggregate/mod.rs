//! Aggregate functions whose state can be read without being used up.
//!
//! DataFusion's accumulators give up their state when they are evaluated; a stream shows an open window again and again.
//! So these keep one state for each of many groups, column-wise, and can do four things DataFusion's cannot: evaluate some
//! groups and go on, merge group by group into another table of groups (panes into a window), forget one group, and save
//! and load as Arrow columns.
//!
//! ```text
//!                 groups   0   1   2   3 …          one GroupState an aggregate of the SELECT
//!  update(rows)  ─▶ state  ▇   ▇   ▇   ▇            rows → groups, vectorised
//!  merge(other)  ─▶        ▇◀──▇                    pane's group → window's group
//!  evaluate      ◀─        ▇       ▇                any groups, any number of times
//!  save / load   ◀▶ Arrow columns                   snapshots, independent of this memory layout
//! ```

mod average;
mod bits;
mod collect_list;
mod collect_set;
mod count;
mod extreme;
mod extreme_by;
mod factory;
mod first_last;
mod function;
mod hyperloglog;
mod kept_values;
mod logical;
mod moments;
mod numbers;
mod of_list;
mod order_keys;
mod percentile;
mod row_bytes;
mod rows;
mod sum;
mod udaf;

#[cfg(test)]
mod tests;

use std::any::Any;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion::common::Result;

use crate::operator::saved::Saved;
pub(crate) use factory::group_state;
pub(crate) use udaf::aggregate_udfs;

/// Is this the name, in lower case, of an aggregate function?
pub(crate) fn is_aggregate(name: &str) -> bool {
    function::Function::find(name).is_some() || name == "grouping"
}

/// The state of one aggregate call for many groups.
///
/// Groups are dense numbers given by the operator. A group that was never updated has the state of no rows at all.
pub(crate) trait GroupState: Send {
    /// Makes room for groups `0..groups`; new ones are empty. Never shrinks.
    fn resize(&mut self, groups: usize);

    /// Adds rows: row `rows[i]` of the argument columns goes to group `groups[i]`.
    ///
    /// # Errors
    /// What Spark's ANSI mode refuses (overflow of a sum).
    fn update(&mut self, arguments: &[ArrayRef], rows: &[u32], groups: &[u32]) -> Result<()>;

    /// Merges group `from[i]` of another state of the same kind into group `into[i]` of this one.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    fn merge(&mut self, other: &dyn GroupState, from: &[u32], into: &[u32]) -> Result<()>;

    /// Merges group `from` of this state into its group `into`, and empties `from` (two sessions become one).
    ///
    /// # Errors
    /// As [`update`](Self::update).
    fn merge_within(&mut self, from: u32, into: u32) -> Result<()>;

    /// Empties a group, so its number can be used again.
    fn clear(&mut self, group: u32);

    /// The result of these groups, in this order; the state stays.
    ///
    /// # Errors
    /// A result that does not fit its type.
    fn evaluate(&self, groups: &[u32]) -> Result<ArrayRef>;

    /// The state of these groups as columns, for [`load`](Self::load).
    ///
    /// # Errors
    /// Internal only.
    fn save(&self, groups: &[u32]) -> Result<Vec<ArrayRef>>;

    /// The same, quickly: what takes long is done when the columns are asked for, on whatever thread, and is as it was now.
    ///
    /// # Errors
    /// Internal only.
    fn save_behind(&self, groups: &[u32]) -> Result<Saved> {
        self.save(groups).map(Saved::Now)
    }

    /// Sets the state of these groups from what [`save`](Self::save) gave.
    ///
    /// # Errors
    /// Columns of another shape: a snapshot that does not belong to this statement.
    fn load(&mut self, groups: &[u32], columns: &[ArrayRef]) -> Result<()>;

    /// Types of the columns of [`save`](Self::save).
    fn saved_types(&self) -> Vec<DataType>;

    /// Bytes of memory, estimated, cheap to ask.
    fn bytes(&self) -> usize;

    /// For [`merge`](Self::merge).
    fn as_any(&self) -> &dyn Any;
}
