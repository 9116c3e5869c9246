//! Tables as they are: what there is, and rows by time and simple conditions. Every value is bound, never spliced in.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use millrace_model::{ColumnType, Contract, Timestamp};
use serde_json::{Value, json};

use super::csv;
use crate::answer::Problem;
use crate::mask;
use crate::params::Params;
use crate::shared::Shared;
use crate::store::{Param, ask, quoted, select_list};

/// Rows of an answer when the request does not say.
const ROWS_USUAL: usize = 200;
/// Parameters that are not conditions.
const RESERVED: [&str; 4] = ["since", "until", "limit", "order"];

/// `GET /api/tables`.
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let cache = shared.cache();
    let tables: Vec<Value> = cache
        .tables()
        .map(|table| {
            let columns: Vec<Value> = table
                .contract
                .columns
                .iter()
                .map(|column| {
                    json!({
                        "name": column.name, "type": type_name(&column.column_type),
                        "masked": mask::is_personal(&column.name), "description": column.description,
                    })
                })
                .collect();
            json!({
                "name": table.contract.name, "description": table.contract.description, "key": table.contract.key,
                "time": time_column(&table.contract), "columns": columns, "rows_in_memory": table.len(),
                "rows_received": table.received, "updated": table.updated,
                "watermark": cache.watermark(&table.contract.name),
            })
        })
        .collect();
    Json(json!({ "tables": tables }))
}

/// `GET /api/tables/{name}` and `GET /api/tables/{name}.csv`.
pub(super) async fn rows(State(shared): State<Arc<Shared>>, Path(name): Path<String>, params: Params) -> Response {
    match answer(&shared, &name, &params).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answer(shared: &Shared, name: &str, params: &Params) -> Result<Response, Problem> {
    let (name, as_csv) = match name.strip_suffix(".csv") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let found = shared.cache().table(name).map(|table| table.contract.clone());
    let contract =
        found.ok_or_else(|| Problem::not_found(format!("there is no table `{name}`; GET /api/tables lists them")))?;
    let limits = &shared.settings.limits;
    let limit = if as_csv {
        params.count("limit", limits.csv_rows_max, limits.csv_rows_max)
    } else {
        params.count("limit", ROWS_USUAL, limits.api_rows_max)
    };
    let question = Question::of(&contract, params, limit)?;
    let mut rows = ask(&shared.store, &question.sql, &question.values, limits.store_ms_max).await?;
    let truncated = rows.len() > limit;
    rows.truncate(limit);
    rows.iter_mut().for_each(mask::row);
    if as_csv {
        return Ok(csv::answer(&contract, &rows));
    }
    let watermark = shared.cache().watermark(name);
    Ok(Json(json!({ "table": name, "watermark": watermark, "truncated": truncated, "rows": rows })).into_response())
}

/// A statement and its values.
#[derive(Debug)]
struct Question {
    sql: String,
    values: Vec<Param>,
}

impl Question {
    /// Reads the conditions: `since` and `until` on the table's time, `column=value`, `column.gt=value` and so on.
    fn of(contract: &Contract, params: &Params, limit: usize) -> Result<Self, Problem> {
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        let time = time_column(contract);
        for (name, sign) in [("since", ">="), ("until", "<")] {
            let Some(text) = params.get(name) else { continue };
            let column = time.ok_or_else(|| Problem::bad_request(format!("table `{}` has no time", contract.name)))?;
            values.push(value(&ColumnType::Timestamp, name, text)?);
            conditions.push(format!("{} {sign} ${}", quoted(column), values.len()));
        }
        for (name, text) in params.iter().filter(|(name, _)| !RESERVED.contains(name)) {
            let (column, operator) = name.split_once('.').unwrap_or((name, "eq"));
            let Some(column) = contract.column(column) else {
                return Err(Problem::bad_request(format!(
                    "table `{}` has no column `{column}`; it has {}",
                    contract.name,
                    contract.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
                )));
            };
            let bound = value(&column.column_type, &column.name, text)?;
            let name = quoted(&column.name);
            let place = values.len() + 1;
            conditions.push(match operator {
                "eq" => format!("{name} = ${place}"),
                "ne" => format!("{name} <> ${place}"),
                "lt" => format!("{name} < ${place}"),
                "le" => format!("{name} <= ${place}"),
                "gt" => format!("{name} > ${place}"),
                "ge" => format!("{name} >= ${place}"),
                "prefix" if column.column_type == ColumnType::Text => {
                    format!("substr({name}, 1, {}) = ${place}", text.chars().count())
                }
                other => {
                    return Err(Problem::bad_request(format!(
                        "`{other}` is no condition on `{}`; eq, ne, lt, le, gt, ge are, and prefix on text",
                        column.name
                    )));
                }
            });
            values.push(bound);
        }
        let mut sql = format!("SELECT {} FROM {}", select_list(contract), quoted(&contract.name));
        if !conditions.is_empty() {
            sql.push_str(" WHERE ");
            sql.push_str(&conditions.join(" AND "));
        }
        if let Some(time) = time {
            let direction = match params.get("order") {
                None | Some("desc") => "DESC",
                Some("asc") => "ASC",
                Some(other) => return Err(Problem::bad_request(format!("order is asc or desc, not `{other}`"))),
            };
            sql.push_str(&format!(" ORDER BY {} {direction}", quoted(time)));
        }
        // One more than wanted tells whether there are more.
        values.push(Param::Integer(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)));
        sql.push_str(&format!(" LIMIT ${}", values.len()));
        Ok(Question { sql, values })
    }
}

/// The column a table's rows are in order of.
fn time_column(contract: &Contract) -> Option<&str> {
    let windows = contract.column("window_start").map(|column| column.name.as_str());
    windows.or(contract.event_time.as_deref())
}

fn value(column_type: &ColumnType, name: &str, text: &str) -> Result<Param, Problem> {
    let wrong = |what: &str| Problem::bad_request(format!("`{name}` is {what}, and `{text}` is not"));
    Ok(match column_type {
        ColumnType::Text => Param::Text(text.to_owned()),
        ColumnType::Integer => Param::Integer(text.parse().map_err(|_| wrong("an integer"))?),
        ColumnType::Number => Param::Number(text.parse().map_err(|_| wrong("a number"))?),
        ColumnType::Boolean => Param::Boolean(text.parse().map_err(|_| wrong("true or false"))?),
        ColumnType::Timestamp => {
            Param::Time(Timestamp::parse(text.as_bytes()).ok_or_else(|| wrong("a time such as 2026-01-31T09:05:00Z"))?)
        }
        ColumnType::List(_) | ColumnType::Struct(_) | ColumnType::Map(_) => {
            return Err(Problem::bad_request(format!("`{name}` holds several values and cannot be compared with one")));
        }
    })
}

fn type_name(column_type: &ColumnType) -> &'static str {
    match column_type {
        ColumnType::Text => "text",
        ColumnType::Integer => "integer",
        ColumnType::Number => "number",
        ColumnType::Boolean => "boolean",
        ColumnType::Timestamp => "timestamp",
        ColumnType::List(_) => "list",
        ColumnType::Struct(_) => "struct",
        ColumnType::Map(_) => "map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_model::Contracts;

    fn ask_of(pairs: &[(&str, &str)]) -> Result<Question, String> {
        let contracts = Contracts::builtin();
        let params: Params = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let contract = contracts.get("dead_letters").expect("a shipped contract");
        Question::of(contract, &params, 10).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn conditions_are_bound() {
        let question = ask_of(&[
            ("since", "2026-01-01T00:00:00Z"),
            ("topic", "x' OR 1=1 --"),
            ("offset.ge", "5"),
            ("reason.prefix", "né"),
            ("order", "asc"),
        ])
        .expect("a question");
        let rest = question.sql.split_once(" FROM ").expect("a statement").1;
        assert_eq!(
            rest,
            "\"dead_letters\" WHERE \"first_seen\" >= $1 AND \"offset\" >= $2 AND substr(\"reason\", 1, 2) = $3 \
             AND \"topic\" = $4 ORDER BY \"first_seen\" ASC LIMIT $5"
        );
        assert_eq!(question.values[3], Param::Text("x' OR 1=1 --".into()));
        assert_eq!(question.values[4], Param::Integer(11));
    }

    #[test]
    fn says_what_is_wrong() {
        for (pair, detail) in [
            (("colour", "red"), "no column `colour`"),
            (("offset", "many"), "an integer"),
            (("since", "yesterday"), "a time such as"),
            (("topic.like", "x"), "no condition"),
            (("offset.prefix", "1"), "no condition"),
            (("headers", "x"), "several values"),
            (("order", "up"), "asc or desc"),
        ] {
            let error = ask_of(&[pair]).expect_err("it must be refused");
            assert!(error.contains(detail), "{error}");
        }
    }
}
