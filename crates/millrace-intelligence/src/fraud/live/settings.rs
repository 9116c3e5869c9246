//! How the judge judges, and how much it may remember: plain data.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::entity::DAY;
use super::rules::{Compiled, Rule, shipped};

/// What may be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Entities of each kind.
    pub entities_max: usize,
    /// Visits under way.
    pub visits_max: usize,
    /// Payments whose ids can be named as evidence.
    pub attempts_max: usize,
    /// Payments that wait for their label.
    pub waiting_max: usize,
    /// Entities on lists.
    pub listed_max: usize,
    /// Labelled payments kept to grow trees on.
    pub matured_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            entities_max: 200_000,
            visits_max: 200_000,
            attempts_max: 200_000,
            waiting_max: 200_000,
            listed_max: 100_000,
            matured_max: 20_000,
        }
    }
}

/// How it judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeSettings {
    /// From this score on somebody looks at a payment.
    pub review_at: f32,
    /// From this score on a payment is refused.
    pub block_at: f32,
    /// The logarithm of the odds of a payment of which nothing is known.
    pub base_points: f32,
    /// Event time after which an approved payment without a chargeback counts as good, microseconds.
    pub label_delay_micros: i64,
    /// Trees are grown after every so many labels; 0: never.
    pub challenge_labels: u64,
    /// Rules of the shop's own, and those that ship with other numbers.
    pub rules: BTreeMap<String, Rule>,
    /// Of these, rules that no record of `fraud_rules` changes: what is on trial in a backtest.
    pub fixed: BTreeSet<String>,
    /// What may be remembered.
    pub limits: Limits,
}

impl Default for JudgeSettings {
    fn default() -> Self {
        JudgeSettings {
            review_at: 0.5,
            block_at: 0.95,
            base_points: -7.0,
            label_delay_micros: 7 * DAY,
            challenge_labels: 2_000,
            rules: BTreeMap::new(),
            fixed: BTreeSet::new(),
            limits: Limits::default(),
        }
    }
}

impl JudgeSettings {
    /// The rules that run, with those that were changed since, in the order of their names.
    ///
    /// # Errors
    /// A rule or a threshold that cannot work.
    pub(super) fn compile(&self, changed: &BTreeMap<String, Rule>) -> Result<Vec<Compiled>, String> {
        for (name, at) in [("review_at", self.review_at), ("block_at", self.block_at)] {
            if !(0.0..=1.0).contains(&at) {
                return Err(format!("{name} is {at}; write a number from 0 to 1"));
            }
        }
        self.merged_with(changed)
            .iter()
            .filter(|(_, rule)| !rule.off)
            .map(|(name, rule)| Compiled::of(name, rule))
            .collect()
    }

    /// The rules that ship, with those of the settings over and beside them: of one that ships, what is not said stays as it is.
    pub fn merged(&self) -> BTreeMap<String, Rule> {
        self.merged_with(&BTreeMap::new())
    }

    /// The same, with those over it that were changed since.
    pub fn merged_with(&self, changed: &BTreeMap<String, Rule>) -> BTreeMap<String, Rule> {
        let mut rules = shipped();
        let changed = changed.iter().filter(|(name, _)| !self.fixed.contains(*name));
        for (name, rule) in self.rules.iter().chain(changed) {
            let known = rules.entry(name.clone()).or_default();
            let text = |said: &String, known: &String| if said.is_empty() { known.clone() } else { said.clone() };
            let points = if rule.points == 0.0 { known.points } else { rule.points };
            let (when, description) = (text(&rule.when, &known.when), text(&rule.description, &known.description));
            *known = Rule { when, description, points, ..rule.clone() };
        }
        rules
    }
}
