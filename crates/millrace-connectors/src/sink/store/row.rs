//! A record's value as a row of its table, or why it fits none.

use millrace_model::Timestamp;
use millrace_model::dead_letter::MalformedCode;
use serde_json::{Map, Value};

use crate::store::{Param, SqlType, Table};

/// Why a record is no row of its table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Misfit {
    pub(super) code: &'static str,
    pub(super) field: Option<String>,
    pub(super) reason: String,
}

/// A database text that holds U+0000 is refused by PostgreSQL; so it is here, on both kinds of store.
const NUL_CHARACTER: &str = "nul_character";

/// Reads a value. A field that is missing is null: Spark leaves nulls out. Unknown fields are left in the topic.
pub(super) fn row(table: &Table, value: Option<&[u8]>, partition: i32, offset: i64) -> Result<Vec<Param>, Misfit> {
    let object = object(value)?;
    let own = if table.placed() { table.columns().len() - 2 } else { table.columns().len() };
    let mut row = Vec::with_capacity(table.columns().len());
    for column in &table.columns()[..own] {
        let cell = match object.get(&column.name) {
            None if column.required => return Err(misfit(MalformedCode::MissingField, &column.name, "it is missing")),
            Some(Value::Null) if column.required => {
                return Err(misfit(MalformedCode::NullField, &column.name, "it must not be null"));
            }
            None | Some(Value::Null) => Param::Null,
            Some(value) => cell(column.sql_type, value, &column.name)?,
        };
        row.push(cell);
    }
    if table.placed() {
        row.extend([Param::Integer(partition.into()), Param::Integer(offset)]);
    }
    Ok(row)
}

fn object(value: Option<&[u8]>) -> Result<Map<String, Value>, Misfit> {
    let whole = |code: MalformedCode, reason: String| Misfit { code: code.name(), field: None, reason };
    let value = value.ok_or_else(|| whole(MalformedCode::Empty, "the record has no value".into()))?;
    match serde_json::from_slice(value) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(whole(MalformedCode::NotAnObject, "the value is no JSON object".into())),
        Err(error) => Err(whole(MalformedCode::NotJson, format!("the value is not JSON: {error}"))),
    }
}

fn cell(sql_type: SqlType, value: &Value, field: &str) -> Result<Param, Misfit> {
    let wrong =
        || misfit(MalformedCode::WrongType, field, &format!("{} does not fit {}", short(value), sql_type.name()));
    let text = |text: &str| {
        if text.contains('\0') {
            let reason = "its text holds U+0000, which PostgreSQL cannot store".into();
            return Err(Misfit { code: NUL_CHARACTER, field: Some(field.into()), reason });
        }
        Ok(Param::Text(text.to_owned()))
    };
    match (sql_type, value) {
        (SqlType::Text, Value::String(value)) => text(value),
        (SqlType::Integer, Value::Number(number)) => number.as_i64().map(Param::Integer).ok_or_else(wrong),
        (SqlType::Number, Value::Number(number)) => number.as_f64().map(Param::Number).ok_or_else(wrong),
        (SqlType::Boolean, Value::Bool(value)) => Ok(Param::Boolean(*value)),
        (SqlType::Time, Value::String(value)) => Timestamp::parse(value.as_bytes()).map(Param::Time).ok_or_else(|| {
            misfit(MalformedCode::BadTime, field, &format!("`{}` is not an RFC 3339 time", clip(value)))
        }),
        (SqlType::Json, Value::Array(_) | Value::Object(_)) => {
            if holds_nul(value) {
                return text("\0");
            }
            Ok(Param::Text(value.to_string()))
        }
        _ => Err(wrong()),
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

fn misfit(code: MalformedCode, field: &str, reason: &str) -> Misfit {
    Misfit { code: code.name(), field: Some(field.to_owned()), reason: format!("field `{field}`: {reason}") }
}

fn short(value: &Value) -> String {
    clip(&value.to_string()).to_owned()
}

/// The first 60 characters: enough to see what it is.
fn clip(text: &str) -> &str {
    text.char_indices().nth(60).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;
    use millrace_model::Contracts;

    fn read(table: &Table, value: &str) -> Result<Vec<Param>, (&'static str, Option<String>)> {
        row(table, Some(value.as_bytes()), 3, 42).map_err(|misfit| (misfit.code, misfit.field))
    }

    #[test]
    fn rows() {
        let table = Table::of(&samples::contract(&["store_id"])).expect("a table");
        let full = r#"{"window_start":"1970-01-01T00:00:00.000001Z","store_id":"a","orders":-5,"share":2,"open":true,
            "lines":[1,{"x":null}],"unknown":1}"#;
        let cells = vec![
            Param::Time(Timestamp(1)),
            Param::Text("a".into()),
            Param::Integer(-5),
            Param::Number(2.0),
            Param::Boolean(true),
            Param::Text(r#"[1,{"x":null}]"#.into()),
        ];
        assert_eq!(read(&table, full), Ok(cells));
        assert_eq!(read(&table, r#"{"store_id":null}"#), Ok(vec![Param::Null; 6]));
        let field = |name: &str| Some(name.to_owned());
        for (value, expected) in [
            ("", ("not_json", None)),
            ("[1]", ("not_an_object", None)),
            (r#"{"orders":1.5}"#, ("wrong_type", field("orders"))),
            (r#"{"orders":9223372036854775808}"#, ("wrong_type", field("orders"))),
            (r#"{"orders":"1"}"#, ("wrong_type", field("orders"))),
            (r#"{"lines":"[]"}"#, ("wrong_type", field("lines"))),
            (r#"{"window_start":"yesterday"}"#, ("bad_time", field("window_start"))),
            (r#"{"store_id":"a\u0000b"}"#, ("nul_character", field("store_id"))),
            (r#"{"lines":[["\u0000"]]}"#, ("nul_character", field("lines"))),
        ] {
            assert_eq!(read(&table, value), Err(expected), "{value}");
        }
        assert_eq!(row(&table, None, 0, 0).map_err(|misfit| misfit.code), Err("empty"));
    }

    #[test]
    fn a_table_without_key_takes_the_place() {
        let table = Table::of(&samples::contract(&[])).expect("a table");
        let cells = read(&table, r#"{"orders":1}"#).expect("a row");
        assert_eq!(cells[6..], [Param::Integer(3), Param::Integer(42)]);
    }

    #[test]
    fn what_a_contract_requires_is_required() {
        let contracts = Contracts::builtin();
        let table = Table::of(contracts.get("job_progress").expect("it ships")).expect("a table");
        assert_eq!(read(&table, r#"{"table":"t","job":"j"}"#), Err(("missing_field", Some("backend".into()))));
        assert_eq!(read(&table, r#"{"table":null}"#), Err(("null_field", Some("table".into()))));
    }
}
