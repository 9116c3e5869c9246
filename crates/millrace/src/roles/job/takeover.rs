//! Taking a job over from Spark: its progress rows say where it stood, and its records are read again up to there.
//!
//! A batch that Spark was stopped in has no progress row, but its rows may be in the result topic: Spark's Kafka sink has no
//! transactions. Its rows are made here again, and those that are there already, byte by byte, are not given again. (A key alone
//! says too little: a signal that grows is another row of the same key.)

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use millrace_connectors::kafka::rdkafka::{Message, Offset};
use millrace_connectors::kafka::{ClientSettings, KafkaError};
use millrace_engine::Job;
use millrace_engine::job::TableTakeover;
use millrace_model::progress::TableProgress;

use super::input::{Input, Place, batches};
use super::{JobError, JobRunSettings};
use crate::topic_scan::scan;

/// Records read at a time.
const STEP: Duration = Duration::from_millis(100);
/// How far the clocks of Spark's machines may lie apart, microseconds.
const CLOCKS_APART_MAX_MICROS: i64 = 10_000_000;

/// Where Spark left a job.
pub(crate) struct Found {
    tables: Vec<TableTakeover>,
    /// Where the job goes on: what all its tables have read.
    offsets: BTreeMap<Place, i64>,
    epoch: u64,
    given: Given,
}

/// Final rows that are in the result topics already, of batches Spark did not tell of.
#[derive(Default)]
pub(crate) struct Given(HashMap<String, HashSet<Box<[u8]>>>);

impl Given {
    /// Whether this row is there; it is asked once for each row.
    pub(crate) fn has(&mut self, table: &str, row: &[u8]) -> bool {
        let Some(rows) = self.0.get_mut(table) else { return false };
        let had = rows.remove(row);
        if rows.is_empty() {
            self.0.remove(table);
        }
        had
    }

    /// There is no such row, or none any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the topics of these tables hold that was written after their last told batch had ended.
    fn read(settings: &JobRunSettings, rows: &BTreeMap<String, TableProgress>, job: &Job) -> Result<Self, KafkaError> {
        let ended = |row: &TableProgress| row.time.0 + i64::try_from(row.epoch_micros).unwrap_or(0);
        let keyed = job.results().filter(|contract| !contract.key.is_empty());
        let since: BTreeMap<&str, i64> = keyed
            .filter_map(|contract| rows.get(&contract.name))
            .filter(|row| row.output_mode.as_deref() == Some("append"))
            .map(|row| (row.table.as_str(), ended(row) - CLOCKS_APART_MAX_MICROS))
            .collect();
        let topics: Vec<&str> = since.keys().copied().collect();
        let mut given = Given::default();
        if topics.is_empty() {
            return Ok(given);
        }
        settings.runtime.block_on(scan(&settings.kafka, &topics, |record| {
            if let Some(row) = record.value.filter(|_| record.time.is_some_and(|time| time.0 >= since[record.topic])) {
                given.0.entry(record.topic.to_owned()).or_default().insert(row.into());
            }
        }))?;
        Ok(given)
    }
}

/// The last progress rows of these tables, by table.
///
/// # Errors
/// Kafka.
pub(crate) fn last_rows(
    kafka: &ClientSettings,
    runtime: &tokio::runtime::Handle,
    tables: &[String],
) -> Result<BTreeMap<String, TableProgress>, KafkaError> {
    let mut rows = BTreeMap::new();
    runtime.block_on(scan(kafka, &["job_progress"], |record| {
        let row = record.value.and_then(|value| serde_json::from_slice::<TableProgress>(value).ok());
        if let Some(row) = row.filter(|row| tables.contains(&row.table)) {
            rows.insert(row.table.clone(), row);
        }
    }))?;
    Ok(rows)
}

/// What Spark has left of a job, if it was Spark that ran it.
///
/// # Errors
/// Kafka; `Refused` while Spark may still run it.
pub(crate) fn find(settings: &JobRunSettings, input: &Input, job: &Job) -> Result<Option<Found>, JobError> {
    let names: Vec<String> = job.results().map(|contract| contract.name.clone()).collect();
    let rows = last_rows(&settings.kafka, &settings.runtime, &names)?;
    if rows.is_empty() || rows.values().any(|row| row.backend != "spark") {
        return Ok(None);
    }
    let session = settings.spark_sessions.join(format!("{}.json", job.name()));
    if session.exists() {
        return Err(JobError::Refused(format!(
            "Spark was not told to stop this job and may still run it: start it with backend = \"spark\" once more and \
             stop it with Ctrl-C, or remove {} when nothing of it runs on Spark",
            session.display()
        )));
    }
    let mut offsets: BTreeMap<Place, i64> = BTreeMap::new();
    for source in rows.values().flat_map(|row| &row.sources) {
        let next = offsets.entry((source.topic.clone(), source.partition)).or_insert(source.offset);
        *next = (*next).min(source.offset);
    }
    let tables = rows.values().map(|row| TableTakeover {
        table: row.table.clone(),
        watermark: row.watermark.map_or(i64::MIN, |watermark| watermark.0),
        rows_out: row.rows_out,
        offsets: row.sources.iter().map(|at| ((input.source(&at.topic).to_owned(), at.partition), at.offset)).collect(),
    });
    let tables = tables.collect();
    let epoch = rows.values().map(|row| row.epoch).max().unwrap_or(0);
    let given = Given::read(settings, &rows, job)?;
    Ok(Some(Found { tables, offsets, epoch, given }))
}

/// Reads again what Spark has read, and goes on from there: the offsets to start at, and the rows that are there already.
///
/// # Errors
/// Kafka and the engine; `Refused` when records are gone that a table without windows needs.
pub(crate) fn take_over(
    found: Found,
    input: &mut Input,
    job: &mut Job,
) -> Result<(BTreeMap<Place, i64>, Given), JobError> {
    let places: Vec<Place> = input.places()?;
    let earliest = input.offsets(&places, Offset::Beginning)?;
    let first = |place: &Place| earliest.get(place).copied().unwrap_or(0);
    let next = |place: &Place| found.offsets.get(place).copied().unwrap_or(0).max(first(place));
    if job.needs_every_record()
        && let Some(place) = places.iter().find(|place| first(place) > 0)
    {
        return Err(JobError::Refused(format!(
            "a table without windows counts all records there ever were, and the first {} of {} partition {} are gone; \
             leave this job on Spark, or put its tables with windows into a file of their own",
            first(place),
            place.0,
            place.1
        )));
    }
    let starts: BTreeMap<Place, i64> =
        places.iter().filter(|place| first(place) < next(place)).map(|place| (place.clone(), first(place))).collect();
    let ends: BTreeMap<Place, i64> = starts.keys().map(|place| (place.clone(), next(place))).collect();
    let total: i64 = starts.iter().map(|(place, start)| ends[place] - start).sum();
    tracing::info!(job = job.name(), records = total, "taking over from Spark: reading its records again");
    if !starts.is_empty() {
        input.assign(starts)?;
        while input.positions().iter().any(|(place, position)| ends.get(place).is_some_and(|end| position < end)) {
            let mut messages = input.take_any(STEP)?;
            messages.retain(|message| {
                let place = (message.topic().to_owned(), message.partition());
                ends.get(&place).is_some_and(|end| message.offset() < *end)
            });
            messages
                .sort_by(|a, b| (a.topic(), a.partition(), a.offset()).cmp(&(b.topic(), b.partition(), b.offset())));
            if !messages.is_empty() {
                job.rehearse(&batches(input, &messages), &found.tables)?;
            }
        }
    }
    job.take_over(&found.tables, found.epoch)?;
    Ok((places.iter().map(|place| (place.clone(), next(place))).collect(), found.given))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_there_is_left_out_once() {
        let rows = HashSet::from([Box::from(&br#"{"signal":"s","payments":3}"#[..])]);
        let mut given = Given(HashMap::from([("signals".to_owned(), rows)]));
        let row = br#"{"signal":"s","payments":3}"#;
        assert!(!given.has("signals", br#"{"signal":"s","payments":5}"#) && !given.has("sessions", row));
        assert!(given.has("signals", row));
        assert!(given.is_empty() && !given.has("signals", row));
    }
}
