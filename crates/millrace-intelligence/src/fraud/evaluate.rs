//! A file of labelled payments, as a stream: every payment is scored by what was known at its time, its label comes days later.
//!
//! Everything before the test is passed through the scorer that runs live; trees are grown once, on what had matured when the test
//! begins. During the test labels go on coming, as late as before; the online model learns them, the trees do not.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::Payment;
use super::metrics::Scored;
use super::scorer::{Limits, Score, Scorer};
use super::trees::TreeSettings;

const DAY_MICROS: i64 = 86_400_000_000;

/// A payment and what it turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The payment.
    pub payment: Payment,
    /// Whether it was fraudulent.
    pub fraud: bool,
}

/// Which payments are for what. Days are counted from 1970, UTC.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    /// Days until a label comes.
    pub delay_days: i64,
    /// Days whose labels are the last the trees see, and whose defrauded customers are known.
    pub train: RangeInclusive<i64>,
    /// Days that are scored.
    pub test: RangeInclusive<i64>,
    /// Score customers, too, who were known to be defrauded before: the Handbook leaves them out.
    pub known_customers: bool,
}

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Of the test, by the online model.
    pub online: Vec<Scored>,
    /// By the trees.
    pub trees: Vec<Scored>,
    /// By both.
    pub blended: Vec<Scored>,
    /// Labelled payments the trees were grown on.
    pub grown_on: usize,
    /// Payments before the test.
    pub before: usize,
    /// Payments of the test left out because their customer was known to be defrauded.
    pub left_out: usize,
}

/// Runs payments, which are in the order of time, through a scorer. `scored` is called around each score that counts, so that
/// the caller can take the time; `passed` after every payment.
pub fn run(
    payments: &[Labelled],
    protocol: &Protocol,
    score: &mut dyn FnMut(&mut Scorer, u64, &Payment) -> Score,
    passed: &mut dyn FnMut(),
) -> Evaluation {
    let mut scorer = Scorer::new(protocol.delay_days, Limits::default());
    let mut result = Evaluation { online: vec![], trees: vec![], blended: vec![], grown_on: 0, before: 0, left_out: 0 };
    let day_of = |payment: &Payment| payment.time.div_euclid(DAY_MICROS);
    let (mut matured, mut known, mut known_until) = (0, HashSet::new(), 0);
    let mut grown = false;
    for (at, one) in payments.iter().enumerate() {
        let day = day_of(&one.payment);
        if day > *protocol.test.end() {
            break;
        }
        while payments[matured].payment.time + protocol.delay_days * DAY_MICROS <= one.payment.time && matured < at {
            scorer.label(matured as u64, payments[matured].fraud);
            matured += 1;
        }
        let id = at as u64;
        if day < *protocol.test.start() {
            scorer.pass(id, &one.payment);
            result.before += 1;
        } else {
            if !grown {
                result.grown_on = scorer.grow(TreeSettings::default());
                grown = true;
            }
            // Known to be defrauded: in the days of the train, and since then as labels came.
            while known_until < at && day_of(&payments[known_until].payment) + protocol.delay_days < day {
                let earlier = &payments[known_until];
                if earlier.fraud && day_of(&earlier.payment) >= *protocol.train.start() {
                    known.insert(earlier.payment.customer);
                }
                known_until += 1;
            }
            if known.contains(&one.payment.customer) && !protocol.known_customers {
                scorer.pass(id, &one.payment);
                result.left_out += 1;
            } else {
                let score = score(&mut scorer, id, &one.payment);
                let customer = one.payment.customer;
                let scored = |score: f32| Scored { day, customer, score, fraud: one.fraud };
                result.online.push(scored(score.online));
                result.trees.push(scored(score.trees.unwrap_or(score.online)));
                result.blended.push(scored(score.blended()));
            }
        }
        passed();
    }
    result
}
