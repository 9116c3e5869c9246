//! Trees beside the running scorer: grown on a candidate's labels while it goes on, and told of in `fraud_models`.
//!
//! What scores changes only where the scorer takes in the record of a trial that was won: there a restart and a backtest find it, too.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_intelligence::fraud::live::{Candidate, Trial};
use millrace_model::Timestamp;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Shared;
use super::records::MODELS;

/// Longest wait for the cluster to take the record.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The trials, one at a time.
#[derive(Default)]
pub(super) struct Challenge {
    /// The last candidate tried.
    tried: u64,
    under_way: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Challenge {
    /// Begins the trial of a candidate nobody has tried, unless one is under way. It waits for nothing.
    pub(super) fn look(&mut self, kafka: &ClientSettings, shared: &Arc<Shared>) {
        if self.under_way.as_ref().is_some_and(|trial| !trial.is_finished()) {
            return;
        }
        let (candidate, in_use) = {
            let state = shared.state();
            (state.judge.candidate().cloned(), state.judge.trees())
        };
        let is_new = |candidate: &Candidate| candidate.version() > self.tried && Some(candidate.version()) != in_use;
        let Some(candidate) = candidate.filter(is_new) else { return };
        self.tried = candidate.version();
        let (kafka, shared) = (kafka.clone(), shared.clone());
        self.under_way = Some(spawn_blocking(move || {
            let result = hold(&candidate, &kafka, &shared);
            if let Err(error) = &result {
                tracing::warn!("the trial of trees came to nothing: {error:#}; the next is after more labels");
            }
            result
        }));
    }
}

/// Grows the trees, holds them against what was said, and tells how it went.
fn hold(candidate: &Candidate, kafka: &ClientSettings, shared: &Shared) -> anyhow::Result<()> {
    let (trees, trial) = candidate.trial();
    if let Some(trees) = trees.filter(|_| trial.is_won()) {
        shared.state_mut().judge.offer(candidate.version(), trees);
    }
    let row = row(candidate.version(), &trial, Timestamp::from_system_time(SystemTime::now()));
    tracing::info!(version = candidate.version(), won = trial.is_won(), "trees were tried");
    let producer = Producer::new(kafka, None).context("the producer")?;
    let (key, value) = (candidate.version().to_string(), row.to_string());
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    producer.send(Outgoing { topic: MODELS, partition: None, key, value, time: None }, WAIT_MAX)?;
    producer.flush(WAIT_MAX).context("telling of the trial")
}

/// A row of `fraud_models`; the fields are the contract's.
fn row(version: u64, trial: &Trial, now: Timestamp) -> Value {
    json!({ "version": version, "won": trial.is_won(), "trained": trial.trained, "judged": trial.judged,
        "frauds": trial.frauds, "precision_before": trial.precision.0, "precision_after": trial.precision.1,
        "loss_before": trial.loss.0, "loss_after": trial.loss.1, "changed_at": now })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_the_contract() {
        let row = row(2_000, &Trial::default(), Timestamp(0));
        let contracts = millrace_model::Contracts::builtin();
        let contract = contracts.get(MODELS).expect("it ships");
        let fields: Vec<&String> = row.as_object().expect("an object").keys().collect();
        assert!(fields.len() == contract.columns.len() && fields.iter().all(|field| contract.column(field).is_some()));
        assert_eq!(row["won"], false);
    }
}
