//! Rules in update mode whose condition may cease to hold, such as a share of declines. A row of theirs is sent whenever an epoch
//! ends while it holds, so which row was the last, and whether there was one, depends on where epochs were cut.
//!
//! What does not: where the condition holds of the whole window, the last row is that of the whole window. These rows are asked of
//! the oracle's lake, by the same SELECTs in append mode; every target must have them. And every target must hold what the
//! topics hold, whatever it is.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::books::{self, Rows};
use crate::support::workspace;

/// Rules with a condition that more records can undo.
const RULES: [&str; 4] = ["amount_out_of_habit", "card_testing", "decline_rate", "refund_abuse"];
const SIGNALS: &str = "fraud_signals";

/// Rows of these rules where the condition holds of the whole window, from the lake.
pub(super) fn settled(dir: &Path, command: impl Fn(&[&str]) -> Command) -> Rows {
    let pipeline = std::fs::read_to_string(workspace().join("pipelines/fraud.sql")).expect("the rules");
    let is_wanted = |statement: &&str| {
        statement.contains("CREATE TEMPORARY VIEW payments AS")
            || RULES.iter().any(|rule| statement.contains(&made(rule)))
    };
    let statements: Vec<&str> = pipeline.split_inclusive(";\n").filter(is_wanted).collect();
    let mut text = statements.concat().replace("'output_mode' = 'update'", "'output_mode' = 'append'");
    for rule in RULES {
        assert!(text.contains(&made(rule)), "{rule} is a rule");
        text = text.replace(&made(rule), &format!("CREATE STREAMING TABLE settled_{rule}\n"));
    }
    let (file, folder) = (dir.join("settled.sql"), dir.join("settled"));
    std::fs::write(&file, text).expect("written");
    let (file, folder_name) = (file.display().to_string(), folder.display().to_string());
    books::said(command(&["replay", "--from", "lake", "--run", &file, "--output", &folder_name]));
    let of = |rule: &&str| {
        let rows = std::fs::read_to_string(folder.join(format!("settled_{rule}.ndjson"))).unwrap_or_default();
        (table(rule), rows.lines().map(|row| value(row).to_string()).collect())
    };
    RULES.iter().map(of).collect()
}

/// Holds what a run's topics hold against the oracle. `expected` then has, of these rules, what the topics and so every target must
/// hold; gives the names of the tables this was done for.
pub(super) fn allow(expected: &mut Rows, found: &Rows, settled: &Rows) -> Vec<String> {
    for (name, rows) in settled {
        let has: BTreeSet<&String> = found[name].iter().collect();
        let missing: Vec<&String> = rows.iter().filter(|row| !has.contains(row)).take(3).collect();
        assert!(
            missing.is_empty(),
            "{name}: {} rows hold of whole windows; not among those found: {missing:#?}",
            rows.len()
        );
        println!("{name}: {} rows hold of whole windows, {} more held for a while", rows.len(), has.len() - rows.len());
        expected.insert(name.clone(), found[name].clone());
    }
    // A signal is its rule's row under an id.
    let (of_rules, others): (Vec<&String>, Vec<&String>) = found[SIGNALS].iter().partition(|row| is_of_rules(row));
    let mut rows: Vec<String> = of_rules.iter().map(|row| without_id(row)).collect();
    let mut rule_rows: Vec<String> =
        settled.keys().flat_map(|name| found[name].iter().map(|row| without_id(row))).collect();
    rows.sort_unstable();
    rule_rows.sort_unstable();
    assert_eq!(rows, rule_rows, "the signals of rules whose condition may cease are their rows");
    let exact: Vec<&String> = expected[SIGNALS].iter().filter(|row| !is_of_rules(row)).collect();
    assert_eq!(others, exact, "signals of the other rules");
    expected.insert(SIGNALS.to_owned(), found[SIGNALS].clone());
    settled.keys().cloned().chain([SIGNALS.to_owned()]).collect()
}

fn made(rule: &str) -> String {
    format!("CREATE STREAMING TABLE {}\n", table(rule))
}

fn table(rule: &str) -> String {
    format!("fraud_{rule}")
}

fn value(row: &str) -> Value {
    serde_json::from_str(row).expect("JSON")
}

fn is_of_rules(row: &str) -> bool {
    value(row)["rule"].as_str().is_some_and(|rule| RULES.contains(&rule))
}

fn without_id(row: &str) -> String {
    let mut row = value(row);
    row.as_object_mut().expect("a row").retain(|name, _| name != "signal_id");
    row.to_string()
}
