//! Fraud: features of a payment as it happens, models that learn from late labels, and the reasons of a score.
//!
//! ```text
//!  payment ─▶ features (what card-holder and terminal did before, and which of their labels are known) ─▶ vector
//!                                            ▲                                    │ kept as scored
//!                  label, days later ────────┴──────────── joins the vector ──────┤
//!                                                                                 ▼
//!                                online model (FTRL on bins) and trees, averaged in logits ─▶ score, reasons
//! ```
//!
//! [`evaluate`] runs it on files; [`live`] judges a shop's payments with the same model and many more features.
//!
//! Reading order: [`Features`] → [`Ftrl`] → [`Trees`] → [`Scorer`] → [`metrics`] → [`live`].

mod bins;
pub mod evaluate;
mod features;
mod ftrl;
mod history;
pub mod live;
pub mod metrics;
mod scorer;
mod trees;

pub use features::{FEATURES, Features, Payment, Vector};
pub use ftrl::{Contribution, Ftrl};
pub use scorer::{Limits, Score, Scorer};
pub use trees::{TreeSettings, Trees};
