//! Rules that were changed while the judge runs: over the settings, in the order in which everything else is taken in.
//!
//! A new rule begins in the shadow, is promoted when its record speaks for it, and every step is a record: the topic is the audit
//! trail, and a restart or a backtest sees the rules as they were at each payment.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::RuleChange;
use super::rules::{Compiled, Rule};
use super::settings::JudgeSettings;
use crate::recommend::stored::{Bytes, RestoreError, Stored};

/// States a changed rule can be in.
pub const RULE_STATES: [&str; 3] = ["acts", "shadow", "off"];
/// Changed rules, at most.
pub const CHANGED_MAX: usize = 1_000;

/// The rules that were changed, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Changes(pub(super) BTreeMap<String, Rule>);

impl RuleChange {
    /// The rule it makes; none when the settings count again.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn rule(&self) -> Result<Option<Rule>, String> {
        if self.name.is_empty() {
            return Err("a rule has a name".into());
        }
        let Some(state) = self.state.as_deref() else { return Ok(None) };
        if !RULE_STATES.contains(&state) {
            return Err(format!("`{state}` is no state of a rule; there are {}", RULE_STATES.join(", ")));
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Ok(Some(Rule {
            description: text(&self.description),
            when: text(&self.when),
            points: self.points.unwrap_or(0.0),
            shadow: state == "shadow",
            off: state == "off",
        }))
    }
}

impl Changes {
    /// Takes a change in, and gives the rules that run from now on; what is wrong with it otherwise, and nothing is changed.
    pub(super) fn take(&mut self, change: &RuleChange, settings: &JudgeSettings) -> Result<Vec<Compiled>, String> {
        let mut changed = self.0.clone();
        match change.rule()? {
            Some(rule) => drop(changed.insert(change.name.clone(), rule)),
            None => drop(changed.remove(&change.name)),
        }
        if changed.len() > CHANGED_MAX {
            return Err(format!("more than {CHANGED_MAX} rules are changed; write them into the settings"));
        }
        let rules = settings.compile(&changed)?;
        self.0 = changed;
        Ok(rules)
    }
}

impl Stored for Changes {
    fn store(&self, out: &mut Vec<u8>) {
        self.0.len().store(out);
        for (name, rule) in &self.0 {
            let text = |text: &String| -> Arc<str> { Arc::from(text.as_str()) };
            ((text(name), text(&rule.when)), (text(&rule.description), rule.points)).store(out);
            (rule.shadow, rule.off).store(out);
        }
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        type Texts = ((Arc<str>, Arc<str>), (Arc<str>, f32));
        let mut changes = Changes::default();
        for _ in 0..usize::restore(from)? {
            let ((name, when), (description, points)) = Texts::restore(from)?;
            let (shadow, off) = <(bool, bool)>::restore(from)?;
            let rule = Rule { description: description.to_string(), when: when.to_string(), points, shadow, off };
            changes.0.insert(name.to_string(), rule);
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, state: Option<&str>, when: Option<&str>) -> RuleChange {
        let text = |text: Option<&str>| text.map(str::to_owned);
        RuleChange {
            name: name.into(),
            state: text(state),
            when: text(when),
            points: Some(8.0),
            ..RuleChange::default()
        }
    }

    #[test]
    fn a_rule_is_tried_promoted_and_given_back_to_the_settings() {
        let (mut changes, settings) = (Changes::default(), JudgeSettings::default());
        let shipped = settings.compile(&BTreeMap::new()).expect("rules").len();
        let mut state = |change: &RuleChange| -> Result<(usize, Option<bool>), String> {
            let rules = changes.take(change, &settings)?;
            Ok((rules.len(), rules.iter().find(|rule| &*rule.name == "fast").map(|rule| rule.shadow)))
        };
        let when = Some("card_attempts_1m >= 2");
        assert_eq!(state(&change("fast", Some("shadow"), when)), Ok((shipped + 1, Some(true))));
        assert_eq!(state(&change("fast", Some("acts"), when)), Ok((shipped + 1, Some(false))));
        // One that ships: what is not said stays as it is.
        assert_eq!(state(&change("velocity", Some("off"), None)), Ok((shipped, Some(false))));
        assert!(state(&change("slow", Some("acts"), None)).is_err_and(|why| why.contains("is no condition")));
        assert!(state(&change("fast", Some("on"), when)).is_err_and(|why| why.contains("acts, shadow, off")));
        assert_eq!(state(&change("velocity", None, None)), Ok((shipped + 1, Some(false))));
        assert_eq!(state(&change("fast", None, None)), Ok((shipped, None)));
        // On trial in a backtest: no record changes it.
        let fixed = JudgeSettings { fixed: ["velocity".to_owned()].into(), ..JudgeSettings::default() };
        let rules = changes.take(&change("velocity", Some("off"), None), &fixed).expect("rules");
        assert_eq!(rules.len(), shipped);
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let mut changes = Changes::default();
        changes.take(&change("fast", Some("shadow"), Some("amount > 5")), &JudgeSettings::default()).expect("a change");
        let mut out = Vec::new();
        changes.store(&mut out);
        assert_eq!(Changes::restore(&mut Bytes::new(&out)), Ok(changes));
    }
}
