//! How well the judge does against the truth: of each campaign, how much was found, how soon, and at what price in good payments
//! hurt.
//!
//! A fraudulent payment is **found at once** when it was itself sent to review or blocked, and **found** when that, or when an alert
//! names it as evidence: the first payment of an attack may look like any other, and is found when the second one shows what it was.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

/// Share of the good payments that may be taken for fraud.
pub const FALSE_POSITIVES_MAX: f64 = 0.001;
/// Bins of the calibration.
const BINS: usize = 10;

/// A record of the answer key; only campaigns and payments are looked at.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// `campaign`, `payment`, or one that is passed over.
    pub kind: String,
    /// Name of the campaign.
    pub campaign: Option<String>,
    /// `started` or `ended`.
    pub phase: Option<String>,
    /// The field that holds whom a campaign is about.
    pub entity_kind: Option<String>,
    /// Whom it is about.
    pub entity: Option<String>,
    /// The payment.
    pub payment_id: Option<String>,
    /// Whether it is fraudulent.
    pub fraud: Option<bool>,
}

/// What was decided of a payment or refund.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    /// Payment or refund.
    pub id: String,
    /// It is a refund.
    pub refund: bool,
    /// Event time, microseconds.
    pub time: i64,
    /// The account.
    pub user: Option<String>,
    /// Probability of fraud.
    pub score: f64,
    /// It was sent to review or blocked.
    pub flagged: bool,
    /// Amount in minor units.
    pub amount_minor: i64,
    /// Payments named as evidence.
    pub evidence: Vec<String>,
    /// Rules that would have fired, with what each would have added to the logarithm of the odds.
    pub shadow: Vec<(String, f64)>,
}

#[derive(Clone, Debug, Default)]
struct Truth {
    campaign: Option<String>,
    fraud: bool,
    run: usize,
}

/// Collects answers and decisions, in any order between the two.
#[derive(Clone, Debug)]
pub struct Scoreboard {
    truths: HashMap<String, Truth>,
    /// Runs of each campaign begun so far, with whom they are about.
    runs: BTreeMap<String, Vec<String>>,
    decided: VecDeque<Decided>,
    /// Most decisions held; none: all.
    decided_max: Option<usize>,
    /// From this score on a payment is held.
    review_at: f64,
}

/// What was found of one campaign.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CampaignReport {
    /// Its name.
    pub campaign: String,
    /// Runs that had fraudulent payments judged (of `refund_abuse`: refunds).
    pub runs: usize,
    /// Of these, runs with an alert.
    pub runs_found: usize,
    /// Fraudulent payments (of `refund_abuse`: refunds).
    pub frauds: usize,
    /// Found at once.
    pub found_at_once: usize,
    /// Found at once, or as evidence of an alert.
    pub found: usize,
    /// Share found, as it was decided live.
    pub recall: f64,
    /// Share found when as many alerts are raised as the budget of good payments allows.
    pub recall_at_budget: f64,
    /// Fraudulent payments up to and with the first alert: the middle of the runs found, and the worst.
    pub events_to_alert: (usize, usize),
    /// Seconds from the first fraudulent payment to the first alert, the middle of the runs found.
    pub seconds_to_alert: f64,
    /// Money of the fraudulent payments, and of those found, minor units.
    pub money_minor: (i64, i64),
}

/// What was found at all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Payments judged whose truth is known.
    pub payments: usize,
    /// Of these, fraudulent.
    pub frauds: usize,
    /// Good payments sent to review or blocked.
    pub false_alarms: usize,
    /// Their share of the good payments.
    pub false_positive_rate: f64,
    /// Share of the alerts that are of fraudulent payments.
    pub precision: f64,
    /// Share of the fraudulent payments found.
    pub recall: f64,
    /// False alarms to a true one.
    pub false_alarms_per_true: f64,
    /// Good refunds taken for abuse, and good refunds.
    pub refunds_hurt: (usize, usize),
    /// Money of good payments sent to review or blocked, minor units.
    pub good_money_hurt_minor: i64,
    /// Score above which the budget of false positives is kept.
    pub budget_score: f64,
    /// Payments, mean score and share of fraud, by tenths of the score.
    pub calibration: Vec<(usize, f64, f64)>,
    /// Each campaign.
    pub campaigns: Vec<CampaignReport>,
    /// Rules in the shadow.
    pub shadows: Vec<ShadowReport>,
}

impl Default for Scoreboard {
    fn default() -> Self {
        let (truths, runs, decided) = (HashMap::new(), BTreeMap::new(), VecDeque::new());
        Scoreboard { truths, runs, decided, decided_max: None, review_at: 0.5 }
    }
}

/// What a rule in the shadow would have done.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShadowReport {
    /// The rule.
    pub rule: String,
    /// Payments it would have fired at.
    pub fired: usize,
    /// Of these, known to be fraudulent, and known to be good.
    pub truth: (usize, usize),
    /// Payments that were approved, and that it would have held.
    pub held_more: usize,
    /// Of these, known to be fraudulent, and known to be good.
    pub more_truth: (usize, usize),
}

impl Scoreboard {
    /// The same, of a scorer that holds payments from this score on.
    pub fn reviewing_at(mut self, review_at: f64) -> Self {
        self.review_at = review_at;
        self
    }

    /// One of the newest decisions only.
    pub fn bounded(decided_max: usize) -> Self {
        Scoreboard { decided_max: Some(decided_max), ..Scoreboard::default() }
    }

    /// Takes an answer in. Answers come in the order in which they were given.
    pub fn answer(&mut self, answer: &Answer) {
        match (answer.kind.as_str(), &answer.campaign) {
            ("campaign", Some(campaign)) if answer.phase.as_deref() == Some("started") => {
                self.runs.entry(campaign.clone()).or_default().push(answer.entity.clone().unwrap_or_default());
            }
            ("payment", campaign) => {
                let Some(payment) = &answer.payment_id else { return };
                let run = campaign.as_ref().and_then(|name| self.runs.get(name)).map_or(0, Vec::len);
                let fraud = answer.fraud.unwrap_or(false);
                self.truths.insert(payment.clone(), Truth { campaign: campaign.clone(), fraud, run });
            }
            _ => {}
        }
    }

    /// Takes a decision in.
    pub fn decided(&mut self, decided: Decided) {
        self.decided.push_back(decided);
        if self.decided_max.is_some_and(|max| self.decided.len() > max)
            && let Some(oldest) = self.decided.pop_front()
        {
            self.truths.remove(&oldest.id);
        }
    }

    /// What came of it.
    pub fn report(&self) -> Report {
        let known: Vec<(&Decided, &Truth)> = self
            .decided
            .iter()
            .filter(|decided| !decided.refund)
            .filter_map(|decided| Some((decided, self.truths.get(&decided.id)?)))
            .collect();
        let good: Vec<&Decided> = known.iter().filter(|(_, truth)| !truth.fraud).map(|(decided, _)| *decided).collect();
        let budget_score = budget_score(&good);
        let named = |above: &dyn Fn(&Decided) -> bool| -> HashSet<&str> {
            let rows = self.decided.iter().filter(|decided| above(decided));
            rows.flat_map(|decided| decided.evidence.iter().map(String::as_str)).collect()
        };
        let in_alerts = named(&|decided| decided.flagged);
        let in_budget = named(&|decided| decided.flagged && decided.score > budget_score);
        let found = |decided: &Decided| decided.flagged || in_alerts.contains(decided.id.as_str());
        let found_in_budget =
            |decided: &Decided| decided.score > budget_score || in_budget.contains(decided.id.as_str());
        let mut by_campaign: BTreeMap<&str, Vec<(&Decided, usize)>> = BTreeMap::new();
        for (decided, truth) in known.iter().filter(|(_, truth)| truth.fraud) {
            by_campaign.entry(truth.campaign.as_deref().unwrap_or("none")).or_default().push((decided, truth.run));
        }
        let abusers: HashMap<&str, usize> = self.abusers();
        let refunds = self.decided.iter().filter(|decided| decided.refund);
        let (mut refunds_hurt, mut refunds_good) = (0, 0);
        for refund in refunds {
            match refund.user.as_deref().and_then(|user| abusers.get(user)) {
                Some(run) => by_campaign.entry(REFUND_ABUSE).or_default().push((refund, *run)),
                None => {
                    refunds_good += 1;
                    refunds_hurt += usize::from(refund.flagged);
                }
            }
        }
        let campaigns: Vec<CampaignReport> =
            by_campaign.into_iter().map(|(name, rows)| campaign(name, rows, &found, &found_in_budget)).collect();
        let false_alarms = good.iter().filter(|decided| decided.flagged).count();
        let frauds = known.len() - good.len();
        let true_alarms = known.iter().filter(|(decided, truth)| truth.fraud && decided.flagged).count();
        let caught = known.iter().filter(|(decided, truth)| truth.fraud && found(decided)).count();
        Report {
            payments: known.len(),
            frauds,
            false_alarms,
            false_positive_rate: part(false_alarms, good.len()),
            precision: part(true_alarms, true_alarms + false_alarms),
            recall: part(caught, frauds),
            false_alarms_per_true: part(false_alarms, true_alarms),
            refunds_hurt: (refunds_hurt, refunds_good),
            good_money_hurt_minor: good
                .iter()
                .filter(|decided| decided.flagged)
                .map(|decided| decided.amount_minor)
                .sum(),
            budget_score,
            calibration: calibration(&known),
            campaigns,
            shadows: self.shadows(),
        }
    }

    /// What the rules in the shadow would have done.
    fn shadows(&self) -> Vec<ShadowReport> {
        let mut rules: BTreeMap<&str, ShadowReport> = BTreeMap::new();
        for decided in &self.decided {
            let truth = self.truths.get(&decided.id).map(|truth| truth.fraud);
            let count = |counts: &mut (usize, usize)| match truth {
                Some(true) => counts.0 += 1,
                Some(false) => counts.1 += 1,
                None => {}
            };
            for (rule, points) in &decided.shadow {
                let report = rules.entry(rule).or_default();
                report.fired += 1;
                count(&mut report.truth);
                let odds = decided.score / (1.0 - decided.score).max(f64::MIN_POSITIVE) * points.exp();
                if !decided.flagged && odds >= self.review_at / (1.0 - self.review_at).max(f64::MIN_POSITIVE) {
                    report.held_more += 1;
                    count(&mut report.more_truth);
                }
            }
        }
        rules.into_iter().map(|(rule, report)| ShadowReport { rule: rule.to_owned(), ..report }).collect()
    }

    /// Accounts of the runs of refund abuse.
    fn abusers(&self) -> HashMap<&str, usize> {
        let runs = self.runs.get(REFUND_ABUSE).into_iter().flatten();
        runs.enumerate().map(|(run, user)| (user.as_str(), run + 1)).collect()
    }
}

const REFUND_ABUSE: &str = "refund_abuse";

fn part(some: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

/// The score that at most the budget of good payments lies above.
fn budget_score(good: &[&Decided]) -> f64 {
    let mut scores: Vec<f64> = good.iter().map(|decided| decided.score).collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    let allowed = (good.len() as f64 * FALSE_POSITIVES_MAX) as usize;
    scores.get(allowed).copied().unwrap_or(0.0)
}

fn campaign(
    name: &str,
    mut rows: Vec<(&Decided, usize)>,
    found: &dyn Fn(&Decided) -> bool,
    found_in_budget: &dyn Fn(&Decided) -> bool,
) -> CampaignReport {
    rows.sort_by(|a, b| (a.1, a.0.time, &a.0.id).cmp(&(b.1, b.0.time, &b.0.id)));
    let mut delays: Vec<(usize, i64)> = Vec::new();
    let mut runs = 0;
    for run in rows.chunk_by(|a, b| a.1 == b.1) {
        runs += 1;
        if let Some(at) = run.iter().position(|(decided, _)| decided.flagged) {
            delays.push((at + 1, run[at].0.time - run[0].0.time));
        }
    }
    let middle = |values: &mut Vec<i64>| -> i64 {
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    let mut seconds: Vec<i64> = delays.iter().map(|(_, micros)| *micros).collect();
    let mut events: Vec<i64> = delays.iter().map(|(events, _)| *events as i64).collect();
    let count = |is: &dyn Fn(&Decided) -> bool| rows.iter().filter(|(decided, _)| is(decided)).count();
    let money = |is: &dyn Fn(&Decided) -> bool| -> i64 {
        rows.iter().filter(|(decided, _)| is(decided)).map(|(decided, _)| decided.amount_minor).sum()
    };
    CampaignReport {
        campaign: name.to_owned(),
        runs,
        runs_found: delays.len(),
        frauds: rows.len(),
        found_at_once: count(&|decided| decided.flagged),
        found: count(found),
        recall: part(count(found), rows.len()),
        recall_at_budget: part(count(found_in_budget), rows.len()),
        events_to_alert: (middle(&mut events) as usize, delays.iter().map(|(events, _)| *events).max().unwrap_or(0)),
        seconds_to_alert: middle(&mut seconds) as f64 / 1e6,
        money_minor: (money(&|_| true), money(found)),
    }
}

fn calibration(known: &[(&Decided, &Truth)]) -> Vec<(usize, f64, f64)> {
    let mut bins = vec![(0_usize, 0.0, 0_usize); BINS];
    for (decided, truth) in known {
        let bin = &mut bins[((decided.score * BINS as f64) as usize).min(BINS - 1)];
        *bin = (bin.0 + 1, bin.1 + decided.score, bin.2 + usize::from(truth.fraud));
    }
    bins.iter().map(|(count, sum, frauds)| (*count, sum / (*count).max(1) as f64, part(*frauds, *count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(campaign: Option<&str>, payment: &str, fraud: bool) -> Answer {
        let campaign = campaign.map(str::to_owned);
        Answer {
            kind: "payment".into(),
            campaign,
            payment_id: Some(payment.into()),
            fraud: Some(fraud),
            ..Answer::default()
        }
    }

    fn started(campaign: &str, entity: &str) -> Answer {
        let (campaign, entity) = (Some(campaign.to_owned()), Some(entity.to_owned()));
        Answer { kind: "campaign".into(), campaign, phase: Some("started".into()), entity, ..Answer::default() }
    }

    fn decided(id: &str, second: i64, score: f64, evidence: &[&str]) -> Decided {
        let evidence = evidence.iter().map(|id| (*id).to_owned()).collect();
        let time = second * 1_000_000;
        Decided { id: id.into(), time, score, flagged: score >= 0.5, amount_minor: 100, evidence, ..Decided::default() }
    }

    #[test]
    fn what_is_found_later_is_told_apart_from_what_is_found_at_once() {
        let mut board = Scoreboard::default();
        board.answer(&started("testing", "d1"));
        for id in ["f1", "f2", "f3"] {
            board.answer(&answer(Some("testing"), id, true));
        }
        board.answer(&started("testing", "d2"));
        board.answer(&answer(Some("testing"), "f4", true));
        board.answer(&answer(None, "g1", false));
        board.answer(&answer(None, "g2", false));
        for row in [
            decided("f1", 0, 0.1, &[]),
            decided("f2", 10, 0.2, &[]),
            decided("f3", 30, 0.9, &["f3", "f1"]),
            decided("f4", 90, 0.3, &[]),
            decided("g1", 50, 0.6, &[]),
            decided("g2", 60, 0.0, &[]),
            decided("unknown", 60, 1.0, &[]),
        ] {
            board.decided(row);
        }
        let report = board.report();
        assert_eq!((report.payments, report.frauds, report.false_alarms), (6, 4, 1));
        assert_eq!((report.false_positive_rate, report.precision, report.recall), (0.5, 0.5, 0.5));
        assert_eq!(report.budget_score, 0.6, "no good payment may be hurt, of two");
        let campaign = &report.campaigns[0];
        assert_eq!((campaign.runs, campaign.runs_found, campaign.frauds), (2, 1, 4));
        assert_eq!((campaign.found_at_once, campaign.found, campaign.events_to_alert), (1, 2, (3, 3)));
        assert_eq!((campaign.seconds_to_alert, campaign.money_minor), (30.0, (400, 200)));
    }

    #[test]
    fn a_rule_in_the_shadow_is_measured_by_what_it_would_have_done() {
        let mut board = Scoreboard::default();
        board.answer(&answer(None, "f1", true));
        board.answer(&answer(None, "g1", false));
        for (id, score, points) in [("f1", 0.01, 8.0), ("g1", 0.9, 8.0), ("x", 0.001, 2.0)] {
            board.decided(Decided { shadow: vec![("fast".into(), points)], ..decided(id, 0, score, &[]) });
        }
        let report = board.report().shadows.remove(0);
        assert_eq!((report.fired, report.truth), (3, (1, 1)));
        assert_eq!(
            (report.held_more, report.more_truth),
            (1, (1, 0)),
            "the good one is held already, the last stays below"
        );
    }

    #[test]
    fn refunds_of_abusers_are_what_is_to_be_found() {
        let mut board = Scoreboard::default();
        board.answer(&started("refund_abuse", "u1"));
        for (id, user, score) in [("r1", "u1", 0.1), ("r2", "u1", 0.8), ("r3", "u2", 0.9), ("r4", "u3", 0.0)] {
            board.decided(Decided { refund: true, user: Some(user.into()), ..decided(id, 0, score, &["r1"]) });
        }
        let report = board.report();
        assert_eq!((report.refunds_hurt, report.campaigns[0].found, report.campaigns[0].frauds), ((1, 2), 2, 2));
    }
}
