//! Settings of the role: `[score]` of the settings file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use millrace_intelligence::fraud::live::{JudgeSettings, Limits, Rule};
use serde::Deserialize;

use crate::settings::duration;

/// What can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ScoreSettings {
    /// Run it with `millrace up`.
    pub(crate) enabled: bool,
    /// Address of a scorer that runs alone; port 0 takes any free one. With `up` it answers at the page's address.
    pub(crate) listen: SocketAddr,
    /// Shortest time between two batches.
    #[serde(deserialize_with = "duration")]
    pub(crate) trigger: Duration,
    /// Most records of a batch.
    pub(crate) batch_records_max: usize,
    /// How often its state is kept.
    #[serde(deserialize_with = "duration")]
    pub(crate) snapshot_interval: Duration,
    /// From this probability on somebody looks at a payment.
    pub(crate) review_at: f32,
    /// From this probability on a payment is refused.
    pub(crate) block_at: f32,
    /// Event time after which an approved payment without a chargeback counts as good.
    #[serde(deserialize_with = "duration")]
    pub(crate) label_delay: Duration,
    /// Trees are grown on matured labels, and held against the model, after every so many labels; 0: never.
    pub(crate) challenge_labels: u64,
    /// How long after it was held somebody should have said what a payment is: the deadline of the review queue.
    #[serde(deserialize_with = "duration")]
    pub(crate) review_within: Duration,
    /// Rules of the shop's own, and those that ship with other numbers.
    pub(crate) rules: BTreeMap<String, Rule>,
    /// What may be remembered.
    pub(crate) limits: Limits,
    /// Backtests that somebody starts on the page.
    pub(crate) backtest: BacktestLimits,
}

/// What one backtest of the page may take; there is one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BacktestLimits {
    /// Records of the past held in memory, at some 500 bytes each.
    pub(crate) records_max: usize,
    /// Longest time it may take.
    #[serde(deserialize_with = "duration")]
    pub(crate) time_max: Duration,
}

impl Default for BacktestLimits {
    fn default() -> Self {
        BacktestLimits { records_max: 2_000_000, time_max: Duration::from_secs(10 * 60) }
    }
}

impl Default for ScoreSettings {
    fn default() -> Self {
        let judge = JudgeSettings::default();
        ScoreSettings {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 8082)),
            trigger: Duration::from_millis(20),
            batch_records_max: 5_000,
            snapshot_interval: Duration::from_secs(30),
            review_at: judge.review_at,
            block_at: judge.block_at,
            label_delay: Duration::from_micros(judge.label_delay_micros.unsigned_abs()),
            challenge_labels: judge.challenge_labels,
            review_within: Duration::from_secs(4 * 3_600),
            rules: BTreeMap::new(),
            limits: judge.limits,
            backtest: BacktestLimits::default(),
        }
    }
}

impl ScoreSettings {
    /// The settings of the judge itself.
    pub(crate) fn judge(&self) -> JudgeSettings {
        JudgeSettings {
            review_at: self.review_at,
            block_at: self.block_at,
            label_delay_micros: i64::try_from(self.label_delay.as_micros()).unwrap_or(i64::MAX),
            challenge_labels: self.challenge_labels,
            rules: self.rules.clone(),
            limits: self.limits,
            ..JudgeSettings::default()
        }
    }
}
