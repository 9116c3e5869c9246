//! The logical node of a join of two streams.

use std::fmt;
use std::sync::Arc;

use datafusion::common::{DFSchema, DFSchemaRef, JoinType, Result, internal_err};
use datafusion::logical_expr::logical_plan::builder::build_join_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::RECORD_NUMBER;
use super::stream::record_number;
use crate::operator::join::JoinKind;

/// The range of time between partners: `least ≤ right − left ≤ most`, microseconds, where there is a bound.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TimeRange {
    pub(crate) left: Expr,
    pub(crate) right: Expr,
    pub(crate) least: Option<i64>,
    pub(crate) most: Option<i64>,
}

/// Stands in the logical plan where DataFusion's Join of two streams stood.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct StreamJoin {
    /// Its number in the table: operators below it have smaller ones.
    pub(crate) id: usize,
    pub(crate) inputs: [LogicalPlan; 2],
    pub(crate) kind: JoinKind,
    /// Equal expressions of the left and the right input.
    pub(crate) on: Vec<(Expr, Expr)>,
    pub(crate) range: Option<TimeRange>,
    /// How far the event time of each input may be behind the table's watermark.
    pub(crate) lags: [Option<i64>; 2],
    /// What else must hold.
    pub(crate) condition: Option<Expr>,
    pub(crate) schema: DFSchemaRef,
}

impl PartialOrd for StreamJoin {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.id.partial_cmp(&other.id)
    }
}

impl StreamJoin {
    /// Its columns: those of both inputs, of a semi join those of the left, without record numbers.
    pub(crate) fn schema_of(inputs: &[LogicalPlan; 2], kind: JoinKind) -> Result<DFSchemaRef> {
        let join_type = match kind {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Right => JoinType::Right,
            JoinKind::Full => JoinType::Full,
            JoinKind::Semi => JoinType::LeftSemi,
        };
        let [left, right] = [&inputs[0], &inputs[1]].map(|input| without_record(input.schema()));
        Ok(Arc::new(build_join_schema(&left?, &right?, &join_type)?))
    }

    /// How long a row of an input waits for partners, counted from its time in the table's watermark; none for ever.
    pub(crate) fn wait(&self, input: usize) -> Option<i64> {
        let range = self.range.as_ref()?;
        let most = if input == 0 { range.most? } else { range.least?.checked_neg()? };
        most.checked_add(self.lags[1 - input]?)
    }
}

/// A schema without the record number.
pub(crate) fn without_record(schema: &DFSchema) -> Result<DFSchema> {
    let fields = schema.iter().filter(|(_, field)| field.name() != RECORD_NUMBER);
    let fields = fields.map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
    DFSchema::new_with_metadata(fields, schema.metadata().clone())
}

impl UserDefinedLogicalNodeCore for StreamJoin {
    fn name(&self) -> &str {
        "StreamJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let on = self.on.iter().flat_map(|(left, right)| [left, right]);
        let range = self.range.iter().flat_map(|range| [&range.left, &range.right]);
        on.chain(range).chain(&self.condition).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamJoin: {:?} on={:?} range={:?}", self.kind, self.on, self.range)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Ok(inputs) = <[LogicalPlan; 2]>::try_from(inputs) else { return internal_err!("a join has two inputs") };
        let schema = Self::schema_of(&inputs, self.kind)?;
        let mut exprs = exprs.into_iter();
        let mut next = || exprs.next().map_or_else(|| internal_err!("an expression of a join is missing"), Ok);
        let mut on = Vec::new();
        for _ in &self.on {
            on.push((next()?, next()?));
        }
        let range = match &self.range {
            Some(range) => Some(TimeRange { left: next()?, right: next()?, ..range.clone() }),
            None => None,
        };
        let condition = if self.condition.is_some() { Some(next()?) } else { None };
        Ok(StreamJoin { id: self.id, inputs, kind: self.kind, on, range, lags: self.lags, condition, schema })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let shown: Vec<_> = self.schema.columns();
        let shown = output_columns.iter().filter_map(|at| shown.get(*at));
        let used: Vec<_> =
            self.expressions().iter().flat_map(|e| e.column_refs().into_iter().cloned().collect::<Vec<_>>()).collect();
        let wanted: Vec<_> = shown.chain(&used).cloned().collect();
        let needed = |input: &LogicalPlan| {
            let schema = input.schema();
            let all = wanted.iter().cloned().chain(record_number(schema));
            let mut places: Vec<usize> = all.filter_map(|column| schema.maybe_index_of_column(&column)).collect();
            places.sort_unstable();
            places.dedup();
            places
        };
        Some(self.inputs.iter().map(needed).collect())
    }
}
