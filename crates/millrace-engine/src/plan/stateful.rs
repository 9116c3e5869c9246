//! The logical node of a stateful operator: an aggregate over a stream.

use std::fmt;

use datafusion::common::{DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

/// What kind of state an aggregate over a stream keeps.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Debug)]
pub(crate) enum Kind {
    /// `window(time, size, slide, offset)`; microseconds.
    Window { size: i64, slide: i64, offset: i64 },
    /// `session_window(time, gap)`; microseconds. Without a constant gap the second time expression gives it.
    Session { gap: Option<i64> },
    /// No window, but an event time among the keys: a group is final when the watermark has passed it.
    Timed,
    /// No window.
    Group,
}

/// Stands in the logical plan where DataFusion's Aggregate stood, so that its optimizer leaves the stream alone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Stateful {
    /// Its number in the table: operators below it have smaller ones.
    pub(crate) id: usize,
    pub(crate) input: LogicalPlan,
    pub(crate) kind: Kind,
    /// Place of the window among the groups.
    pub(crate) window_at: Option<usize>,
    /// Event time: the first argument of the window function, then the gap of a session if it changes by row.
    pub(crate) time: Vec<Expr>,
    /// How far behind the table's watermark that time may be, microseconds; without one the state is kept for ever.
    pub(crate) lag: Option<i64>,
    /// Group columns without the window.
    pub(crate) keys: Vec<Expr>,
    pub(crate) calls: Vec<Expr>,
    /// The record-number column of the input.
    pub(crate) record: Vec<Expr>,
    pub(crate) schema: DFSchemaRef,
}

impl PartialOrd for Stateful {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.kind.partial_cmp(&other.kind)
    }
}

impl UserDefinedLogicalNodeCore for Stateful {
    fn name(&self) -> &str {
        "Stateful"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        [&self.time, &self.keys, &self.calls, &self.record].into_iter().flatten().cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |exprs: &[Expr]| exprs.iter().map(|e| e.schema_name().to_string()).collect::<Vec<_>>().join(", ");
        write!(f, "Stateful: {:?} keys=[{}] aggregates=[{}]", self.kind, list(&self.keys), list(&self.calls))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else { return internal_err!("a stateful operator has one input") };
        let mut exprs = exprs.into_iter();
        let mut take = |old: &[Expr]| exprs.by_ref().take(old.len()).collect::<Vec<_>>();
        Ok(Stateful {
            id: self.id,
            input,
            kind: self.kind.clone(),
            lag: self.lag,
            window_at: self.window_at,
            time: take(&self.time),
            keys: take(&self.keys),
            calls: take(&self.calls),
            record: take(&self.record),
            schema: self.schema.clone(),
        })
    }

    fn necessary_children_exprs(&self, _output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // Every group and aggregate is kept: what the state holds must not depend on what is shown of it.
        let schema = self.input.schema();
        let mut needed: Vec<usize> = self
            .expressions()
            .iter()
            .flat_map(|expr| expr.column_refs().into_iter().cloned().collect::<Vec<_>>())
            .filter_map(|column| schema.maybe_index_of_column(&column))
            .collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}
