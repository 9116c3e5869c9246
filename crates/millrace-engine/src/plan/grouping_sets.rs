//! ROLLUP, CUBE and GROUPING SETS over a stream: every row once a set, with NULL for the columns the set leaves out.
//!
//! ```text
//!  GROUP BY w, ROLLUP (category)     row (w, shoes) ─▶ (w, shoes, id 0)   set (w, category)
//!                                                  └─▶ (w, NULL,  id 1)   set (w)
//! ```
//!
//! The rows are multiplied by unnesting the list of set numbers, as Spark does with its Expand. The number of a set tells
//! which columns it leaves out, a bit a column, so that a NULL of the data stays apart; `grouping(x)` reads it.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::{Column, Result, ScalarValue, plan_err};
use datafusion::functions_nested::make_array::make_array;
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, GroupingSet, LogicalPlan, LogicalPlanBuilder, Projection, lit, when,
};

use crate::SqlError;

/// Hidden column: the set a row was made for.
const SET: &str = "__grouping_set";

/// An aggregate's input and groups, without grouping sets.
pub(super) struct Expanded {
    pub(super) input: LogicalPlan,
    pub(super) groups: Vec<Expr>,
}

/// Turns grouping sets into rows; an aggregate without them stays as it is.
pub(super) fn expand(node: &Aggregate, input: LogicalPlan) -> Result<Expanded> {
    let [Expr::GroupingSet(sets)] = node.group_expr.as_slice() else {
        return Ok(Expanded { input, groups: node.group_expr.clone() });
    };
    let all: Vec<Expr> = sets.distinct_expr().into_iter().cloned().collect();
    let sets = members(sets, &all);
    let ids: Vec<u64> = sets.iter().map(|set| set_id(set)).collect();
    if ids.iter().enumerate().any(|(at, id)| ids[..at].contains(id)) {
        return Err(refused("the same grouping set twice", "write each set once"));
    }
    let id_type = node.schema.field(all.len()).data_type().clone();
    let id = |id: u64| -> Result<Expr> { Ok(Expr::Literal(ScalarValue::UInt64(Some(id)).cast_to(&id_type)?, None)) };
    let input = multiplied(input, &ids)?;
    let set = Expr::Column(Column::from_name(SET));
    let mut groups = Vec::with_capacity(all.len() + 1);
    for (at, group) in all.iter().enumerate() {
        let holding: Vec<Expr> =
            sets.iter().zip(&ids).filter(|(set, _)| set[at]).map(|(_, id)| lit(*id as i64)).collect();
        if holding.len() == sets.len() {
            groups.push(group.clone());
            continue;
        }
        if super::stream::window_call(group).is_some() {
            return Err(refused(
                "a grouping set without the window: its rows are never final",
                "write GROUP BY window(…), ROLLUP (a, b)",
            ));
        }
        let absent = Expr::Literal(ScalarValue::try_from(group.get_type(input.schema())?)?, None);
        groups.push(when(set.clone().in_list(holding, false), group.clone()).otherwise(absent)?);
    }
    let mut number = id(ids[0])?;
    for other in &ids[1..] {
        number = when(set.clone().eq(lit(*other as i64)), id(*other)?).otherwise(number)?;
    }
    groups.push(number);
    Ok(Expanded { input, groups })
}

/// Which of all columns each set holds.
fn members(sets: &GroupingSet, all: &[Expr]) -> Vec<Vec<bool>> {
    match sets {
        GroupingSet::Rollup(columns) => (0..=columns.len())
            .rev()
            .map(|held| all.iter().map(|expr| columns[..held].contains(expr)).collect())
            .collect(),
        GroupingSet::Cube(columns) => (0..1_u64 << columns.len())
            .map(|absent| (0..columns.len()).map(|at| absent & (1 << (columns.len() - 1 - at)) == 0).collect())
            .collect(),
        GroupingSet::GroupingSets(sets) => {
            sets.iter().map(|set| all.iter().map(|expr| set.contains(expr)).collect()).collect()
        }
    }
}

/// A bit for each column the set leaves out, the first column's the highest.
fn set_id(set: &[bool]) -> u64 {
    set.iter().fold(0, |id, held| (id << 1) | u64::from(!held))
}

/// Every row once a set, with the number of the set.
fn multiplied(input: LogicalPlan, ids: &[u64]) -> Result<LogicalPlan> {
    if input.schema().fields().iter().any(|field| field.name() == SET) {
        return plan_err!("grouping sets of grouping sets");
    }
    let mut exprs: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let numbers = ids.iter().map(|id| lit(*id as i64)).collect();
    exprs.push(make_array(numbers).alias(SET));
    let numbered = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?);
    let plan = LogicalPlanBuilder::from(numbered).unnest_column(Column::from_name(SET))?.build()?;
    debug_assert!(plan.schema().field_with_unqualified_name(SET).is_ok_and(|f| f.data_type() == &DataType::Int64));
    Ok(plan)
}

fn refused(message: &str, hint: &str) -> datafusion::common::DataFusionError {
    let place = sqlparser::tokenizer::Location { line: 0, column: 0 };
    SqlError::at(place, message).hint(hint).through()
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::col;

    use super::*;

    #[test]
    fn sets_and_their_numbers() {
        let columns = vec![col("a"), col("b")];
        let ids = |sets: &GroupingSet| members(sets, &columns).iter().map(|set| set_id(set)).collect::<Vec<_>>();
        assert_eq!(ids(&GroupingSet::Rollup(columns.clone())), [0b00, 0b01, 0b11]);
        assert_eq!(ids(&GroupingSet::Cube(columns.clone())), [0b00, 0b01, 0b10, 0b11]);
        assert_eq!(ids(&GroupingSet::GroupingSets(vec![vec![col("b")], vec![]])), [0b10, 0b11]);
    }
}
