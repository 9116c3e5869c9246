//! The live side: payments as they come, with everything the contracts say of them, scored by rules and model.
//!
//! ```text
//!  user_events ──▶ visits ─────────┐
//!  transactions ─▶ payment ─▶ features ─▶ rules + model ─▶ judgement: score, decision, reasons, evidence
//!                    └─▶ memory (cards, accounts, devices, addresses …) ──┘     ▲
//!  chargebacks, fraud_verdicts, silence ─▶ labels ──────────────────────────────┤
//!  fraud_lists, fraud_rules ─▶ lists, rules that were changed ───────────────────┘
//! ```
//!
//! Reading order: `event` (what comes) → `entity`, `visit`, `memory` (what is remembered) → `payment` → [`features`] → [`rules`], `changes`, `lists`, `settings` →
//! `judgement`, [`judge`], `challenge` → [`scoreboard`].

mod challenge;
mod changes;
mod entity;
pub mod event;
pub mod features;
pub mod judge;
mod judgement;
mod lists;
mod memory;
mod payment;
pub mod rules;
pub mod scoreboard;
mod settings;
#[cfg(test)]
mod tests;
mod visit;

pub use challenge::{Candidate, Trial};
pub use changes::{CHANGED_MAX, RULE_STATES};
pub use event::{ListChange, ModelChange, Origin, RuleChange, Transaction, UserEvent, Verdict};
pub use judge::Judge;
pub use judgement::{Decision, Evidence, Judged, Judgement, Reason};
pub use lists::{LISTED, LISTS};
pub use rules::Rule;
pub use settings::{JudgeSettings, Limits};
