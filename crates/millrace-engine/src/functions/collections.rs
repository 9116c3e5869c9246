//! Functions of arrays and maps that DataFusion lacks, or gets differently from Spark when something is NULL; and what the
//! generators (`posexplode`, `inline` …) are made of.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array, ListArray, MapArray, StructArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::cast;
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, Field, Fields};
use arrow_select::interleave::interleave;
use arrow_select::take::take;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;

use super::array_sort::as_list;
use super::simple::{Simple, as_integer, mismatch, take_between};
use super::type_name::type_name;

/// The functions of this file.
pub(super) fn functions() -> Vec<Simple> {
    vec![
        Simple {
            name: "array_insert",
            aliases: &[],
            coerce: |types| {
                take_between("array_insert", types, 3, 3)?;
                let list = as_list("array_insert", &types[0])?;
                let both = same_lists("array_insert", &[list, list_of(&types[2])])?;
                Ok(vec![both.clone(), as_integer("array_insert", &types[1], DataType::Int64)?, element(&both)])
            },
            returns: |types| types[0].clone(),
            evaluate: |columns, _| inserted(columns),
        },
        Simple {
            name: "array_intersect",
            aliases: &[],
            coerce: |types| {
                take_between("array_intersect", types, 2, 2)?;
                let both = same_lists("array_intersect", types)?;
                Ok(vec![both; 2])
            },
            returns: |types| types[0].clone(),
            evaluate: |columns, _| intersected(columns),
        },
        Simple {
            name: "arrays_overlap",
            aliases: &[],
            coerce: |types| {
                take_between("arrays_overlap", types, 2, 2)?;
                let both = same_lists("arrays_overlap", types)?;
                Ok(vec![both; 2])
            },
            returns: |_| DataType::Boolean,
            evaluate: |columns, _| overlapping(columns),
        },
        Simple {
            name: "arrays_zip",
            aliases: &["list_zip"],
            coerce: |types| {
                take_between("arrays_zip", types, 1, 64)?;
                types.iter().map(|given| as_list("arrays_zip", given)).collect()
            },
            returns: |types| {
                let field = |(at, of): (usize, &DataType)| Field::new(at.to_string(), element(of), true);
                list_of(&DataType::Struct(types.iter().enumerate().map(field).collect()))
            },
            evaluate: zipped,
        },
        Simple {
            name: "flatten",
            aliases: &[],
            coerce: |types| {
                take_between("flatten", types, 1, 1)?;
                let list = as_list("flatten", &types[0])?;
                Ok(vec![list_of(&as_list("flatten", &element(&list))?)])
            },
            returns: |types| element(&types[0]),
            evaluate: |columns, _| flattened(&columns[0]),
        },
        Simple {
            name: "map",
            aliases: &[],
            coerce: |types| {
                if !types.len().is_multiple_of(2) || types.is_empty() {
                    return plan_err!(
                        "[WRONG_NUM_ARGS] map() takes keys and values in turn; hint: map('a', 1, 'b', 2)"
                    );
                }
                let side = |first: usize| same("map", types.iter().skip(first).step_by(2));
                let (key, value) = (side(0)?, side(1)?);
                Ok([key, value].into_iter().cycle().take(types.len()).collect())
            },
            returns: |types| map_type(&types[0], &types[1]),
            evaluate: |columns, result| {
                let keys: Vec<&dyn Array> = columns.iter().step_by(2).map(|column| column.as_ref()).collect();
                let values: Vec<&dyn Array> = columns.iter().skip(1).step_by(2).map(|column| column.as_ref()).collect();
                let rows = columns[0].len();
                let order: Vec<_> = (0..rows).flat_map(|row| (0..keys.len()).map(move |at| (at, row))).collect();
                let offsets = OffsetBuffer::from_lengths(vec![keys.len(); rows]);
                map_of(result, offsets, interleave(&keys, &order)?, interleave(&values, &order)?, None)
            },
        },
        Simple {
            name: "map_concat",
            aliases: &[],
            coerce: |types| {
                take_between("map_concat", types, 1, 64)?;
                let both = same("map_concat", types.iter())?;
                match &both {
                    DataType::Map(_, _) => Ok(vec![both; types.len()]),
                    other => Err(mismatch("map_concat", "MAPs", other, "map(key, value) makes one")),
                }
            },
            returns: |types| types[0].clone(),
            evaluate: maps_joined,
        },
        Simple {
            // Structs of `key` and `value`, whatever the fields of the map's entries are called.
            name: "map_entries",
            aliases: &[],
            coerce: |types| {
                take_between("map_entries", types, 1, 1)?;
                match &types[0] {
                    DataType::Map(_, _) => Ok(types.to_vec()),
                    other => Err(mismatch("map_entries", "a MAP", other, "map(key, value) makes one")),
                }
            },
            returns: |types| list_of(&DataType::Struct(entry_fields(&types[0]))),
            evaluate: |columns, result| {
                let maps = columns[0].as_map();
                let DataType::Struct(fields) = element(result) else { return exec_err!("map_entries gives structs") };
                let (first, last) = (maps.value_offsets()[0] as usize, maps.value_offsets()[maps.len()] as usize);
                let part = |column: &ArrayRef| column.slice(first, last - first);
                let entries = StructArray::try_new(fields, vec![part(maps.keys()), part(maps.values())], None)?;
                let offsets = OffsetBuffer::from_lengths(maps.offsets().lengths());
                built(offsets, Arc::new(entries), maps.nulls().cloned())
            },
        },
        generator("generate_positions"),
        generator("generate_entry_positions"),
        Simple {
            // The structs of a list under other field names: inline(xs) AS (a, b).
            name: "generate_fields",
            aliases: &[],
            coerce: |types| {
                let list = as_list("inline", &types[0])?;
                match element(&list) {
                    DataType::Struct(fields) if fields.len() + 1 == types.len() => {
                        Ok([list].into_iter().chain(vec![DataType::Utf8; types.len() - 1]).collect())
                    }
                    DataType::Struct(fields) => plan_err!(
                        "inline() gives {} columns, {} are named; hint: name each of them after AS",
                        fields.len(),
                        types.len() - 1
                    ),
                    other => Err(mismatch("inline", "an ARRAY of STRUCTs", &other, "array(struct(a, b))")),
                }
            },
            returns: |types| {
                let DataType::Struct(fields) = element(&types[0]) else { return types[0].clone() };
                let numbered = |(at, field): (usize, &Arc<Field>)| field.as_ref().clone().with_name(format!("c{at}"));
                list_of(&DataType::Struct(fields.iter().enumerate().map(numbered).collect()))
            },
            evaluate: |columns, result| Ok(cast_by_place(&columns[0], result)),
        },
    ]
}

/// `(pos, col)` or `(pos, key, value)` for each element.
fn generator(name: &'static str) -> Simple {
    Simple {
        name,
        aliases: &[],
        coerce: |types| Ok(vec![as_list("posexplode", &types[0])?]),
        returns: |types| list_of(&DataType::Struct(position_fields(&element(&types[0])))),
        evaluate: |columns, _| {
            let lists = columns[0].as_list::<i32>();
            let places = lists.offsets().lengths().flat_map(|length| 0..length as i32);
            let (first, last) = (lists.value_offsets()[0] as usize, lists.value_offsets()[lists.len()] as usize);
            let values = lists.values().slice(first, last - first);
            let fields = position_fields(values.data_type());
            let mut columns: Vec<ArrayRef> = vec![Arc::new(places.collect::<Int32Array>())];
            match values.as_struct_opt() {
                Some(entries) if fields.len() == 3 => columns.extend(entries.columns().iter().cloned()),
                _ => columns.push(values),
            }
            let structs: ArrayRef = Arc::new(StructArray::try_new(fields, columns, None)?);
            built(OffsetBuffer::from_lengths(lists.offsets().lengths()), structs, lists.nulls().cloned())
        },
    }
}

fn entry_fields(map: &DataType) -> Fields {
    let parts = match map {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => [0, 1].map(|at| fields[at].data_type().clone()),
            _ => [DataType::Null, DataType::Null],
        },
        _ => [DataType::Null, DataType::Null],
    };
    let [key, value] = parts;
    Fields::from(vec![Field::new("key", key, true), Field::new("value", value, true)])
}

fn position_fields(element: &DataType) -> Fields {
    let pos = Field::new("pos", DataType::Int32, true);
    match element {
        DataType::Struct(fields) if fields.len() == 2 && fields[0].name() == "key" && fields[1].name() == "value" => {
            let part = |at: usize| fields[at].as_ref().clone().with_nullable(true);
            Fields::from(vec![pos, part(0), part(1)])
        }
        other => Fields::from(vec![pos, Field::new("col", other.clone(), true)]),
    }
}

/// A list of structs with the fields of a type, by their places.
fn cast_by_place(lists: &ArrayRef, to: &DataType) -> ArrayRef {
    let (_, offsets, values, nulls) = lists.as_list::<i32>().clone().into_parts();
    let (DataType::List(field), Some(structs)) = (to, values.as_struct_opt()) else { return Arc::clone(lists) };
    let DataType::Struct(fields) = field.data_type() else { return Arc::clone(lists) };
    let columns = structs.columns().to_vec();
    let renamed = StructArray::new(fields.clone(), columns, structs.nulls().cloned());
    Arc::new(ListArray::new(field.clone(), offsets, Arc::new(renamed), nulls))
}

pub(super) fn list_of(element: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element.clone(), true)))
}

/// The type of a list's elements.
pub(super) fn element(list: &DataType) -> DataType {
    match list {
        DataType::List(field) => field.data_type().clone(),
        _ => DataType::Null,
    }
}

fn same<'a>(name: &str, types: impl Iterator<Item = &'a DataType>) -> Result<DataType> {
    let mut all = DataType::Null;
    for given in types {
        let Some(both) = type_union_coercion(&all, given) else {
            return Err(mismatch(name, &type_name(&all), given, "CAST one to the type of the other"));
        };
        all = both;
    }
    Ok(all)
}

/// The one type of lists that all of these can have.
fn same_lists(name: &str, types: &[DataType]) -> Result<DataType> {
    let elements: Vec<DataType> =
        types.iter().map(|given| Ok(element(&as_list(name, given)?))).collect::<Result<_>>()?;
    Ok(list_of(&same(name, elements.iter())?))
}

fn built(offsets: OffsetBuffer<i32>, values: ArrayRef, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls)?))
}

fn span(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = &list.value_offsets()[row..row + 2];
    if list.is_null(row) { 0..0 } else { offsets[0] as usize..offsets[1] as usize }
}

/// Spark's `array_insert`: places from 1; negative ones from behind, −1 after the last; gaps are filled with NULL.
fn inserted(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (lists, places) = (columns[0].as_list::<i32>(), columns[1].as_primitive::<Int64Type>());
    let nothing = arrow_array::new_null_array(lists.values().data_type(), 1);
    let sources: [&dyn Array; 3] = [lists.values().as_ref(), columns[2].as_ref(), nothing.as_ref()];
    let (mut picked, mut lengths) = (Vec::new(), Vec::with_capacity(lists.len()));
    let nulls = NullBuffer::union(lists.nulls(), places.nulls());
    for row in 0..lists.len() {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            lengths.push(0);
            continue;
        }
        let mut entries: Vec<(usize, usize)> = span(lists, row).map(|entry| (0, entry)).collect();
        let (place, length) = (places.value(row), entries.len() as i64);
        if place == 0 || place.abs() > ARRAY_LENGTH_MAX {
            return exec_err!("[INVALID_INDEX_OF_ZERO] array_insert() counts from 1, and from the end with -1, -2 …");
        }
        let at = if place > 0 { place - 1 } else { length + place + 1 };
        if at < 0 {
            let missing = usize::try_from(-at).unwrap_or_default();
            entries.splice(0..0, [(1, row)].into_iter().chain(std::iter::repeat_n((2, 0), missing)));
        } else {
            while (entries.len() as i64) < at {
                entries.push((2, 0));
            }
            entries.insert(at as usize, (1, row));
        }
        lengths.push(entries.len());
        picked.extend(entries);
    }
    built(OffsetBuffer::from_lengths(lengths), interleave(&sources, &picked)?, nulls)
}

/// Longer arrays are a mistake, and would take the memory of the job.
const ARRAY_LENGTH_MAX: i64 = 10_000_000;

/// Flat values of two columns of lists as bytes that are equal when the values are; NULL equals NULL.
fn comparable(columns: &[ArrayRef]) -> Result<[arrow_row::Rows; 2]> {
    let values = |at: usize| columns[at].as_list::<i32>().values().clone();
    let converter = RowConverter::new(vec![SortField::new(values(0).data_type().clone())])?;
    Ok([converter.convert_columns(&[values(0)])?, converter.convert_columns(&[values(1)])?])
}

fn intersected(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right) = (columns[0].as_list::<i32>(), columns[1].as_list::<i32>());
    let [lefts, rights] = comparable(columns)?;
    let (mut picked, mut lengths) = (Vec::new(), Vec::with_capacity(left.len()));
    for row in 0..left.len() {
        let mut wanted: HashSet<_> = span(right, row).map(|entry| rights.row(entry)).collect();
        let before = picked.len();
        picked.extend(span(left, row).filter(|entry| wanted.remove(&lefts.row(*entry))).map(|entry| entry as u32));
        lengths.push(picked.len() - before);
    }
    let values = take(left.values(), &UInt32Array::from(picked), None)?;
    built(OffsetBuffer::from_lengths(lengths), values, NullBuffer::union(left.nulls(), right.nulls()))
}

/// True when a value is in both; unknown when it is not but a NULL might be it.
fn overlapping(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let (left, right) = (columns[0].as_list::<i32>(), columns[1].as_list::<i32>());
    let [lefts, rights] = comparable(columns)?;
    let answer = |row: usize| {
        if left.is_null(row) || right.is_null(row) {
            return None;
        }
        let valid = |list: &ListArray, entry: &usize| list.values().is_valid(*entry);
        let held: HashSet<_> =
            span(left, row).filter(|entry| valid(left, entry)).map(|entry| lefts.row(entry)).collect();
        let found = span(right, row).any(|entry| valid(right, &entry) && held.contains(&rights.row(entry)));
        let null =
            span(left, row).any(|entry| !valid(left, &entry)) || span(right, row).any(|entry| !valid(right, &entry));
        let empty = span(left, row).is_empty() || span(right, row).is_empty();
        if found { Some(true) } else { (empty || !null).then_some(false) }
    };
    Ok(Arc::new((0..left.len()).map(answer).collect::<BooleanArray>()))
}

fn zipped(columns: &[ArrayRef], result: &DataType) -> Result<ArrayRef> {
    let lists: Vec<&ListArray> = columns.iter().map(|column| column.as_list::<i32>()).collect();
    let nulls = lists.iter().fold(None, |nulls, list| NullBuffer::union(nulls.as_ref(), list.nulls()));
    let known = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let length = |row: usize| lists.iter().map(|list| span(list, row).len()).max().unwrap_or(0);
    let lengths: Vec<usize> = (0..lists[0].len()).map(|row| if known(row) { length(row) } else { 0 }).collect();
    let zipped = lists.iter().map(|list| {
        let places = lengths.iter().enumerate().flat_map(|(row, length)| {
            let span = span(list, row);
            (0..*length).map(move |at| (at < span.len()).then_some((span.start + at) as u32))
        });
        Ok(take(list.values(), &places.collect::<UInt32Array>(), None)?)
    });
    let DataType::Struct(fields) = element(result) else { return exec_err!("arrays_zip gives structs") };
    let structs = StructArray::try_new(fields, zipped.collect::<Result<_>>()?, None)?;
    built(OffsetBuffer::from_lengths(lengths), Arc::new(structs), nulls)
}

/// NULL when one of the inner lists is.
fn flattened(column: &ArrayRef) -> Result<ArrayRef> {
    let outer = column.as_list::<i32>();
    let inner = outer.values().as_list::<i32>();
    let (mut picked, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..outer.len() {
        let whole = outer.is_valid(row) && span(outer, row).all(|list| inner.is_valid(list));
        let before = picked.len();
        if whole {
            picked.extend(span(outer, row).flat_map(|list| span(inner, list)).map(|entry| entry as u32));
        }
        lengths.push(picked.len() - before);
        valid.push(whole);
    }
    let values = take(inner.values(), &UInt32Array::from(picked), None)?;
    built(OffsetBuffer::from_lengths(lengths), values, Some(valid.into()))
}

fn map_type(key: &DataType, value: &DataType) -> DataType {
    let fields = Fields::from(vec![Field::new("key", key.clone(), false), Field::new("value", value.clone(), true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields), false)), false)
}

/// A map from flat keys and values; a key twice in one map is an error, as in Spark.
fn map_of(
    of: &DataType,
    offsets: OffsetBuffer<i32>,
    keys: ArrayRef,
    values: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let DataType::Map(entries, sorted) = of else { return exec_err!("no map but {of}") };
    let DataType::Struct(fields) = entries.data_type() else { return exec_err!("no entries in {of}") };
    if keys.logical_null_count() > 0 {
        return exec_err!("[NULL_MAP_KEY] a key of a map is NULL; hint: coalesce(key, '…')");
    }
    let converter = RowConverter::new(vec![SortField::new(keys.data_type().clone())])?;
    let rows = converter.convert_columns(std::slice::from_ref(&keys))?;
    for span in offsets.windows(2) {
        let mut seen = HashSet::new();
        if (span[0] as usize..span[1] as usize).any(|entry| !seen.insert(rows.row(entry))) {
            return exec_err!("[DUPLICATED_MAP_KEY] a map has a key twice; hint: leave one of them out");
        }
    }
    let columns = vec![cast(&keys, fields[0].data_type())?, cast(&values, fields[1].data_type())?];
    let structs = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, structs, nulls, *sorted)?))
}

fn maps_joined(columns: &[ArrayRef], result: &DataType) -> Result<ArrayRef> {
    let maps: Vec<&MapArray> = columns.iter().map(|column| column.as_map()).collect();
    let nulls = maps.iter().fold(None, |nulls, map| NullBuffer::union(nulls.as_ref(), map.nulls()));
    let (mut picked, mut lengths) = (Vec::new(), Vec::new());
    for row in 0..maps[0].len() {
        let before = picked.len();
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            for (at, map) in maps.iter().enumerate() {
                let span = &map.value_offsets()[row..row + 2];
                picked.extend((span[0] as usize..span[1] as usize).map(|entry| (at, entry)));
            }
        }
        lengths.push(picked.len() - before);
    }
    let side = |of: fn(&MapArray) -> &ArrayRef| -> Result<ArrayRef> {
        let columns: Vec<&dyn Array> = maps.iter().map(|map| of(map).as_ref()).collect();
        Ok(interleave(&columns, &picked)?)
    };
    map_of(result, OffsetBuffer::from_lengths(lengths), side(MapArray::keys)?, side(MapArray::values)?, nulls)
}
