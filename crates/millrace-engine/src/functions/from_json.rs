//! `from_json(text, schema)`: a JSON text as a STRUCT, ARRAY or MAP, as Spark reads it in PERMISSIVE mode.
//!
//! What is not of its type is NULL; a text that is no JSON is a STRUCT of NULLs, or a NULL array or map.

use std::sync::Arc;

use arrow_array::builder::{Float32Builder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, ListArray, MapArray, StringArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::Value;

use super::schema_text;

/// The function, as DataFusion takes it.
pub(super) fn from_json() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(FromJson { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct FromJson {
    signature: Signature,
}

impl ScalarUDFImpl for FromJson {
    fn name(&self) -> &str {
        "from_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() == 3 {
            return plan_err!("from_json() with options is not available; hint: from_json(text, 'a INT, b STRING')");
        }
        super::simple::take_between("from_json", types, 2, 2)?;
        Ok(vec![DataType::Utf8; 2])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("[NON_FOLDABLE_ARGUMENT] the schema of from_json() must be written out: from_json(text, 'a INT')")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let schema = match args.scalar_arguments.get(1).copied().flatten() {
            Some(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text))) => text,
            _ => return self.return_type(&[]).map(|of| Arc::new(Field::new("", of, true))),
        };
        let of = schema_text::parse(schema).map_err(|error| plan_datafusion_err!("[PARSE_SYNTAX_ERROR] {error}"))?;
        Ok(Arc::new(Field::new(self.name(), of, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = args.args[0].to_array(args.number_rows)?;
        let texts: &StringArray = texts.as_string();
        let values: Vec<Option<Value>> = texts.iter().map(|text| serde_json::from_str(text?).ok()).collect();
        let of = args.return_field.data_type();
        let read = read(&values.iter().map(Option::as_ref).collect::<Vec<_>>(), of)?;
        let Some(structs) = read.as_struct_opt() else { return Ok(ColumnarValue::Array(read)) };
        // A text that is no JSON object is a STRUCT of NULLs; only NULL is NULL.
        let (fields, columns, _) = structs.clone().into_parts();
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(fields, columns, texts.nulls().cloned())?)))
    }
}

/// Values as a column of a type; NULL where one is not of it.
fn read(values: &[Option<&Value>], of: &DataType) -> Result<ArrayRef> {
    Ok(match of {
        DataType::Utf8 => {
            let mut column = StringBuilder::new();
            for value in values {
                match value {
                    None | Some(Value::Null) => column.append_null(),
                    Some(Value::String(text)) => column.append_value(text),
                    Some(other) => column.append_value(other.to_string()),
                }
            }
            Arc::new(column.finish())
        }
        DataType::Boolean => {
            Arc::new(values.iter().map(|value| value.and_then(Value::as_bool)).collect::<BooleanArray>())
        }
        of if of.is_integer() => {
            let mut column = Int64Builder::new();
            values.iter().for_each(|value| column.append_option(value.and_then(Value::as_i64)));
            safely(&(Arc::new(column.finish()) as ArrayRef), of)?
        }
        DataType::Float32 => {
            let mut column = Float32Builder::new();
            values.iter().for_each(|value| column.append_option(value.and_then(Value::as_f64).map(|x| x as f32)));
            Arc::new(column.finish())
        }
        DataType::Float64 => {
            let mut column = Float64Builder::new();
            values.iter().for_each(|value| column.append_option(value.and_then(Value::as_f64)));
            Arc::new(column.finish())
        }
        DataType::Date32 | DataType::Timestamp(_, _) | DataType::Decimal128(_, _) => {
            let texts = values.iter().map(|value| match value {
                Some(Value::String(text)) => Some(text.clone()),
                Some(Value::Number(number)) if of.is_decimal() => Some(number.to_string()),
                _ => None,
            });
            safely(&(Arc::new(texts.collect::<StringArray>()) as ArrayRef), of)?
        }
        DataType::Struct(fields) => {
            let objects: Vec<_> = values.iter().map(|value| value.and_then(Value::as_object)).collect();
            let column = |field: &FieldRef| {
                let of_field: Vec<_> = objects.iter().map(|object| object.and_then(|o| o.get(field.name()))).collect();
                read(&of_field, field.data_type())
            };
            let columns = fields.iter().map(column).collect::<Result<_>>()?;
            let valid: NullBuffer = objects.iter().map(Option::is_some).collect::<Vec<_>>().into();
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, Some(valid), values.len())?)
        }
        DataType::List(field) => {
            // An object stands for an array of one.
            let items: Vec<Option<Vec<Option<&Value>>>> = values
                .iter()
                .map(|value| match value {
                    Some(Value::Array(items)) => Some(items.iter().map(Some).collect()),
                    Some(object @ Value::Object(_)) => Some(vec![Some(*object)]),
                    _ => None,
                })
                .collect();
            let lengths = items.iter().map(|items| items.as_ref().map_or(0, Vec::len));
            let valid: NullBuffer = items.iter().map(Option::is_some).collect::<Vec<_>>().into();
            let offsets = OffsetBuffer::from_lengths(lengths);
            let flat: Vec<Option<&Value>> = items.into_iter().flatten().flatten().collect();
            Arc::new(ListArray::try_new(field.clone(), offsets, read(&flat, field.data_type())?, Some(valid))?)
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(fields) = entries.data_type() else { return exec_err!("no entries in {of}") };
            let objects: Vec<_> = values.iter().map(|value| value.and_then(Value::as_object)).collect();
            let offsets = OffsetBuffer::from_lengths(objects.iter().map(|object| object.map_or(0, |o| o.len())));
            let names: Vec<Value> =
                objects.iter().flatten().flat_map(|o| o.keys().map(|name| Value::String(name.clone()))).collect();
            let keys = read(&names.iter().map(Some).collect::<Vec<_>>(), &DataType::Utf8)?;
            let keys = safely(&keys, fields[0].data_type())?;
            let held: Vec<_> = objects.iter().flatten().flat_map(|object| object.values().map(Some)).collect();
            let structs = StructArray::try_new(fields.clone(), vec![keys, read(&held, fields[1].data_type())?], None)?;
            let valid: NullBuffer = objects.iter().map(Option::is_some).collect::<Vec<_>>().into();
            Arc::new(MapArray::try_new(entries.clone(), offsets, structs, Some(valid), *sorted)?)
        }
        other => return exec_err!("from_json() cannot read {other}"),
    })
}

fn safely(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(column, to, &CastOptions { safe: true, ..CastOptions::default() })?)
}
