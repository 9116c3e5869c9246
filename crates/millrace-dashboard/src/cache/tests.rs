//! Tests of the cache: identity, versions and bounds.

use super::*;
use serde_json::json;

fn contract(name: &str, key: &[&str]) -> Contract {
    let schema = json!({
        "$id": name,
        "properties": {
            "window_start": {"type": "string", "format": "date-time"}, "k": {"type": "string"}, "n": {"type": "integer"}
        },
        "x-millrace": {"role": "result", "key": key, "topic": {"partitions": 1}}
    });
    Contract::parse(&schema.to_string()).expect("a contract")
}

fn row(k: &str, n: i64) -> Row {
    json!({"k": k, "n": n}).as_object().expect("an object").clone()
}

fn cache(rows_max: usize) -> Cache {
    let limits = Limits { cached_rows_max: rows_max, ..Limits::default() };
    Cache::new(vec![contract("keyed", &["k"]), contract("loose", &[])], &limits)
}

#[test]
fn latest_row_of_a_key_and_what_changed() {
    let mut cache = cache(10);
    assert!(cache.apply("keyed", vec![row("a", 1), row("b", 1)], None));
    let seen = cache.version();
    assert!(cache.apply("keyed", vec![row("a", 2), row("a", 3)], Some(Timestamp(1))));
    let table = cache.table("keyed").expect("the table");
    assert_eq!((table.len(), table.received, table.updated), (2, 4, Some(Timestamp(1))));
    assert_eq!(table.changed_since(seen).map(|r| r.int("n")).collect::<Vec<_>>(), [3]);
    assert_eq!(table.newest().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(table.changed_since(cache.version()).count(), 0);
}

#[test]
fn completing_adds_only_what_is_missing() {
    let mut cache = cache(3);
    cache.apply("keyed", vec![row("a", 5)], Some(Timestamp(1)));
    let seen = cache.version();
    cache.complete("keyed", vec![row("a", 1), row("b", 1), row("c", 1), row("d", 1)]);
    cache.complete("loose", vec![row("a", 1)]);
    let table = cache.table("keyed").expect("the table");
    let changed: Vec<_> = table.changed_since(seen).map(|row| row.text("k").to_owned()).collect();
    assert_eq!(
        (changed, table.len()),
        (vec!["b".to_owned(), "c".to_owned()], 3),
        "the held row is newer, and room is bounded"
    );
    assert_eq!(table.rows().find(|row| row.text("k") == "a").map(|row| row.int("n")), Some(5));
    assert_eq!(cache.table("loose").map(TableCache::len), Some(0), "without a key nobody knows what is missing");
}

#[test]
fn the_longest_unchanged_row_leaves_first() {
    let mut cache = cache(2);
    cache.apply("keyed", vec![row("a", 1), row("b", 1), row("a", 2), row("c", 1)], None);
    let table = cache.table("keyed").expect("the table");
    let mut keys: Vec<_> = table.rows().map(|r| r.text("k").to_owned()).collect();
    keys.sort();
    assert_eq!(keys, ["a", "c"]);
}

#[test]
fn rows_without_a_key_are_all_different() {
    let mut cache = cache(3);
    cache.apply("loose", (0..5).map(|n| row("same", n)).collect(), None);
    let table = cache.table("loose").expect("the table");
    assert_eq!(table.newest().map(|(_, r)| r.int("n")).collect::<Vec<_>>(), [4, 3, 2]);
}

#[test]
fn unknown_tables_are_ignored() {
    assert!(!cache(1).apply("elsewhere", vec![row("a", 1)], None));
    assert_eq!(cache(1).rows("elsewhere").count(), 0);
}
