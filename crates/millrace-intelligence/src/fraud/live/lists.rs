//! Lists: what people have decided of an entity beforehand. A blocked one is refused, a watched one is looked at, an allowed one is
//! not held, or not by the rules named.
//!
//! ```text
//!  payment: card c, device d ─▶ card c: allow ┐
//!                               device d: watch┴─▶ the strictest list of any of its entities counts: watch
//! ```
//!
//! An entity is on one list at a time: the last change of it counts, until it expires. Changes come as records of a topic, in the
//! order in which everything else is taken in, so that a restart and a backtest see the lists as they were at each payment.

use std::collections::HashMap;
use std::sync::Arc;

use millrace_model::Timestamp;

use super::event::{ListChange, hash};
use super::judgement::{Decision, Reason};
use super::memory::Kind;
use super::payment::{Payment, network};
use crate::recommend::stored::stored_fields;

/// Kinds of entities that can be listed, each with the field of `transactions` that names it.
pub const LISTED: [(&str, &str); 9] = [
    ("card", "card_token"),
    ("account", "user_id"),
    ("device", "device_id"),
    ("ip", "ip"),
    ("network", "ip"),
    ("bin", "card_bin"),
    ("email", "email_hash"),
    ("address", "shipping_address_hash"),
    ("terminal", "store_id"),
];
/// The same, as the judge numbers them; a terminal is none of those it remembers.
const NUMBERS: [u8; 9] = [
    Kind::Card as u8,
    Kind::Account as u8,
    Kind::Device as u8,
    Kind::Ip as u8,
    Kind::Network as u8,
    Kind::Bin as u8,
    Kind::Email as u8,
    Kind::Address as u8,
    b't',
];

/// The lists, the strictest last.
pub const LISTS: [&str; 3] = ["allow", "watch", "block"];
const ALLOW: u8 = 0;
const WATCH: u8 = 1;
const BLOCK: u8 = 2;

/// What is known of an entity that is on a list; its name is kept as a hash.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    list: u8,
    /// Rules that an allowed entity is not held by; none: by nothing.
    rules: Vec<Arc<str>>,
    reason: Arc<str>,
    by: Arc<str>,
    /// From this time on it counts no longer, microseconds.
    expires: i64,
}
stored_fields!(Entry { list, rules, reason, by, expires });

/// All lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lists {
    entries: HashMap<u64, Entry>,
}
stored_fields!(Lists { entries });

/// The number a terminal is listed by.
pub(super) fn terminal(name: &str) -> u64 {
    hash(b't', name)
}

/// The place of a kind in [`LISTED`].
fn place(kind: &str) -> Option<usize> {
    LISTED.iter().position(|(name, _)| *name == kind)
}

impl ListChange {
    /// Whether it says something: a kind and a list there are, and a time that can be read.
    pub fn is_sound(&self) -> bool {
        let expires = self.expires_at.as_deref().is_none_or(|text| Timestamp::parse(text.as_bytes()).is_some());
        let list = self.list.as_deref().is_none_or(|list| LISTS.contains(&list));
        place(&self.kind).is_some() && !self.entity.is_empty() && list && expires
    }
}

impl Lists {
    /// Takes a change in; false when it says nothing, or when there are too many entries.
    pub(super) fn change(&mut self, change: &ListChange, time: i64, entries_max: usize) -> bool {
        let Some(kind) = place(&change.kind).filter(|_| change.is_sound()) else { return false };
        let name = match change.kind.as_str() {
            // However much of the address is given: 10.1.2.0/24, 10.1.2.3, 10.1.2.
            "network" => network(change.entity.split('/').next().unwrap_or_default()),
            _ => change.entity.as_str(),
        };
        let id = hash(NUMBERS[kind], name);
        let Some(list) = change.list.as_deref().and_then(|list| LISTS.iter().position(|known| *known == list)) else {
            self.entries.remove(&id);
            return true;
        };
        if self.entries.len() >= entries_max && !self.entries.contains_key(&id) {
            self.entries.retain(|_, entry| entry.expires > time);
            if self.entries.len() >= entries_max {
                return false;
            }
        }
        let text = |text: &Option<String>| Arc::from(text.as_deref().unwrap_or_default());
        let expires = change.expires_at.as_deref().and_then(|text| Timestamp::parse(text.as_bytes()));
        let rules = change.rules.iter().flatten().map(|rule| Arc::from(rule.as_str())).collect();
        let entry = Entry {
            list: list as u8,
            rules,
            reason: text(&change.reason),
            by: Arc::from(change.changed_by.as_str()),
            expires: expires.map_or(i64::MAX, |time| time.0),
        };
        self.entries.insert(id, entry);
        true
    }

    /// Entities on a list.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What the lists say of a payment.
    pub(super) fn of(&self, payment: &Payment) -> Listed<'_> {
        let mut listed = Listed(Vec::new());
        if self.entries.is_empty() {
            return listed;
        }
        for (at, number) in NUMBERS.iter().enumerate() {
            let id = payment.ids.get(usize::from(*number)).copied().unwrap_or(payment.terminal);
            if let Some(entry) = self.entries.get(&id).filter(|entry| id != 0 && entry.expires > payment.time) {
                listed.0.push((at, entry));
            }
        }
        // Stable: of two on one list, the kind that is named first.
        listed.0.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.list));
        listed
    }
}

/// The entries of a payment's entities, the strictest first.
pub(super) struct Listed<'a>(Vec<(usize, &'a Entry)>);

impl Listed<'_> {
    /// Whether this rule adds nothing, as an entity is allowed to break it.
    pub(super) fn excuses(&self, rule: &str) -> bool {
        let excused = |entry: &Entry| entry.list == ALLOW && entry.rules.iter().any(|name| **name == *rule);
        self.0.iter().any(|(_, entry)| excused(entry))
    }

    /// The decision, given what rules and model came to.
    pub(super) fn decide(&self, decision: Decision) -> Decision {
        match self.0.first() {
            Some((_, entry)) if entry.list == BLOCK => Decision::Block,
            Some((_, entry)) if entry.list == WATCH => decision.max(Decision::Review),
            _ if self.0.iter().any(|(_, entry)| entry.rules.is_empty()) => Decision::Approve,
            _ => decision,
        }
    }

    /// Why, in words.
    pub(super) fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.0.iter().map(|(kind, entry)| {
            let list = LISTS[usize::from(entry.list)];
            let until =
                if entry.expires == i64::MAX { String::new() } else { format!(", until {}", Timestamp(entry.expires)) };
            let except = match entry.rules.is_empty() {
                true => String::new(),
                false => format!(" for {}", entry.rules.join(", ")),
            };
            let kind = LISTED[*kind].0;
            let text = format!("{kind} on the {list} list{except}: {} ({}{until})", entry.reason, entry.by);
            Reason::listed(&format!("{list}_list"), &text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fraud::live::event::Transaction;

    fn change(list: Option<&str>, kind: &str, entity: &str) -> ListChange {
        let (list, reason) = (list.map(str::to_owned), Some("seen before".to_owned()));
        ListChange {
            kind: kind.into(),
            entity: entity.into(),
            list,
            reason,
            changed_by: "ann".into(),
            ..Default::default()
        }
    }

    fn payment(time: i64) -> Payment {
        let text = |text: &str| Some(text.to_owned());
        let transaction = Transaction {
            card_token: text("c"),
            device_id: text("d"),
            store_id: text("vienna"),
            ip: text("10.0.0.7"),
            ..Transaction::default()
        };
        Payment::of(&transaction, time)
    }

    #[test]
    fn the_strictest_list_of_any_entity_counts() {
        let mut lists = Lists::default();
        let decide = |lists: &Lists, decision| lists.of(&payment(5)).decide(decision);
        assert_eq!(decide(&lists, Decision::Review), Decision::Review);
        for (list, kind, entity, of_approved, of_blocked) in [
            ("allow", "card", "c", Decision::Approve, Decision::Approve),
            ("watch", "network", "10.0.0.0/24", Decision::Review, Decision::Block),
            ("block", "terminal", "vienna", Decision::Block, Decision::Block),
        ] {
            assert!(lists.change(&change(Some(list), kind, entity), 0, 10));
            assert_eq!(
                (decide(&lists, Decision::Approve), decide(&lists, Decision::Block)),
                (of_approved, of_blocked),
                "{list}"
            );
        }
        let texts: Vec<String> = lists.of(&payment(5)).reasons().filter_map(|r| Some(r.text?.to_string())).collect();
        assert_eq!(texts[0], "terminal on the block list: seen before (ann)");
        // Taken off, another value of the same kind, one that is not known.
        assert!(lists.change(&change(None, "terminal", "vienna"), 0, 10));
        assert!(lists.change(&change(Some("block"), "device", "c"), 0, 10));
        assert_eq!(decide(&lists, Decision::Approve), Decision::Review);
        assert!(!lists.change(&change(Some("grey"), "card", "c"), 0, 10));
        assert!(!lists.change(&change(Some("block"), "name", "c"), 0, 10));
    }

    #[test]
    fn an_entry_expires_and_makes_room() {
        let mut lists = Lists::default();
        let until =
            ListChange { expires_at: Some("1970-01-01T00:00:10Z".into()), ..change(Some("block"), "card", "c") };
        assert!(lists.change(&until, 0, 1));
        assert_eq!(lists.of(&payment(9_999_999)).decide(Decision::Approve), Decision::Block);
        assert_eq!(lists.of(&payment(10_000_000)).decide(Decision::Approve), Decision::Approve);
        assert!(!lists.change(&change(Some("watch"), "device", "d"), 9_000_000, 1), "there is no room");
        assert!(lists.change(&change(Some("watch"), "device", "d"), 10_000_000, 1));
        assert_eq!(lists.len(), 1);
    }

    #[test]
    fn an_allowed_entity_may_be_excused_from_some_rules_only() {
        let mut lists = Lists::default();
        let velocity = ListChange { rules: Some(vec!["velocity".into()]), ..change(Some("allow"), "card", "c") };
        assert!(lists.change(&velocity, 0, 10));
        let payment = payment(5);
        let listed = lists.of(&payment);
        assert!(listed.excuses("velocity") && !listed.excuses("card_testing"));
        assert_eq!(listed.decide(Decision::Review), Decision::Review);
    }
}
