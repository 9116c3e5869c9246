//! `map_filter`, `transform_keys`, `transform_values`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, MapArray, StructArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::cast;
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, Field, Fields};
use arrow_select::take::take;
use datafusion::common::{Result, exec_err};

use super::lists::conditions;
use super::spread::{Spread, apply};
use super::{Call, entry};

/// A map type with another type of keys or values.
pub(super) fn map_of(map: &DataType, keys: Option<&DataType>, values: Option<&DataType>) -> Result<DataType> {
    let (key, value) = entry(map)?;
    let key = Field::new(key.name(), keys.unwrap_or(key.data_type()).clone(), false);
    let value = Field::new(value.name(), values.unwrap_or(value.data_type()).clone(), true);
    let name = match map {
        DataType::Map(entries, _) => entries.name().clone(),
        _ => "entries".to_owned(),
    };
    Ok(DataType::Map(Arc::new(Field::new(name, DataType::Struct(Fields::from(vec![key, value])), false)), false))
}

fn built(
    of: &DataType,
    offsets: OffsetBuffer<i32>,
    keys: &ArrayRef,
    values: &ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let DataType::Map(entries, sorted) = of else { return exec_err!("no map but {of}") };
    let DataType::Struct(fields) = entries.data_type() else { return exec_err!("no entries in {of}") };
    let columns = vec![cast(keys, fields[0].data_type())?, cast(values, fields[1].data_type())?];
    let structs = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, structs, nulls, *sorted)?))
}

pub(super) fn filter(call: &Call<'_>) -> Result<ArrayRef> {
    let maps = &call.values[0];
    let spread = Spread::of(maps)?;
    let (keys, values) = (spread.elements(maps.as_map().keys())?, spread.elements(maps.as_map().values())?);
    let wanted = conditions(&apply(call.lambdas[0], &[keys.clone(), values.clone()], &spread.rows)?)?;
    let holds = |at: &usize| wanted.is_valid(*at) && wanted.value(*at);
    let kept: UInt32Array = (0..wanted.len()).filter(holds).map(|at| at as u32).collect::<Vec<_>>().into();
    let offsets = OffsetBuffer::from_lengths(spread.spans().map(|span| span.filter(holds).count()));
    let (keys, values) = (take(&keys, &kept, None)?, take(&values, &kept, None)?);
    built(call.result, offsets, &keys, &values, maps.nulls().cloned())
}

pub(super) fn transform(call: &Call<'_>, of_keys: bool) -> Result<ArrayRef> {
    let maps = &call.values[0];
    let spread = Spread::of(maps)?;
    let (keys, values) = (spread.elements(maps.as_map().keys())?, spread.elements(maps.as_map().values())?);
    let made = apply(call.lambdas[0], &[keys.clone(), values.clone()], &spread.rows)?;
    if !of_keys {
        return built(call.result, spread.offsets(), &keys, &made, maps.nulls().cloned());
    }
    if made.null_count() > 0 {
        return exec_err!("[NULL_MAP_KEY] transform_keys() gave a NULL key; hint: coalesce(k, '…')");
    }
    let converter = RowConverter::new(vec![SortField::new(made.data_type().clone())])?;
    let rows = converter.convert_columns(std::slice::from_ref(&made))?;
    for mut span in spread.spans() {
        let mut seen = std::collections::HashSet::new();
        if span.any(|at| !seen.insert(rows.row(at))) {
            return exec_err!("[DUPLICATED_MAP_KEY] transform_keys() gave a key twice");
        }
    }
    built(call.result, spread.offsets(), &made, &values, maps.nulls().cloned())
}
