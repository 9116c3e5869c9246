//! The aggregate functions by name, with Spark's argument and return types.

use arrow_schema::DataType;
use datafusion::common::{Result, plan_err};

use super::collect_list::list_of;
use super::moments::Deviation;
use crate::functions::mismatch;

/// An aggregate function of Spark's that can run over a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Function {
    Count,
    CountIf,
    Sum,
    Avg,
    Min,
    Max,
    MinBy,
    MaxBy,
    First,
    Last,
    ApproxCountDistinct,
    CollectList,
    CollectSet,
    StddevSamp,
    StddevPop,
    VarSamp,
    VarPop,
    BoolAnd,
    BoolOr,
    PercentileApprox,
    CovarPop,
    CovarSamp,
    Corr,
    Skewness,
    Kurtosis,
    RegrCount,
    RegrSlope,
    RegrIntercept,
    RegrR2,
    RegrAvgX,
    RegrAvgY,
    RegrSxx,
    RegrSxy,
    RegrSyy,
    BitAnd,
    BitOr,
    BitXor,
    Median,
    Percentile,
    Mode,
    StringAgg,
}

/// Name, other names, fewest and most arguments.
const NAMES: [(Function, &str, &[&str], usize, usize); 41] = [
    (Function::Count, "count", &[], 1, usize::MAX),
    (Function::CountIf, "count_if", &[], 1, 1),
    (Function::Sum, "sum", &[], 1, 1),
    (Function::Avg, "avg", &["mean", "try_avg"], 1, 1),
    (Function::Min, "min", &[], 1, 1),
    (Function::Max, "max", &[], 1, 1),
    (Function::MinBy, "min_by", &[], 2, 2),
    (Function::MaxBy, "max_by", &[], 2, 2),
    (Function::First, "first", &["first_value", "any_value"], 1, 2),
    (Function::Last, "last", &["last_value"], 1, 2),
    (Function::ApproxCountDistinct, "approx_count_distinct", &[], 1, 2),
    (Function::CollectList, "collect_list", &["array_agg"], 1, 1),
    (Function::CollectSet, "collect_set", &[], 1, 1),
    (Function::StddevSamp, "stddev_samp", &["stddev", "std"], 1, 1),
    (Function::StddevPop, "stddev_pop", &[], 1, 1),
    (Function::VarSamp, "var_samp", &["variance"], 1, 1),
    (Function::VarPop, "var_pop", &[], 1, 1),
    (Function::BoolAnd, "bool_and", &["every"], 1, 1),
    (Function::BoolOr, "bool_or", &["some", "any"], 1, 1),
    (Function::PercentileApprox, "percentile_approx", &["approx_percentile"], 2, 3),
    (Function::CovarPop, "covar_pop", &[], 2, 2),
    (Function::CovarSamp, "covar_samp", &[], 2, 2),
    (Function::Corr, "corr", &[], 2, 2),
    (Function::Skewness, "skewness", &[], 1, 1),
    (Function::Kurtosis, "kurtosis", &[], 1, 1),
    (Function::RegrCount, "regr_count", &[], 2, 2),
    (Function::RegrSlope, "regr_slope", &[], 2, 2),
    (Function::RegrIntercept, "regr_intercept", &[], 2, 2),
    (Function::RegrR2, "regr_r2", &[], 2, 2),
    (Function::RegrAvgX, "regr_avgx", &[], 2, 2),
    (Function::RegrAvgY, "regr_avgy", &[], 2, 2),
    (Function::RegrSxx, "regr_sxx", &[], 2, 2),
    (Function::RegrSxy, "regr_sxy", &[], 2, 2),
    (Function::RegrSyy, "regr_syy", &[], 2, 2),
    (Function::BitAnd, "bit_and", &[], 1, 1),
    (Function::BitOr, "bit_or", &[], 1, 1),
    (Function::BitXor, "bit_xor", &[], 1, 1),
    (Function::Median, "median", &[], 1, 1),
    (Function::Percentile, "percentile", &[], 2, 2),
    (Function::Mode, "mode", &[], 1, 1),
    (Function::StringAgg, "string_agg", &["listagg"], 1, 2),
];

impl Function {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Function> {
        NAMES.iter().map(|(function, ..)| *function)
    }

    /// By its name or another, in lower case.
    pub(super) fn find(name: &str) -> Option<Function> {
        NAMES.iter().find(|(_, own, others, ..)| *own == name || others.contains(&name)).map(|(function, ..)| *function)
    }

    /// The name it is registered under.
    pub(super) fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Its other names.
    pub(super) fn aliases(self) -> &'static [&'static str] {
        NAMES[self as usize].2
    }

    /// Whether DISTINCT leaves the result as it is.
    pub(super) fn ignores_duplicates(self) -> bool {
        use Function::*;
        matches!(self, Min | Max | ApproxCountDistinct | CollectSet | BoolAnd | BoolOr | BitAnd | BitOr)
    }

    /// Whether the result depends on the order of the rows.
    pub(super) fn depends_on_order(self) -> bool {
        matches!(self, Function::CollectList | Function::First | Function::Last | Function::StringAgg)
    }

    /// Whether the result can be NULL.
    pub(super) fn nullable(self) -> bool {
        use Function::*;
        !matches!(self, Count | CountIf | RegrCount | ApproxCountDistinct | CollectList | CollectSet)
    }

    /// For the variance family: which figure it is.
    pub(super) fn deviation(self) -> Deviation {
        Deviation {
            population: matches!(self, Function::StddevPop | Function::VarPop),
            root: matches!(self, Function::StddevSamp | Function::StddevPop),
        }
    }

    /// The types the arguments are cast to.
    ///
    /// # Errors
    /// Arguments Spark refuses: too few, too many, or of a type without a meaning here.
    pub(super) fn coerce(self, types: &[DataType]) -> Result<Vec<DataType>> {
        use Function::*;
        let (_, name, _, fewest, most) = NAMES[self as usize];
        if types.len() < fewest || types.len() > most {
            let wanted = if fewest == most { fewest.to_string() } else { format!("{fewest} to {most}") };
            let given = types.len();
            return plan_err!("[WRONG_NUM_ARGS] {name}() takes {wanted} arguments, {given} were given");
        }
        let mut coerced = types.to_vec();
        match self {
            CountIf | BoolAnd | BoolOr => coerced[0] = boolean(name, &types[0])?,
            Sum => coerced[0] = number(name, &types[0], DataType::Int64)?,
            Avg => coerced[0] = number(name, &types[0], DataType::Float64)?,
            StddevSamp | StddevPop | VarSamp | VarPop | Skewness | Kurtosis | Median => {
                number(name, &types[0], DataType::Float64)?;
                coerced[0] = DataType::Float64;
            }
            CovarPop | CovarSamp | Corr | RegrCount | RegrSlope | RegrIntercept | RegrR2 | RegrAvgX | RegrAvgY
            | RegrSxx | RegrSxy | RegrSyy => {
                for given in types {
                    number(name, given, DataType::Float64)?;
                }
                coerced = vec![DataType::Float64; 2];
            }
            BitAnd | BitOr | BitXor => {
                if !types[0].is_integer() && !types[0].is_null() {
                    return Err(mismatch(name, "an integer", &types[0], "CAST(x AS BIGINT)"));
                }
                coerced[0] = DataType::Int64;
            }
            Percentile => {
                number(name, &types[0], DataType::Float64)?;
                coerced[0] = DataType::Float64;
                coerced[1] = if types[1].is_list() { list_of(&DataType::Float64) } else { DataType::Float64 };
            }
            StringAgg => coerced = vec![DataType::Utf8; types.len()],
            First | Last if types.len() == 2 => coerced[1] = boolean(name, &types[1])?,
            ApproxCountDistinct if types.len() == 2 => {
                number(name, &types[1], DataType::Float64)?;
                coerced[1] = DataType::Float64;
            }
            PercentileApprox => {
                if !matches!(types[0], DataType::Date32 | DataType::Timestamp(_, _)) {
                    number(name, &types[0], DataType::Int64)?;
                }
                coerced[1] = if types[1].is_list() { list_of(&DataType::Float64) } else { DataType::Float64 };
                if let Some(accuracy) = coerced.get_mut(2) {
                    *accuracy = DataType::Int64;
                }
            }
            _ => {}
        }
        Ok(coerced)
    }

    /// The type of the result, for coerced arguments.
    pub(super) fn return_type(self, types: &[DataType]) -> DataType {
        use Function::*;
        match (self, &types[0]) {
            (Count | CountIf | ApproxCountDistinct | RegrCount | BitAnd | BitOr | BitXor, _) => DataType::Int64,
            (Sum, DataType::Decimal128(precision, scale)) => DataType::Decimal128((precision + 10).min(38), *scale),
            (Avg, DataType::Decimal128(precision, scale)) => {
                DataType::Decimal128((precision + 4).min(38), (scale + 4).min(38))
            }
            (Percentile, _) if types.get(1).is_some_and(DataType::is_list) => list_of(&DataType::Float64),
            (
                Avg | StddevSamp | StddevPop | VarSamp | VarPop | Skewness | Kurtosis | Median | Percentile | CovarPop
                | CovarSamp | Corr | RegrSlope | RegrIntercept | RegrR2 | RegrAvgX | RegrAvgY | RegrSxx | RegrSxy
                | RegrSyy,
                _,
            ) => DataType::Float64,
            (StringAgg, _) => DataType::Utf8,
            (BoolAnd | BoolOr, _) => DataType::Boolean,
            (PercentileApprox, value) if types.get(1).is_some_and(DataType::is_list) => list_of(value),
            (PercentileApprox, value) => value.clone(),
            (CollectList | CollectSet, value) => list_of(value),
            (Sum | Min | Max | MinBy | MaxBy | First | Last | Mode, value) => value.clone(),
        }
    }
}

fn boolean(name: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Boolean | DataType::Null => Ok(DataType::Boolean),
        _ => Err(mismatch(name, "a BOOLEAN", given, "write a condition, as in x = 'a'")),
    }
}

/// `integers`: what an integer is cast to.
fn number(name: &str, given: &DataType, integers: DataType) -> Result<DataType> {
    use DataType::*;
    match given {
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => Ok(integers),
        Float16 | Float32 | Float64 | Null | Utf8 | LargeUtf8 | Utf8View => Ok(Float64),
        Decimal32(precision, scale) | Decimal64(precision, scale) | Decimal128(precision, scale) => {
            Ok(Decimal128(*precision, *scale))
        }
        _ => Err(mismatch(name, "a number", given, "CAST(x AS BIGINT), or AS DOUBLE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_the_functions() {
        for (i, (function, name, ..)) in NAMES.iter().enumerate() {
            assert_eq!(*function as usize, i, "{name}");
            assert_eq!(Function::find(name), Some(*function));
        }
        assert_eq!(Function::find("array_agg"), Some(Function::CollectList));
        assert_eq!(Function::find("product"), None);
    }

    #[test]
    fn types() {
        use DataType::*;
        let cases = [
            ("sum", vec![Int32], vec![Int64], Int64),
            ("sum", vec![Float32], vec![Float64], Float64),
            ("sum", vec![Decimal128(12, 2)], vec![Decimal128(12, 2)], Decimal128(22, 2)),
            ("sum", vec![Decimal128(38, 2)], vec![Decimal128(38, 2)], Decimal128(38, 2)),
            ("avg", vec![Int64], vec![Float64], Float64),
            ("avg", vec![Decimal128(10, 2)], vec![Decimal128(10, 2)], Decimal128(14, 6)),
            ("count_if", vec![Null], vec![Boolean], Int64),
            ("max_by", vec![Utf8, Int64], vec![Utf8, Int64], Utf8),
            ("collect_set", vec![Utf8], vec![Utf8], list_of(&Utf8)),
            ("stddev", vec![Decimal128(10, 2)], vec![Float64], Float64),
            ("approx_count_distinct", vec![Utf8, Decimal128(3, 2)], vec![Utf8, Float64], Int64),
        ];
        for (name, given, coerced, result) in cases {
            let function = Function::find(name).expect("known");
            assert_eq!(function.coerce(&given).expect(name), coerced, "{name}");
            assert_eq!(function.return_type(&coerced), result, "{name}");
        }
        for (name, given) in
            [("sum", vec![Boolean]), ("count_if", vec![Int64]), ("max_by", vec![Utf8]), ("sum", vec![])]
        {
            let error = Function::find(name).expect("known").coerce(&given).expect_err(name).to_string();
            assert!(error.contains("[DATATYPE_MISMATCH]") || error.contains("[WRONG_NUM_ARGS]"), "{error}");
        }
    }
}
