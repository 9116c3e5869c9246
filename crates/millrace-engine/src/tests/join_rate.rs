//! How many records a CPU-second goes through an interval join: NDJSON in, NDJSON out, one thread.
//!
//! `cargo test --release -p millrace-engine --lib -- --ignored --nocapture join_rate`

use millrace_model::{Contracts, Timestamp};

use super::NoStatics;
use crate::job::{Advance, SourceBatch, SourceRecord};
use crate::{Job, JobSettings, PipelineFile, plan_pipelines};

const CLICKS: usize = 1_000_000;
const ORDERS: usize = 200_000;
const USERS: u64 = 50_000;
const EPOCHS: usize = 40;

const PIPELINE: &str = "
CREATE TABLE clicks (event_time TIMESTAMP, click_id STRING, user_id STRING, product_id STRING, page STRING)
USING kafka OPTIONS ('topic' = 'clicks');
CREATE TABLE orders (event_time TIMESTAMP, order_id STRING, user_id STRING, product_id STRING, amount BIGINT)
USING kafka OPTIONS ('topic' = 'orders');
CREATE STREAMING TABLE bought TBLPROPERTIES ('output_mode' = 'append') AS
SELECT c.click_id, o.order_id, c.user_id, c.event_time AS clicked, o.event_time AS ordered, o.amount
FROM STREAM clicks WATERMARK event_time DELAY OF INTERVAL 10 SECONDS AS c
JOIN STREAM orders WATERMARK event_time DELAY OF INTERVAL 10 SECONDS AS o
  ON c.user_id = o.user_id AND c.product_id = o.product_id
 AND o.event_time BETWEEN c.event_time AND c.event_time + INTERVAL 10 MINUTES;";

/// Nanoseconds this thread has run.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
#[ignore = "measures for some seconds"]
fn join_rate() {
    let start = 1_767_261_600_000_000_i64;
    let mut seed = 1_u64;
    let mut next = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    // An hour of both streams.
    let mut records = |count: usize, order: bool| -> Vec<String> {
        let text = |at: usize| {
            let time = Timestamp(start + (at as i64) * 3_600_000_000 / count as i64);
            let (user, product) = (next(USERS), next(10));
            match order {
                true => format!(
                    r#"{{"event_time":"{time}","order_id":"o{at}","user_id":"u{user}","product_id":"p{product}","amount":{at}}}"#
                ),
                false => format!(
                    r#"{{"event_time":"{time}","click_id":"c{at}","user_id":"u{user}","product_id":"p{product}","page":"/products/{product}","note":"not read"}}"#
                ),
            }
        };
        (0..count).map(text).collect()
    };
    let streams = [("clicks", records(CLICKS, false)), ("orders", records(ORDERS, true))];
    let file = PipelineFile { path: "rate.sql".into(), text: PIPELINE.into() };
    let (mut plans, _) =
        plan_pipelines(&[file], &Contracts::builtin(), &NoStatics).unwrap_or_else(|e| panic!("{}", e[0]));
    println!("{}", plans[0].tables[0].explanation.join("\n"));
    let mut job = Job::new(plans.remove(0), JobSettings::default()).expect("a job");
    let (mut rows, mut most_rows, mut most_bytes) = (0, 0, 0);
    let before = cpu_nanos();
    for epoch in 0..EPOCHS {
        let batch = |(source, texts): &(&'static str, Vec<String>)| -> (&'static str, std::ops::Range<usize>) {
            (source, texts.len() * epoch / EPOCHS..texts.len() * (epoch + 1) / EPOCHS)
        };
        let input: Vec<SourceBatch<'_>> = streams
            .iter()
            .map(|stream| {
                let (source, range) = batch(stream);
                let record = |at: usize| SourceRecord {
                    partition: 0,
                    offset: at as i64,
                    time: None,
                    value: Some(stream.1[at].as_bytes()),
                };
                SourceBatch::new(source, range.map(record).collect())
            })
            .collect();
        let output = job.run(&input, &Advance::Live { idle: Default::default(), ended: Default::default() });
        rows += output.expect("rows").rows.iter().map(|table| table.rows.iter().len()).sum::<usize>();
        let progress = job.progress("embedded", Timestamp(0));
        most_rows = most_rows.max(progress[0].state_groups);
        most_bytes = most_bytes.max(progress[0].state_bytes);
    }
    let seconds = (cpu_nanos() - before) as f64 / 1e9;
    let rate = (CLICKS + ORDERS) as f64 / seconds;
    println!("{seconds:.2} CPU-seconds, {rate:.0} records a CPU-second, {rows} pairs");
    println!("at most {most_rows} rows in {} MB of state", most_bytes >> 20);
    assert!(rows > 0);
}
