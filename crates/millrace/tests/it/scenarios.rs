//! The engine's scenario files (`tests/scenarios/`) as pipelines for both backends: the same statements and rows, one topic a
//! source. Rows are sorted by event time, so none is late on either; crashes and epochs are the engine's own tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use millrace_engine::sql;
use millrace_model::{ColumnType, Contract};
use serde_json::{Map, Value};

use crate::support::workspace;

const DAY: &str = "2026-01-01T";
/// Scenarios that are about something else than a result both backends have.
const NOT_COMPARED: [(&str, &str); 2] = [
    ("idle_source", "an idle source holds the watermark back on Spark; embedded it does not"),
    ("duplicates_and_malformed", "reads a stream of the contracts: the shipped pipelines compare those"),
];
/// Results of rows that pass a filter, still open at the end: on Spark the watermark follows those rows alone.
const OPEN_AT_THE_END: [&str; 3] = ["joins_carts", "joins_abandoned", "pipes_with_names"];
/// Words after which a name is that of a table.
const BEFORE_A_TABLE: [&str; 4] = ["TABLE", "FROM", "STREAM", "JOIN"];

/// A scenario as a pipeline file with names of its own.
pub(crate) struct Scenario {
    /// Name of its file, without the ending.
    pub(crate) name: String,
    /// The pipeline, its tables named after it.
    pub(crate) sql: String,
    /// Names of its results that are the same on both backends.
    pub(crate) tables: Vec<String>,
    /// Records by topic, in the order of their event time.
    pub(crate) records: BTreeMap<String, Vec<String>>,
}

/// The scenarios; their static tables are written into `folder`.
pub(crate) fn all(folder: &Path) -> Vec<Scenario> {
    let mut paths: Vec<_> = std::fs::read_dir(workspace().join("tests/scenarios"))
        .expect("the scenarios")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let compared = |path: &&std::path::PathBuf| NOT_COMPARED.iter().all(|(skipped, _)| *skipped != name(path));
    // Those of pipelines that ship have sources of the contracts, and are compared as a whole.
    let of_its_own = |path: &&std::path::PathBuf| {
        !std::fs::read_to_string(path).expect("a scenario").lines().any(|line| line.starts_with("pipeline "))
    };
    paths.iter().filter(compared).filter(of_its_own).map(|path| read(path, &name(path), folder)).collect()
}

fn read(path: &Path, name: &str, folder: &Path) -> Scenario {
    let text = std::fs::read_to_string(path).expect("a scenario");
    let mut lines = text.lines().filter(|line| !line.starts_with('#')).peekable();
    let (mut sql, mut records) = (String::new(), Vec::new());
    while let Some(line) = lines.next() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("sql"), _) => {
                let starts = |line: &&str| ["in ", "out ", "static "].iter().any(|word| line.starts_with(word));
                while let Some(line) = lines.next_if(|line| !starts(line)) {
                    let _ = writeln!(sql, "{line}");
                }
            }
            (Some("static"), Some(table)) => {
                let file = folder.join(format!("{name}-{table}.csv"));
                let rows: Vec<String> = block(&mut lines).iter().map(|cells| cells.join(",")).collect();
                std::fs::write(&file, rows.join("\n") + "\n").expect("written");
                let options = format!("'path' = '{}', 'header' = 'true', 'inferSchema' = 'true'", file.display());
                sql = sql.replace(&format!("'path' = '{table}.csv'"), &options);
            }
            (Some("in"), Some(source)) => records.push((source.to_owned(), block(&mut lines))),
            _ => {}
        }
    }
    let parsed = sql::parse("scenario.sql", &sql).expect("a pipeline");
    let mut topics: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for source in &parsed.sources {
        topics.entry(format!("{name}_{}", source.contract.name)).or_default();
    }
    for (source, rows) in records {
        let contract = &parsed.sources.iter().find(|found| found.contract.name == source).expect("declared").contract;
        let (columns, rows) = rows.split_first().expect("a line with the names of the columns");
        let given = topics.get_mut(&format!("{name}_{source}")).expect("made above");
        given.extend(rows.iter().map(|cells| record(contract, columns, cells)));
    }
    let records = topics.into_iter().map(|(topic, mut rows)| {
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        (topic, rows.into_iter().map(|(_, row)| row).collect())
    });
    let mut known: Vec<&str> = parsed.sources.iter().map(|source| source.contract.name.as_str()).collect();
    known.extend(parsed.tables.iter().map(|table| table.name.as_str()));
    let mut renamed = with_prefix(&sql, &known, name);
    for source in &parsed.sources {
        let source = &source.contract.name;
        renamed = renamed.replace(&format!("'topic' = '{source}'"), &format!("'topic' = '{name}_{source}'"));
    }
    // Rows that a LIMIT drops stay in a topic with keys: which these are depends on what a batch held.
    let tables = parsed.tables.iter().filter(|table| !table.sql.contains("LIMIT"));
    let tables = tables.map(|table| format!("{name}_{}", table.name));
    let tables = tables.filter(|table| !OPEN_AT_THE_END.contains(&table.as_str())).collect();
    Scenario { name: name.to_owned(), sql: renamed, tables, records: records.collect() }
}

/// The lines of a table, up to an empty one, as cells.
fn block<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    while let Some(row) = lines.next_if(|line| !line.trim().is_empty()) {
        rows.push(row.split('|').map(|cell| cell.trim().to_owned()).collect());
    }
    rows
}

/// The event time of a row, and the row as JSON.
fn record(contract: &Contract, columns: &[String], cells: &[String]) -> (String, String) {
    let (mut fields, mut time) = (Map::new(), String::new());
    for (column, cell) in columns.iter().zip(cells) {
        let found = contract.column(column).unwrap_or_else(|| panic!("{} has no column {column}", contract.name));
        let value = match (&found.column_type, cell.as_str()) {
            (_, "null") => Value::Null,
            (ColumnType::Timestamp, at) => {
                if column == "event_time" {
                    at.clone_into(&mut time);
                }
                Value::String(format!("{DAY}{at}Z"))
            }
            (ColumnType::Text, text) => Value::String(text.to_owned()),
            (_, other) => serde_json::from_str(other).unwrap_or_else(|_| panic!("{column}: {other}")),
        };
        fields.insert(column.clone(), value);
    }
    (time, Value::Object(fields).to_string())
}

/// Puts the name of the scenario before the names of tables, where they name one.
fn with_prefix(sql: &str, tables: &[&str], prefix: &str) -> String {
    let mut renamed = String::new();
    let mut before = String::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = match is_word(first) {
            true => rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, after) = rest.split_at(end);
        let qualifies = after.starts_with('.') && !renamed.ends_with('.');
        if tables.contains(&word) && (BEFORE_A_TABLE.contains(&before.as_str()) || qualifies) {
            let _ = write!(renamed, "{prefix}_");
        }
        renamed.push_str(word);
        if is_word(first) {
            before = word.to_uppercase();
        } else if !first.is_whitespace() {
            before.clear();
        }
        rest = after;
    }
    renamed
}
