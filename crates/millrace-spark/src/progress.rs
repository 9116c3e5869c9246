//! What Spark tells of a batch, in the product's terms.

use std::collections::BTreeMap;

use millrace_model::progress::{RecordCounts, SourceProgress, TableProgress, TakenOver};
use millrace_model::{ErrorKind, Timestamp};
use serde_json::Value;

use crate::error::SparkError;

/// One batch of a table's query.
#[derive(Clone, PartialEq, Debug)]
pub struct SparkProgress {
    /// Job.
    pub job: String,
    /// Streaming table.
    pub table: String,
    /// The run: another one after each start of the query.
    pub run_id: String,
    /// Number of the batch, from 0; the checkpoint continues it. A batch that was cut short comes again under its number.
    pub batch: u64,
    /// When the batch began.
    pub time: Timestamp,
    /// The query's watermark: the smallest over its sources.
    pub watermark: Option<Timestamp>,
    /// Positions after the batch, by source partition.
    pub positions: Vec<SparkPosition>,
    /// Records of the batch by topic.
    pub sources: BTreeMap<String, SparkSourceCounts>,
    /// Repeats dropped in the batch.
    pub records_duplicate: u64,
    /// Rows dropped in the batch because their window was final. Spark counts them after projecting and grouping, so this
    /// can be less than the number of late records.
    pub rows_late: u64,
    /// Result rows written by the batch; unknown to some sinks.
    pub rows_out: Option<u64>,
    /// Rows in the state.
    pub state_rows: u64,
    /// Memory of the state, bytes.
    pub state_bytes: u64,
    /// Duration of the whole batch, microseconds.
    pub batch_micros: u64,
    /// Its phases, milliseconds: `addBatch`, `walCommit` …
    pub phases_ms: BTreeMap<String, u64>,
}

/// A source partition after a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SparkPosition {
    /// Topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Next offset to read.
    pub offset: i64,
    /// End of the partition when the batch began.
    pub end_offset: Option<i64>,
}

/// Records of one source in one batch.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct SparkSourceCounts {
    /// Records read.
    pub records_in: u64,
    /// Of those, records that break the contract.
    pub records_malformed: u64,
    /// Records that came a second of the time since the batch before began; 0 in the first batch of a run.
    pub input_rate: f64,
    /// Records that were worked on a second of the batch's time.
    pub processed_rate: f64,
}

impl SparkProgress {
    /// Reads Spark's JSON. `observed` names the source of each topic.
    ///
    /// # Errors
    /// `Internal` when it is not what Spark 4.2 writes.
    pub(crate) fn parse(
        job: &str,
        table: &str,
        topics: &BTreeMap<String, String>,
        text: &str,
    ) -> Result<Self, SparkError> {
        let wrong = |what: &str| SparkError::new(ErrorKind::Internal, format!("Spark's progress has no {what}"));
        let json: Value = serde_json::from_str(text).map_err(|error| wrong(&format!("JSON: {error}")))?;
        let time = |value: &Value| value.as_str().and_then(|text| Timestamp::parse(text.as_bytes()));
        let mut progress = SparkProgress {
            job: job.to_owned(),
            table: table.to_owned(),
            run_id: json["runId"].as_str().ok_or_else(|| wrong("runId"))?.to_owned(),
            batch: json["batchId"].as_u64().ok_or_else(|| wrong("batchId"))?,
            time: time(&json["timestamp"]).ok_or_else(|| wrong("timestamp"))?,
            // Before the first event Spark says 1970.
            watermark: time(&json["eventTime"]["watermark"]).filter(|watermark| watermark.0 > 0),
            positions: Vec::new(),
            sources: BTreeMap::new(),
            records_duplicate: 0,
            rows_late: 0,
            rows_out: json["sink"]["numOutputRows"].as_u64(),
            state_rows: 0,
            state_bytes: 0,
            batch_micros: json["durationMs"]["triggerExecution"].as_u64().unwrap_or(0) * 1_000,
            phases_ms: phases(&json["durationMs"]),
        };
        for operator in json["stateOperators"].as_array().into_iter().flatten() {
            let number = |value: &Value| value.as_u64().unwrap_or(0);
            progress.state_rows += number(&operator["numRowsTotal"]);
            progress.state_bytes += number(&operator["memoryUsedBytes"]);
            progress.rows_late += number(&operator["numRowsDroppedByWatermark"]);
            progress.records_duplicate += number(&operator["customMetrics"]["numDroppedDuplicateRows"]);
        }
        for source in json["sources"].as_array().into_iter().flatten() {
            progress.add_source(source);
        }
        for (topic, counts) in &mut progress.sources {
            let Some(source) = topics.get(topic) else { continue };
            counts.records_malformed = malformed(&json["observedMetrics"][source.as_str()]).min(counts.records_in);
        }
        Ok(progress)
    }

    /// A topic that the statement reads twice is told of twice; its records count once.
    fn add_source(&mut self, source: &Value) {
        let ends = offsets(&source["latestOffset"]);
        let records = source["numInputRows"].as_u64().unwrap_or(0);
        let rate = |name: &str| source[name].as_f64().unwrap_or(0.0);
        for ((topic, partition), offset) in offsets(&source["endOffset"]) {
            let counts = self.sources.entry(topic.clone()).or_default();
            counts.records_in = counts.records_in.max(records);
            counts.input_rate = counts.input_rate.max(rate("inputRowsPerSecond"));
            counts.processed_rate = counts.processed_rate.max(rate("processedRowsPerSecond"));
            let end_offset = ends.get(&(topic.clone(), partition)).copied();
            let known = self.positions.iter_mut().find(|known| known.topic == topic && known.partition == partition);
            match known {
                // What both readings have passed.
                Some(known) => known.offset = known.offset.min(offset),
                None => self.positions.push(SparkPosition { topic, partition, offset, end_offset }),
            }
        }
    }

    /// Records that came a second, of all sources.
    pub fn input_rate(&self) -> f64 {
        self.sources.values().map(|source| source.input_rate).sum()
    }

    /// Records that were worked on a second, of all sources.
    pub fn processed_rate(&self) -> f64 {
        self.sources.values().map(|source| source.processed_rate).sum()
    }

    /// Where the records of this batch went, as far as Spark tells: late rows stand for late records.
    pub fn counts(&self) -> RecordCounts {
        let records_in: u64 = self.sources.values().map(|source| source.records_in).sum();
        let records_malformed: u64 = self.sources.values().map(|source| source.records_malformed).sum();
        let records_duplicate = self.records_duplicate.min(records_in - records_malformed);
        let records_late = self.rows_late.min(records_in - records_malformed - records_duplicate);
        RecordCounts {
            records_in,
            records_counted: records_in - records_malformed - records_duplicate - records_late,
            records_late,
            records_malformed,
            records_duplicate,
        }
    }

    /// A row of `job_progress`. `before` is the table's last row of that kind, which the counts continue; a batch that it
    /// already tells of is not counted again.
    ///
    /// `taken_over` says where another backend stood: epochs count on from its last.
    pub fn table_progress(
        &self,
        output_mode: &str,
        before: Option<&TableProgress>,
        taken_over: Option<&TakenOver>,
    ) -> TableProgress {
        let epoch = taken_over.map_or(0, |taken_over| taken_over.epoch) + self.batch + 1;
        let told = before.is_some_and(|before| before.epoch >= epoch);
        let mut counts = before.map(|before| before.counts).unwrap_or_default();
        let mut rows_out = before.map_or(0, |before| before.rows_out);
        if !told {
            counts.add(&self.counts());
            rows_out += self.rows_out.unwrap_or(0);
        }
        let source = |position: &SparkPosition| SourceProgress {
            topic: position.topic.clone(),
            partition: position.partition,
            offset: position.offset,
            end_offset: position.end_offset,
            // Spark counts by source, not by partition.
            counts: RecordCounts::default(),
        };
        TableProgress {
            table: self.table.clone(),
            job: self.job.clone(),
            backend: "spark".into(),
            epoch: before.map_or(epoch, |before| before.epoch.max(epoch)),
            time: self.time,
            watermark: self.watermark,
            output_mode: Some(output_mode.to_owned()),
            counts,
            rows_out,
            state_groups: self.state_rows,
            state_bytes: self.state_bytes,
            epoch_micros: self.batch_micros,
            phases_ms: self.phases_ms.clone(),
            sources: self.positions.iter().map(source).collect(),
            taken_over: taken_over.cloned(),
            trouble: None,
        }
    }
}

fn phases(durations: &Value) -> BTreeMap<String, u64> {
    let phases = durations.as_object().into_iter().flatten();
    phases.filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect()
}

/// `{"topic":{"0":12,"1":7}}`, as an object or as its text.
fn offsets(value: &Value) -> BTreeMap<(String, i32), i64> {
    let parsed;
    let value = match value {
        Value::String(text) => {
            parsed = serde_json::from_str(text).unwrap_or_default();
            &parsed
        }
        other => other,
    };
    let topics = value.as_object().into_iter().flatten();
    let partitions = topics.flat_map(|(topic, partitions)| {
        let partitions = partitions.as_object().into_iter().flatten();
        partitions
            .filter_map(move |(partition, offset)| Some(((topic.clone(), partition.parse().ok()?), offset.as_i64()?)))
    });
    partitions.collect()
}

/// The observed count, which Spark writes by name or in order.
fn malformed(observed: &Value) -> u64 {
    let row = observed.get("values").unwrap_or(observed);
    row["malformed"].as_u64().or_else(|| row[1].as_u64()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Spark 4.2 writes it over Connect, shortened. The topic is read twice.
    const PROGRESS: &str = r#"{
      "id": "c4", "runId": "d2", "name": "millrace-shop-orders", "timestamp": "2026-11-22T23:55:53.000Z", "batchId": 11,
      "durationMs": {"triggerExecution": 872, "addBatch": 734},
      "eventTime": {"watermark": "2026-11-22T23:55:41.579Z"},
      "stateOperators": [
        {"operatorName": "stateStoreSave", "numRowsTotal": 3, "memoryUsedBytes": 100, "numRowsDroppedByWatermark": 2},
        {"operatorName": "dedupeWithinWatermark", "numRowsTotal": 50, "memoryUsedBytes": 200,
         "numRowsDroppedByWatermark": 0, "customMetrics": {"numDroppedDuplicateRows": 4}}],
      "sources": [
        {"endOffset": {"clicks": {"0": 40, "1": 60}}, "latestOffset": {"clicks": {"0": 41, "1": 60}}, "numInputRows": 20},
        {"endOffset": "{\"clicks\":{\"0\":39,\"1\":60}}", "latestOffset": null, "numInputRows": 20}],
      "sink": {"numOutputRows": 7},
      "observedMetrics": {"clicks_view": {"records": 20, "malformed": 5}}}"#;

    fn progress() -> SparkProgress {
        let topics = BTreeMap::from([("clicks".to_owned(), "clicks_view".to_owned())]);
        SparkProgress::parse("shop", "orders", &topics, PROGRESS).expect("Spark's progress")
    }

    #[test]
    fn is_read() {
        let progress = progress();
        let position =
            |partition, offset, end_offset| SparkPosition { topic: "clicks".into(), partition, offset, end_offset };
        assert_eq!(progress.positions, [position(0, 39, Some(41)), position(1, 60, Some(60))]);
        assert_eq!((progress.batch, progress.rows_out, progress.state_rows), (11, Some(7), 53));
        assert_eq!((progress.state_bytes, progress.batch_micros, progress.phases_ms["addBatch"]), (300, 872_000, 734));
        assert_eq!(progress.watermark, Timestamp::parse(b"2026-11-22T23:55:41.579Z"));
        let counts = progress.counts();
        assert!(counts.balances());
        assert_eq!((counts.records_in, counts.records_malformed), (20, 5));
        assert_eq!((counts.records_duplicate, counts.records_late, counts.records_counted), (4, 2, 9));
    }

    /// Two batches of a shipped table, as Spark 4.2.0 wrote them: everything there was, then what the watermark closes.
    const TOLD: &str = include_str!("../tests/data/progress.json");

    #[test]
    fn what_spark_told_is_read() {
        let told: Vec<Value> = serde_json::from_str(TOLD).expect("JSON");
        let topics = BTreeMap::from([("transactions".to_owned(), "transactions".to_owned())]);
        let read = |text: &Value| SparkProgress::parse("fraud", "fraud_refund_abuse", &topics, &text.to_string());
        let [first, second] = [&told[0], &told[1]].map(|text| read(text).expect("Spark's progress"));
        assert_eq!((first.batch, second.batch, first.run_id == second.run_id), (0, 1, true));

        let positions = [(0, 1125), (1, 1149), (2, 1086), (3, 1258)].map(|(partition, offset)| SparkPosition {
            topic: "transactions".into(),
            partition,
            offset,
            end_offset: Some(offset),
        });
        assert_eq!((&first.positions[..], &second.positions[..]), (&positions[..], &positions[..]));
        let counts = first.counts();
        assert!(counts.balances());
        assert_eq!((counts.records_in, counts.records_malformed, counts.records_duplicate), (4_618, 10, 20));
        assert_eq!((counts.records_late, counts.records_counted, first.rows_out), (0, 4_588, Some(15)));
        assert_eq!((first.state_rows, first.state_bytes), (268 + 4_588, 9_224 + 15_928));
        assert_eq!((first.batch_micros, first.phases_ms["addBatch"]), (86_432_000, 75_160));
        assert_eq!(first.input_rate(), 0.0);
        assert!((first.processed_rate() - 53.428_667).abs() < 1e-6);
        assert_eq!(first.watermark, None, "1970 is none");
        assert_eq!(second.watermark, Timestamp::parse(b"2026-11-23T01:03:50Z"));
        assert_eq!(second.counts(), RecordCounts::default());
    }

    #[test]
    fn counts_go_on_and_a_batch_told_twice_counts_once() {
        let progress = progress();
        let first = progress.table_progress("update", None, None);
        assert_eq!((first.epoch, first.counts.records_in, first.rows_out), (12, 20, 7));
        let again = progress.table_progress("update", Some(&first), None);
        assert_eq!(again, first);
        let next = SparkProgress { batch: 12, ..progress }.table_progress("update", Some(&again), None);
        assert_eq!((next.epoch, next.counts.records_in, next.rows_out), (13, 40, 14));
        assert!(next.counts.balances());
    }

    #[test]
    fn something_else_is_refused() {
        let error = SparkProgress::parse("shop", "orders", &BTreeMap::new(), "{}").expect_err("no progress");
        assert_eq!(error.kind, ErrorKind::Internal);
    }
}
