//! What is past its retention leaves the tables, hourly, a piece between two batches, so that writing goes on meanwhile.
//!
//! ```text
//!              now − retention
//!      deleted ◀──────┼──────▶ kept
//!   ·   ·  ·  · · ·   │  ·   ·     ·  ·       rows by their event time; a table without one is a state, and stays
//! ```

use std::time::Duration;

use millrace_model::time::DAY_MICROS;
use millrace_model::{Contract, Role, Timestamp};

use super::history::HISTORY;
use super::settings::{DELETE_ROWS_MAX, HISTORY_DAYS, SWEEP_MS};
use crate::sink::watch::Due;
use crate::store::Store;

/// How long the store keeps rows of result tables, by their event time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Retention {
    /// For ever.
    #[default]
    Forever,
    /// As long as the contract of each says its topic keeps them: `retention.ms`.
    Contracts,
    /// This long.
    For(Duration),
}

/// A table of which rows become old.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Aging {
    table: String,
    /// The column that says how old a row is.
    time: String,
    kept_micros: i64,
}

fn aging(contracts: &[Contract], retention: Retention) -> Vec<Aging> {
    let history = Aging { table: HISTORY.into(), time: "minute".into(), kept_micros: HISTORY_DAYS * DAY_MICROS };
    let result = |contract: &Contract| {
        let kept_micros = match retention {
            _ if contract.role != Role::Result => None,
            Retention::Forever => None,
            Retention::Contracts => retention_ms(contract).map(|ms| ms.saturating_mul(1_000)),
            Retention::For(time) => i64::try_from(time.as_micros()).ok(),
        };
        Some(Aging { table: contract.name.clone(), time: contract.event_time.clone()?, kept_micros: kept_micros? })
    };
    std::iter::once(history).chain(contracts.iter().filter_map(result)).collect()
}

/// What the contract says, where its topic deletes.
fn retention_ms(contract: &Contract) -> Option<i64> {
    let config = &contract.topic.config;
    let deletes = config.get("cleanup.policy").is_none_or(|policy| policy.contains("delete"));
    let kept = config.get("retention.ms").and_then(|text| text.parse().ok()).filter(|ms: &i64| *ms > 0);
    kept.filter(|_| deletes)
}

/// The sweep through the tables: where it is, and when it begins again.
pub(super) struct Sweep {
    aging: Vec<Aging>,
    due: Due,
    /// The table it is at; `None`: it waits for its time.
    at: Option<usize>,
}

impl Sweep {
    pub(super) fn new(contracts: &[Contract], retention: Retention) -> Self {
        Sweep { aging: aging(contracts, retention), due: Due::every(SWEEP_MS, true), at: None }
    }

    /// Deletes one piece of one table, when it is time to.
    pub(super) async fn step(&mut self, store: &Store, now: Timestamp) {
        if self.at.is_none() && self.due.passed() {
            self.at = Some(0);
        }
        let Some(at) = self.at else { return };
        let Some(Aging { table, time, kept_micros }) = self.aging.get(at) else {
            self.at = None;
            return;
        };
        let before = Timestamp(now.0.saturating_sub(*kept_micros));
        match store.delete_before(table, time, before, DELETE_ROWS_MAX).await {
            Ok(deleted) => {
                if deleted > 0 {
                    tracing::info!(table, rows = deleted, "their retention is over: deleted");
                }
                // Less than a piece: the rest is young.
                if deleted < u64::from(DELETE_ROWS_MAX) {
                    self.at = Some(at + 1);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "what is past its retention is not deleted; again in an hour");
                self.at = Some(at + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    #[test]
    fn tables_that_age() {
        let mut timed = samples::contract(&["window_start"]);
        timed.event_time = Some("window_start".into());
        timed.topic.config.insert("retention.ms".into(), "1000".into());
        let mut endless = timed.clone();
        endless.name = "endless".into();
        endless.topic.config.insert("retention.ms".into(), "-1".into());
        let mut state = timed.clone();
        (state.name, state.event_time) = ("state".into(), None);
        let mut system = timed.clone();
        (system.name, system.role) = ("system".into(), Role::System);
        let tables = [timed, endless, state, system];
        let found = |retention| -> Vec<(String, i64)> {
            aging(&tables, retention).into_iter().skip(1).map(|aging| (aging.table, aging.kept_micros)).collect()
        };
        assert_eq!(found(Retention::Forever), []);
        assert_eq!(found(Retention::Contracts), [("sample".to_owned(), 1_000_000)]);
        let day = Retention::For(Duration::from_secs(86_400));
        assert_eq!(found(day), [("sample".to_owned(), DAY_MICROS), ("endless".to_owned(), DAY_MICROS)]);
        assert_eq!(aging(&tables, Retention::Forever)[0].table, "job_progress_history");
    }
}
