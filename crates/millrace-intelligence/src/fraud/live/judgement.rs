//! What is said of a payment: score, decision, reasons, evidence.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What is to be done with a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Let it go through.
    Approve,
    /// Somebody looks at it.
    Review,
    /// Refuse it.
    Block,
}

/// Part of a score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    /// `rule`, `model`, `list`, `shadow` (a rule that adds nothing) or `excused` (one that the payer is allowed to break).
    pub kind: &'static str,
    /// Rule, feature or list.
    #[serde(serialize_with = "as_text")]
    pub name: Arc<str>,
    /// What it adds to the logarithm of the odds.
    pub points: f32,
    /// The numbers behind it.
    pub values: BTreeMap<&'static str, f32>,
    /// In words, where numbers do not say it.
    #[serde(serialize_with = "as_said", skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<str>>,
}

impl Reason {
    /// What a rule in the shadow would have added; none when it is none.
    pub fn shadow(&self) -> Option<(String, f64)> {
        let points = self.values.get(super::judge::SHADOW_POINTS)?;
        (self.kind == "shadow").then(|| (self.name.to_string(), f64::from(*points)))
    }

    /// That of a list: it decides, and adds nothing.
    pub(super) fn listed(name: &str, text: &str) -> Self {
        Reason { kind: "list", name: name.into(), points: 0.0, values: BTreeMap::new(), text: Some(text.into()) }
    }
}

fn as_said<S: serde::Serializer>(text: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

fn as_text<S: serde::Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name)
}

/// An event behind a score.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Id of the event.
    pub event_id: Arc<str>,
    /// The payment or refund, if it is one.
    pub payment_id: Option<Arc<str>>,
    /// When it happened, microseconds.
    pub time: i64,
    /// Where it lies.
    pub topic: &'static str,
    /// Its partition.
    pub partition: i64,
    /// Its offset.
    pub offset: i64,
}

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Judged {
    /// A payment attempt.
    Payment,
    /// A refund.
    Refund,
}

/// A score and what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What is judged.
    pub kind: Judged,
    /// Event time, microseconds.
    pub time: i64,
    /// Probability of fraud, by rules and model.
    pub score: f32,
    /// The part of the model, as a logarithm of odds.
    pub learnt: f32,
    /// What to do.
    pub decision: Decision,
    /// Why, the largest part first.
    pub reasons: Vec<Reason>,
    /// The events behind it, the newest first.
    pub evidence: Vec<Evidence>,
    /// Labels the model had learnt.
    pub labels: u64,
}
