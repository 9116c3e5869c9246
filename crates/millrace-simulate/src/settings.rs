//! What a shop is made of: plain data, checked once.

use millrace_model::time::{MINUTE_MICROS, SECOND_MICROS};
use millrace_model::{Classified, ErrorKind, Timestamp};

use crate::campaigns::{CampaignSet, UnknownCampaign};

/// Highest `rate_per_second`: beyond it, the visitors alone take more than 4 GB.
pub const RATE_PER_SECOND_MAX: f64 = 1_000_000.0;
/// Fewest products: two of each category.
pub const PRODUCTS_MIN: u32 = 24;
/// Most products.
pub const PRODUCTS_MAX: u32 = 99_999;
/// Most customers.
pub const CUSTOMERS_MAX: u32 = 4_000_000;

/// What a shop is made of. [`ShopSettings::new`] gives sensible values for a rate; change what you like.
#[derive(Clone, PartialEq, Debug)]
pub struct ShopSettings {
    /// Everything follows from it.
    pub seed: u64,
    /// Event time of the first record.
    pub start: Timestamp,
    /// Source records a second of event time, over the three source topics together. Held within 5 % from 5 a second
    /// on; below, campaigns and stock counts alone make more.
    pub rate_per_second: f64,
    /// How the rate grows at first; `None` begins at the full rate.
    pub ramp: Option<Ramp>,
    /// Number of products.
    pub products: u32,
    /// Number of customers with an account (visitors without one come on top).
    pub customers: u32,
    /// Which campaigns run.
    pub campaigns: CampaignSet,
    /// Scales the time between campaigns: 0.5 is twice as often. Only the waiting, not the campaigns themselves.
    pub campaign_interval_scale: f64,
    /// Event time from a fraudulent order to its chargeback, microseconds. Days in reality.
    pub chargeback_delay: i64,
    /// How badly records travel.
    pub disorder: Disorder,
}

/// Growth of the rate: smoothly from `from_share` to all of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ramp {
    /// Share of the rate at the start, 0 to 1.
    pub from_share: f64,
    /// Microseconds until the full rate.
    pub duration: i64,
}

impl Default for Ramp {
    /// From 8 % to all within 45 minutes: a shop with a believable past.
    fn default() -> Self {
        Ramp { from_share: 0.08, duration: 45 * MINUTE_MICROS }
    }
}

/// Shares (0 to 1) of the source records that do not arrive as they should, and by how much.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Disorder {
    /// Share that arrives after younger ones.
    pub out_of_order: f64,
    /// By at most so much, microseconds; up to 9 seconds, so that a watermark delay of 10 seconds holds.
    pub out_of_order_max: i64,
    /// Share of user events and transactions that carry an event time long past. Stock movements never do: their sums
    /// must stay true.
    pub late: f64,
    /// How long past, microseconds. More than 30 minutes by default, so that late is late for session windows too.
    pub late_min: i64,
    /// How long past at most, microseconds.
    pub late_max: i64,
    /// Share that arrives twice.
    pub duplicates: f64,
    /// Second copy within so much, microseconds; up to 9 seconds.
    pub duplicate_within: i64,
    /// Share after which a broken copy arrives.
    pub malformed: f64,
}

impl Default for Disorder {
    fn default() -> Self {
        Disorder {
            out_of_order: 0.02,
            out_of_order_max: 8 * SECOND_MICROS,
            late: 0.000_2,
            late_min: 31 * MINUTE_MICROS,
            late_max: 60 * MINUTE_MICROS,
            duplicates: 0.000_5,
            duplicate_within: 5 * SECOND_MICROS,
            malformed: 0.000_1,
        }
    }
}

impl Disorder {
    /// Every record arrives once, well-formed, the moment it happens.
    pub fn none() -> Self {
        Disorder { out_of_order: 0.0, late: 0.0, duplicates: 0.0, malformed: 0.0, ..Disorder::default() }
    }
}

impl Default for ShopSettings {
    /// Seed 1, from 1970 on, at 300 records a second.
    fn default() -> Self {
        ShopSettings::new(1, Timestamp(0), 300.0)
    }
}

impl ShopSettings {
    /// A shop for a rate: 400 products and 100 customers a record/s at the usual 300 records/s; at higher rates, products
    /// grow with its square root.
    pub fn new(seed: u64, start: Timestamp, rate_per_second: f64) -> Self {
        let growth = (rate_per_second / 300.0).max(1.0).sqrt();
        ShopSettings {
            seed,
            start,
            rate_per_second,
            ramp: None,
            products: ((400.0 * growth) as u32).clamp(PRODUCTS_MIN, PRODUCTS_MAX),
            customers: ((rate_per_second * 100.0) as u32).clamp(2_000, CUSTOMERS_MAX),
            campaigns: CampaignSet::all(),
            campaign_interval_scale: 1.0,
            chargeback_delay: 20 * MINUTE_MICROS,
            disorder: Disorder::default(),
        }
    }

    /// When the rate is reached: the start, or the end of the ramp.
    pub fn ramp_end(&self) -> Timestamp {
        Timestamp(self.start.0 + self.ramp.map_or(0, |ramp| ramp.duration))
    }

    /// Source records a second that are wanted at a time.
    pub(crate) fn rate_at(&self, time: Timestamp) -> f64 {
        let Some(ramp) = self.ramp else { return self.rate_per_second };
        let progress = ((time.0 - self.start.0) as f64 / ramp.duration.max(1) as f64).clamp(0.0, 1.0);
        let smooth = progress * progress * (3.0 - 2.0 * progress);
        self.rate_per_second * (ramp.from_share + (1.0 - ramp.from_share) * smooth)
    }

    /// Refuses what cannot work, by name.
    ///
    /// # Errors
    /// The first setting out of its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        let disorder = &self.disorder;
        let hour = 60 * MINUTE_MICROS;
        between("rate_per_second", self.rate_per_second, 0.1, RATE_PER_SECOND_MAX)?;
        between("products", f64::from(self.products), f64::from(PRODUCTS_MIN), f64::from(PRODUCTS_MAX))?;
        between("customers", f64::from(self.customers), 100.0, f64::from(CUSTOMERS_MAX))?;
        between("campaign_interval_scale", self.campaign_interval_scale, 0.05, 100.0)?;
        length("chargeback_delay", self.chargeback_delay, MINUTE_MICROS, 7 * 24 * hour)?;
        if let Some(ramp) = self.ramp {
            between("ramp.from_share", ramp.from_share, 0.001, 1.0)?;
            length("ramp.duration", ramp.duration, 0, 48 * hour)?;
        }
        between("disorder.out_of_order", disorder.out_of_order, 0.0, 0.5)?;
        length("disorder.out_of_order_max", disorder.out_of_order_max, 0, 9 * SECOND_MICROS)?;
        between("disorder.late", disorder.late, 0.0, 0.1)?;
        length("disorder.late_min", disorder.late_min, 10 * MINUTE_MICROS, 24 * hour)?;
        length("disorder.late_max", disorder.late_max, disorder.late_min, 24 * hour)?;
        between("disorder.duplicates", disorder.duplicates, 0.0, 0.1)?;
        length("disorder.duplicate_within", disorder.duplicate_within, 0, 9 * SECOND_MICROS)?;
        between("disorder.malformed", disorder.malformed, 0.0, 0.1)
    }
}

fn between(setting: &'static str, value: f64, low: f64, high: f64) -> Result<(), SettingsError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(SettingsError::OutOfRange { setting, value: value.to_string(), range: format!("{low} to {high}") })
}

fn length(setting: &'static str, micros: i64, low: i64, high: i64) -> Result<(), SettingsError> {
    if (low..=high).contains(&micros) {
        return Ok(());
    }
    let seconds = |micros: i64| format!("{}s", micros as f64 / SECOND_MICROS as f64);
    let range = format!("{} to {}", seconds(low), seconds(high));
    Err(SettingsError::OutOfRange { setting, value: seconds(micros), range })
}

/// Why a shop cannot open. Its kind is [`ErrorKind::Invalid`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value outside its range.
    #[error("setting `{setting}` is {value}, which is out of range; use {range}")]
    OutOfRange {
        /// Name of the setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What can be given.
        range: String,
    },
    /// A campaign nobody knows.
    #[error(transparent)]
    UnknownCampaign(#[from] UnknownCampaign),
    /// A kept state does not belong to these settings.
    #[error(
        "the kept state has {field} {kept}, the settings have {given}; resume with the settings it was kept with, or open a new shop"
    )]
    ForeignState {
        /// What differs.
        field: &'static str,
        /// In the state.
        kept: String,
        /// In the settings.
        given: String,
    },
    /// A kept state that goes beyond `at`.
    #[error("the kept state goes up to {kept}, but the shop is to go on at {at}; resume at that time or later")]
    StateFromTheFuture {
        /// Cursor of the state.
        kept: Timestamp,
        /// Wanted time.
        at: Timestamp,
    },
    /// The incarnations are used up.
    #[error("the shop has been resumed {times} times and its ids are used up; open a new shop with another seed")]
    WornOut {
        /// Times resumed.
        times: u16,
    },
}

impl Classified for SettingsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
