//! The named campaigns: what goes on in the shop besides ordinary business, and when.
//!
//! The schedule is told at [`Campaign`].

mod account_takeover;
mod amount_out_of_habit;
mod bot_scraping;
mod card_testing;
mod crowd;
mod declines_then_success;
mod impossible_travel;
mod names;
mod promo_abuse;
mod raids;
mod refund_abuse;
mod stolen_card;

use millrace_model::Timestamp;
use millrace_model::time::{MINUTE_MICROS, SECOND_MICROS};

pub use names::{Campaign, CampaignSet, UnknownCampaign};
pub(crate) use raids::{Entity, Plan, Raids};

use crate::floor::Floor;

/// A campaign that cannot begin now is tried again after this time.
pub(crate) const RETRY_MICROS: i64 = MINUTE_MICROS;

impl Campaign {
    /// Seconds after the ramp of the first run, and minutes between runs.
    fn rhythm(self) -> (i64, i64) {
        match self {
            Campaign::CardTesting => (40, 10),
            Campaign::StolenCard => (75, 12),
            Campaign::BotScraping => (110, 15),
            Campaign::DeclinesThenSuccess => (150, 9),
            Campaign::AccountTakeover => (200, 14),
            Campaign::ImpossibleTravel => (260, 13),
            Campaign::AmountOutOfHabit => (320, 11),
            Campaign::PromoAbuse => (380, 18),
            Campaign::RefundAbuse => (440, 20),
            Campaign::StockOut => (500, 25),
            Campaign::Oversell => (600, 30),
        }
    }

    /// Microseconds between runs.
    pub(crate) fn period(self, scale: f64) -> i64 {
        ((self.rhythm().1 * MINUTE_MICROS) as f64 * scale) as i64
    }

    /// The first run at or after `from`.
    pub(crate) fn next_run(self, from: Timestamp, ramp_end: Timestamp, scale: f64) -> Timestamp {
        let first = (self.rhythm().0 * SECOND_MICROS) as f64 * scale;
        let (anchor, period) = (ramp_end.0 + first as i64, self.period(scale));
        let behind = (from.0 - anchor).rem_euclid(period);
        Timestamp(if behind == 0 { from.0 } else { from.0 + period - behind })
    }

    /// Makes the plan of a run that would take slot `raid`; `None` when the shop has nobody or nothing for it now.
    pub(crate) fn plan(self, floor: &mut Floor, raid: u32, rate_per_second: f64) -> Option<Plan> {
        match self {
            Campaign::CardTesting => card_testing::plan(floor, raid),
            Campaign::StolenCard => stolen_card::plan(floor, raid),
            Campaign::BotScraping => bot_scraping::plan(floor, raid, rate_per_second),
            Campaign::DeclinesThenSuccess => declines_then_success::plan(floor, raid),
            Campaign::AccountTakeover => account_takeover::plan(floor, raid),
            Campaign::ImpossibleTravel => impossible_travel::plan(floor, raid),
            Campaign::AmountOutOfHabit => amount_out_of_habit::plan(floor, raid),
            Campaign::PromoAbuse => promo_abuse::plan(floor, raid),
            Campaign::RefundAbuse => refund_abuse::plan(floor, raid),
            Campaign::StockOut => crowd::sell_out(floor, raid),
            Campaign::Oversell => crowd::oversell(floor, raid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_keep_their_rhythm() {
        let minute = |at: f64| Timestamp((at * 60e6) as i64);
        for (from, scale, expected) in [
            (0.0, 1.0, 5.0 + 40.0 / 60.0),
            (45.0, 1.0, 45.0 + 40.0 / 60.0),
            (45.0 + 40.0 / 60.0, 1.0, 45.0 + 40.0 / 60.0),
            (45.7, 1.0, 55.0 + 40.0 / 60.0),
            (45.0, 0.5, 45.0 + 20.0 / 60.0),
            (46.0, 0.5, 50.0 + 20.0 / 60.0),
        ] {
            let run = Campaign::CardTesting.next_run(minute(from), minute(45.0), scale);
            assert!((run.0 - minute(expected).0).abs() <= 1, "from {from} at {scale}: {run:?}");
        }
    }
}
