//! Operators and type names that mean something else in Spark than in DataFusion.
//!
//! | text | DataFusion | here |
//! |---|---|---|
//! | `1 / 2` | 0 | 0.5 |
//! | `7 DIV 2` | not known | 3 |
//! | `9223372036854775807 + 1` | -9223372036854775808 | an error |
//! | `5 % 0` | an error | an error that says what to write |
//! | `xs[0]` | NULL: counts from 1 | the first element |
//! | `TIMESTAMP` | nanoseconds, no zone | microseconds, UTC |

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr, TypePlanner};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, ScalarUDF};
use sqlparser::ast;

use super::simple::timestamp_type;
use super::{arithmetic, array_access, divide};

/// Plans `/`, `DIV`, `xs[i]`, and `+ - * %` of integers.
#[derive(Debug)]
pub(super) struct SparkOperators {
    divide: Arc<ScalarUDF>,
    div: Arc<ScalarUDF>,
    subscript: Arc<ScalarUDF>,
    add: Arc<ScalarUDF>,
    subtract: Arc<ScalarUDF>,
    multiply: Arc<ScalarUDF>,
    remainder: Arc<ScalarUDF>,
}

impl SparkOperators {
    pub(super) fn new() -> Self {
        SparkOperators {
            divide: divide::divide().infix("/"),
            div: divide::div().infix("DIV"),
            subscript: array_access::subscript().udf(),
            add: arithmetic::add().infix("+"),
            subtract: arithmetic::subtract().infix("-"),
            multiply: arithmetic::multiply().infix("*"),
            remainder: arithmetic::remainder().infix("%"),
        }
    }
}

fn call(function: &Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), args))
}

impl ExprPlanner for SparkOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = expr;
        let number = |given: &DataType| given.is_numeric() || given.is_null() || given.is_string();
        let integer = |given: &DataType| given.is_integer();
        // Decimals keep DataFusion's rules, and so do times and intervals.
        let double = |given: &DataType| (given.is_integer() || given.is_floating()) || given.is_null();
        let (function, applies): (_, &dyn Fn(&DataType) -> bool) = match op {
            ast::BinaryOperator::Divide => (&self.divide, &number),
            ast::BinaryOperator::DuckIntegerDivide | ast::BinaryOperator::MyIntegerDivide => (&self.div, &number),
            ast::BinaryOperator::Plus => (&self.add, &integer),
            ast::BinaryOperator::Minus => (&self.subtract, &integer),
            ast::BinaryOperator::Multiply => (&self.multiply, &integer),
            ast::BinaryOperator::Modulo => (&self.remainder, &double),
            _ => return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right })),
        };
        if applies(&left.get_type(schema)?) && applies(&right.get_type(schema)?) {
            return Ok(PlannerResult::Planned(call(function, vec![left, right])));
        }
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { field_access, expr } = expr;
        match (field_access, expr.get_type(schema)?) {
            (GetFieldAccess::ListIndex { key }, DataType::List(_) | DataType::LargeList(_) | DataType::Map(_, _)) => {
                Ok(PlannerResult::Planned(call(&self.subscript, vec![expr, *key])))
            }
            (field_access, _) => Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr })),
        }
    }
}

/// Names of types, where Spark means another Arrow type than DataFusion.
#[derive(Debug)]
pub(super) struct SparkTypes;

impl TypePlanner for SparkTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        let planned = match sql_type {
            ast::DataType::Timestamp(_, ast::TimezoneInfo::None | ast::TimezoneInfo::WithTimeZone) => timestamp_type(),
            ast::DataType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Microsecond, None),
            ast::DataType::TimestampNtz(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            ast::DataType::Custom(name, _) => match name.to_string().to_ascii_uppercase().as_str() {
                "LONG" => DataType::Int64,
                "SHORT" => DataType::Int16,
                "BYTE" => DataType::Int8,
                "TIMESTAMP_NTZ" => DataType::Timestamp(TimeUnit::Microsecond, None),
                "TIMESTAMP_LTZ" => timestamp_type(),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", planned, true))))
    }
}
