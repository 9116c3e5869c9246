//! A backtest as the scorer's side tells it, and the lines a page makes of it: as it runs, and on trial.

use std::collections::BTreeMap;

use millrace_model::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::Unit;

/// The newest backtest, and what can be asked of the next.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Backtest {
    /// `none`, `running`, `done`, `failed` or `stopped`.
    pub(crate) state: String,
    pub(crate) by: String,
    pub(crate) asked: Asked,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    /// What is being done, in words.
    pub(crate) told: String,
    pub(crate) records_done: u64,
    /// None: nobody knows how many there are.
    pub(crate) records: Option<u64>,
    pub(crate) why: String,
    pub(crate) stopped_by: String,
    pub(crate) result: Option<Compared>,
    /// The rules there are.
    pub(crate) rules: Vec<KnownRule>,
    pub(crate) review_at: f64,
    pub(crate) block_at: f64,
    pub(crate) records_max: u64,
    pub(crate) seconds_max: u64,
}

/// What was asked.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    name: Option<String>,
    when: Option<String>,
    points: Option<f64>,
    off: Vec<String>,
    review_at: Option<f64>,
    block_at: Option<f64>,
    since: Option<String>,
    until: Option<String>,
    memory: Option<String>,
}

/// A rule that can be named.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct KnownRule {
    pub(crate) name: String,
}

/// What two versions came to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Compared {
    pub(crate) records: u64,
    pub(crate) taken: u64,
    pub(crate) in_live_order: bool,
    pub(crate) as_live: i64,
    pub(crate) live: Outcome,
    pub(crate) other: Outcome,
    /// Held on trial only, and as it runs only.
    pub(crate) more: Only,
    pub(crate) less: Only,
    /// Some of them by name.
    pub(crate) held_more: Vec<String>,
    pub(crate) held_less: Vec<String>,
}

/// What is held by one version only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Only {
    pub(crate) payments: i64,
    pub(crate) known_fraud: i64,
}

/// What a version came to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    pub(crate) judged: i64,
    held: i64,
    held_fraud: i64,
    known_fraud: i64,
    precision_of_known: f64,
    recall_of_known: f64,
    money_saved_minor: i64,
    held_others: i64,
    held_others_minor: i64,
    fired: BTreeMap<String, Only>,
    truth: Option<Truth>,
}

/// What it came to by the simulated shop's answer key.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Truth {
    precision: f64,
    recall: f64,
    false_alarms: i64,
    good_money_hurt_minor: i64,
}

/// A figure of both versions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) unit: Unit,
    /// As it runs; none: there is nothing it could be made of.
    pub(crate) live: Option<f64>,
    /// On trial.
    pub(crate) other: Option<f64>,
}

impl Backtest {
    /// As it is told.
    pub(crate) fn read(told: Value) -> Self {
        serde_json::from_value(told).unwrap_or_else(|error| Backtest {
            state: "failed".to_owned(),
            why: format!("what came of it cannot be read: {error}"),
            ..Backtest::default()
        })
    }

    /// How much of the step is done.
    pub(crate) fn share(&self) -> Option<f64> {
        let records = self.records.filter(|records| *records > 0)?;
        Some((self.records_done as f64 / records as f64).min(1.0))
    }

    /// Seconds it took.
    pub(crate) fn seconds(&self) -> Option<f64> {
        Some((self.ended_at?.0 - self.started_at?.0) as f64 / 1e6)
    }
}

impl Asked {
    /// What was on trial, and over which span, in words.
    pub(crate) fn words(&self) -> String {
        let mut words = Vec::new();
        if let Some(name) = &self.name {
            let when = self.when.as_ref().map_or(String::new(), |when| format!(": {when}"));
            let points = self.points.map_or(String::new(), |points| format!(" ({points:+.1})"));
            words.push(format!("{name}{when}{points}"));
        }
        words.extend((!self.off.is_empty()).then(|| format!("without {}", self.off.join(", "))));
        words.extend(self.review_at.map(|at| format!("review from {at:.2}")));
        words.extend(self.block_at.map(|at| format!("block from {at:.2}")));
        if words.is_empty() {
            words.push("what runs".to_owned());
        }
        let memory = self.memory.as_ref().map_or(String::new(), |memory| format!(" with {memory} before it"));
        words.push(match (&self.since, &self.until) {
            (None, None) => "over all there is".to_owned(),
            (Some(since), None) => format!("since {since}{memory}"),
            (None, Some(until)) => format!("until {until}"),
            (Some(since), Some(until)) => format!("since {since}{memory}, until {until}"),
        });
        words.join(" · ")
    }
}

impl Compared {
    /// The figures, line by line.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let (live, other) = (&self.live, &self.other);
        let count = |label: &str, of: fn(&Outcome) -> i64| {
            line(label, Unit::Count, Some(of(live) as f64), Some(of(other) as f64))
        };
        let money = |label: &str, of: fn(&Outcome) -> i64| {
            line(label, Unit::money(""), Some(of(live) as f64), Some(of(other) as f64))
        };
        // Of nothing there is no share.
        let share = |label: &str, of: fn(&Outcome) -> (f64, i64)| {
            let known = |(share, of): (f64, i64)| (of > 0).then_some(share);
            line(label, Unit::Share, known(of(live)), known(of(other)))
        };
        let mut lines = vec![
            count("Held", |of| of.held),
            count("of these known fraud", |of| of.held_fraud),
            share("Precision, by known labels", |of| (of.precision_of_known, of.held)),
            share("Recall of known fraud", |of| (of.recall_of_known, of.known_fraud)),
            money("Money saved", |of| of.money_saved_minor),
            count("Others held", |of| of.held_others),
            money("Their money", |of| of.held_others_minor),
        ];
        if live.truth.is_some() && other.truth.is_some() {
            let truth = |label: &str, unit: Unit, of: fn(&Truth) -> f64| {
                line(label, unit, live.truth.as_ref().map(of), other.truth.as_ref().map(of))
            };
            lines.extend([
                truth("Precision, by the answer key", Unit::Share, |truth| truth.precision),
                truth("Recall, by the answer key", Unit::Share, |truth| truth.recall),
                truth("Good payments held, by the answer key", Unit::Count, |truth| truth.false_alarms as f64),
                truth("Money of good payments held", Unit::money(""), |truth| truth.good_money_hurt_minor as f64),
            ]);
        }
        for (rule, fired) in &other.fired {
            let before = live.fired.get(rule).copied().unwrap_or_default();
            let both = |of: fn(&Only) -> i64| (Some(of(&before) as f64), Some(of(fired) as f64));
            let (live, other) = both(|fired| fired.payments);
            lines.push(line(&format!("{rule} fired"), Unit::Count, live, other));
            let (live, other) = both(|fired| fired.known_fraud);
            lines.push(line("of these known fraud", Unit::Count, live, other));
        }
        lines
    }
}

fn line(label: &str, unit: Unit, live: Option<f64>, other: Option<f64>) -> Line {
    Line { label: label.to_owned(), unit, live, other }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_asked_in_words() {
        let words = |asked: Value| Backtest::read(json!({ "state": "done", "asked": asked })).asked.words();
        assert_eq!(words(json!({ "by": "ann" })), "what runs · over all there is");
        assert_eq!(
            words(
                json!({ "name": "fast", "when": "amount > 5", "points": 8, "off": ["velocity"], "since": "6h", "memory": "24h" })
            ),
            "fast: amount > 5 (+8.0) · without velocity · since 6h with 24h before it"
        );
        assert_eq!(words(json!({ "review_at": 0.4, "until": "1h" })), "review from 0.40 · until 1h");
    }

    #[test]
    fn figures_of_both_versions() {
        let outcome = |held: i64, known: i64| {
            json!({ "judged": 100, "held": held, "held_fraud": 2, "known_fraud": known, "precision_of_known": 0.5,
                "recall_of_known": 1.0, "money_saved_minor": 500, "fired": { "fast": { "payments": held, "known_fraud": 1 } } })
        };
        let told = json!({ "state": "done", "result": { "live": outcome(4, 0), "other": outcome(0, 2) } });
        let lines = Backtest::read(told).result.expect("a result").lines();
        let of = |label: &str| lines.iter().find(|line| line.label == label).map(|line| (line.live, line.other));
        assert_eq!(of("Held"), Some((Some(4.0), Some(0.0))));
        assert_eq!(of("Precision, by known labels"), Some((Some(0.5), None)), "nothing is held on trial");
        assert_eq!(of("Recall of known fraud"), Some((None, Some(1.0))));
        assert_eq!(of("fast fired"), Some((Some(4.0), Some(0.0))));
        assert_eq!(of("Recall, by the answer key"), None);
        assert!(Backtest::read(json!(5)).why.contains("cannot be read"));
    }

    #[test]
    fn how_far_it_is() {
        let share = |told: Value| Backtest::read(told).share();
        assert_eq!(share(json!({ "records_done": 1, "records": 4 })), Some(0.25));
        assert_eq!(
            (share(json!({ "records_done": 9, "records": null })), share(json!({ "records": 0 }))),
            (None, None)
        );
    }
}
