//! How many visitors come, so that the records add up to the wanted rate.
//!
//! The number of visitors in the shop is steered, not their arrivals: a visitor makes a record every so many seconds,
//! whatever the rate, so `visitors = wanted rate × seconds between a visitor's records` holds at once, also while the
//! shop fills. Both figures are measured as the shop goes.
//!
//! ```text
//!  wanted ─▶ − campaigns ─▶ × gap ─▶ visitors wanted ─▶ − visitors here ─▶ arrivals in the next second
//!                             ▲                                                     │
//!                             └──────────────── measured over a minute ◀────────────┘
//! ```

/// Guesses to begin with, as measured on a running shop.
const GAP_SECONDS: f64 = 8.8;
const RECORDS_PER_VISIT: f64 = 9.5;
/// A measurement is forgotten by this share a second.
const FORGET: f64 = 1.0 / 60.0;
/// Most of the missing visitors that come in one second.
const FILL: f64 = 0.2;

/// Measures and steers; one tick is a second of event time.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    visitor_seconds: f64,
    records: f64,
    visits: f64,
    campaign_rate: f64,
    sent_before: u64,
    campaign_before: u64,
}

impl Pace {
    pub(crate) fn new(wanted: f64) -> Self {
        let records = wanted * 30.0;
        Pace {
            visitor_seconds: records * GAP_SECONDS,
            records,
            visits: records / RECORDS_PER_VISIT,
            campaign_rate: 0.0,
            sent_before: 0,
            campaign_before: 0,
        }
    }

    /// Arrivals wanted in the next second. `sent` and `campaign` count all source records, and those of campaigns' own
    /// visitors, since the opening; `arrived` the visitors of the last second.
    pub(crate) fn tick(&mut self, wanted: f64, here: usize, arrived: u32, sent: u64, campaign: u64) -> f64 {
        let of_campaigns = (campaign - self.campaign_before) as f64;
        let of_visitors = ((sent - self.sent_before) as f64 - of_campaigns).max(0.0);
        (self.sent_before, self.campaign_before) = (sent, campaign);
        let here = here as f64;
        for (sum, new) in [
            (&mut self.visitor_seconds, here),
            (&mut self.records, of_visitors),
            (&mut self.visits, f64::from(arrived)),
        ] {
            *sum = *sum * (1.0 - FORGET) + new;
        }
        self.campaign_rate += (of_campaigns - self.campaign_rate) * 0.2;
        let wanted = (wanted - self.campaign_rate).max(0.0);
        let gap = (self.visitor_seconds / self.records.max(0.5)).clamp(1.0, 60.0);
        let target = wanted * gap;
        let leaving = wanted * self.visits / self.records.max(0.5);
        // No more newcomers than records are missing: each makes its first one at once.
        let missing = wanted * (1.0 - here / target.max(1.0)).max(0.0);
        (leaving + (target - here) * FILL).clamp(0.0, leaving + missing)
    }
}
