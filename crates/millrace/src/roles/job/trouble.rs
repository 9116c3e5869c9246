//! Says in a job's progress rows why it stands still, for whoever looks at Health: a log is not read until then.

use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::{ClientSettings, KafkaError};
use millrace_model::progress::TableProgress;
use millrace_model::{ErrorKind, Timestamp};

use super::takeover::last_rows;

/// Longest wait for Kafka to take a row.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// A job that has stopped for good.
pub(crate) struct Stopped<'a> {
    pub(crate) job: &'a str,
    pub(crate) backend: &'a str,
    pub(crate) tables: &'a [String],
    pub(crate) why: &'a str,
}

/// Adds to the last progress row of each of its tables why the job has stopped. Its next start writes rows without it.
///
/// # Errors
/// Kafka.
pub(crate) fn tell(
    kafka: &ClientSettings,
    runtime: &tokio::runtime::Handle,
    stopped: &Stopped<'_>,
) -> Result<(), KafkaError> {
    let mut rows = last_rows(kafka, runtime, stopped.tables)?;
    let producer = Producer::new(kafka, None)?;
    for table in stopped.tables {
        let before = rows.remove(table);
        let row = TableProgress {
            time: Timestamp::from_system_time(std::time::SystemTime::now()),
            trouble: Some(stopped.why.to_owned()),
            ..before.unwrap_or_else(|| TableProgress::begun(table, stopped.job, stopped.backend))
        };
        let value = serde_json::to_vec(&row)
            .map_err(|error| KafkaError::new(ErrorKind::Internal, format!("encode a progress row: {error}")))?;
        let (key, value) = (Some(table.as_bytes()), Some(&value[..]));
        producer.send(Outgoing { topic: "job_progress", partition: None, key, value, time: None }, PATIENCE)?;
    }
    producer.flush(PATIENCE)
}
