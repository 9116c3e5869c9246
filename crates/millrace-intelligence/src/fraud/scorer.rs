//! One payment at a time: features, scores of both models, reasons; and the labels, whenever they come.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::features::{Features, Payment, Vector};
use super::ftrl::{Contribution, Ftrl};
use super::trees::{TreeSettings, Trees};

/// What may be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Customers, and terminals; who has been still for longest goes first.
    pub entities_max: usize,
    /// Payments that wait for their label; the oldest go first, and are never learnt.
    pub waiting_max: usize,
    /// Labelled payments kept to grow trees on; the oldest go first.
    pub kept_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { entities_max: 1_000_000, waiting_max: 1_000_000, kept_max: 400_000 }
    }
}

/// A score: logarithms of the odds that a payment is fraudulent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// By the online model.
    pub online: f32,
    /// By the trees, once there are any.
    pub trees: Option<f32>,
    /// What each feature adds in the online model, the largest first.
    pub reasons: Vec<Contribution>,
}

impl Score {
    /// Both models, averaged.
    pub fn blended(&self) -> f32 {
        self.trees.map_or(self.online, |trees| f32::midpoint(self.online, trees))
    }

    /// The odds as a probability.
    pub fn probability(&self) -> f32 {
        1.0 / (1.0 + (-self.blended()).exp())
    }
}

/// Features, models, and the payments whose labels have not come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scorer {
    limits: Limits,
    features: Features,
    online: Ftrl,
    trees: Option<Trees>,
    /// Vectors as scored, by payment: what is learnt later has never seen the future.
    waiting: HashMap<u64, Waiting>,
    order: VecDeque<u64>,
    kept: VecDeque<(Kept, bool)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    payment: Payment,
    vector: Kept,
}

/// A vector as it is written: what is not known is `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept(Vec<Option<f32>>);

impl Kept {
    fn of(vector: &Vector) -> Self {
        Kept(vector.iter().map(|value| (!value.is_nan()).then_some(*value)).collect())
    }

    fn vector(&self) -> Vector {
        let mut vector = [f32::NAN; super::FEATURES.len()];
        for (value, kept) in vector.iter_mut().zip(&self.0) {
            *value = kept.unwrap_or(f32::NAN);
        }
        vector
    }
}

impl Scorer {
    /// One that knows nothing. `delay_days`: how late labels come, at least 0.
    pub fn new(delay_days: i64, limits: Limits) -> Self {
        Scorer {
            limits,
            features: Features::new(delay_days, limits.entities_max),
            online: Ftrl::default(),
            trees: None,
            waiting: HashMap::new(),
            order: VecDeque::new(),
            kept: VecDeque::new(),
        }
    }

    /// Scores a payment without remembering it.
    pub fn score(&self, payment: &Payment) -> Score {
        self.score_of(&self.features.of(payment))
    }

    fn score_of(&self, vector: &Vector) -> Score {
        let trees = self.trees.as_ref().map(|trees| trees.logit(vector));
        Score { online: self.online.logit(vector), trees, reasons: self.online.reasons(vector) }
    }

    /// Scores a payment, and remembers it for the payments after it and for its label. Payments come in the order of time.
    pub fn take(&mut self, id: u64, payment: &Payment) -> Score {
        let vector = self.features.of(payment);
        let score = self.score_of(&vector);
        self.remember(id, payment, &vector);
        score
    }

    /// Remembers a payment without a score.
    pub fn pass(&mut self, id: u64, payment: &Payment) {
        let vector = self.features.of(payment);
        self.remember(id, payment, &vector);
    }

    fn remember(&mut self, id: u64, payment: &Payment, vector: &Vector) {
        self.features.add(payment);
        self.waiting.insert(id, Waiting { payment: payment.clone(), vector: Kept::of(vector) });
        self.order.push_back(id);
        while self.waiting.len() > self.limits.waiting_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.waiting.remove(&oldest);
        }
    }

    /// Learns what became known of a payment; one that is not waiting is passed over. False then.
    pub fn label(&mut self, id: u64, fraud: bool) -> bool {
        let Some(waiting) = self.waiting.remove(&id) else { return false };
        while self.order.front().is_some_and(|id| !self.waiting.contains_key(id)) {
            self.order.pop_front();
        }
        self.features.label(&waiting.payment, fraud);
        self.online.learn(&waiting.vector.vector(), fraud);
        self.kept.push_back((waiting.vector, fraud));
        if self.kept.len() > self.limits.kept_max {
            self.kept.pop_front();
        }
        true
    }

    /// Grows new trees on the labelled payments that are kept, and says on how many.
    pub fn grow(&mut self, settings: TreeSettings) -> usize {
        let rows: Vec<Vector> = self.kept.iter().map(|(kept, _)| kept.vector()).collect();
        let labels: Vec<bool> = self.kept.iter().map(|(_, fraud)| *fraud).collect();
        self.trees = Trees::train(&rows, &labels, settings);
        rows.len()
    }
}
