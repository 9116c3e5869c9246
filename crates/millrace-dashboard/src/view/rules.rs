//! Rules that were changed while the scorer runs, and what those in the shadow would have done.

use std::collections::BTreeMap;

use millrace_model::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::scoreboard::Shadow;
use crate::cache::Cache;
use crate::row::{Read, Row};

/// A rule that is another one than the settings say.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Changed {
    pub(crate) name: String,
    /// `acts`, `shadow` or `off`.
    pub(crate) state: String,
    /// Empty: as the settings have them.
    pub(crate) when: String,
    pub(crate) points: Option<f64>,
    pub(crate) description: String,
    pub(crate) reason: String,
    pub(crate) changed_by: String,
    pub(crate) changed_at: Option<Timestamp>,
    /// What it would have done, while it is in the shadow.
    pub(crate) shadow: Option<Shadow>,
}

/// The rules.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Rules {
    /// Those in the shadow first, then the newest change.
    pub(crate) changed: Vec<Changed>,
}

/// Names of the rules that were changed.
pub(crate) fn names(cache: &Cache) -> Vec<String> {
    let changed = cache.rows("fraud_rules").filter(|row| !row.text("state").is_empty());
    changed.map(|row| row.text("name").to_owned()).collect()
}

/// Computes the rules; one that the settings have in the shadow is known by what it would have done alone.
pub(crate) fn rules(cache: &Cache, shadows: &[Shadow]) -> Rules {
    let mut by_name: BTreeMap<String, Changed> = cache
        .rows("fraud_rules")
        .filter(|row| !row.text("state").is_empty())
        .map(|row| (row.text("name").to_owned(), changed(row)))
        .collect();
    for shadow in shadows {
        let rule = by_name.entry(shadow.rule.clone()).or_insert_with(|| Changed {
            name: shadow.rule.clone(),
            state: "shadow".to_owned(),
            when: String::new(),
            points: None,
            description: String::new(),
            reason: "as the settings have it".to_owned(),
            changed_by: String::new(),
            changed_at: None,
            shadow: None,
        });
        if rule.state == "shadow" {
            rule.shadow = Some(shadow.clone());
        }
    }
    let mut changed: Vec<Changed> = by_name.into_values().collect();
    changed.sort_by_key(|rule| (rule.state != "shadow", std::cmp::Reverse(rule.changed_at)));
    Rules { changed }
}

fn changed(row: &Row) -> Changed {
    Changed {
        name: row.text("name").to_owned(),
        state: row.text("state").to_owned(),
        when: row.text("when").to_owned(),
        points: row.get("points").and_then(Value::as_f64),
        description: row.text("description").to_owned(),
        reason: row.text("reason").to_owned(),
        changed_by: row.text("changed_by").to_owned(),
        changed_at: row.time("changed_at"),
        shadow: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::{at, cache_of, json_rows};
    use serde_json::json;

    #[test]
    fn what_is_in_the_shadow_comes_first_with_what_it_would_have_done() {
        let change = |name: &str, state: Option<&str>, second: i64| json!({ "name": name, "state": state, "when": "amount > 5", "points": 8.0, "changed_at": at(second), "changed_by": "ann" });
        let rows = vec![change("fast", Some("shadow"), 1), change("velocity", Some("off"), 2), change("slow", None, 3)];
        let cache = cache_of(vec![("fraud_rules", json_rows(rows))]);
        let shadow = |rule: &str| Shadow { rule: rule.into(), fired: 7, ..Shadow::default() };
        let found = rules(&cache, &[shadow("fast"), shadow("velocity"), shadow("of_settings")]).changed;
        let names: Vec<(&str, bool)> = found.iter().map(|rule| (&*rule.name, rule.shadow.is_some())).collect();
        assert_eq!(names, [("fast", true), ("of_settings", true), ("velocity", false)]);
    }
}
