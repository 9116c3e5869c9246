//! Every aggregate over every kind of column it takes, and small columns with nulls, ties and NaN.

use std::sync::Arc;

use arrow_array::types::{Decimal128Type, Int64Type};
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, PrimitiveArray, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field};
use datafusion::common::ScalarValue;
use proptest::prelude::*;

use crate::aggregate::function::Function;
use crate::aggregate::{GroupState, group_state};
use crate::functions::timestamp_type;

/// Groups rows fall into.
pub(super) const GROUPS: u32 = 3;

/// One call of an aggregate function.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) function: &'static str,
    pub(super) types: Vec<DataType>,
}

impl Case {
    pub(super) fn state(&self, groups: u32) -> Box<dyn GroupState> {
        let known = Function::find(self.function).expect("a known function");
        let second = match self.types.get(1) {
            Some(DataType::Float64) if self.function == "percentile_approx" => ScalarValue::Float64(Some(0.3)),
            _ => ScalarValue::Boolean(Some(true)),
        };
        let constants = [None, Some(second)];
        let mut state = group_state(self.function, &self.types, &known.return_type(&self.types), false, &constants)
            .unwrap_or_else(|error| panic!("{self:?}: {error}"));
        state.resize(groups as usize);
        state
    }
}

pub(super) fn struct_type() -> DataType {
    DataType::Struct(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)].into())
}

pub(super) fn cases() -> Vec<Case> {
    use DataType::*;
    let list = List(Arc::new(Field::new_list_field(Int64, true)));
    let any = [Int64, Float64, Utf8, Boolean, timestamp_type(), Decimal128(10, 2), struct_type(), list];
    let mut cases = Vec::new();
    let mut add = |function, types: &[DataType]| cases.push(Case { function, types: types.to_vec() });
    for value in &any {
        for function in ["count", "min", "max", "collect_list", "collect_set", "first", "last", "approx_count_distinct"]
        {
            add(function, std::slice::from_ref(value));
        }
        for function in ["min_by", "max_by"] {
            add(function, &[Utf8, value.clone()]);
            add(function, &[value.clone(), timestamp_type()]);
        }
        add("first", &[value.clone(), Boolean]);
        add("last", &[value.clone(), Boolean]);
    }
    for number in [Int64, Float64, Decimal128(10, 2)] {
        add("sum", &[number]);
    }
    for number in [Int64, Float64, Decimal128(10, 2), timestamp_type()] {
        add("percentile_approx", &[number, Float64]);
    }
    add("avg", &[Float64]);
    add("avg", &[Decimal128(10, 2)]);
    add("count", &[Int64, Utf8]);
    for function in ["count_if", "bool_and", "bool_or"] {
        add(function, &[Boolean]);
    }
    for function in ["stddev_samp", "stddev_pop", "var_samp", "var_pop"] {
        add(function, &[Float64]);
    }
    cases
}

/// A row: its group, and a small number for each of two arguments that stands for a value.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) group: u32,
    pub(super) arguments: [Option<u8>; 2],
}

pub(super) fn rows() -> impl Strategy<Value = Vec<Row>> {
    let argument = || prop::option::weighted(0.8, 0..12_u8);
    let row = (0..GROUPS, argument(), argument()).prop_map(|(group, a, b)| Row { group, arguments: [a, b] });
    prop::collection::vec(row, 0..60)
}

/// The argument columns of these rows.
pub(super) fn columns(types: &[DataType], rows: &[Row]) -> Vec<ArrayRef> {
    types
        .iter()
        .enumerate()
        .map(|(i, of)| column(of, &rows.iter().map(|row| row.arguments[i]).collect::<Vec<_>>()))
        .collect()
}

fn column(of: &DataType, values: &[Option<u8>]) -> ArrayRef {
    let texts = ["", "a", "b", "ab", "long enough to fill more than one block of bytes"];
    let text = |n: u8| texts[usize::from(n) % texts.len()];
    let int = |n: u8| i64::from(n) - 5;
    let values = values.iter().copied();
    match of {
        DataType::Int64 => Arc::new(Int64Array::from_iter(values.map(|v| v.map(int)))),
        // Quarters add up exactly in any order.
        DataType::Float64 => Arc::new(Float64Array::from_iter(values.map(|v| v.map(|n| int(n) as f64 / 4.0)))),
        DataType::Utf8 => Arc::new(StringArray::from_iter(values.map(|v| v.map(text)))),
        DataType::Boolean => Arc::new(BooleanArray::from_iter(values.map(|v| v.map(|n| n % 2 == 0)))),
        DataType::Timestamp(_, _) => {
            let times = TimestampMicrosecondArray::from_iter(values.map(|v| v.map(|n| int(n) * 1_000_000)));
            Arc::new(times.with_data_type(timestamp_type()))
        }
        DataType::Decimal128(_, _) => {
            let decimals: Decimal128Array =
                values.map(|v| v.map(|n| i128::from(int(n)) * 25)).collect::<PrimitiveArray<Decimal128Type>>();
            Arc::new(decimals.with_data_type(of.clone()))
        }
        DataType::Struct(fields) => {
            let numbers: Vec<_> = values.collect();
            let nulls = numbers.iter().map(Option::is_some).collect::<Vec<bool>>().into();
            let children = fields.iter().map(|field| column(field.data_type(), &numbers)).collect();
            Arc::new(StructArray::new(fields.clone(), children, Some(nulls)))
        }
        DataType::List(_) => Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
            values.map(|v| v.map(|n| (0..n % 3).map(|i| (i != 1).then(|| int(n))).collect::<Vec<_>>())),
        )),
        other => panic!("no sample of {other}"),
    }
}
