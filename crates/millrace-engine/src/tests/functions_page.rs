//! `docs/sql/functions.md` lists the functions this build knows, beside all of Spark 4.2's; it fails when it is stale.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::sql::{GENERATORS, SPELLINGS};

const HEAD: &str = "<!-- Made from the code by the test `functions_page`; MILLRACE_WRITE_FUNCTIONS=1 writes it again. -->\n\
# Functions\n\n\
All built-in functions of Spark 4.2, by whether the embedded engine has them. On the Spark backend all of them are there; a\n\
statement that uses one of the last section needs that backend. \"Compared\" means that expressions with the function were\n\
run on Spark 4.2, and a test checks that the engine gives the same type and value (`tests/functions/*.txt`; a line `~`\n\
there is an answer that differs on purpose). Known differences are listed in [the page about SQL](../sql.md).\n";

/// Spark's words that are operators or syntax here, and always there.
const SYNTAX: [&str; 14] = [
    "and", "between", "case", "cast", "cube", "div", "extract", "grouping", "in", "not", "or", "rollup", "try_cast",
    "when",
];

fn page() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/functions");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).expect("a text of tests/functions");
    let word = |name: &&str| name.starts_with(|c: char| c.is_ascii_alphabetic());
    let sparks = read("spark-functions.list");
    let sparks: BTreeSet<&str> = sparks.lines().filter(word).collect();
    let expressions: String =
        ["arrays.txt", "texts.txt", "numbers.txt", "times.txt", "aggregates.txt"].map(read).concat().to_lowercase();
    let words: BTreeSet<&str> = expressions.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let [mut known, aggregates] = crate::functions::names();
    known.extend(SPELLINGS.into_iter().chain(GENERATORS).chain(SYNTAX).map(str::to_owned));
    let (mut scalar, mut streaming, mut batch) = (vec![], vec![], vec![]);
    let (mut generators, mut missing) = (vec![], vec![]);
    for name in sparks {
        let shown = format!("`{name}`{}", if words.contains(name) { "" } else { "\\*" });
        if crate::aggregate::is_aggregate(name) {
            streaming.push(shown);
        } else if aggregates.contains(name) {
            batch.push(shown);
        } else if !known.contains(name) {
            missing.push(format!("`{name}`"));
        } else if GENERATORS.contains(&name) {
            generators.push(shown);
        } else {
            scalar.push(shown);
        }
    }
    let mut page = HEAD.to_owned();
    let mut section = |title: &str, about: &str, names: &[String]| {
        let _ = write!(page, "\n## {title}: {}\n\n{about}\n\n{}\n", names.len(), wrapped(&names.join(", ")));
    };
    section("Of rows", "In every expression. Those with \\* are there, but not compared yet.", &scalar);
    section("Aggregates", "Over a stream, in windows, sessions and running totals, and in batch queries.", &streaming);
    section("Aggregates of batch queries", "In `millrace query` only.", &batch);
    section("Generators", "After LATERAL VIEW and in the SELECT list.", &generators);
    section("Not available", "Only on the Spark backend.", &missing);
    page
}

/// Lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one");
        if !last.is_empty() && last.len() + word.len() + 1 > 120 {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n")
}

#[test]
fn the_page_of_functions_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sql/functions.md");
    let page = page();
    if std::env::var_os("MILLRACE_WRITE_FUNCTIONS").is_some() {
        std::fs::write(path, &page).expect("the page can be written");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let remedy = "run this test with MILLRACE_WRITE_FUNCTIONS=1 and commit docs/sql/functions.md";
    assert!(written == page, "docs/sql/functions.md is stale: {remedy}");
}
