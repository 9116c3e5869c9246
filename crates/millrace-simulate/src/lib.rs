//! The labelled shop: a deterministic simulation of a small shop, and the answer key to what it does.
//!
//! A [`Shop`] yields [`Record`]s for the topics `user_events`, `transactions`, `inventory_updates` and `answer_key`,
//! in the order of arrival, from one seed. It reads no clock and does no I/O: the caller says how far to go.
//!
//! ```
//! use millrace_model::Timestamp;
//! use millrace_simulate::{Shop, ShopSettings};
//!
//! let start = Timestamp::parse(b"2026-11-22T08:00:00Z").expect("a time");
//! let mut shop = Shop::new(ShopSettings::new(7, start, 300.0)).expect("settings in range");
//! let mut records = Vec::new();
//! shop.advance(Timestamp(start.0 + 60_000_000), &mut records);
//! assert!(records.len() > 15_000);
//! ```
#![forbid(unsafe_code)]

mod agenda;
mod answers;
mod arrivals;
mod campaigns;
mod catalogue;
mod checkout;
mod desk;
mod dice;
mod floor;
mod fulfilment;
mod funnel;
mod ids;
mod json;
mod ledger;
mod malformed;
mod order;
mod pace;
mod people;
mod places;
mod puppet;
mod record;
mod settings;
mod shop;
mod stock_update;
mod transaction;
mod user_event;
mod visitor;
mod warehouse;
mod wares;

pub use campaigns::{Campaign, CampaignSet, UnknownCampaign};
pub use record::{Delivery, Record, Topic};
pub use settings::{
    CUSTOMERS_MAX, Disorder, PRODUCTS_MAX, PRODUCTS_MIN, RATE_PER_SECOND_MAX, Ramp, SettingsError, ShopSettings,
};
pub use shop::{Shop, ShopLoad};
