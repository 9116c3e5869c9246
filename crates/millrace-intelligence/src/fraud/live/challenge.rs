//! The challenger of the online model: trees grown on labels that have matured, blended in only when that wins.
//!
//! ```text
//!  label ─▶ matured (a ring) ─ every so many labels ─▶ candidate: the rows as they are then
//!                                                          │ elsewhere, as it takes seconds
//!  scores ◀─ blend ◀─ record "won" taken in, in order ◀─ trial: grown on the older part, held against the newest week
//! ```
//!
//! When a candidate is made, and where the record of its trial lies, is the same for live, a restart and a backtest; the trees
//! follow from the candidate alone. So who does not have them yet grows them there, and comes to the same bits.

use std::sync::Arc;

use super::entity::DAY;
use crate::fraud::metrics::{Scored, average_precision};
use crate::fraud::{TreeSettings, Trees};
use crate::recommend::stored::{Bytes, RestoreError, Stored, stored_fields};

/// The newest payments that trees are held against.
const WEEK: i64 = 7 * DAY;
/// Of these, frauds at least: fewer decide nothing.
const FRAUDS_MIN: usize = 20;
/// Weight of the trees beside the online model.
const SHARE: f32 = 0.5;

/// A payment whose label is known, as it was scored.
#[derive(Clone, Debug)]
pub(super) struct Matured {
    pub(super) time: i64,
    pub(super) points: f32,
    /// What the models added when it was scored, and what the online model said then.
    pub(super) learnt: f32,
    pub(super) online: f32,
    pub(super) fraud: bool,
    pub(super) vector: Vec<f32>,
}
stored_fields!(Matured { time, points, learnt, online, fraud, vector });

impl AsRef<[f32]> for Matured {
    fn as_ref(&self) -> &[f32] {
        &self.vector
    }
}

/// Labelled payments at one moment, to grow trees on.
#[derive(Clone, Debug)]
pub struct Candidate {
    version: u64,
    rows: Arc<Vec<Matured>>,
}

impl Stored for Candidate {
    fn store(&self, out: &mut Vec<u8>) {
        self.version.store(out);
        self.rows.len().store(out);
        self.rows.iter().for_each(|row| row.store(out));
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        Ok(Candidate { version: u64::restore(from)?, rows: Arc::new(Vec::restore(from)?) })
    }
}

/// How trees did against what had been said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Trial {
    /// Labelled payments the trees were grown on.
    pub trained: usize,
    /// Newer ones they were held against.
    pub judged: usize,
    /// Frauds among these.
    pub frauds: usize,
    /// Average precision of the scores as they were given, and of the blend.
    pub precision: (f64, f64),
    /// Logarithmic loss of both.
    pub loss: (f64, f64),
}

impl Trial {
    /// Whether the blend is better in both, on enough frauds.
    pub fn is_won(&self) -> bool {
        self.frauds >= FRAUDS_MIN && self.precision.1 > self.precision.0 && self.loss.1 < self.loss.0
    }
}

/// What is added to the points of the rules, by both models.
pub(super) fn blend(online: f32, trees: f32) -> f32 {
    online + SHARE * (trees - online)
}

/// The online model's share of what is added, and what the trees add.
pub(super) fn shares(trees: Option<f32>) -> (f32, f32) {
    trees.map_or((1.0, 0.0), |trees| (1.0 - SHARE, SHARE * trees))
}

impl Candidate {
    pub(super) fn new(version: u64, rows: Vec<Matured>) -> Self {
        Candidate { version, rows: Arc::new(rows) }
    }

    /// Names it: labels that had been learnt.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// From this time on payments are held against the trees: the newest week, or the newest third when there is no more than that.
    fn cut(&self) -> i64 {
        let mut times: Vec<i64> = self.rows.iter().map(|row| row.time).collect();
        times.sort_unstable();
        let newest = times.last().copied().unwrap_or(0);
        let third = times.get(times.len() * 2 / 3).copied().unwrap_or(newest);
        third.max(newest - WEEK)
    }

    /// Grows the trees, and holds them against what was said of the newest payments. It takes seconds.
    pub fn trial(&self) -> (Option<Trees>, Trial) {
        let cut = self.cut();
        let (older, newer): (Vec<&Matured>, Vec<&Matured>) = self.rows.iter().partition(|row| row.time < cut);
        let labels: Vec<bool> = older.iter().map(|row| row.fraud).collect();
        let before: Vec<f32> = older.iter().map(|row| row.points).collect();
        let trees = Trees::train_beside(&older, &before, &labels, TreeSettings::default());
        let frauds = newer.iter().filter(|row| row.fraud).count();
        let mut trial = Trial { trained: older.len(), judged: newer.len(), frauds, ..Trial::default() };
        if let Some(trees) = trees.as_ref().filter(|_| frauds > 0) {
            let logit = |row: &Matured, learnt: f32| row.points + learnt;
            let as_given: Vec<f32> = newer.iter().map(|row| logit(row, row.learnt)).collect();
            let blended: Vec<f32> =
                newer.iter().map(|row| logit(row, blend(row.online, trees.logit(&row.vector)))).collect();
            trial.precision = (precision(&newer, &as_given), precision(&newer, &blended));
            trial.loss = (loss(&newer, &as_given), loss(&newer, &blended));
        }
        (trees, trial)
    }
}

fn precision(rows: &[&Matured], logits: &[f32]) -> f64 {
    let scored: Vec<Scored> = rows
        .iter()
        .zip(logits)
        .map(|(row, logit)| Scored { day: 0, customer: 0, score: *logit, fraud: row.fraud })
        .collect();
    average_precision(&scored)
}

/// Mean of what the truth costs at these odds.
fn loss(rows: &[&Matured], logits: &[f32]) -> f64 {
    let one = |(row, logit): (&&Matured, &f32)| {
        let odds = f64::from(if row.fraud { -*logit } else { *logit });
        // ln(1 + e^x) without overflow.
        odds.max(0.0) + (-odds.abs()).exp().ln_1p()
    };
    rows.iter().zip(logits).map(one).sum::<f64>() / rows.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Payments that are fraud when two numbers are both large, which no additive model says.
    fn rows(count: usize, learnt: f32) -> Vec<Matured> {
        let row = |at: usize| {
            let (a, b) = ((at * 7 % 10) as f32, (at * 3 / 10 % 10) as f32);
            let fraud = a >= 7.0 && b >= 7.0;
            Matured {
                time: at as i64 * 60_000_000,
                points: -3.0,
                learnt,
                online: learnt,
                fraud,
                vector: vec![a, b, f32::NAN],
            }
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn trees_win_where_they_know_better_and_the_same_rows_give_the_same_trees() {
        let candidate = Candidate::new(3_000, rows(3_000, 0.0));
        let (trees, trial) = candidate.trial();
        assert_eq!((trial.trained, trial.judged), (2_000, 1_000));
        assert!(trial.is_won() && trial.precision.1 > 0.95, "{trial:?}");
        let mut out = Vec::new();
        candidate.store(&mut out);
        let again = Candidate::restore(&mut Bytes::new(&out)).expect("a candidate");
        assert_eq!((again.version(), again.trial()), (3_000, (trees.clone(), trial)));
        let mut out = Vec::new();
        trees.store(&mut out);
        assert_eq!(Option::<Trees>::restore(&mut Bytes::new(&out)), Ok(trees));
    }

    #[test]
    fn trees_lose_without_frauds_and_where_all_is_said() {
        let mut known = rows(3_000, 0.0);
        known.iter_mut().for_each(|row| row.learnt = if row.fraud { 20.0 } else { -20.0 });
        assert!(!Candidate::new(1, known).trial().1.is_won());
        let mut good = rows(300, 0.0);
        good.iter_mut().for_each(|row| row.fraud = false);
        let (trees, trial) = Candidate::new(1, good).trial();
        assert!(trees.is_none() && !trial.is_won());
    }
}
