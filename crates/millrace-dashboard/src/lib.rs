//! The live dashboard: pages, HTTP API and server-sent events over the result tables.
//!
//! ```text
//! store ──── at start ──▶ cache ──▶ view ──▶ page (HTML)          one computation,
//! LiveBatch ─ as it comes ─▶ │        ├────▶ section ─▶ events    three ways out
//!                            └─ changed       └────▶ api (JSON, CSV)
//! ```
//!
//! Reading order: [`settings`] → `cache` (recent rows, bounded) → `view` (what a page shows, as plain data) → `section`
//! (live parts and their differences) → `kafka` (a look at the cluster) → `page` (HTML) → `live` (the streams) → `api` → [`service`]
//! (answers of other roles) → `server`. The browser's side is
//! in `assets/`: hand-written modules that put pushed HTML in its place, format numbers and draw charts; they compute
//! no figures of their own.
//!
//! **Invariants**
//! - The crate does not know the engine: rows come from the store and through a channel. Kafka is only looked at, for the
//!   page that shows it (`kafka`), and only through the connectors.
//! - Every value in HTML is escaped by construction (maud); scripts and styles come only from us (content policy).
//! - Personal data is masked before it leaves the server.
//! - What people answer (`alerts`, `letters`) goes into the store, or to who was handed in for it ([`service::Mends`]); a browser
//!   is not made to write by another site's page (`guard`).
//! - Nothing waits in memory for a slow page.

mod alerts;
mod answer;
mod api;
mod assets;
mod cache;
mod connection;
mod editor;
mod error;
mod feed;
mod guard;
mod history;
mod kafka;
mod letters;
mod live;
mod mask;
mod page;
mod params;
mod promises;
mod raw;
mod reviews;
mod row;
mod section;
mod server;
pub mod service;
pub mod settings;
mod shared;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod view;

pub use error::DashboardError;
pub use feed::LiveBatch;
pub use server::{Dashboard, start, start_with};
pub use settings::{DashboardSettings, KafkaSettings, Limits, SinkLag, SinkPromise};
