//! The past judged again, by the settings that run and by others beside them: what `millrace fraud backtest` and the page do.
//!
//! ```text
//!  lake: user_events, transactions ┐
//!  topics: fraud_verdicts, _lists ─┼─▶ batches as live (fraud_batches), else by event time ─▶ judge (live) ─┬▶ what differs
//!                                  └──────────────────────────────────────────────────────▶ judge (other) ┘
//! ```
//!
//! It goes through the code that runs live, and in live order: with unchanged settings the rows are those of `fraud_decisions`, to
//! the byte, when the whole past is taken in. The answer says how many are.
//!
//! Reading order: [`Trial`] and [`Span`] (what is asked), `past` (what there was), `version` (what one version came to), this,
//! [`asked`] (a request read), [`desk`] (one at a time, for the page).

pub(crate) mod asked;
pub(crate) mod desk;
mod past;
mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use millrace_connectors::kafka::ClientSettings;
use millrace_intelligence::fraud::live::{Judge, JudgeSettings, Rule};
use millrace_model::Timestamp;
use millrace_model::names::did_you_mean;
use serde::Serialize;

use self::past::Past;
pub(crate) use self::version::{Outcome, Told};
use self::version::{Version, compare};
use super::records::Batch;
use crate::commands::Invalid;

/// What is on trial beside what runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trial {
    /// Rules beside those that run, or instead of one of that name; what one does not say stays as it is.
    pub(crate) rules: BTreeMap<String, Rule>,
    /// Rules that do not run.
    pub(crate) off: BTreeSet<String>,
    /// Score from which on somebody looks at a payment.
    pub(crate) review_at: Option<f32>,
    /// Score from which on a payment is refused.
    pub(crate) block_at: Option<f32>,
}

impl Trial {
    /// The settings to try: those that run, with what is on trial over them. `changed`: rules that were changed while they ran.
    ///
    /// # Errors
    /// A rule or a threshold that cannot work, in words.
    pub(crate) fn over(&self, live: &JudgeSettings, changed: &BTreeMap<String, Rule>) -> Result<JudgeSettings, String> {
        let (mut other, known) = (live.clone(), live.merged_with(changed));
        let unknown = |name: &str| {
            let hint = did_you_mean(name, known.keys().map(String::as_str));
            format!("there is no rule `{name}`{hint}; `millrace fraud rules` lists them")
        };
        for (name, tried) in &self.rules {
            let mut rule = tried.clone();
            match known.get(name) {
                Some(known) if rule.when.is_empty() => rule.when.clone_from(&known.when),
                None if rule.when.is_empty() => return Err(format!("{}, and a new one says `when`", unknown(name))),
                _ => {}
            }
            if rule.points == 0.0 {
                rule.points = known.get(name).map_or(0.0, |known| known.points);
            }
            if rule.points == 0.0 {
                return Err(format!("rule `{name}`: its points are missing; 7 are enough for a review"));
            }
            rule.check(name)?;
            other.fixed.insert(name.clone());
            other.rules.insert(name.clone(), rule);
        }
        for name in &self.off {
            if !known.contains_key(name) && !self.rules.contains_key(name) {
                return Err(unknown(name));
            }
            other.fixed.insert(name.clone());
            other.rules.entry(name.clone()).or_default().off = true;
        }
        other.review_at = self.review_at.unwrap_or(other.review_at);
        other.block_at = self.block_at.unwrap_or(other.block_at);
        Ok(other)
    }
}

/// Which part of the past counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// Decisions from this time on.
    pub(crate) since: Option<Timestamp>,
    /// Decisions before this time.
    pub(crate) until: Option<Timestamp>,
    /// How much of what happened before `since` is taken in first; none: all of it.
    pub(crate) memory: Option<Duration>,
}

impl Span {
    /// From when on records are taken in.
    fn begins(&self) -> Option<Timestamp> {
        let memory = i64::try_from(self.memory?.as_micros()).unwrap_or(i64::MAX);
        self.since.map(|since| Timestamp(since.0.saturating_sub(memory)))
    }

    fn counts(&self, time: i64) -> bool {
        self.since.is_none_or(|since| time >= since.0) && self.until.is_none_or(|until| time < until.0)
    }
}

/// A backtest to be made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) trial: Trial,
    pub(crate) span: Span,
    /// Take records in by event time, not in the order in which they were taken live.
    pub(crate) by_event_time: bool,
    /// Records of the past that may be held, at some 500 bytes each.
    pub(crate) records_max: usize,
}

/// What is being done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// What was decided and said.
    #[default]
    Topics,
    /// What happened.
    Lake,
    /// The judgements.
    Judging,
}

impl Step {
    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Step::Topics => "reading topics",
            Step::Lake => "reading the lake",
            Step::Judging => "judging",
        }
    }
}

/// Who is told how far it is, and may end it.
pub(crate) trait Watch: Send + Sync {
    /// A step begins that is so many records long; none: nobody knows.
    fn begins(&self, step: Step, records: Option<u64>);
    /// So many more are done.
    fn goes_on(&self, records: u64);
    /// Nobody waits for it any longer.
    fn is_stopped(&self) -> bool {
        false
    }
}

/// Judges the past again.
///
/// # Errors
/// [`Invalid`]: what is on trial cannot work, or the past is too large or not there; else Kafka and the lake.
pub(crate) async fn run(
    kafka: &ClientSettings,
    lake: &Path,
    live: &JudgeSettings,
    wanted: &Wanted,
    watch: &Arc<dyn Watch>,
) -> anyhow::Result<Told> {
    let mut past = Past::of(kafka, wanted.records_max, watch.as_ref()).await?;
    let other = wanted.trial.over(live, past.changed()).map_err(Invalid)?;
    let judge = |settings: JudgeSettings| Judge::new(settings).map_err(Invalid);
    let on_trial = || wanted.trial.rules.keys();
    let versions = (Version::new(judge(live.clone())?, on_trial()), Version::new(judge(other)?, on_trial()));
    past.read_lake(lake, &wanted.span, watch.as_ref()).await?;
    let (span, by_event_time, watch) = (wanted.span, wanted.by_event_time, watch.clone());
    let judging = move || judge_all(past, versions, span, by_event_time, watch.as_ref());
    tokio::task::spawn_blocking(judging).await.context("judging the past was cut off")?
}

/// Both versions over all of it. It computes for as long as that takes.
fn judge_all(
    mut past: Past,
    (mut live, mut other): (Version, Version),
    span: Span,
    by_event_time: bool,
    watch: &dyn Watch,
) -> anyhow::Result<Told> {
    let total = past.len();
    let in_live_order = past.has_order() && !by_event_time;
    let ordered: Vec<Batch> = past.ordered(in_live_order);
    live.learn_answers(&past);
    other.learn_answers(&past);
    watch.begins(Step::Judging, Some(total as u64));
    let mut taken = 0;
    for batch in ordered {
        for record in batch.in_order() {
            if watch.is_stopped() {
                return Err(Invalid("it was stopped".into()).into());
            }
            watch.goes_on(1);
            taken += 1;
            let counts = span.counts(record.time());
            live.take(record.clone(), &past, counts)?;
            other.take(record, &past, counts)?;
        }
    }
    Ok(compare(&past, &live, &other, in_live_order, (taken, total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(when: &str, points: f32) -> Rule {
        Rule { when: when.into(), points, ..Rule::default() }
    }

    #[test]
    fn what_is_on_trial_is_put_over_what_runs() {
        let (live, none) = (JudgeSettings::default(), BTreeMap::new());
        assert_eq!(Trial::default().over(&live, &none).expect("settings"), live);
        let trial = Trial {
            rules: [("a".to_owned(), rule("amount > 5", 3.0))].into(),
            off: ["velocity".to_owned()].into(),
            review_at: Some(0.25),
            block_at: None,
        };
        let other = trial.over(&live, &none).expect("settings");
        assert_eq!((other.rules["a"].when.as_str(), other.rules["a"].points), ("amount > 5", 3.0));
        assert!(other.rules["velocity"].off && other.review_at == 0.25 && other.block_at == live.block_at);
        // One in the shadow that acts on trial, as it is; one that ships, with other points.
        let changed = BTreeMap::from([("fast".to_owned(), Rule { shadow: true, ..rule("amount > 7", 8.0) })]);
        let trial = Trial { rules: [("fast".to_owned(), Rule::default())].into(), ..Trial::default() };
        let other = trial.over(&live, &changed).expect("settings");
        assert_eq!(other.rules["fast"], rule("amount > 7", 8.0));
        let trial = Trial { rules: [("velocity".to_owned(), rule("", 9.0))].into(), ..Trial::default() };
        assert_eq!(trial.over(&live, &none).expect("settings").rules["velocity"].points, 9.0);
        for (trial, told) in [
            (Trial { rules: [("velocty".to_owned(), Rule::default())].into(), ..Trial::default() }, "did you mean"),
            (Trial { rules: [("a".to_owned(), rule("amount > 5", 0.0))].into(), ..Trial::default() }, "points"),
            (Trial { rules: [("a".to_owned(), rule("amont > 5", 1.0))].into(), ..Trial::default() }, "no feature"),
            (Trial { off: ["velocty".to_owned()].into(), ..Trial::default() }, "did you mean `velocity`?"),
        ] {
            let error = trial.over(&live, &none).expect_err(told);
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_span_counts_its_decisions_and_takes_in_what_was_before() {
        let hour = Duration::from_secs(3_600);
        let span = Span { since: Some(Timestamp(0)), until: Some(Timestamp(10)), memory: Some(hour) };
        assert_eq!([-1, 0, 9, 10].map(|time| span.counts(time)), [false, true, true, false]);
        assert_eq!(span.begins(), Some(Timestamp(-3_600_000_000)));
        assert_eq!(Span { memory: None, ..span }.begins(), None);
        assert_eq!(Span { since: None, ..span }.begins(), None, "everything is in the span already");
    }
}
