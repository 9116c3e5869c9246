//! What to do about a table that is already there when its contract has changed: facts in, a decision out.

use super::table::{Table, TableColumn};
use super::value::SqlType;

/// What the database says about a table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Existing {
    /// Names and declared types of its columns. No columns: there is no such table.
    pub columns: Vec<(String, String)>,
    /// Column names of each unique constraint, in order.
    pub keys: Vec<Vec<String>>,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Evolution {
    /// There is none: create it.
    Create,
    /// It is as the contract says, but for these columns, which are new and null in the rows so far.
    Add(Vec<TableColumn>),
    /// It cannot become what the contract says: why, and what to do.
    Refuse(String),
}

/// Decides. A column that the contract no longer has stays as it is: its old values are still true.
pub(super) fn decide(table: &Table, existing: &Existing) -> Evolution {
    if existing.columns.is_empty() {
        return Evolution::Create;
    }
    let remedy = format!(
        "rename the streaming table, or drop it with DROP TABLE \"{}\" and start again: it is filled anew from its topic",
        table.name()
    );
    let mut added = Vec::new();
    for column in table.columns() {
        match existing.columns.iter().find(|(name, _)| name == &column.name) {
            None => added.push(column.clone()),
            Some((_, declared)) if SqlType::from_name(declared) == Some(column.sql_type) => {}
            Some((name, declared)) => {
                let wanted = column.sql_type.name();
                return Evolution::Refuse(format!(
                    "table `{}`: column `{name}` is {declared} in the store and {wanted} in the contract; {remedy}",
                    table.name()
                ));
            }
        }
    }
    let key = table.key_names();
    if !existing.keys.iter().any(|unique| unique == &key) {
        let held: Vec<String> = existing.keys.iter().map(|unique| format!("({})", unique.join(", "))).collect();
        let held = if held.is_empty() { "nothing".to_owned() } else { held.join(" and ") };
        return Evolution::Refuse(format!(
            "table `{}`: rows are unique by {held} in the store and by ({}) in the contract; {remedy}",
            table.name(),
            key.join(", ")
        ));
    }
    Evolution::Add(added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn existing(columns: &[(&str, &str)], keys: &[&[&str]]) -> Existing {
        Existing {
            columns: columns.iter().map(|(name, declared)| ((*name).into(), (*declared).into())).collect(),
            keys: keys.iter().map(|key| key.iter().map(|name| (*name).to_owned()).collect()).collect(),
        }
    }

    const COLUMNS: &[(&str, &str)] = &[
        ("window_start", "timestamp with time zone"),
        ("store_id", "text"),
        ("orders", "bigint"),
        ("share", "double precision"),
        ("open", "boolean"),
        ("lines", "jsonb"),
    ];
    const KEY: &[&[&str]] = &[&["window_start", "store_id"]];

    #[test]
    fn decisions() {
        let table = Table::of(&samples::contract(&["window_start", "store_id"])).expect("a table");
        let retyped: Vec<_> =
            COLUMNS.iter().map(|(n, t)| if *n == "orders" { (*n, "text") } else { (*n, *t) }).collect();
        let older: Vec<_> = [("gone", "text")].iter().chain(&COLUMNS[..5]).copied().collect();
        let add = |at: usize| Evolution::Add(vec![table.columns()[at].clone()]);
        for (case, existing, expected) in [
            ("no table", existing(&[], &[]), Evolution::Create),
            ("as it should be", existing(COLUMNS, KEY), Evolution::Add(vec![])),
            ("a new column, and one that is gone", existing(&older, KEY), add(5)),
        ] {
            assert_eq!(decide(&table, &existing), expected, "{case}");
        }
        for (case, existing, text) in [
            ("type", existing(&retyped, KEY), "`orders` is text in the store and BIGINT in the contract; rename"),
            (
                "key",
                existing(COLUMNS, &[&["store_id"]]),
                "unique by (store_id) in the store and by (window_start, store_id)",
            ),
            ("no key", existing(COLUMNS, &[]), "unique by nothing"),
        ] {
            match decide(&table, &existing) {
                Evolution::Refuse(why) => assert!(why.contains(text), "{case}: {why}"),
                other => panic!("{case}: {other:?}"),
            }
        }
    }
}
