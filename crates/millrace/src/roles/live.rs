//! Committed result rows on their way to the dashboard: tails the result topics and hands rows over in batches.

use std::collections::BTreeMap;

use millrace_connectors::kafka::tail::{Start, Tailed, tail};
use millrace_connectors::kafka::{ClientSettings, KafkaError};
use millrace_dashboard::LiveBatch;
use tokio::sync::mpsc;

/// Batches that wait for the dashboard, at most; a slow one holds the tail back.
const BATCHES_MAX: usize = 64;
/// Rows handed over at once, at most.
const ROWS_MAX: usize = 1_000;

/// Starts to tail these tables' topics from now on.
///
/// # Errors
/// The client's settings.
pub(crate) fn start(kafka: &ClientSettings, tables: &[&str]) -> Result<mpsc::Receiver<LiveBatch>, KafkaError> {
    let mut records = tail(kafka, tables, Start::Latest)?;
    let (give, take) = mpsc::channel(BATCHES_MAX);
    tokio::spawn(async move {
        let mut waiting = Vec::with_capacity(ROWS_MAX);
        loop {
            // When the dashboard has gone the tail ends too, while the broker is still there.
            let received = tokio::select! {
                received = records.recv_many(&mut waiting, ROWS_MAX) => received,
                () = give.closed() => 0,
            };
            if received == 0 {
                return;
            }
            let mut batches: BTreeMap<String, Vec<_>> = BTreeMap::new();
            for tailed in waiting.drain(..) {
                match tailed {
                    Tailed::Record(record) => {
                        let value = record.value.as_deref().unwrap_or_default();
                        match serde_json::from_slice(value) {
                            Ok(row) => batches.entry(record.place.topic.to_string()).or_default().push(row),
                            Err(error) => {
                                tracing::debug!(topic = %record.place.topic, %error, "a row that is no object")
                            }
                        }
                    }
                    Tailed::Trouble(error) => tracing::warn!(%error, "the dashboard's tail waits"),
                }
            }
            for (table, rows) in batches {
                if give.send(LiveBatch { table, rows }).await.is_err() {
                    return;
                }
            }
        }
    });
    Ok(take)
}
