//! The scoreboard as the scorer's side tells it, and the figures of a page that are made of it.

use millrace_model::Timestamp;
use serde::{Deserialize, Serialize};

/// What was found of one campaign.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Campaign {
    pub(crate) campaign: String,
    pub(crate) runs: usize,
    pub(crate) runs_found: usize,
    pub(crate) frauds: usize,
    pub(crate) found_at_once: usize,
    /// Share found, as it was decided.
    pub(crate) recall: f64,
    /// Share found at the budget of false alarms.
    pub(crate) recall_at_budget: f64,
    /// Fraudulent payments up to and with the first alert: the middle and the worst.
    pub(crate) events_to_alert: (usize, usize),
    pub(crate) seconds_to_alert: f64,
    /// Money of all, and of those found.
    pub(crate) money_minor: (i64, i64),
}

/// What a rule in the shadow would have done.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Shadow {
    pub(crate) rule: String,
    pub(crate) fired: usize,
    /// Of these, fraudulent and good, as far as it is known.
    pub(crate) truth: (usize, usize),
    /// Approved payments it would have held.
    pub(crate) held_more: usize,
    pub(crate) more_truth: (usize, usize),
}

/// What was found at all.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Report {
    pub(crate) payments: usize,
    pub(crate) frauds: usize,
    pub(crate) false_alarms: usize,
    pub(crate) false_positive_rate: f64,
    pub(crate) precision: f64,
    pub(crate) recall: f64,
    pub(crate) false_alarms_per_true: f64,
    pub(crate) refunds_hurt: (usize, usize),
    pub(crate) good_money_hurt_minor: i64,
    /// Payments, mean score and share of fraud, by tenths of the score.
    pub(crate) calibration: Vec<(usize, f64, f64)>,
    pub(crate) campaigns: Vec<Campaign>,
    #[serde(default)]
    pub(crate) shadows: Vec<Shadow>,
    /// When it was made.
    #[serde(skip)]
    pub(crate) as_of: Option<Timestamp>,
}

/// A tenth of the scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tenth {
    pub(crate) from: f64,
    pub(crate) payments: usize,
    pub(crate) score: f64,
    pub(crate) fraud: f64,
}

/// The scoreboard.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Board {
    /// Everything that was there has been read.
    pub(crate) caught_up: bool,
    pub(crate) read: i64,
    pub(crate) to_read: i64,
    /// There is a truth to hold the decisions against.
    pub(crate) answer_key: bool,
    pub(crate) as_of: Option<Timestamp>,
    pub(crate) report: Option<Report>,
}

impl Report {
    /// Money found, and of all fraud.
    pub(crate) fn money(&self) -> (i64, i64) {
        let sum = |of: fn(&Campaign) -> i64| self.campaigns.iter().map(of).sum();
        (sum(|campaign| campaign.money_minor.1), sum(|campaign| campaign.money_minor.0))
    }

    /// Share of the fraud found at the budget, over all campaigns.
    pub(crate) fn recall_at_budget(&self) -> Option<f64> {
        let frauds: usize = self.campaigns.iter().map(|campaign| campaign.frauds).sum();
        let found: f64 = self.campaigns.iter().map(|campaign| campaign.recall_at_budget * campaign.frauds as f64).sum();
        (frauds > 0).then(|| found / frauds as f64)
    }

    /// Seconds to the first alert of an attack: that of the middle campaign.
    pub(crate) fn delay(&self) -> Option<f64> {
        let found = self.campaigns.iter().filter(|campaign| campaign.runs_found > 0);
        let mut seconds: Vec<f64> = found.map(|campaign| campaign.seconds_to_alert).collect();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied()
    }

    /// The tenths that hold payments.
    pub(crate) fn tenths(&self) -> impl Iterator<Item = Tenth> {
        let tenth = |(at, (payments, score, fraud)): (usize, &(usize, f64, f64))| Tenth {
            from: at as f64 / 10.0,
            payments: *payments,
            score: *score,
            fraud: *fraud,
        };
        self.calibration.iter().enumerate().map(tenth).filter(|tenth| tenth.payments > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_over_all_campaigns() {
        let campaign = |frauds, recall_at_budget, seconds_to_alert, money_minor| Campaign {
            frauds,
            recall_at_budget,
            seconds_to_alert,
            money_minor,
            runs_found: 1,
            ..Campaign::default()
        };
        let report = Report {
            campaigns: vec![campaign(30, 1.0, 4.0, (100, 90)), campaign(10, 0.5, 20.0, (50, 10))],
            calibration: vec![(5, 0.01, 0.0), (0, 0.0, 0.0), (2, 0.25, 0.5)],
            ..Report::default()
        };
        assert_eq!((report.money(), report.recall_at_budget(), report.delay()), ((100, 150), Some(0.875), Some(20.0)));
        assert_eq!(report.tenths().map(|tenth| tenth.payments).collect::<Vec<_>>(), [5, 2]);
        assert_eq!((Report::default().recall_at_budget(), Report::default().delay()), (None, None));
    }
}
