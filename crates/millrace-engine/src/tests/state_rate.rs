//! What state costs: bytes a (key, pane) pair, and the time to come back after a crash; and that a window of very many keys
//! comes in parts.
//!
//! `cargo test --release -p millrace-engine --lib -- --ignored --nocapture state_rate`

use std::time::Instant;

use cpu_time::ThreadTime;
use millrace_model::{Contracts, Timestamp};

use super::NoStatics;
use crate::job::{Advance, SourceBatch, SourceRecord};
use crate::state::{Claim, StateDir};
use crate::{Job, JobSettings, PipelineFile, plan_pipelines};

const SOURCE: &str = "CREATE TABLE s (event_time TIMESTAMP, k STRING, v BIGINT) USING kafka OPTIONS ('topic' = 's');\n";
const EPOCH_ROWS: usize = 50_000;

fn job(window: &str) -> Job {
    let table = format!(
        "CREATE STREAMING TABLE t TBLPROPERTIES ('output_mode' = 'append', 'key' = 'k, at') AS
         SELECT k, window.start AS at, count(*) AS n, sum(v) AS v
         FROM STREAM s WATERMARK event_time DELAY OF INTERVAL 0 SECONDS GROUP BY window(event_time, {window}), k;\n"
    );
    let file = PipelineFile { path: "t.sql".into(), text: format!("{SOURCE}{table}") };
    let planned = plan_pipelines(&[file], &Contracts::builtin(), &NoStatics);
    let (mut plans, _) = planned.unwrap_or_else(|errors| panic!("{}", errors[0]));
    let mut job = Job::new(plans.remove(0), JobSettings::default()).expect("a job");
    job.set_partitions("s", [0]);
    job
}

/// Pushes a row of each of these keys at a second of the first of January; gives the rows that came of it, and in how many
/// parts.
fn push(job: &mut Job, keys: std::ops::Range<usize>, second: i64) -> (u64, usize) {
    let start = 1_767_225_600_000_000_i64;
    let (mut rows, mut parts) = (0, 0);
    for from in keys.clone().step_by(EPOCH_ROWS) {
        let keys = from..(from + EPOCH_ROWS).min(keys.end);
        let time = Timestamp(start + second * 1_000_000);
        let text = |key: usize| format!(r#"{{"event_time":"{time}","k":"user_{key:07}","v":{key}}}"#);
        let texts: Vec<String> = keys.map(text).collect();
        let records =
            texts.iter().map(|text| SourceRecord { partition: 0, offset: 0, time: None, value: Some(text.as_bytes()) });
        let input = [SourceBatch::new("s", records.collect())];
        let advance = Advance::Live { idle: Default::default(), ended: Default::default() };
        let mut give = |given: crate::job::TableRows| {
            rows += given.rows.iter().len() as u64;
            parts += 1;
            Ok(())
        };
        job.run_giving(&input, &advance, &mut give).expect("the rows can be evaluated");
    }
    (rows, parts)
}

#[test]
fn a_window_of_very_many_keys_comes_in_parts() {
    const KEYS: usize = 150_000;
    for (window, windows) in [("'1 minute'", 1), ("'2 minutes', '1 minute'", 2)] {
        let mut job = job(window);
        push(&mut job, 0..KEYS, 1);
        // A window ends at 60 s; it holds all keys.
        let (rows, parts) = push(&mut job, KEYS / 2..KEYS, 61);
        assert_eq!(rows, KEYS as u64, "{window}");
        assert!(parts >= 3, "{window}: {rows} rows in {parts} parts");
        // The others end at 120 s and, if they slide, at 180 s: all keys again, then half of them.
        let (rows, _) = push(&mut job, 0..1, 3_600);
        let rest = if windows == 1 { KEYS / 2 } else { KEYS + KEYS / 2 };
        assert_eq!(rows, rest as u64, "{window}");
        assert_eq!(job.progress("", Timestamp(0))[0].state_groups, 1, "{window}");
    }
}

/// Resident memory, bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096
}

#[test]
#[ignore = "measures for some seconds"]
fn state_rate() {
    const KEYS: usize = 1_000_000;
    // What decoding and planning take is not state.
    for _ in 0..5 {
        push(&mut job("'1 hour'"), 0..EPOCH_ROWS, 1);
    }
    for (window, panes) in [("'1 hour'", 1), ("'5 minutes', '1 minute'", 5)] {
        let before = resident();
        let mut job = job(window);
        for pane in 0..panes {
            push(&mut job, 0..KEYS / panes as usize, pane * 60 + 1);
        }
        let progress = &job.progress("", Timestamp(0))[0];
        let pairs = progress.state_groups;
        println!(
            "window({window}): {pairs} (key, pane) pairs of count and sum, {} keys: {} MB of state, {} bytes a pair; \
             resident {} MB more",
            KEYS / panes as usize,
            progress.state_bytes / 1_000_000,
            progress.state_bytes / pairs,
            resident().saturating_sub(before) / 1_000_000,
        );
        recovery(&job, window, pairs);
    }
}

fn recovery(saved: &Job, window: &str, pairs: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut state = StateDir::open(Claim::take(folder.path(), "t").expect("the claim")).expect("the state folder");
    let (started, cpu) = (Instant::now(), ThreadTime::now());
    state.snapshot(saved).expect("a snapshot");
    let (stopped, cpu) = (started.elapsed(), cpu.elapsed());
    state.settle().expect("a snapshot");
    let durable = started.elapsed();
    drop(state);
    println!("  snapshot: the job stands still for {stopped:.2?} ({cpu:.2?} of CPU), durable after {durable:.2?}");
    let mut job = job(window);
    let (started, cpu) = (Instant::now(), ThreadTime::now());
    let state = StateDir::open(Claim::take(folder.path(), "t").expect("the claim")).expect("the state folder");
    state.load(&mut job, saved.epoch()).expect("a snapshot of ours");
    println!("  recovery: {pairs} pairs in {:.2?} ({:.2?} of CPU)", started.elapsed(), cpu.elapsed());
    assert_eq!(job.progress("", Timestamp(0))[0].state_groups, pairs);
}
