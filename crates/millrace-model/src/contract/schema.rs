//! JSON Schema text ⇄ [`Contract`].

use serde_json::{Map, Value, json};

use super::{Column, ColumnType, Contract, Role, TopicSettings};
use crate::error::{Classified, ErrorKind};
use crate::time::parse_interval;

/// A contract file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("contract {name}: {detail}")]
pub struct ContractError {
    /// The `$id`, as far as it could be read.
    pub name: String,
    /// What is wrong and where.
    pub detail: String,
}

impl Classified for ContractError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

pub(super) fn parse(text: &str) -> Result<Contract, ContractError> {
    let mut name = String::from("(unnamed)");
    read(text, &mut name).map_err(|detail| ContractError { name, detail })
}

fn read(text: &str, name: &mut String) -> Result<Contract, String> {
    let root: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    *name = root["$id"].as_str().ok_or("`$id` is missing: it names the topic")?.to_owned();
    let columns = properties(&root)?;
    let block = &root["x-millrace"];
    let role = match block["role"].as_str() {
        Some("source") => Role::Source,
        Some("result") => Role::Result,
        Some("system") => Role::System,
        other => return Err(format!("x-millrace.role is {other:?}, not source, result or system")),
    };
    let event_time = block["event_time"].as_str().map(str::to_owned);
    let watermark_delay_micros = match block["watermark_delay"].as_str() {
        Some(delay) => parse_interval(delay).map_err(|e| format!("x-millrace.watermark_delay: {e}"))?,
        None => 0,
    };
    let contract = Contract {
        name: name.clone(),
        description: text_of(&root["description"]),
        role,
        key: names(&block["key"]),
        event_time,
        watermark_delay_micros,
        deduplicate_by: names(&block["deduplicate_by"]),
        topic: topic_settings(&block["topic"])?,
        columns,
    };
    let mentioned = contract.key.iter().chain(&contract.event_time).chain(&contract.deduplicate_by);
    for column in mentioned {
        if contract.column(column).is_none() {
            return Err(format!("x-millrace names `{column}`, which is not among the properties"));
        }
    }
    Ok(contract)
}

fn properties(object: &Value) -> Result<Vec<Column>, String> {
    let required = names(&object["required"]);
    let fields = object["properties"].as_object().ok_or("`properties` is missing")?;
    fields
        .iter()
        .map(|(name, field)| {
            let (column_type, nullable) = type_of(field).map_err(|e| format!("property `{name}`: {e}"))?;
            Ok(Column {
                name: name.clone(),
                column_type,
                required: required.contains(name),
                nullable,
                not_empty: field["minLength"].as_u64().is_some_and(|length| length > 0),
                description: text_of(&field["description"]),
            })
        })
        .collect()
}

fn type_of(field: &Value) -> Result<(ColumnType, bool), String> {
    let (kind, nullable) = match &field["type"] {
        Value::String(kind) => (kind.as_str(), false),
        Value::Array(kinds) => {
            let mut named = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            let kind = named.next().ok_or("its type is only null")?;
            if named.next().is_some() {
                return Err("it has several types; one type, or one and null".into());
            }
            (kind, kinds.iter().any(|kind| kind == "null"))
        }
        _ => return Err("`type` is missing".into()),
    };
    let column_type = match kind {
        "string" if field["format"] == "date-time" => ColumnType::Timestamp,
        "string" => ColumnType::Text,
        "integer" => ColumnType::Integer,
        "number" => ColumnType::Number,
        "boolean" => ColumnType::Boolean,
        "array" => ColumnType::List(Box::new(type_of(&field["items"])?.0)),
        "object" if field["properties"].is_object() => ColumnType::Struct(properties(field)?),
        "object" if field["additionalProperties"].is_object() => {
            ColumnType::Map(Box::new(type_of(&field["additionalProperties"])?.0))
        }
        other => return Err(format!("type `{other}` has no column type here")),
    };
    Ok((column_type, nullable))
}

fn topic_settings(block: &Value) -> Result<TopicSettings, String> {
    let partitions = block["partitions"]
        .as_u64()
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n > 0)
        .ok_or("x-millrace.topic.partitions must be a positive number")?;
    let config = block
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "partitions")
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    Ok(TopicSettings { partitions, config })
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn write(contract: &Contract) -> String {
    let mut root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": contract.name,
        "title": contract.name,
        "description": contract.description,
    });
    merge(&mut root, object_schema(&contract.columns));
    let mut block = Map::new();
    let role = match contract.role {
        Role::Source => "source",
        Role::Result => "result",
        Role::System => "system",
    };
    block.insert("role".into(), json!(role));
    block.insert("key".into(), json!(contract.key));
    if let Some(event_time) = &contract.event_time {
        block.insert("event_time".into(), json!(event_time));
    }
    if contract.watermark_delay_micros > 0 {
        block.insert("watermark_delay".into(), json!(format!("{} microseconds", contract.watermark_delay_micros)));
    }
    if !contract.deduplicate_by.is_empty() {
        block.insert("deduplicate_by".into(), json!(contract.deduplicate_by));
    }
    let mut topic = Map::new();
    topic.insert("partitions".into(), json!(contract.topic.partitions));
    for (name, value) in &contract.topic.config {
        let value = value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number));
        topic.insert(name.clone(), value);
    }
    block.insert("topic".into(), Value::Object(topic));
    merge(&mut root, json!({ "x-millrace": block }));
    format!("{root:#}\n")
}

fn object_schema(columns: &[Column]) -> Value {
    let required: Vec<_> = columns.iter().filter(|c| c.required).map(|c| c.name.as_str()).collect();
    let fields: Map<_, _> = columns.iter().map(|c| (c.name.clone(), column_schema(c))).collect();
    json!({ "type": "object", "required": required, "properties": fields })
}

fn column_schema(column: &Column) -> Value {
    let mut schema = type_schema(&column.column_type);
    if column.nullable {
        schema["type"] = json!([schema["type"], "null"]);
    }
    if column.not_empty {
        schema["minLength"] = json!(1);
    }
    if !column.description.is_empty() {
        schema["description"] = json!(column.description);
    }
    schema
}

fn type_schema(column_type: &ColumnType) -> Value {
    match column_type {
        ColumnType::Text => json!({ "type": "string" }),
        ColumnType::Integer => json!({ "type": "integer" }),
        ColumnType::Number => json!({ "type": "number" }),
        ColumnType::Boolean => json!({ "type": "boolean" }),
        ColumnType::Timestamp => json!({ "type": "string", "format": "date-time" }),
        ColumnType::List(item) => json!({ "type": "array", "items": type_schema(item) }),
        ColumnType::Struct(columns) => object_schema(columns),
        ColumnType::Map(value) => json!({ "type": "object", "additionalProperties": type_schema(value) }),
    }
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Contracts;

    #[test]
    fn every_contract_goes_round() {
        for contract in Contracts::builtin().iter() {
            let again = parse(&write(contract)).expect("written by us");
            assert_eq!(&again, contract);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, detail) in [
            ("[", "not JSON"),
            ("{}", "`$id` is missing"),
            (r#"{"$id":"t","properties":{"a":{"type":"tuple"}}}"#, "property `a`: type `tuple`"),
            (r#"{"$id":"t","properties":{"a":{"type":["string","integer"]}}}"#, "several types"),
            (
                r#"{"$id":"t","properties":{"a":{"type":"string"}},"x-millrace":{"role":"source","key":["b"],"topic":{"partitions":1}}}"#,
                "names `b`",
            ),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(detail), "{error}");
        }
    }
}
