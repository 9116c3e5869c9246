//! Result rows as Kafka records: the JSON text the codec writes, and its key.

use millrace_model::{Column, ColumnType, Contract};

use crate::decode::{literal, quoted};

/// Times as the product writes them, every column present.
const OPTIONS: &str =
    "map('ignoreNullFields', 'false', 'timeZone', 'UTC', 'timestampFormat', 'yyyy-MM-dd\\'T\\'HH:mm:ss.SSSSSS\\'Z\\'')";

/// The columns of the Kafka sink: `value`, and `key` when the table has one.
pub(crate) fn record(contract: &Contract) -> Vec<String> {
    let mut columns = vec![format!("{} AS value", json(contract.columns.iter()))];
    if !contract.key.is_empty() {
        let key = contract.key.iter().filter_map(|name| contract.column(name));
        columns.insert(0, format!("{} AS key", json(key)));
    }
    columns
}

fn json<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    let fields = columns.map(|column| format!("{}, {}", literal(&column.name), written(column)));
    format!("to_json(named_struct({}), {OPTIONS})", fields.collect::<Vec<_>>().join(", "))
}

/// JSON has no infinity: as from the codec, a number that is none is null.
fn written(column: &Column) -> String {
    let name = quoted(&column.name);
    match column.column_type {
        ColumnType::Number => format!("IF(CAST({name} AS DOUBLE) - CAST({name} AS DOUBLE) = 0, {name}, NULL)"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_value() {
        let mut contract = millrace_model::Contracts::builtin().get("answer_key").expect("shipped").clone();
        contract.columns.truncate(2);
        contract.key = vec![contract.columns[1].name.clone()];
        let [key, value] = record(&contract).try_into().expect("two columns");
        let (first, second) = (&contract.columns[0].name, &contract.columns[1].name);
        assert!(key.starts_with(&format!("to_json(named_struct('{second}', `{second}`), map(")), "{key}");
        assert!(
            value.starts_with(&format!("to_json(named_struct('{first}', `{first}`, '{second}', `{second}`)")),
            "{value}"
        );
        contract.key.clear();
        assert_eq!(record(&contract).len(), 1);
    }
}
