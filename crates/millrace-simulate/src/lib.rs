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
//! shop.finish(&mut records);
//! ```
//!
//! Same seed, settings and times: the same bytes, however the time is cut into calls of [`Shop::advance`].
//!
//! # One visitor's life
//!
//! ```text
//!  user_events      page_viewed · products_searched · product_clicked · product_viewed · product_added · cart_viewed
//!                     │ signed_in …                                                       product_removed
//!                     ▼
//!                   checkout_started · signed_up/in? · page_viewed /checkout/shipping · payment_info_entered
//!                     │                                                                   ▲        │
//!  transactions       │                                    payment_declined ──────────────┘        │
//!                     │                                    payment_authorized ◀────────────────────┘
//!                     │                                      │ 0.2–0.7 s
//!                     ▼                                      ▼                 3–10 min
//!  user_events      page_viewed /checkout/thanks           order_placed ──────────────────▶ payment_captured
//!  inventory_                                              stock_reserved (a line each)     shipment_dispatched
//!   updates                                                  │ or: order_cancelled            │ order_refunded, restocked
//!                                                            └─ reservation_released          └ chargeback_received
//! ```
//!
//! **Payment attempts come first and carry the order's id; the order is placed once one of them is authorised.** A
//! checkout whose payments are all declined places no order. Minutes stand for days after the order.
//! `amount_minor` of an order = sum of its lines − `discount_minor` + `shipping_minor`. One storefront `main`, in EUR.
//!
//! Why a cart is left can be found again: sold out (`page_viewed` of `/checkout/sold-out`), declined
//! (`payment_declined` and no order), left at shipping (`page_viewed` of `/checkout/shipping` is the last event).
//! Products of one family lead to each other (seen together), and each has three complements in another category, the
//! first most often (bought together).
//!
//! # How records travel
//!
//! | [`Delivery`] | arrival | counted in answers |
//! |---|---|---|
//! | `Regular` | the moment it happens: `arrival` = `event_time` | yes |
//! | `OutOfOrder` | up to 8 s later (never 10) | yes, once it has arrived |
//! | `Late` | the moment it happens, under an event time 31–60 minutes past (a clock that is slow): too late for every window, also for sessions of a 30-minute gap | in no `minute` and no `session`, as though never sent; in `late` of `disorder`. A late payment has its `payment` answer. Stock movements are never late |
//! | `Duplicate` | within 5 s of the first copy, same bytes | first copy only; in `duplicates` |
//! | `Malformed` | behind the good record it is a broken copy of, same key, its own event id (`m…`), thirteen kinds | never (an extra record); in `malformed` |
//!
//! # What the answers say
//!
//! | kind, `answer_id` | is sent | says |
//! |---|---|---|
//! | campaign, `campaign/<name>/<opening>-<run>/<started or ended>` | at once | the entity it is about |
//! | payment, `payment/<payment_id>` | with each attempt | fraud or not; the campaign, also of an honest payment in one (`refund_abuse`) |
//! | session, `session/<session_id>` | when the visitor leaves | user events of one anonymous id with no gap of 30 minutes (gaps are below 14 or above 35), and orders placed meanwhile; abandoned: units in the cart, and no order |
//! | minute, `minute/<start>` | 10 s after its end, if anything happened | user events, orders, refunds, declines by event time |
//! | stock, `stock/<product>/<time>` | 10 s after each minute for what changed; all at the end | levels from all movements before `event_time` |
//! | disorder, `disorder/totals` | each minute | totals since the first opening |
//!
//! Campaigns and their schedule: see [`Campaign`]. Restarts: see [`ShopState`].
//!
//! # Limits
//!
//! Memory follows the rate, not the time: visitors in the shop ≈ 9 × the rate, at about 350 bytes each with their entry
//! in the agenda; open orders ≈ 3 × the rate at 400 bytes; at most 65,536 remembered guests, 4 bytes a customer. At
//! 300 records/s that is 5 MB, at 200,000 about 0.8 GB. [`Shop::load`] tells the sizes. `examples/rate.rs` measures the speed.
//!
//! # Reading order
//!
//! `settings` → `record` → `shop` (the loop) with `agenda` (what is due when) → `floor` (what actors may touch) →
//! `arrivals`, `visitor`, `funnel`, `checkout` (a visit) → `order`, `fulfilment`, `warehouse` (after it) → `pace` (how
//! many come) → `campaigns` with `puppet` (visitors that follow a script) → `desk`, `malformed` (how records travel) →
//! `ledger`, `answers` (what is true) → `state`. `catalogue`, `wares`, `people`, `places` are who and what there is;
//! `user_event`, `transaction`, `stock_update`, `json`, `ids` write it down; `dice` is all the chance there is.
//!
//! **Invariants:** no clock, no I/O, no threads. There are no card numbers, only tokens and issuers; e-mail and postal
//! addresses leave the crate as hashes only. No id is given twice, not even after a restart.
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
mod state;
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
pub use state::ShopState;
