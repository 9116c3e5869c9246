//! From the name and types of an aggregate call to its state.

use arrow_array::types::{Decimal128Type, Float64Type, Int64Type};
use arrow_schema::DataType;
use datafusion::common::ScalarValue;

use super::GroupState;
use super::average::{Average, DecimalAverage};
use super::bits::Bits;
use super::collect_list::CollectList;
use super::collect_set::CollectSet;
use super::count::{Count, Counted};
use super::extreme::Extreme;
use super::extreme_by::ExtremeBy;
use super::first_last::FirstLast;
use super::function::Function;
use super::hyperloglog::{DEVIATION, DistinctEstimate};
use super::logical::Logical;
use super::moments::Moments;
use super::numbers::{self, Numbers};
use super::of_list::{Finish, OfList};
use super::percentile::Percentile;
use super::sum::Sum;

/// A new, empty state for a call of an aggregate function in a streaming statement.
///
/// `function` is the name it is registered under, in lower case; the types are those after coercion; `constants` holds the
/// value of each argument that is a literal.
///
/// # Errors
/// What to say to the author of the statement: an unknown function, a DISTINCT, a type without an order.
pub(crate) fn group_state(
    function: &str,
    argument_types: &[DataType],
    return_type: &DataType,
    distinct: bool,
    constants: &[Option<ScalarValue>],
) -> Result<Box<dyn GroupState>, String> {
    let Some(known) = Function::find(function) else {
        return Err(format!("{function}() is not available over a stream"));
    };
    if distinct && !known.ignores_duplicates() {
        return Err(format!(
            "{function}(DISTINCT …): distinct aggregations are not supported on streaming; hint: approx_count_distinct(x) or \
             size(collect_set(x))"
        ));
    }
    state(known, argument_types, return_type, constants)
}

/// The state of a known function, streaming or batch.
pub(super) fn state(
    function: Function,
    types: &[DataType],
    return_type: &DataType,
    constants: &[Option<ScalarValue>],
) -> Result<Box<dyn GroupState>, String> {
    let constant = |index: usize| constants.get(index).and_then(Option::as_ref);
    let value_type = types.first().ok_or_else(|| format!("{}() without an argument", function.name()))?;
    let second_type = || types.get(1).ok_or_else(|| format!("{}() takes two arguments", function.name()));
    let wrong = |error: datafusion::common::DataFusionError| error.strip_backtrace();
    let ignore_nulls = || match types.len() {
        1 => Ok(false),
        _ => match constant(1) {
            Some(ScalarValue::Boolean(Some(ignore))) => Ok(*ignore),
            _ => Err(format!("the second argument of {}() must be true or false, written out", function.name())),
        },
    };
    Ok(match function {
        Function::Count => Box::new(Count::new(Counted::NotNull)),
        Function::CountIf => Box::new(Count::new(Counted::True)),
        Function::Sum => match return_type {
            DataType::Int64 => Box::new(Sum::<Int64Type>::new(return_type.clone())),
            DataType::Float64 => Box::new(Sum::<Float64Type>::new(return_type.clone())),
            DataType::Decimal128(_, _) => Box::new(Sum::<Decimal128Type>::new(return_type.clone())),
            _ => {
                return Err(format!(
                    "sum() to {return_type} is not available; hint: CAST the argument to BIGINT or DOUBLE"
                ));
            }
        },
        Function::Avg => match return_type {
            DataType::Decimal128(_, _) => Box::new(DecimalAverage::new(value_type, return_type).map_err(wrong)?),
            _ => Box::new(Average::default()),
        },
        Function::Min | Function::Max => Box::new(Extreme::new(value_type, function == Function::Min).map_err(wrong)?),
        Function::MinBy | Function::MaxBy => {
            Box::new(ExtremeBy::new(value_type, second_type()?, function == Function::MinBy).map_err(wrong)?)
        }
        Function::First | Function::Last => {
            Box::new(FirstLast::new(value_type, function == Function::Last, ignore_nulls()?).map_err(wrong)?)
        }
        Function::ApproxCountDistinct => {
            let deviation = match (types.len(), constant(1)) {
                (1, _) => DEVIATION,
                (_, Some(ScalarValue::Float64(Some(deviation)))) => *deviation,
                _ => {
                    return Err(
                        "approx_count_distinct: the deviation must be a number, written out, such as 0.01".to_owned()
                    );
                }
            };
            Box::new(DistinctEstimate::new(value_type, deviation)?)
        }
        Function::CollectList => Box::new(CollectList::new(value_type).map_err(wrong)?),
        Function::CollectSet => Box::new(CollectSet::new(value_type).map_err(wrong)?),
        Function::StddevSamp | Function::StddevPop | Function::VarSamp | Function::VarPop => {
            Box::new(Moments::new(function.deviation()))
        }
        Function::PercentileApprox => Box::new(Percentile::new(value_type, constant(1), constant(2))?),
        Function::Skewness => Box::new(Numbers::new(numbers::SKEWNESS)),
        Function::Kurtosis => Box::new(Numbers::new(numbers::KURTOSIS)),
        Function::CovarPop => Box::new(Numbers::new(numbers::COVAR_POP)),
        Function::CovarSamp => Box::new(Numbers::new(numbers::COVAR_SAMP)),
        Function::Corr => Box::new(Numbers::new(numbers::CORR)),
        Function::RegrCount => Box::new(Count::new(Counted::NotNull)),
        Function::RegrSlope => Box::new(Numbers::new(numbers::REGR_SLOPE)),
        Function::RegrIntercept => Box::new(Numbers::new(numbers::REGR_INTERCEPT)),
        Function::RegrR2 => Box::new(Numbers::new(numbers::REGR_R2)),
        Function::RegrAvgX => Box::new(Numbers::new(numbers::REGR_AVGX)),
        Function::RegrAvgY => Box::new(Numbers::new(numbers::REGR_AVGY)),
        Function::RegrSxx => Box::new(Numbers::new(numbers::REGR_SXX)),
        Function::RegrSxy => Box::new(Numbers::new(numbers::REGR_SXY)),
        Function::RegrSyy => Box::new(Numbers::new(numbers::REGR_SYY)),
        Function::BitAnd => Box::new(Bits::new(|a, b| a & b)),
        Function::BitOr => Box::new(Bits::new(|a, b| a | b)),
        Function::BitXor => Box::new(Bits::new(|a, b| a ^ b)),
        Function::Median => {
            let half = Finish::Percentiles { shares: vec![0.5], list: false };
            Box::new(OfList::new(value_type, half).map_err(wrong)?)
        }
        Function::Percentile => Box::new(OfList::new(value_type, Finish::percentile(constant(1))?).map_err(wrong)?),
        Function::Mode => Box::new(OfList::new(value_type, Finish::Mode).map_err(wrong)?),
        Function::StringAgg => {
            let between = match (types.len(), constant(1)) {
                (1, _) => String::new(),
                (_, Some(ScalarValue::Utf8(between))) => between.clone().unwrap_or_default(),
                _ => return Err("the second argument of string_agg() must be a text, written out".to_owned()),
            };
            Box::new(OfList::new(value_type, Finish::Joined(between)).map_err(wrong)?)
        }
        Function::BoolAnd | Function::BoolOr => Box::new(Logical::new(function == Function::BoolAnd)),
    })
}
