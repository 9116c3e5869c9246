//! The judge: every payment is scored by rules and model as it comes, and remembered for those after it.
//!
//! ```text
//!  score = logistic( base + points of the rules that fire + what the model has learnt beside them )
//! ```
//!
//! Lists come before all of it: they decide, whatever the score is.
//!
//! The model learns what the rules leave to say, so both are additive and the parts are the explanation.
//!
//! **Labels.** A verdict counts at once, whatever was decided. A chargeback says fraud. No chargeback within the label delay says
//! good, but only of a payment that was authorised *and* approved: one that was declined, held or blocked could not have been
//! charged back, so its silence says nothing.
//!
//! **Invariant:** a pure function of the events in their order: the same events give the same bits, from the beginning or from a
//! state that was stored on the way.

mod refund;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::challenge::{Candidate, Matured, blend, shares};
use super::changes::Changes;
use super::event::{ListChange, ModelChange, Origin, RuleChange, Transaction, UserEvent, Verdict, hash, named};
use super::features::{COUNT, FEATURES, Vector, vector};
use super::judgement::{Decision, Evidence, Judged, Judgement, Reason};
use super::lists::Lists;
use super::memory::{KINDS, Kind, Memory};
use super::payment::Payment;
use super::rules::{Compiled, Rule};
use super::settings::JudgeSettings;
use crate::fraud::{Ftrl, Trees};
use crate::recommend::stored::{Bytes, RestoreError, Stored, stored_fields};

/// The value of a reason in the shadow that says what it would have added.
pub(super) const SHADOW_POINTS: &str = "points";
/// Ids of transactions remembered, to pass over what comes twice.
const RECENT_MAX: usize = 65_536;
/// Events named as evidence.
const EVIDENCE_MAX: usize = 50;
/// Parts of the model named as reasons, and from which size on.
const MODEL_REASONS_MAX: usize = 3;
const MODEL_REASON_MIN: f32 = 0.1;

#[derive(Clone, Debug, PartialEq)]
struct Attempt {
    event_id: Arc<str>,
    payment_id: Arc<str>,
    time: i64,
    partition: i64,
    offset: i64,
}
stored_fields!(Attempt { event_id, payment_id, time, partition, offset });

/// A payment whose label has not come, as it was scored.
#[derive(Clone, Debug)]
struct Waiting {
    vector: Vec<f32>,
    points: f32,
    ids: Vec<u64>,
    /// Silence says that it is good.
    trusted: bool,
    time: i64,
    learnt: f32,
    online: f32,
}
stored_fields!(Waiting { vector, points, ids, trusted, time, learnt, online });

/// Rules, model and memory.
#[derive(Clone, Debug)]
pub struct Judge {
    settings: JudgeSettings,
    rules: Vec<Compiled>,
    changes: Changes,
    lists: Lists,
    memory: Memory,
    model: Ftrl,
    labels: u64,
    /// Labelled payments, and those of them that trees are grown on.
    matured: VecDeque<Matured>,
    candidate: Option<Candidate>,
    /// Trees that are blended in, by their version.
    trees: Option<(u64, Trees)>,
    /// Trees of the candidate, grown elsewhere; not part of the state.
    offered: Option<(u64, Trees)>,
    attempts: VecDeque<Attempt>,
    next_number: u64,
    waiting: HashMap<u64, Waiting>,
    waiting_order: VecDeque<(i64, u64)>,
    recent: VecDeque<u64>,
    known: HashSet<u64>,
}

impl Judge {
    /// One that remembers nothing.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(settings: JudgeSettings) -> Result<Self, String> {
        Ok(Judge {
            rules: settings.compile(&BTreeMap::new())?,
            settings,
            changes: Changes::default(),
            lists: Lists::default(),
            memory: Memory::new(),
            model: Ftrl::new(COUNT, 0.0),
            labels: 0,
            matured: VecDeque::new(),
            candidate: None,
            trees: None,
            offered: None,
            attempts: VecDeque::new(),
            next_number: 0,
            waiting: HashMap::new(),
            waiting_order: VecDeque::new(),
            recent: VecDeque::new(),
            known: HashSet::new(),
        })
    }

    /// Labels learnt so far.
    pub fn labels(&self) -> u64 {
        self.labels
    }

    /// Entities remembered, visits under way, payments that wait for their label.
    pub fn size(&self) -> (usize, usize, usize) {
        (self.memory.len(), self.memory.visits.len(), self.waiting.len())
    }

    /// What would be said of a payment now; nothing is remembered of it. `time`: microseconds.
    pub fn look(&self, transaction: &Transaction, time: i64) -> Judgement {
        let payment = Payment::of(transaction, time);
        self.judge(&payment, &vector(&self.memory, &payment)).0
    }

    /// Takes a record of `transactions` in; what is said of it, if it is a payment or a refund.
    pub fn transaction(&mut self, transaction: &Transaction, time: i64, origin: Origin<'_>) -> Option<Judgement> {
        self.expire(time);
        match transaction.event_type.as_str() {
            "payment_authorized" | "payment_declined" => {
                self.is_new(&transaction.event_id).then(|| self.payment(transaction, time, origin))
            }
            "order_refunded" => self.is_new(&transaction.event_id).then(|| self.refund(transaction, time, origin)),
            "chargeback_received" if self.is_new(&transaction.event_id) => {
                if let Some(id) = self.charged_back(transaction) {
                    self.learn(id, true);
                }
                None
            }
            _ => None,
        }
    }

    /// Takes a record of `user_events` in. One that comes twice counts twice: it makes a visit look busier, no more.
    pub fn user_event(&mut self, event: &UserEvent, time: i64, origin: Origin<'_>) {
        self.memory.visits.add(event, time, origin, self.settings.limits.visits_max);
    }

    /// Takes a verdict in; false when it says nothing, or of a payment whose label is known or forgotten.
    pub fn verdict(&mut self, verdict: &Verdict) -> bool {
        let fraud = match verdict.verdict.as_deref() {
            Some("fraud") => true,
            Some("good") => false,
            _ => return false,
        };
        self.learn(hash(b'p', &verdict.payment_id), fraud)
    }

    /// Takes a change of a list in; false when it says nothing, or when the lists are full.
    pub fn list(&mut self, change: &ListChange, time: i64) -> bool {
        self.lists.change(change, time, self.settings.limits.listed_max)
    }

    /// Takes a change of a rule in.
    ///
    /// # Errors
    /// What is wrong with it; nothing is changed then.
    pub fn rule(&mut self, change: &RuleChange) -> Result<(), String> {
        self.rules = self.changes.take(change, &self.settings)?;
        Ok(())
    }

    /// The rules as they are now, those that are off too.
    pub fn rules(&self) -> BTreeMap<String, Rule> {
        self.settings.merged_with(&self.changes.0)
    }

    /// Labelled payments that trees may be grown on now.
    pub fn candidate(&self) -> Option<&Candidate> {
        self.candidate.as_ref()
    }

    /// Labels that had been learnt when the trees were grown that are blended in.
    pub fn trees(&self) -> Option<u64> {
        self.trees.as_ref().map(|(version, _)| *version)
    }

    /// Takes the trees of a candidate that were grown elsewhere, so that they need not be grown again when they have won.
    pub fn offer(&mut self, version: u64, trees: Trees) {
        self.offered = Some((version, trees));
    }

    /// Takes in how a trial went: the trees that won score from here on. Without having been offered they are grown now.
    pub fn model(&mut self, change: &ModelChange) {
        let Some(candidate) =
            self.candidate.as_ref().filter(|candidate| change.won && candidate.version() == change.version)
        else {
            return;
        };
        if self.trees() == Some(change.version) {
            return;
        }
        let offered = self.offered.take().filter(|(version, _)| *version == change.version);
        let grown = offered.or_else(|| candidate.trial().0.map(|trees| (change.version, trees)));
        self.trees = grown.or(self.trees.take());
    }

    /// Entities on lists.
    pub fn listed(&self) -> usize {
        self.lists.len()
    }

    /// False when the id came before, among the newest.
    fn is_new(&mut self, event_id: &str) -> bool {
        let id = hash(b'e', event_id);
        if !self.known.insert(id) {
            return false;
        }
        self.recent.push_back(id);
        if self.recent.len() > RECENT_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    fn payment(&mut self, transaction: &Transaction, time: i64, origin: Origin<'_>) -> Judgement {
        let payment = Payment::of(transaction, time);
        let vector = vector(&self.memory, &payment);
        let (mut judgement, points) = self.judge(&payment, &vector);
        let name = named(&transaction.payment_id).unwrap_or(&transaction.event_id);
        let own = self.attempt(transaction, name, time, origin);
        if judgement.decision != Decision::Approve {
            judgement.evidence.insert(0, own);
        }
        self.memory.add(&payment, self.next_number - 1, &self.settings.limits);
        let trusted = judgement.decision == Decision::Approve && !payment.touch.declined;
        let id = hash(b'p', name);
        let (ids, learnt, online) = (payment.ids.to_vec(), judgement.learnt, self.model.logit(&vector));
        let vector = vector.to_vec();
        self.waiting.insert(id, Waiting { vector, points, ids, trusted, time, learnt, online });
        self.waiting_order.push_back((time, id));
        judgement
    }

    /// Numbers an event, so that it can be found as evidence.
    fn attempt(&mut self, transaction: &Transaction, name: &str, time: i64, origin: Origin<'_>) -> Evidence {
        self.attempts.push_back(Attempt {
            event_id: Arc::from(transaction.event_id.as_str()),
            payment_id: Arc::from(name),
            time,
            partition: i64::from(origin.partition),
            offset: origin.offset,
        });
        if self.attempts.len() > self.settings.limits.attempts_max {
            self.attempts.pop_front();
        }
        self.next_number += 1;
        Evidence {
            event_id: Arc::from(transaction.event_id.as_str()),
            payment_id: Some(Arc::from(name)),
            time,
            topic: "transactions",
            partition: i64::from(origin.partition),
            offset: origin.offset,
        }
    }

    fn judge(&self, payment: &Payment, vector: &Vector) -> (Judgement, f32) {
        let fired: Vec<&Compiled> = self.rules.iter().filter(|rule| rule.fires(vector)).collect();
        let listed = self.lists.of(payment);
        let excused = |rule: &Compiled| listed.excuses(&rule.name);
        let acting = fired.iter().filter(|rule| !rule.shadow && !excused(rule));
        let points = self.settings.base_points + acting.map(|rule| rule.points).sum::<f32>();
        let online = self.model.logit(vector);
        let trees = self.trees.as_ref().map(|(_, trees)| trees.logit(vector));
        let learnt = trees.map_or(online, |trees| blend(online, trees));
        let score = logistic(points + learnt);
        let decision = listed.decide(self.decide(score));
        let mut reasons: Vec<Reason> = fired
            .iter()
            .map(|rule| {
                let kind = match (rule.shadow, excused(rule)) {
                    (true, _) => "shadow",
                    (false, true) => "excused",
                    (false, false) => "rule",
                };
                let points = if kind == "rule" { rule.points } else { 0.0 };
                let mut values = rule.values(vector);
                if kind == "shadow" {
                    values.insert(SHADOW_POINTS, rule.points);
                }
                Reason { kind, name: rule.name.clone(), points, values, text: None }
            })
            .collect();
        let flagged = decision != Decision::Approve;
        if self.labels > 0 && (flagged || !fired.is_empty()) {
            let parts = self.model.reasons_named(vector, FEATURES);
            let parts = parts.into_iter().filter(|part| part.logit >= MODEL_REASON_MIN && !part.value.is_nan());
            let (share, of_trees) = shares(trees);
            reasons.extend(parts.take(MODEL_REASONS_MAX).map(|part| Reason {
                kind: "model",
                name: Arc::from(part.feature),
                points: part.logit * share,
                values: BTreeMap::from([(part.feature, part.value)]),
                text: None,
            }));
            if of_trees >= MODEL_REASON_MIN {
                let text = self.trees().map(|version| Arc::from(format!("trees grown after {version} labels")));
                let (name, values) = (Arc::from("trees"), BTreeMap::new());
                reasons.push(Reason { kind: "model", name, points: of_trees, values, text });
            }
        }
        reasons.sort_by(|a, b| b.points.total_cmp(&a.points));
        reasons.splice(..0, listed.reasons());
        let evidence = if flagged { self.evidence(payment, &fired) } else { Vec::new() };
        let labels = self.labels;
        let kind = Judged::Payment;
        (Judgement { kind, time: payment.time, score, learnt, decision, reasons, evidence, labels }, points)
    }

    fn decide(&self, score: f32) -> Decision {
        match score {
            score if score >= self.settings.block_at => Decision::Block,
            score if score >= self.settings.review_at => Decision::Review,
            _ => Decision::Approve,
        }
    }

    /// The earlier events that the rules judged by.
    fn evidence(&self, payment: &Payment, fired: &[&Compiled]) -> Vec<Evidence> {
        let mut touches: Vec<(i64, u64)> = Vec::new();
        for rule in fired.iter().filter(|rule| !rule.shadow) {
            for kind in &rule.kinds {
                if let Some(entity) = self.memory.entity(*kind, payment.ids[*kind as usize]) {
                    touches.extend(entity.within(payment.time, rule.window).map(|touch| (touch.time, touch.number)));
                }
            }
        }
        touches.sort_unstable_by(|a, b| b.cmp(a));
        touches.dedup();
        let mut evidence: Vec<Evidence> = touches.iter().filter_map(|(_, number)| self.found(*number)).collect();
        if fired.iter().any(|rule| rule.of_visit)
            && let Some(visit) = self.memory.visits.get(payment.visitor, payment.time)
        {
            evidence.extend(visit.marks.iter().rev().map(|mark| Evidence {
                event_id: mark.event_id.clone(),
                payment_id: None,
                time: mark.time,
                topic: "user_events",
                partition: mark.partition,
                offset: mark.offset,
            }));
        }
        evidence.truncate(EVIDENCE_MAX);
        evidence
    }

    fn found(&self, number: u64) -> Option<Evidence> {
        let oldest = self.next_number - self.attempts.len() as u64;
        let attempt = self.attempts.get(usize::try_from(number.checked_sub(oldest)?).ok()?)?;
        Some(Evidence {
            event_id: attempt.event_id.clone(),
            payment_id: Some(attempt.payment_id.clone()),
            time: attempt.time,
            topic: "transactions",
            partition: attempt.partition,
            offset: attempt.offset,
        })
    }

    /// The payment a chargeback is of: by its id, else the order's last that went through.
    fn charged_back(&self, transaction: &Transaction) -> Option<u64> {
        if let Some(payment) = named(&transaction.payment_id) {
            return Some(hash(b'p', payment));
        }
        let order = self.memory.entity(Kind::Order, hash(Kind::Order as u8, named(&transaction.order_id)?))?;
        let touch = order.touches.iter().rev().find(|touch| !touch.declined)?;
        Some(hash(b'p', &self.found(touch.number)?.payment_id?))
    }

    /// Learns the label of a payment that waits for it. False when none does.
    fn learn(&mut self, id: u64, fraud: bool) -> bool {
        let Some(waiting) = self.waiting.remove(&id) else { return false };
        self.model.learn_beside(&waiting.vector, waiting.points, fraud);
        self.labels += 1;
        if fraud && let Ok(ids) = <[u64; KINDS]>::try_from(waiting.ids) {
            self.memory.mark(&ids);
        }
        let Waiting { time, points, learnt, online, vector, .. } = waiting;
        self.matured.push_back(Matured { time, points, learnt, online, fraud, vector });
        while self.matured.len() > self.settings.limits.matured_max {
            self.matured.pop_front();
        }
        let every = self.settings.challenge_labels;
        if every > 0 && self.labels.is_multiple_of(every) {
            self.candidate = Some(Candidate::new(self.labels, self.matured.iter().cloned().collect()));
        }
        true
    }

    /// Payments that have waited for long enough, or are too many.
    fn expire(&mut self, now: i64) {
        while let Some((time, id)) = self.waiting_order.front().copied()
            && (time <= now - self.settings.label_delay_micros
                || self.waiting_order.len() > self.settings.limits.waiting_max)
        {
            self.waiting_order.pop_front();
            let is_due = time <= now - self.settings.label_delay_micros;
            if is_due && self.waiting.get(&id).is_some_and(|waiting| waiting.trusted) {
                self.learn(id, false);
            } else {
                self.waiting.remove(&id);
            }
        }
    }

    /// Everything that is remembered, as bytes; the settings are not among it.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        self.memory.store(out);
        self.model.store(out);
        self.labels.store(out);
        self.attempts.store(out);
        self.next_number.store(out);
        self.waiting.store(out);
        self.waiting_order.store(out);
        self.recent.store(out);
        self.lists.store(out);
        self.changes.store(out);
        self.matured.store(out);
        self.candidate.store(out);
        self.trees.store(out);
        FEATURES.join(" ").as_bytes().to_vec().store(out);
    }

    /// Goes on from what was stored.
    ///
    /// # Errors
    /// A setting that cannot work; bytes that are no such state, or of other features.
    pub fn restore(settings: JudgeSettings, from: &mut Bytes<'_>) -> Result<Self, String> {
        let mut judge = Judge::new(settings)?;
        let mut read = || -> Result<(), RestoreError> {
            judge.memory = Memory::restore(from)?;
            judge.model = Ftrl::restore(from)?;
            judge.labels = u64::restore(from)?;
            judge.attempts = VecDeque::restore(from)?;
            judge.next_number = u64::restore(from)?;
            judge.waiting = HashMap::restore(from)?;
            judge.waiting_order = VecDeque::restore(from)?;
            judge.recent = VecDeque::restore(from)?;
            judge.lists = Lists::restore(from)?;
            judge.changes = Changes::restore(from)?;
            judge.matured = VecDeque::restore(from)?;
            judge.candidate = Option::restore(from)?;
            judge.trees = Option::restore(from)?;
            match Vec::<u8>::restore(from)? == FEATURES.join(" ").as_bytes() {
                true => Ok(()),
                false => Err(RestoreError::Unreadable("another version wrote it, with other features")),
            }
        };
        read().map_err(|error| error.to_string())?;
        // A rule of the settings may have gone meanwhile: then the settings alone count.
        judge.rules = judge.settings.compile(&judge.changes.0).or_else(|_| judge.settings.compile(&BTreeMap::new()))?;
        judge.known = judge.recent.iter().copied().collect();
        Ok(judge)
    }
}

fn logistic(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}
