//! A record's value as a row of its table, or why it fits none.

use millrace_model::dead_letter::MalformedCode;
use serde_json::Value;

use super::cells::{Cell, cells};
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
    let whole = |code: MalformedCode, reason: String| Misfit { code: code.name(), field: None, reason };
    let value = value.ok_or_else(|| whole(MalformedCode::Empty, "the record has no value".into()))?;
    let own = if table.placed() { table.columns().len() - 2 } else { table.columns().len() };
    let columns = &table.columns()[..own];
    let cells = cells(columns, value).map_err(|error| match error.is_data() {
        true => whole(MalformedCode::NotAnObject, "the value is no JSON object".into()),
        false => whole(MalformedCode::NotJson, format!("the value is not JSON: {error}")),
    })?;
    let mut row = Vec::with_capacity(table.columns().len());
    for (column, found) in columns.iter().zip(cells) {
        row.push(match found {
            Some(Cell::Fits(param)) => param,
            None if column.required => return Err(misfit(MalformedCode::MissingField, &column.name, "it is missing")),
            Some(Cell::Other(Value::Null)) if column.required => {
                return Err(misfit(MalformedCode::NullField, &column.name, "it must not be null"));
            }
            None | Some(Cell::Other(Value::Null)) => Param::Null,
            Some(Cell::Other(value)) => cell(column.sql_type, &value, &column.name)?,
        });
    }
    if table.placed() {
        row.extend([Param::Integer(partition.into()), Param::Integer(offset)]);
    }
    Ok(row)
}

/// A value that was not taken at once: a list or a struct as its text, or why it does not fit.
fn cell(sql_type: SqlType, value: &Value, field: &str) -> Result<Param, Misfit> {
    let nul = || {
        let reason = "its text holds U+0000, which PostgreSQL cannot store".into();
        Misfit { code: NUL_CHARACTER, field: Some(field.into()), reason }
    };
    match (sql_type, value) {
        (SqlType::Text, Value::String(text)) if text.contains('\0') => Err(nul()),
        (SqlType::Time, Value::String(value)) => {
            Err(misfit(MalformedCode::BadTime, field, &format!("`{}` is not an RFC 3339 time", clip(value))))
        }
        (SqlType::Json, Value::Array(_) | Value::Object(_)) if holds_nul(value) => Err(nul()),
        (SqlType::Json, Value::Array(_) | Value::Object(_)) => Ok(Param::Text(value.to_string())),
        _ => {
            let reason = format!("{} does not fit {}", short(value), sql_type.name());
            Err(misfit(MalformedCode::WrongType, field, &reason))
        }
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
    use millrace_model::{Contracts, Timestamp};

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
        let other_order = r#"{"open":false,"x":{"orders":[1]},"orders":1,"share":-1e3,"orders":2,"store_id":"\u00e4"}"#;
        let cells = vec![
            Param::Null,
            Param::Text("ä".into()),
            Param::Integer(2),
            Param::Number(-1_000.0),
            Param::Boolean(false),
            Param::Null,
        ];
        assert_eq!(read(&table, other_order), Ok(cells), "the last of two counts");
        let zero = read(&table, r#"{"share":-0.0}"#).expect("a row");
        assert!(matches!(zero[3], Param::Number(zero) if zero.is_sign_positive()), "{zero:?}");
        let field = |name: &str| Some(name.to_owned());
        for (value, expected) in [
            ("", ("not_json", None)),
            ("[1]", ("not_an_object", None)),
            ("7", ("not_an_object", None)),
            (r#"{"orders":1}}"#, ("not_json", None)),
            (r#"{"orders":1,"share":}"#, ("not_json", None)),
            // What does not fit is told once the whole is known to be JSON.
            (r#"{"orders":"1","share":"#, ("not_json", None)),
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
