//! The shape nearly all our scalar functions have: coerce, name the type, map whole columns.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, TimeUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::type_name::type_name;

/// A scalar function that works on whole columns of equal length.
#[derive(Debug)]
pub(super) struct Simple {
    /// Lower-case name.
    pub(super) name: &'static str,
    /// Other names.
    pub(super) aliases: &'static [&'static str],
    /// The types the arguments are cast to, or what is wrong with them.
    pub(super) coerce: fn(&[DataType]) -> Result<Vec<DataType>>,
    /// The type of the result, for coerced arguments.
    pub(super) returns: fn(&[DataType]) -> DataType,
    /// The result for the argument columns, given its type.
    pub(super) evaluate: fn(&[ArrayRef], &DataType) -> Result<ArrayRef>,
}

impl Simple {
    /// As DataFusion takes it.
    pub(super) fn udf(self) -> Arc<ScalarUDF> {
        let aliases = self.aliases.iter().map(|&alias| alias.to_owned()).collect();
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(SimpleUdf { function: self, aliases, signature, infix: None }))
    }

    /// As DataFusion takes it, shown as an operator between its two arguments.
    pub(super) fn infix(self, operator: &'static str) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        let aliases = Vec::new();
        Arc::new(ScalarUDF::new_from_impl(SimpleUdf { function: self, aliases, signature, infix: Some(operator) }))
    }
}

#[derive(Debug)]
struct SimpleUdf {
    function: Simple,
    aliases: Vec<String>,
    signature: Signature,
    infix: Option<&'static str>,
}

impl PartialEq for SimpleUdf {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for SimpleUdf {}

impl Hash for SimpleUdf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl ScalarUDFImpl for SimpleUdf {
    fn name(&self) -> &str {
        self.function.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names = args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>();
        match (self.infix, names.as_slice()) {
            (Some(operator), [left, right]) => Ok(format!("{left} {operator} {right}")),
            _ => Ok(format!("{}({})", self.name(), names.join(","))),
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        (self.function.coerce)(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok((self.function.returns)(&(self.function.coerce)(types)?))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns: Vec<ArrayRef> = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<_>>()?;
        let result = (self.function.evaluate)(&columns, args.return_field.data_type())?;
        if constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// Spark's TIMESTAMP: microseconds, UTC.
pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// What can be read as a TIMESTAMP: timestamps, dates, texts, NULL.
pub(super) fn as_timestamp(name: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64 | DataType::Null => Ok(timestamp_type()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(timestamp_type()),
        _ => Err(mismatch(name, "a TIMESTAMP", given, "CAST(x AS TIMESTAMP)")),
    }
}

/// What Spark casts to STRING by itself: everything that is not nested or binary.
pub(super) fn as_text(name: &str, given: &DataType) -> Result<DataType> {
    if given.is_nested() {
        return Err(mismatch(name, "a STRING", given, "to_json(x) gives one"));
    }
    Ok(DataType::Utf8)
}

/// What is an integer, or is read as one.
pub(super) fn as_integer(name: &str, given: &DataType, integer: DataType) -> Result<DataType> {
    if given.is_integer() || given.is_null() {
        return Ok(integer);
    }
    Err(mismatch(name, "an integer", given, "CAST(x AS INT)"))
}

/// Spark's error for an argument of a type without a meaning.
pub(crate) fn mismatch(name: &str, wanted: &str, given: &DataType, hint: &str) -> DataFusionError {
    plan_datafusion_err!("[DATATYPE_MISMATCH] {name}() takes {wanted}, not {}; hint: {hint}", type_name(given))
}

/// What can be read as a DATE.
pub(super) fn as_date(name: &str, given: &DataType) -> Result<DataType> {
    as_timestamp(name, given).map(|_| DataType::Date32)
}

/// The result of another function for these columns.
pub(super) fn delegate(to: &ScalarUDF, columns: &[ArrayRef], result: &DataType) -> Result<ArrayRef> {
    let rows = columns.first().map_or(1, |column| column.len());
    let field =
        |(i, column): (usize, &ArrayRef)| Arc::new(Field::new(format!("x{i}"), column.data_type().clone(), true));
    let given = to.invoke_with_args(ScalarFunctionArgs {
        args: columns.iter().cloned().map(ColumnarValue::Array).collect(),
        arg_fields: columns.iter().enumerate().map(field).collect(),
        number_rows: rows,
        return_field: Arc::new(Field::new(to.name(), result.clone(), true)),
        config_options: Arc::new(ConfigOptions::default()),
    })?;
    Ok(cast(&given.into_array(rows)?, result)?)
}

/// Checks the number of arguments.
pub(super) fn take_between(name: &str, types: &[DataType], fewest: usize, most: usize) -> Result<()> {
    if (fewest..=most).contains(&types.len()) {
        return Ok(());
    }
    let wanted = if fewest == most { fewest.to_string() } else { format!("{fewest} to {most}") };
    plan_err!("[WRONG_NUM_ARGS] {name}() takes {wanted} arguments, {} were given", types.len())
}
