//! Functions that take lambdas: `transform`, `filter`, `exists`, `forall`, `aggregate`, `zip_with`, `array_sort` with a
//! comparator, and those of maps.
//!
//! DataFusion plans the lambdas and evaluates them over columns; what is done with the results is here. Reading order:
//! [`spread`] → [`lists`] → [`fold`] → [`maps`].

mod fold;
mod lists;
mod maps;
mod spread;

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature, HigherOrderUDF,
    HigherOrderUDFImpl, LambdaArgument, LambdaParametersProgress, ValueOrLambda, Volatility,
};

use super::simple::mismatch;

/// What a function with lambdas does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Task {
    Transform,
    Filter,
    Exists,
    ForAll,
    Fold,
    ZipWith,
    Sort,
    MapFilter,
    TransformKeys,
    TransformValues,
}

/// Task, name, aliases, number of values, fewest and most lambdas.
type Function = (Task, &'static str, &'static [&'static str], usize, usize, usize);

const FUNCTIONS: [Function; 10] = [
    (Task::Transform, "transform", &[], 1, 1, 1),
    (Task::Filter, "filter", &[], 1, 1, 1),
    (Task::Exists, "exists_in", &[], 1, 1, 1),
    (Task::ForAll, "forall", &[], 1, 1, 1),
    (Task::Fold, "aggregate", &["reduce"], 2, 1, 2),
    (Task::ZipWith, "zip_with", &[], 2, 1, 1),
    (Task::Sort, "array_sort_by", &[], 1, 1, 1),
    (Task::MapFilter, "map_filter", &[], 1, 1, 1),
    (Task::TransformKeys, "transform_keys", &[], 1, 1, 1),
    (Task::TransformValues, "transform_values", &[], 1, 1, 1),
];

/// The functions, as DataFusion takes them.
pub(super) fn functions() -> Vec<Arc<HigherOrderUDF>> {
    let make =
        |(task, name, aliases, values, fewest, most): (Task, &'static str, &[&'static str], usize, usize, usize)| {
            let aliases = aliases.iter().map(|&alias| alias.to_owned()).collect();
            let signature = HigherOrderSignature::variadic_any(Volatility::Immutable);
            let of = LambdaFunction { task, name, aliases, values, lambdas: (fewest, most), signature };
            Arc::new(HigherOrderUDF::new_from_impl(of))
        };
    FUNCTIONS.into_iter().map(make).collect()
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct LambdaFunction {
    task: Task,
    name: &'static str,
    aliases: Vec<String>,
    values: usize,
    lambdas: (usize, usize),
    signature: HigherOrderSignature,
}

/// What an invocation works on.
struct Call<'a> {
    values: Vec<ArrayRef>,
    lambdas: Vec<&'a LambdaArgument>,
    result: &'a DataType,
}

fn element(list: &DataType) -> Result<FieldRef> {
    match list {
        DataType::List(field) => Ok(field.with_name("element").with_nullable(true).into()),
        other => plan_err!("no elements in {other}"),
    }
}

trait Renamed {
    fn with_name(&self, name: &str) -> Field;
}

impl Renamed for FieldRef {
    fn with_name(&self, name: &str) -> Field {
        self.as_ref().clone().with_name(name)
    }
}

/// Key and value of a map's entries.
fn entry(map: &DataType) -> Result<(FieldRef, FieldRef)> {
    match map {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => Ok((fields[0].clone(), fields[1].clone())),
            other => plan_err!("no entries in {other}"),
        },
        other => plan_err!("no entries in {other}"),
    }
}

impl LambdaFunction {
    fn of_maps(&self) -> bool {
        matches!(self.task, Task::MapFilter | Task::TransformKeys | Task::TransformValues)
    }

    /// The value arguments' types once they are coerced.
    fn coerced(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() != self.values {
            return plan_err!(
                "[WRONG_NUM_ARGS] {}() takes {} values before its lambdas, {} were given; hint: {}(xs, x -> …)",
                self.shown(),
                self.values,
                types.len(),
                self.shown()
            );
        }
        if self.of_maps() {
            return match &types[0] {
                DataType::Map(_, _) => Ok(types.to_vec()),
                other => Err(mismatch(self.shown(), "a MAP", other, "map(key, value) makes one")),
            };
        }
        let list = |given: &DataType| super::array_sort::as_list(self.shown(), given);
        Ok(match self.task {
            Task::Fold => {
                let list = list(&types[0])?;
                let zero = fold::accumulator(&types[1], element(&list)?.data_type());
                vec![list, zero]
            }
            Task::ZipWith => vec![list(&types[0])?, list(&types[1])?],
            _ => vec![list(&types[0])?],
        })
    }

    /// As Spark names it.
    fn shown(&self) -> &'static str {
        match self.task {
            Task::Exists => "exists",
            Task::Sort => "array_sort",
            _ => self.name,
        }
    }
}

impl HigherOrderUDFImpl for LambdaFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn coerce_value_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.coerced(types)
    }

    fn coerce_values_for_lambdas(&self, fields: &[ValueOrLambda<DataType, DataType>]) -> Result<Option<Vec<DataType>>> {
        let values = fields.iter().filter_map(|field| match field {
            ValueOrLambda::Value(of) => Some(of.clone()),
            ValueOrLambda::Lambda(_) => None,
        });
        self.coerced(&values.collect::<Vec<_>>()).map(Some)
    }

    fn lambda_parameters(
        &self,
        _step: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        let values: Vec<DataType> = fields
            .iter()
            .filter_map(|field| match field {
                ValueOrLambda::Value(field) => Some(field.data_type().clone()),
                ValueOrLambda::Lambda(_) => None,
            })
            .collect();
        let lambdas = fields.len() - values.len();
        if !(self.lambdas.0..=self.lambdas.1).contains(&lambdas) {
            return plan_err!("[WRONG_NUM_ARGS] {}() takes a lambda: {}(xs, x -> …)", self.shown(), self.shown());
        }
        let values = self.coerced(&values)?;
        let place = || Arc::new(Field::new("place", DataType::Int32, false));
        let nullable = |of: &DataType, name: &str| Arc::new(Field::new(name, of.clone(), true));
        Ok(LambdaParametersProgress::Complete(match self.task {
            Task::Transform | Task::Filter => vec![vec![element(&values[0])?, place()]],
            Task::Exists | Task::ForAll => vec![vec![element(&values[0])?]],
            Task::Fold => {
                let merge = vec![nullable(&values[1], "accumulated"), element(&values[0])?];
                let finish = vec![nullable(&values[1], "accumulated")];
                [merge, finish].into_iter().take(lambdas).collect()
            }
            Task::ZipWith => vec![vec![element(&values[0])?, element(&values[1])?]],
            Task::Sort => vec![vec![element(&values[0])?, element(&values[0])?]],
            Task::MapFilter | Task::TransformKeys | Task::TransformValues => {
                let (key, value) = entry(&values[0])?;
                vec![vec![key, value]]
            }
        }))
    }

    fn return_field_from_args(&self, args: HigherOrderReturnFieldArgs) -> Result<FieldRef> {
        let (mut values, mut lambdas) = (Vec::new(), Vec::new());
        for field in args.arg_fields {
            match field {
                ValueOrLambda::Value(field) => values.push(field.data_type().clone()),
                ValueOrLambda::Lambda(field) => lambdas.push(field.data_type().clone()),
            }
        }
        let values = self.coerced(&values)?;
        let list = |of: &DataType| DataType::List(Arc::new(Field::new_list_field(of.clone(), true)));
        let of_lambda = &lambdas[0];
        if matches!(self.task, Task::Filter | Task::Exists | Task::ForAll | Task::MapFilter)
            && !matches!(of_lambda, DataType::Boolean | DataType::Null)
        {
            return Err(mismatch(self.shown(), "a condition after ->", of_lambda, "x -> x > 1"));
        }
        let result = match self.task {
            Task::Transform | Task::ZipWith => list(of_lambda),
            Task::Filter | Task::Sort | Task::MapFilter => values[0].clone(),
            Task::Exists | Task::ForAll => DataType::Boolean,
            Task::Fold => lambdas.get(1).unwrap_or(&values[1]).clone(),
            Task::TransformKeys => maps::map_of(&values[0], Some(of_lambda), None)?,
            Task::TransformValues => maps::map_of(&values[0], None, Some(of_lambda))?,
        };
        Ok(Arc::new(Field::new("", result, true)))
    }

    fn invoke_with_args(&self, args: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let (mut values, mut lambdas) = (Vec::new(), Vec::new());
        for arg in &args.args {
            match arg {
                ValueOrLambda::Value(value) => values.push(value.to_array(args.number_rows)?),
                ValueOrLambda::Lambda(lambda) => lambdas.push(lambda),
            }
        }
        let call = Call { values, lambdas, result: args.return_field.data_type() };
        let result = match self.task {
            Task::Transform => lists::transform(&call),
            Task::Filter => lists::filter(&call),
            Task::Exists => lists::quantify(&call, true),
            Task::ForAll => lists::quantify(&call, false),
            Task::ZipWith => lists::zip_with(&call),
            Task::Sort => lists::sort(&call),
            Task::Fold => fold::fold(&call),
            Task::MapFilter => maps::filter(&call),
            Task::TransformKeys => maps::transform(&call, true),
            Task::TransformValues => maps::transform(&call, false),
        };
        result.map(ColumnarValue::Array)
    }
}
