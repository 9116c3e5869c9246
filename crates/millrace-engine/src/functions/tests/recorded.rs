//! Every expression of `tests/functions/*.txt` has the type and the value that Spark 4.2 gave it, or fails as it did there.
//!
//! Below an expression stands `= type: value` or `! ERROR_CLASS`, recorded from Spark; then, where ours differs on purpose,
//! `~ = type: value` or `~ ! part of the message`. Integer types are compared as one: an integer literal is a BIGINT here, an
//! INT in Spark. Spaces at the end of a value are shown as `␠`.

use std::fmt::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use datafusion::common::Result;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as DfStatement;
use sqlparser::ast::Statement;

use super::context;

/// An expression with what is expected of it.
#[derive(Debug)]
struct Recorded {
    expression: String,
    expected: String,
    line: usize,
}

fn recorded(text: &str) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(ours) = text.strip_prefix("~ ") {
            all.last_mut().expect("an expression first").expected = ours.to_owned();
        } else if text.starts_with("= ") || text.starts_with("! ") {
            all.last_mut().expect("an expression first").expected = text.to_owned();
        } else {
            all.push(Recorded { expression: text.to_owned(), expected: String::new(), line });
        }
    }
    all
}

async fn run(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    let failed = |error: crate::SqlError| error.through();
    let mut query = crate::sql::parse_query(sql).map_err(failed)?;
    crate::sql::rewrite(&mut query).map_err(failed)?;
    let statement = DfStatement::Statement(Box::new(Statement::Query(Box::new(query))));
    let plan = context.state().statement_to_plan(statement).await?;
    context.execute_logical_plan(plan).await?.collect().await
}

/// Our answer, as the files write it.
async fn ours(context: &SessionContext, expression: &str) -> String {
    let (expression, rows) = expression.split_once(" @ ").map_or((expression, None), |(e, rows)| (e, Some(rows)));
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let two = expression.split(|c| !word(c)).any(|part| part == "y");
    let source = rows.map(|rows| format!(" FROM VALUES {rows} AS {}", if two { "t(x, y)" } else { "t(x)" }));
    let source = source.unwrap_or_default();
    let sql = format!("SELECT typeof(r), CAST(r AS STRING) FROM (SELECT {expression} AS r{source})");
    let batches = match run(context, &sql).await {
        Ok(batches) => batches,
        Err(error) => {
            return format!(
                "! {}",
                crate::SqlError::planning(&error, sqlparser::tokenizer::Location { line: 0, column: 0 }).message
            );
        }
    };
    let Some(batch) = batches.first() else { return "= no row".to_owned() };
    let (of, value) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
    let value = if value.is_null(0) { "NULL" } else { value.value(0) };
    let kept = value.trim_end_matches(' ');
    let spaces = "␠".repeat(value.len() - kept.len());
    format!("= {}: {kept}{spaces}", of.value(0)).trim_end().to_owned()
}

/// With all integer types as one.
fn integers(answer: &str) -> String {
    let Some((of, value)) = answer.split_once(": ").or(answer.strip_suffix(':').map(|of| (of, ""))) else {
        return answer.to_owned();
    };
    let mut spelled = String::new();
    let mut word = String::new();
    for c in of.chars().chain([' ']) {
        if c.is_alphanumeric() {
            word.push(c);
            continue;
        }
        let integer = ["tinyint", "smallint", "int", "bigint"].contains(&word.as_str());
        spelled += if integer { "integer" } else { &word };
        word.clear();
        spelled.push(c);
    }
    format!("{}: {value}", spelled.trim_end())
}

#[tokio::test]
async fn answers_are_sparks() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/functions");
    let context = context();
    let (mut wrong, mut right) = (String::new(), 0);
    for entry in std::fs::read_dir(folder).expect("the folder of recorded answers").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        for case in recorded(&std::fs::read_to_string(&path).expect("a text")) {
            let answer = ours(&context, &case.expression).await;
            let same = match case.expected.strip_prefix("! ") {
                Some(part) => answer.starts_with("! ") && answer.contains(part),
                None => integers(&answer) == integers(&case.expected),
            };
            if same {
                right += 1;
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let _ = writeln!(wrong, "{name}:{}: {}\n    {}\n  ~ {answer}", case.line, case.expression, case.expected);
        }
    }
    assert!(wrong.is_empty(), "{right} are right, these are not:\n{wrong}");
    assert!(right > 500, "{right} expressions only");
}
