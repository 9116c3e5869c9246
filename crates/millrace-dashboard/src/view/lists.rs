//! Who is blocked, watched or allowed: the last change of each entity, newest first.

use millrace_model::Timestamp;
use serde::Serialize;

use crate::cache::Cache;
use crate::mask;
use crate::row::{Read, Row, public_id};

/// The lists, the strictest first.
pub(crate) const LISTS: [&str; 3] = ["block", "watch", "allow"];

/// What the request asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ListParams {
    /// Only this list.
    pub(crate) list: Option<String>,
    /// Only this kind.
    pub(crate) kind: Option<String>,
    /// Words in the reason, the name of who said it, or the whole entity.
    pub(crate) search: Option<String>,
    /// Longest answer.
    pub(crate) limit: usize,
}

/// An entity that is on a list, or was.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Entry {
    /// The same for the same entity; names it where the entity itself must not be shown.
    pub(crate) id: String,
    pub(crate) list: String,
    pub(crate) kind: String,
    /// Masked.
    pub(crate) entity: String,
    /// Rules an allowed entity is not held by; none: by nothing.
    pub(crate) rules: Vec<String>,
    pub(crate) reason: String,
    pub(crate) changed_by: String,
    pub(crate) changed_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// The lists.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Lists {
    pub(crate) entries: Vec<Entry>,
    /// That match, beyond the limit too.
    pub(crate) matching: usize,
    /// Entities on each list, before filtering by list.
    pub(crate) by_list: Vec<(String, usize)>,
}

/// The name of an entity outside.
pub(crate) fn entry_id(kind: &str, entity: &str) -> String {
    public_id(&format!("{kind}\u{1f}{entity}"))
}

/// Computes the lists.
pub(crate) fn lists(cache: &Cache, params: &ListParams, now: Timestamp) -> Lists {
    let search = params.search.as_deref().map(str::to_lowercase);
    let is_found = |row: &Row| {
        let holds = |name: &str, word: &str| row.text(name).to_lowercase().contains(word);
        search.as_deref().is_none_or(|word| {
            holds("reason", word) || holds("changed_by", word) || row.text("entity").to_lowercase() == word
        })
    };
    let of_kind = |row: &Row| params.kind.as_deref().is_none_or(|kind| row.text("kind") == kind);
    let rows = cache.rows("fraud_lists").filter(|row| is_listed(row, now) && of_kind(row) && is_found(row));
    let mut all: Vec<Entry> = rows.map(entry).collect();
    let by_list = LISTS.map(|list| (list.to_owned(), all.iter().filter(|entry| entry.list == list).count())).to_vec();
    all.retain(|entry| params.list.as_deref().is_none_or(|list| entry.list == list));
    all.sort_by(|a, b| b.changed_at.cmp(&a.changed_at).then_with(|| a.id.cmp(&b.id)));
    let matching = all.len();
    all.truncate(params.limit);
    Lists { entries: all, matching, by_list }
}

/// The list an entity is on.
pub(crate) fn of_entity(cache: &Cache, kind: &str, entity: &str, now: Timestamp) -> Option<Entry> {
    let row = cache.table("fraud_lists")?.get(&format!("{kind}\u{1f}{entity}"))?;
    is_listed(row, now).then(|| entry(row))
}

/// The kind and the name of what goes by this name outside.
pub(crate) fn named(cache: &Cache, id: &str) -> Option<(String, String)> {
    let mut rows = cache.rows("fraud_lists");
    let row = rows.find(|row| entry_id(row.text("kind"), row.text("entity")) == id)?;
    Some((row.text("kind").to_owned(), row.text("entity").to_owned()))
}

fn is_listed(row: &Row, now: Timestamp) -> bool {
    !row.text("list").is_empty() && row.time("expires_at").is_none_or(|time| time > now)
}

fn entry(row: &Row) -> Entry {
    let (kind, entity) = (row.text("kind"), row.text("entity"));
    let shown = match kind {
        "ip" => mask::address(entity),
        // Neither names a person.
        "terminal" | "network" => entity.to_owned(),
        _ => mask::id(entity),
    };
    Entry {
        id: entry_id(kind, entity),
        list: row.text("list").to_owned(),
        kind: kind.to_owned(),
        entity: shown,
        rules: row.texts("rules"),
        reason: row.text("reason").to_owned(),
        changed_by: row.text("changed_by").to_owned(),
        changed_at: row.time("changed_at"),
        expires_at: row.time("expires_at"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::{at, cache_of, json_rows};
    use serde_json::{Value, json};

    fn change(list: Option<&str>, kind: &str, entity: &str, second: i64, expires: Option<i64>) -> Value {
        json!({ "kind": kind, "entity": entity, "list": list, "reason": "seen in Linz", "changed_by": "ann",
            "changed_at": at(second), "expires_at": expires.map(at) })
    }

    #[test]
    fn the_last_change_counts_until_it_is_over_and_names_are_masked() {
        let rows = vec![
            change(Some("watch"), "card", "card_7f3e9a1c44b2", 1, None),
            change(Some("block"), "card", "card_7f3e9a1c44b2", 2, Some(100)),
            change(Some("block"), "ip", "10.1.2.3", 3, None),
            change(Some("allow"), "terminal", "vienna", 4, Some(10)),
            change(None, "device", "dev_1", 5, None),
        ];
        let cache = cache_of(vec![("fraud_lists", json_rows(rows))]);
        let now = Timestamp(50_000_000);
        let all = lists(&cache, &ListParams { limit: 10, ..ListParams::default() }, now);
        let shown: Vec<&str> = all.entries.iter().map(|entry| &*entry.entity).collect();
        assert_eq!(shown, ["10.1.2.x", "card…44b2"]);
        assert_eq!(all.by_list[0], ("block".to_owned(), 2));
        let of = |search: &str| {
            let params = ListParams { search: Some(search.into()), limit: 10, ..ListParams::default() };
            lists(&cache, &params, now).matching
        };
        assert_eq!((of("linz"), of("10.1.2.3"), of("10.1.2"), of("bob")), (2, 1, 0, 0));
        assert_eq!(named(&cache, &all.entries[0].id), Some(("ip".into(), "10.1.2.3".into())));
        assert_eq!(of_entity(&cache, "card", "card_7f3e9a1c44b2", now).map(|entry| entry.list), Some("block".into()));
        assert_eq!(of_entity(&cache, "card", "card_7f3e9a1c44b2", Timestamp(100_000_000)), None);
    }
}
