//! The online model: logistic regression on binned features, learnt label by label with FTRL-Proximal.
//!
//! Source: H. B. McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013, algorithm 1. One weight a feature
//! and bin, so the model is additive, and the contribution of a feature is its explanation.

use serde::{Deserialize, Serialize};

use super::bins::{BINS, bin};
use super::features::FEATURES;
use crate::recommend::stored::stored_fields;

/// How fast it learns.
const ALPHA: f32 = 0.08;
const BETA: f32 = 1.0;
/// Weights of bins that were hardly seen stay at nothing.
const L1: f32 = 0.2;
const L2: f32 = 1.0;
/// The share of fraud before anything is known.
const PRIOR: f32 = 0.005;

/// Part of a feature in a score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Contribution {
    /// Name of the feature.
    pub feature: &'static str,
    /// Its value; not a number when it is not known.
    pub value: f32,
    /// What it adds to the logarithm of the odds.
    pub logit: f32,
}

/// The model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ftrl {
    z: Vec<f32>,
    n: Vec<f32>,
    /// Of the bias, which is learnt without a penalty.
    bias: (f32, f32),
    /// The logarithm of the odds before anything is learnt.
    prior: f32,
}
stored_fields!(Ftrl { z, n, bias, prior });

impl Default for Ftrl {
    fn default() -> Self {
        Ftrl::new(FEATURES.len(), (PRIOR / (1.0 - PRIOR)).ln())
    }
}

fn cell(feature: usize, value: f32) -> usize {
    feature * BINS + usize::from(bin(value))
}

impl Ftrl {
    /// A model of this many features; `prior`: the logarithm of the odds before anything is learnt.
    pub fn new(features: usize, prior: f32) -> Self {
        Ftrl { z: vec![0.0; features * BINS], n: vec![0.0; features * BINS], bias: (0.0, 0.0), prior }
    }

    fn weight(&self, cell: usize) -> f32 {
        let z = self.z[cell];
        if z.abs() <= L1 {
            return 0.0;
        }
        -(z - z.signum() * L1) / ((BETA + self.n[cell].sqrt()) / ALPHA + L2)
    }

    fn bias(&self) -> f32 {
        self.prior - self.bias.0 / ((BETA + self.bias.1.sqrt()) / ALPHA)
    }

    /// The logarithm of the odds that a payment is fraudulent.
    pub fn logit(&self, vector: &[f32]) -> f32 {
        let parts = vector.iter().enumerate().map(|(at, value)| self.weight(cell(at, *value)));
        self.bias() + parts.sum::<f32>()
    }

    /// What each feature adds, the largest first.
    pub fn reasons(&self, vector: &[f32]) -> Vec<Contribution> {
        self.reasons_named(vector, &FEATURES)
    }

    /// The same, for features of these names.
    pub fn reasons_named(&self, vector: &[f32], names: &[&'static str]) -> Vec<Contribution> {
        let part = |((at, value), feature): ((usize, &f32), &&'static str)| Contribution {
            feature,
            value: *value,
            logit: self.weight(cell(at, *value)),
        };
        let mut reasons: Vec<Contribution> = vector.iter().enumerate().zip(names).map(part).collect();
        reasons.sort_by(|a, b| b.logit.total_cmp(&a.logit));
        reasons
    }

    /// Learns one label.
    pub fn learn(&mut self, vector: &[f32], fraud: bool) {
        self.learn_beside(vector, 0.0, fraud);
    }

    /// Learns one label of a payment that something else scored by `offset` (a logarithm of odds) before: what is left to say.
    pub fn learn_beside(&mut self, vector: &[f32], offset: f32, fraud: bool) {
        let gradient = 1.0 / (1.0 + (-offset - self.logit(vector)).exp()) - f32::from(u8::from(fraud));
        let squared = gradient * gradient;
        for (at, value) in vector.iter().enumerate() {
            let cell = cell(at, *value);
            let sigma = ((self.n[cell] + squared).sqrt() - self.n[cell].sqrt()) / ALPHA;
            self.z[cell] += gradient - sigma * self.weight(cell);
            self.n[cell] += squared;
        }
        let own = -self.bias.0 / ((BETA + self.bias.1.sqrt()) / ALPHA);
        let sigma = ((self.bias.1 + squared).sqrt() - self.bias.1.sqrt()) / ALPHA;
        self.bias = (self.bias.0 + gradient - sigma * own, self.bias.1 + squared);
    }
}
