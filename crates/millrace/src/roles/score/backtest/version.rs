//! One version of the settings: what it did in the span, and what two of them differ by.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use millrace_intelligence::fraud::live::scoreboard::{Decided, Report, Scoreboard};
use millrace_intelligence::fraud::live::{Decision, Judge, Judged, Reason};
use serde::Serialize;

use super::past::Past;
use crate::roles::score::records::{Record, row, take};

/// One version, and what it did in the span.
pub(super) struct Version {
    judge: Judge,
    board: Scoreboard,
    /// What was held, with its amount.
    held: BTreeMap<String, i64>,
    judged: usize,
    /// Of these, known to be fraud.
    frauds: usize,
    as_live: usize,
    fired: BTreeMap<String, Fired>,
}

/// How often a rule on trial fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Fired {
    pub(crate) payments: usize,
    pub(crate) known_fraud: usize,
}

/// What a version came to.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) judged: usize,
    pub(crate) held: usize,
    pub(crate) held_fraud: usize,
    /// Of what was judged in the span, known to be fraud.
    pub(crate) known_fraud: usize,
    pub(crate) precision_of_known: f64,
    pub(crate) recall_of_known: f64,
    pub(crate) money_saved_minor: i64,
    pub(crate) held_others: usize,
    pub(crate) held_others_minor: i64,
    /// Rules on trial.
    pub(crate) fired: BTreeMap<String, Fired>,
    pub(crate) truth: Option<Report>,
}

/// What is held by one version only.
#[derive(Debug, Serialize)]
pub(crate) struct Only {
    pub(crate) payments: usize,
    pub(crate) known_fraud: usize,
}

/// What a backtest came to.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    pub(crate) records: usize,
    pub(crate) taken: usize,
    pub(crate) in_live_order: bool,
    pub(crate) as_live: usize,
    pub(crate) live_decisions: usize,
    pub(crate) live_rows: usize,
    pub(crate) live: Outcome,
    pub(crate) other: Outcome,
    /// Held on trial only, and as it runs only.
    pub(crate) more: Only,
    pub(crate) less: Only,
    /// The same by name.
    pub(crate) held_more: Vec<String>,
    pub(crate) held_less: Vec<String>,
}

impl Version {
    pub(super) fn new<'a>(judge: Judge, on_trial: impl IntoIterator<Item = &'a String>) -> Self {
        let fired = on_trial.into_iter().map(|name| (name.clone(), Fired::default())).collect();
        let (board, held) = (Scoreboard::default(), BTreeMap::new());
        Version { judge, board, held, judged: 0, frauds: 0, as_live: 0, fired }
    }

    pub(super) fn learn_answers(&mut self, past: &Past) {
        past.answers().iter().for_each(|answer| self.board.answer(answer));
    }

    /// Takes a record in; what is judged counts if it is of the span.
    pub(super) fn take(&mut self, record: Record, past: &Past, counts: bool) -> anyhow::Result<()> {
        let Some((transaction, judgement)) = take(&mut self.judge, record).filter(|_| counts) else { return Ok(()) };
        let row = row(&transaction, &judgement);
        self.judged += 1;
        let is_fraud = past.is_fraud(row.decision_id);
        self.frauds += usize::from(is_fraud);
        let value = serde_json::to_vec(&row).context("encode a decision")?;
        self.as_live += usize::from(past.is_as_live(row.decision_id, &value));
        if judgement.decision != Decision::Approve {
            self.held.insert(row.decision_id.to_owned(), transaction.amount_minor.unwrap_or(0));
        }
        let rules = judgement.reasons.iter().filter(|reason| matches!(reason.kind, "rule" | "shadow" | "excused"));
        for fired in rules.map(|reason| &*reason.name).collect::<BTreeSet<&str>>() {
            if let Some(fired) = self.fired.get_mut(fired) {
                fired.payments += 1;
                fired.known_fraud += usize::from(is_fraud);
            }
        }
        self.board.decided(Decided {
            id: row.decision_id.to_owned(),
            refund: judgement.kind == Judged::Refund,
            time: judgement.time,
            user: transaction.user_id.clone(),
            score: f64::from(judgement.score),
            flagged: judgement.decision != Decision::Approve,
            amount_minor: transaction.amount_minor.unwrap_or(0),
            evidence: judgement
                .evidence
                .iter()
                .filter_map(|event| Some(event.payment_id.as_deref()?.to_owned()))
                .collect(),
            shadow: judgement.reasons.iter().filter_map(Reason::shadow).collect(),
        });
        Ok(())
    }

    fn outcome(&self, past: &Past) -> Outcome {
        let (frauds, others): (Vec<_>, Vec<_>) = self.held.iter().partition(|(id, _)| past.is_fraud(id));
        Outcome {
            judged: self.judged,
            held: self.held.len(),
            held_fraud: frauds.len(),
            known_fraud: self.frauds,
            precision_of_known: part(frauds.len(), self.held.len()),
            recall_of_known: part(frauds.len(), self.frauds),
            money_saved_minor: frauds.iter().map(|(_, amount)| **amount).sum(),
            held_others: others.len(),
            held_others_minor: others.iter().map(|(_, amount)| **amount).sum(),
            fired: self.fired.clone(),
            truth: (!past.answers().is_empty()).then(|| self.board.report()),
        }
    }

    /// Held here and not there.
    fn beyond(&self, other: &Version) -> Vec<String> {
        self.held.keys().filter(|id| !other.held.contains_key(*id)).cloned().collect()
    }
}

/// The share of some in all; none of none is none.
fn part(some: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

/// What two versions came to, of so many records taken in out of those there were.
pub(super) fn compare(
    past: &Past,
    live: &Version,
    other: &Version,
    in_live_order: bool,
    (taken, records): (usize, usize),
) -> Told {
    let (held_more, held_less) = (other.beyond(live), live.beyond(other));
    let only = |held: &[String]| Only {
        payments: held.len(),
        known_fraud: held.iter().filter(|id| past.is_fraud(id)).count(),
    };
    let (live_decisions, live_rows) = past.written();
    Told {
        records,
        taken,
        in_live_order,
        as_live: live.as_live,
        live_decisions,
        live_rows,
        live: live.outcome(past),
        other: other.outcome(past),
        more: only(&held_more),
        less: only(&held_less),
        held_more,
        held_less,
    }
}
