//! Rows as CSV (RFC 4180), safe to open in a spreadsheet.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use millrace_model::Contract;
use serde_json::Value;

use crate::row::Row;

/// The rows as a download.
pub(super) fn answer(contract: &Contract, rows: &[Row]) -> Response {
    let name: String = contract.name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")),
    ];
    (headers, text(contract, rows)).into_response()
}

fn text(contract: &Contract, rows: &[Row]) -> String {
    let mut out = String::new();
    line(&mut out, contract.columns.iter().map(|column| column.name.clone()));
    for row in rows {
        line(&mut out, contract.columns.iter().map(|column| cell(row.get(&column.name).unwrap_or(&Value::Null))));
    }
    out
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(',');
        }
        if cell.contains(['"', ',', '\n', '\r']) {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(&cell);
        }
    }
    out.push_str("\r\n");
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // A spreadsheet would run a text that starts like a formula.
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::Contracts;
    use serde_json::json;

    #[test]
    fn quoted_and_disarmed() {
        let contracts = Contracts::builtin();
        let mut contract = contracts.get("dead_letters").expect("a shipped contract").clone();
        contract
            .columns
            .retain(|column| ["reason", "topic", "offset", "field", "headers"].contains(&column.name.as_str()));
        let row =
            json!({"reason": "a \"b\", c\nd", "topic": "=HYPERLINK(1)", "offset": -5, "field": null, "headers": [1]});
        let row = row.as_object().expect("an object").clone();
        assert_eq!(
            text(&contract, &[row]),
            "reason,field,topic,offset,headers\r\n\"a \"\"b\"\", c\nd\",,'=HYPERLINK(1),-5,[1]\r\n"
        );
    }
}
