//! The stream's final answer is that of the same SQL as one batch query over the whole input.
//!
//! Records come disordered within the watermark's delay, over 1 to 4 partitions, in epochs of any size, some of them empty;
//! between epochs the job is sometimes saved and loaded. Every case prints its seed when it fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use millrace_model::{Contracts, Timestamp};

use super::NoStatics;
use crate::batch::BatchSession;
use crate::job::{Advance, DecodedRecords, DecodedSpan, SourceBatch, SourceRecord, TopicDecoder};
use crate::plan::SourcePlan;
use crate::{Job, JobPlan, JobSettings, PipelineFile, plan_pipelines};

const SECOND: i64 = 1_000_000;
/// 2026-01-01T10:00:00Z
const START: i64 = 1_767_261_600 * SECOND;
const DELAY: i64 = 60 * SECOND;

/// Queries in append mode; `{c}` and `{o}` stand for the streams.
const QUERIES: [&str; 16] = [
    "SELECT c.id AS a, o.id AS b FROM {c} AS c JOIN {o} AS o ON c.k = o.k AND o.event_time BETWEEN c.event_time AND \
     c.event_time + INTERVAL 2 MINUTES",
    "SELECT c.id AS a, o.id AS b FROM {c} AS c LEFT JOIN {o} AS o ON c.k = o.k AND o.event_time BETWEEN c.event_time AND \
     c.event_time + INTERVAL 2 MINUTES AND o.n > c.n",
    "SELECT c.id AS a, o.id AS b FROM {c} AS c LEFT JOIN {o} AS o ON c.k = o.k AND c.n < 5 AND o.n < 7 AND o.event_time \
     BETWEEN c.event_time - INTERVAL 30 SECONDS AND c.event_time + INTERVAL 20 SECONDS WHERE c.n <> 2",
    "SELECT c.id AS a, o.id AS b FROM {c} AS c RIGHT JOIN {o} AS o ON c.k = o.k AND c.n > 2 AND o.event_time > c.event_time \
     - INTERVAL 40 SECONDS AND o.event_time < c.event_time + INTERVAL 1 MINUTE",
    "SELECT c.id AS a, o.id AS b FROM {c} AS c FULL OUTER JOIN {o} AS o ON c.k = o.k AND c.n = o.n AND o.event_time BETWEEN \
     c.event_time - INTERVAL 3 MINUTES AND c.event_time - INTERVAL 1 SECOND",
    "SELECT c.id AS a FROM {c} AS c LEFT SEMI JOIN {o} AS o ON c.k = o.k AND o.n < 8 AND o.n <> c.n AND o.event_time BETWEEN \
     c.event_time AND c.event_time + INTERVAL 1 MINUTE",
    "SELECT c.id AS a FROM {c} AS c LEFT JOIN {o} AS o ON c.k = o.k AND o.event_time BETWEEN c.event_time AND c.event_time + \
     INTERVAL 1 MINUTE WHERE o.id IS NULL",
    "SELECT a.id AS a, b.id AS b FROM {c} AS a JOIN {c} AS b ON a.k = b.k AND b.event_time > a.event_time AND b.event_time \
     <= a.event_time + INTERVAL 15 SECONDS",
    "SELECT w.start AS s, count(*) AS n, sum(c_n) AS t FROM (SELECT window(c.event_time, '1 minute') AS w, c.n AS c_n FROM {c} \
     AS c LEFT JOIN {o} AS o ON c.k = o.k AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 2 MINUTES) \
     GROUP BY w",
    "SELECT window.start AS s, count(*) AS n, count(o.id) AS m FROM {c} AS c LEFT JOIN {o} AS o ON \
     c.k = o.k AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 2 MINUTES GROUP BY window(c.event_time, \
     '1 minute')",
    "SELECT window.start AS s, o.k AS k, count(*) AS n FROM {c} AS c JOIN {o} AS o ON c.k = o.k AND \
     o.event_time BETWEEN c.event_time - INTERVAL 50 SECONDS AND c.event_time + INTERVAL 2 MINUTES GROUP BY \
     window(o.event_time, '1 minute'), o.k",
    "SELECT x.w.start AS s, y.w.start AS u, x.m AS m, y.t AS t FROM (SELECT window(event_time, '30 seconds') AS w, k, count(*) \
     AS m FROM {c} GROUP BY window(event_time, '30 seconds'), k) x FULL OUTER JOIN (SELECT window(event_time, '30 seconds') AS \
     w, k, sum(n) AS t FROM {o} GROUP BY window(event_time, '30 seconds'), k) y ON x.w = y.w AND x.k = y.k",
    "SELECT w2.start AS s, sum(m) AS t, max(m) AS p FROM (SELECT window(window_time(w), '2 minutes') AS w2, m FROM (SELECT \
     window(event_time, '20 seconds') AS w, k, count(*) AS m FROM {c} GROUP BY window(event_time, '20 seconds'), k)) GROUP BY \
     w2",
    "SELECT w.start AS s, count(*) AS users, sum(m) AS m FROM (SELECT window(event_time, '20 seconds') AS w, k, count(*) AS m \
     FROM {c} GROUP BY window(event_time, '20 seconds'), k) GROUP BY w",
    "SELECT DISTINCT k, event_time FROM {c}",
    "SELECT a.id AS a, o.id AS o, b.id AS b FROM {c} AS a JOIN {o} AS o ON a.k = o.k AND a.n = o.n AND o.event_time BETWEEN \
     a.event_time AND a.event_time + INTERVAL 1 MINUTE LEFT JOIN {c} AS b ON b.k = o.k AND b.n = o.n AND b.event_time \
     BETWEEN o.event_time - INTERVAL 20 SECONDS AND a.event_time + INTERVAL 3 MINUTES AND b.event_time < o.event_time + \
     INTERVAL 2 MINUTES",
];

/// A small linear congruential generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[derive(Clone)]
struct Row {
    time: i64,
    id: String,
    key: Option<String>,
    n: i64,
    partition: i32,
}

fn rows(dice: &mut Dice, stream: &str, count: usize, partitions: u64) -> Vec<Row> {
    let mut now = START;
    let mut rows = Vec::with_capacity(count);
    for at in 0..count {
        // Sometimes nothing comes for a while.
        now += if dice.below(60) == 0 { 150 * SECOND } else { dice.below(4) as i64 * SECOND };
        // Whole seconds, so that bounds are hit exactly.
        let time = now - dice.below(DELAY as u64 / SECOND as u64 + 1) as i64 * SECOND;
        let key = (dice.below(20) > 0).then(|| format!("k{}", dice.below(6)));
        let (n, partition) = (dice.below(10) as i64, dice.below(partitions) as i32);
        rows.push(Row { time, id: format!("{stream}{at}"), key, n, partition });
    }
    rows
}

fn json(row: &Row) -> String {
    let time = Timestamp(row.time);
    let key = row.key.as_ref().map_or("null".into(), |key| format!("\"{key}\""));
    format!(r#"{{"event_time":"{time}","id":"{}","k":{key},"n":{}}}"#, row.id, row.n)
}

fn at_rest(rows: &[Row]) -> RecordBatch {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.time)).with_timezone("+00:00");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.id))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.key.as_ref()))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.n))),
    ];
    let text = |name| Field::new(name, DataType::Utf8, true);
    let fields =
        vec![Field::new("event_time", time, true), text("id"), text("k"), Field::new("n", DataType::Int64, true)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length")
}

async fn batch_answer(query: &str, streams: &[Vec<Row>; 2]) -> Vec<String> {
    let session = BatchSession::new();
    for (name, rows) in ["c_rows", "o_rows"].into_iter().zip(streams) {
        let batch = at_rest(rows);
        session.register_rows(name, batch.schema(), vec![batch]).expect("a table");
    }
    let text = query.replace("{c}", "c_rows").replace("{o}", "o_rows");
    let answer = session.query(&text).await.unwrap_or_else(|error| panic!("{}", error.with_excerpt(&text)));
    let encoded = answer.batches.iter().map(|batch| millrace_codec::encode_rows(batch).expect("rows"));
    let texts = encoded.flat_map(|rows| rows.iter().map(text_of).collect::<Vec<_>>());
    texts.collect()
}

fn text_of(row: &[u8]) -> String {
    String::from_utf8_lossy(row).into_owned()
}

fn plan(query: &str) -> JobPlan {
    let watermarked = |stream: &str| format!("STREAM {stream} WATERMARK event_time DELAY OF INTERVAL 60 SECONDS");
    let query = query.replace("{c}", &watermarked("clicks")).replace("{o}", &watermarked("orders"));
    let columns = "(event_time TIMESTAMP, id STRING, k STRING, n BIGINT)";
    let sources =
        ["clicks", "orders"].map(|s| format!("CREATE TABLE {s} {columns} USING kafka OPTIONS ('topic' = '{s}');\n"));
    let text =
        format!("{}CREATE STREAMING TABLE t TBLPROPERTIES ('output_mode' = 'append') AS {query};", sources.concat());
    let file = PipelineFile { path: "oracle.sql".into(), text };
    let planned = plan_pipelines(std::slice::from_ref(&file), &Contracts::builtin(), &NoStatics);
    let (mut plans, _) = planned.unwrap_or_else(|errors| panic!("{}", errors[0].with_excerpt(&file.text)));
    plans.remove(0)
}

fn job(query: &str, partitions: u64) -> Job {
    let mut job = Job::new(plan(query), JobSettings::default()).expect("a job");
    for source in ["clicks", "orders"] {
        job.set_partitions(source, 0..partitions as i32);
    }
    job
}

/// Decodes every column of a source, as for several jobs.
fn decoders(query: &str) -> BTreeMap<String, TopicDecoder> {
    let decoder = |source: &SourcePlan| {
        let columns = source.contract.columns.iter().map(|column| column.name.clone()).collect();
        (source.contract.name.clone(), TopicDecoder::new(&source.contract, &columns, &JobSettings::default()))
    };
    plan(query).sources.iter().map(decoder).collect()
}

/// Decodes records of a batch before the job takes them: a few at a time, one partition each.
fn decoded(records: &[SourceRecord<'_>], decoder: &mut TopicDecoder, dice: &mut Dice) -> Vec<(DecodedRecords, usize)> {
    let mut all = Vec::new();
    for of_partition in records.chunk_by(|a, b| a.partition == b.partition) {
        for some in of_partition.chunks(1 + dice.below(7) as usize) {
            all.push((decoder.decode(some.iter().map(|record| (record.value, record.time))), some.len()));
        }
    }
    all
}

/// Spans over all of it, some in two halves.
fn spans<'a>(decoded: &'a [(DecodedRecords, usize)], dice: &mut Dice) -> Vec<DecodedSpan<'a>> {
    let mut spans = Vec::new();
    for (records, count) in decoded {
        let half = dice.below(*count as u64) as usize;
        let halves = [(0, half), (half, count - half)].into_iter().filter(|(_, len)| *len > 0);
        spans.extend(halves.map(|(from, len)| DecodedSpan { records, from, len }));
    }
    spans
}

fn stream_answer(query: &str, streams: &[Vec<Row>; 2], partitions: u64, dice: &mut Dice) -> Vec<String> {
    let mut running = job(query, partitions);
    // Half of the runs take records that were decoded before, as jobs do that share a reader.
    let mut decoders = (dice.below(2) == 0).then(|| decoders(query));
    let texts = streams.each_ref().map(|rows| rows.iter().map(json).collect::<Vec<_>>());
    let (mut from, mut given) = ([0, 0], Vec::new());
    let most = [3, 12, 60][dice.below(3) as usize];
    let mut ends = 0;
    while ends < 2 {
        let (mut taken, mut kept) = (Vec::new(), Vec::new());
        for (stream, source) in ["clicks", "orders"].into_iter().enumerate() {
            let to = (from[stream] + dice.below(most + 1) as usize).min(streams[stream].len());
            let mut records: Vec<SourceRecord<'_>> = (from[stream]..to)
                .map(|at| SourceRecord {
                    partition: streams[stream][at].partition,
                    offset: at as i64,
                    time: None,
                    value: Some(texts[stream][at].as_bytes()),
                })
                .collect();
            records.sort_by_key(|record| record.partition);
            from[stream] = to;
            let decoder = decoders.as_mut().and_then(|decoders| decoders.get_mut(source));
            kept.push(decoder.map_or_else(Vec::new, |decoder| decoded(&records, decoder, dice)));
            taken.push((source, records));
        }
        let batches: Vec<SourceBatch<'_>> = taken
            .into_iter()
            .zip(&kept)
            .map(|((source, records), kept)| SourceBatch { source, records, decoded: spans(kept, dice) })
            .collect();
        let over = from[0] == streams[0].len() && from[1] == streams[1].len();
        let ended = if ends > 0 { ["clicks", "orders"].map(str::to_owned).into() } else { Default::default() };
        let output = running.run(&batches, &Advance::Live { idle: Default::default(), ended }).expect("rows");
        assert!(output.late.is_empty(), "nothing is late: {:?}", output.late);
        given.extend(output.rows.iter().flat_map(|rows| rows.rows.iter().map(text_of)));
        ends += usize::from(over);
        if dice.below(12) == 0 {
            let saved = running.save().expect("saved");
            running = job(query, partitions);
            running.load(saved).expect("loaded");
        }
    }
    let progress = running.progress("embedded", Timestamp(0));
    assert!(progress[0].counts.balances() && progress[0].counts.records_late == 0);
    assert_eq!(progress[0].state_groups, 0, "all is forgotten at the end");
    given
}

/// Seeds a query; `ORACLE_SEEDS` asks for more.
fn seeds() -> u64 {
    std::env::var("ORACLE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(4)
}

#[test]
fn joins_and_chains() {
    // Only for the batch queries: the engine itself runs on a thread without a runtime.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for (number, query) in QUERIES.iter().enumerate() {
        let mut compared = 0;
        for seed in 0..seeds() {
            let mut dice = Dice(seed * 1_000 + number as u64);
            let partitions = 1 + dice.below(4);
            let count = 30 + dice.below(150) as usize;
            let streams = [rows(&mut dice, "c", count, partitions), rows(&mut dice, "o", count, partitions)];
            let mut wanted = runtime.block_on(batch_answer(query, &streams));
            let mut found = stream_answer(query, &streams, partitions, &mut dice);
            compared += wanted.len();
            wanted.sort();
            found.sort();
            assert!(found == wanted, "query {number}, seed {seed}\n{query}\nfound {found:#?}\nwanted {wanted:#?}");
        }
        assert!(compared > 10, "query {number} finds next to nothing to compare: {compared} rows");
    }
}
