//! Recommendations that learn from every click: an incremental index of sessions, its queries, and how well they predict.
//!
//! ```text
//!  clicks, orders ──▶ Recommender ──┬─ index       sessions like this one, and what follows an item
//!  stock changes  ──▶               ├─ trend       what is in demand, when nothing else is known
//!                                   ├─ visitors    what lies in the cart, what was bought
//!  request ─────────▶               └─ catalogue   categories, stock
//!          answer ◀── filters, boosts, pins, variety of a placement ◀── query
//! ```
//!
//! Reading order: [`settings`], `index`, `query`, [`recommender`], [`answer`], [`attribution`], [`evaluate`]. Nothing here reads a clock: event
//! time comes with the events, and whoever measures brings the clock.

pub mod answer;
pub mod attribution;
mod catalogue;
pub mod evaluate;
mod fit;
mod index;
mod names;
mod query;
pub mod recommender;
pub mod settings;
pub mod stored;
mod transitions;
mod trend;
mod visitors;

pub use answer::{Answer, Evidence, Question, QuestionError, Reason, Recommendation, Workspace};
pub use catalogue::StockChange;
pub use fit::Fit;
pub use index::Action;
pub use recommender::{Click, Recommender, Size};
pub use settings::{Boost, IndexSettings, Kind, NextSettings, Placement, Settings, SettingsError, TrendSettings};
pub use stored::RestoreError;
