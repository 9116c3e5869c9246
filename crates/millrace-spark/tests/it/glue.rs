//! Pipeline files as jobs of this backend, read by the plainest means: the command takes them from the engine's parser,
//! which these tests do without, for it brings all of DataFusion.

use std::collections::BTreeSet;

use millrace_model::{Contract, Contracts, Role, time::parse_interval};
use millrace_spark::{SparkJob, SparkOutputMode, SparkQuery, SparkRead, SparkSource, SparkTable, SparkView};

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The contracts that ship: sources and results.
pub(crate) fn contracts() -> Contracts {
    let mut contracts = Contracts::builtin();
    for entry in std::fs::read_dir(workspace().join("contracts/results")).expect("the results' contracts") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        contracts.insert_text(&text).expect("a contract");
    }
    contracts
}

/// The pipelines that ship: name and text.
pub(crate) fn shipped() -> Vec<(String, String)> {
    let names = ["fraud", "inventory", "metrics", "recommendations", "sessions"];
    let read = |name: &str| std::fs::read_to_string(workspace().join("pipelines").join(format!("{name}.sql")));
    names.iter().map(|name| ((*name).to_owned(), read(name).expect("a pipeline"))).collect()
}

/// A pipeline text as a job. Results go to, and are read from, topics of this prefix.
pub(crate) fn job(name: &str, text: &str, contracts: &Contracts, prefix: &str) -> SparkJob {
    let topic_of = |contract: &Contract| match contract.role {
        Role::Result => format!("{prefix}{}", contract.name),
        _ => contract.name.clone(),
    };
    let (mut views, mut tables) = (Vec::new(), Vec::new());
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    let bare = lines.collect::<Vec<_>>().join("\n");
    for statement in bare.split(";\n").map(|statement| statement.trim().trim_end_matches(';')) {
        if let Some(rest) = statement.strip_prefix("CREATE TEMPORARY VIEW ") {
            let (view, sql) = rest.split_once(" AS").expect("a query");
            views.push(SparkView { name: view.to_owned(), query: query(sql.trim_start()) });
        } else if let Some(rest) = statement.strip_prefix("CREATE STREAMING TABLE ") {
            let (head, sql) = rest.split_once("\nAS ").expect("a query");
            let table = head.split_whitespace().next().expect("a name");
            let contract = contracts.get(table).unwrap_or_else(|| panic!("no contract of {table}")).clone();
            let output_mode = match head.contains("'output_mode' = 'append'") {
                true => SparkOutputMode::Append,
                false => SparkOutputMode::Update,
            };
            let topic = topic_of(&contract);
            tables.push(SparkTable {
                contract,
                topic,
                query: query(sql),
                output_mode,
                trigger: None,
                taken_over: None,
            });
        } else {
            assert!(statement.is_empty(), "what is this? {statement}");
        }
    }
    let queries = views.iter().map(|view| &view.query).chain(tables.iter().map(|table: &SparkTable| &table.query));
    let read: BTreeSet<&str> = queries.flat_map(|query| query.reads.iter().map(|read| read.table.as_str())).collect();
    let sources = read.iter().filter_map(|table| contracts.get(table));
    let sources =
        sources.map(|contract| SparkSource { contract: contract.clone(), topic: topic_of(contract) }).collect();
    SparkJob { name: name.to_owned(), sources, views, statics: Vec::new(), tables }
}

/// A query and its `FROM STREAM name [WATERMARK column DELAY OF INTERVAL n unit]`.
fn query(sql: &str) -> SparkQuery {
    let mut reads = Vec::new();
    for (at, found) in sql.match_indices("FROM STREAM ") {
        let start = at + found.len();
        let word_end = |from: usize| {
            from + sql[from..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(sql.len() - from)
        };
        let end = word_end(start);
        let (mut watermark, mut clause_at) = (None, None);
        if let Some(rest) = sql[end..].strip_prefix(" WATERMARK ") {
            let words: Vec<&str> = rest.split_whitespace().take(6).collect();
            let [column, "DELAY", "OF", "INTERVAL", number, unit] = words[..] else { panic!("what is this? {rest}") };
            let unit = unit.trim_matches(|c: char| !c.is_alphabetic());
            watermark = Some((column.to_owned(), parse_interval(&format!("{number} {unit}")).expect("a delay")));
            let unit_at = end + sql[end..].find(unit).expect("the unit");
            clause_at = Some(end + 1..unit_at + unit.len());
        }
        reads.push(SparkRead { table: sql[start..end].to_owned(), name_at: start..end, watermark, clause_at });
    }
    SparkQuery { sql: sql.to_owned(), reads }
}
