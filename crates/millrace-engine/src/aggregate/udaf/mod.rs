//! The aggregate functions as DataFusion knows them: for planning every statement, and for running batch queries.
//!
//! `count`, `min` and `max` stay DataFusion's own, which agree with Spark's. The rest run the [`GroupState`] of the streaming
//! operators behind DataFusion's two interfaces: [`one_group::OneGroup`] and [`many_groups::ManyGroups`].
//!
//! [`GroupState`]: super::GroupState

mod many_groups;
mod one_group;

use std::sync::Arc;

use arrow_array::new_empty_array;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{DataFusionError, Result, ScalarValue, not_impl_err};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;

use self::many_groups::ManyGroups;
use self::one_group::OneGroup;
use super::GroupState;
use super::factory::state;
use super::function::Function;

/// Every aggregate function that can run over a stream, as DataFusion plans it.
pub(crate) fn aggregate_udfs() -> Vec<Arc<AggregateUDF>> {
    let datafusion_has = |function: &Function| matches!(function, Function::Count | Function::Min | Function::Max);
    let own = Function::all().filter(|function| !datafusion_has(function));
    own.map(|function| Arc::new(AggregateUDF::new_from_impl(SparkAggregate::new(function)))).collect()
}

/// One aggregate function with Spark's types.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SparkAggregate {
    function: Function,
    aliases: Vec<String>,
    signature: Signature,
}

impl SparkAggregate {
    fn new(function: Function) -> Self {
        let aliases = function.aliases().iter().map(|&alias| alias.to_owned()).collect();
        SparkAggregate { function, aliases, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// The function that gives the result over the distinct values, `None` when there is none of ours.
    fn over_distinct(&self) -> Option<Function> {
        match self.function {
            Function::CollectList => Some(Function::CollectSet),
            function => function.ignores_duplicates().then_some(function),
        }
    }

    /// DataFusion's function, for what a [`GroupState`] cannot do: DISTINCT sums, and frames that slide.
    fn stand_in(&self) -> Result<Arc<AggregateUDF>> {
        match self.function {
            Function::Sum => Ok(sum_udaf()),
            Function::Avg => Ok(avg_udaf()),
            function => not_impl_err!("{}() with DISTINCT or over a sliding frame", function.name()),
        }
    }

    fn call(&self, args: &AccumulatorArgs) -> Call {
        let literal = |expr: &Arc<dyn datafusion::physical_expr::PhysicalExpr>| {
            expr.downcast_ref::<Literal>().map(|literal| literal.value().clone())
        };
        let mut constants: Vec<_> = args.exprs.iter().map(literal).collect();
        let mut types: Vec<_> = args.expr_fields.iter().map(|field| field.data_type().clone()).collect();
        if args.ignore_nulls && types.len() == 1 {
            types.push(DataType::Boolean);
            constants.push(Some(ScalarValue::Boolean(Some(true))));
        }
        let function = if args.is_distinct { self.over_distinct().unwrap_or(self.function) } else { self.function };
        Call { function, types, return_type: args.return_field.data_type().clone(), constants }
    }
}

/// What a state is made from, again and again.
#[derive(Clone, Debug)]
struct Call {
    function: Function,
    types: Vec<DataType>,
    return_type: DataType,
    constants: Vec<Option<ScalarValue>>,
}

impl Call {
    /// A state of `groups` empty groups.
    fn state(&self, groups: usize) -> Result<Box<dyn GroupState>> {
        let mut made =
            state(self.function, &self.types, &self.return_type, &self.constants).map_err(DataFusionError::Plan)?;
        made.resize(groups);
        Ok(made)
    }
}

impl AggregateUDFImpl for SparkAggregate {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.function.return_type(&self.function.coerce(types)?))
    }

    fn is_nullable(&self) -> bool {
        self.function.nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct && self.over_distinct().is_none() {
            return self.stand_in()?.accumulator(args);
        }
        Ok(Box::new(OneGroup::new(self.call(&args))?))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct || self.over_distinct().is_some()
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(ManyGroups::new(self.call(&args))?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match self.stand_in() {
            Ok(stand_in) => stand_in.create_sliding_accumulator(args),
            Err(_) => self.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if args.is_distinct && self.over_distinct().is_none() {
            return self.stand_in()?.state_fields(args);
        }
        // Second arguments that are constants do not change what is saved, so they are left out.
        let values = if matches!(self.function, Function::MinBy | Function::MaxBy) { 2 } else { 1 };
        let types = args.input_fields.iter().take(values).map(|field| field.data_type().clone()).collect();
        let constants = match self.function {
            Function::PercentileApprox | Function::Percentile => vec![None, Some(ScalarValue::Float64(Some(0.5)))],
            _ => Vec::new(),
        };
        let function = if args.is_distinct { self.over_distinct().unwrap_or(self.function) } else { self.function };
        let call = Call { function, types, return_type: args.return_field.data_type().clone(), constants };
        let saved = call.state(0)?.saved_types().into_iter().enumerate();
        let field = |(i, saved_type)| {
            Arc::new(Field::new(format_state_name(args.name, &format!("state{i}")), saved_type, true))
        };
        Ok(saved.map(field).collect())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        if self.function.depends_on_order() {
            AggregateOrderSensitivity::HardRequirement
        } else {
            AggregateOrderSensitivity::Insensitive
        }
    }

    fn supports_null_handling_clause(&self) -> bool {
        matches!(self.function, Function::First | Function::Last)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        match data_type {
            DataType::Int64 if !self.is_nullable() => Ok(ScalarValue::Int64(Some(0))),
            DataType::List(field) if !self.is_nullable() => {
                Ok(SingleRowListArrayBuilder::new(new_empty_array(field.data_type())).build_list_scalar())
            }
            _ => ScalarValue::try_from(data_type),
        }
    }
}
