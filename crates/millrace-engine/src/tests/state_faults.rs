//! A snapshot that is damaged, of another version, or of a statement that was edited since: each is told apart, with words.

use std::fs;

use millrace_model::Contracts;

use super::NoStatics;
use crate::job::{Advance, SourceBatch, SourceRecord};
use crate::state::{Claim, StateDir};
use crate::{Job, JobSettings, PipelineFile, plan_pipelines};

const SOURCE: &str = "CREATE TABLE s (event_time TIMESTAMP, k STRING, v BIGINT) USING kafka OPTIONS ('topic' = 's');\n";
const BY_KEY: &str = "CREATE STREAMING TABLE t TBLPROPERTIES ('output_mode' = 'update', 'key' = 'k, at') AS
SELECT k, window.start AS at, count(*) AS n, sum(v) AS v FROM STREAM s WATERMARK event_time DELAY OF INTERVAL 10 SECONDS
GROUP BY window(event_time, '1 minute'), k;\n";

fn job(tables: &str) -> Job {
    let file = PipelineFile { path: "t.sql".into(), text: format!("{SOURCE}{tables}") };
    let planned = plan_pipelines(&[file], &Contracts::builtin(), &NoStatics);
    let (mut plans, _) = planned.unwrap_or_else(|errors| panic!("{}", errors[0]));
    let mut job = Job::new(plans.remove(0), JobSettings::default()).expect("a job");
    job.set_partitions("s", [0]);
    job
}

/// Runs an epoch over some keys; gives the rows.
fn epoch(job: &mut Job, keys: &[&str]) -> Vec<String> {
    let text = |k: &&str| format!(r#"{{"event_time":"2026-01-01T00:00:05Z","k":"{k}","v":7}}"#);
    let texts: Vec<String> = keys.iter().map(text).collect();
    let records = texts.iter().enumerate().map(|(at, text)| SourceRecord {
        partition: 0,
        offset: at as i64,
        time: None,
        value: Some(text.as_bytes()),
    });
    let input = [SourceBatch::new("s", records.collect())];
    let advance = Advance::Live { idle: Default::default(), ended: Default::default() };
    let output = job.run(&input, &advance).expect("the rows can be evaluated");
    output
        .rows
        .iter()
        .flat_map(|table| table.rows.iter())
        .map(|row| String::from_utf8_lossy(row).into_owned())
        .collect()
}

fn claim(folder: &tempfile::TempDir) -> Claim {
    Claim::take(folder.path(), "t").expect("the claim")
}

/// A folder with a snapshot of epoch 1.
fn saved() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut job = job(BY_KEY);
    epoch(&mut job, &["a", "b", "a"]);
    let mut state = StateDir::open(claim(&folder)).expect("the state folder");
    state.snapshot(&job).expect("a snapshot");
    state.settle().expect("a snapshot");
    folder
}

fn load(folder: &tempfile::TempDir, tables: &str) -> Result<Job, String> {
    let state = StateDir::open(claim(folder)).expect("the state folder");
    let mut job = job(tables);
    state.load(&mut job, 1).map(|()| job).map_err(|error| error.to_string())
}

#[test]
fn every_damaged_byte_is_noticed() {
    let folder = saved();
    let path = folder.path().join("t/snapshot-0000000000000001.mrs");
    let whole = fs::read(&path).expect("the snapshot");
    for at in (0..whole.len()).step_by(7) {
        for cut in [false, true] {
            let mut damaged = whole.clone();
            if cut {
                damaged.truncate(at);
            } else {
                damaged[at] ^= 0x10;
            }
            fs::write(&path, damaged).expect("writable");
            let state = StateDir::open(claim(&folder)).expect("the state folder");
            assert!(state.facts().snapshots.is_empty(), "byte {at}, cut {cut}: offered for recovery");
            drop(state);
            let said = load(&folder, BY_KEY).map(drop).expect_err("a damaged snapshot");
            let known = ["is damaged", "no snapshot", "version"].iter().any(|word| said.contains(word));
            assert!(known && said.contains("snapshot-"), "byte {at}, cut {cut}: {said}");
        }
    }
}

#[test]
fn another_version_is_named() {
    let folder = saved();
    let path = folder.path().join("t/snapshot-0000000000000001.mrs");
    let mut bytes = fs::read(&path).expect("the snapshot");
    bytes[6] = b'9';
    fs::write(&path, bytes).expect("writable");
    let said = load(&folder, BY_KEY).map(drop).expect_err("another version");
    assert!(said.contains("version 9 of the format, this Millrace reads version 1"), "{said}");
}

#[test]
fn an_edited_statement_is_refused_when_its_state_means_something_else() {
    let folder = saved();
    for (from, to, saved, now) in [
        ("'1 minute'", "'2 minutes'", "tumbling window of 60 s", "tumbling window of 120 s"),
        ("'1 minute'", "'1 minute', '30 seconds'", "tumbling window of 60 s", "window of 60 s sliding by 30 s"),
        ("sum(v)", "max(v)", "sum(v)", "max(v)"),
        ("sum(v)", "sum(v + 1)", "sum(v)", "sum(v + "),
        ("count(*)", "count(v)", "count(", "count(v)"),
    ] {
        assert!(BY_KEY.contains(from));
        let said = load(&folder, &BY_KEY.replace(from, to)).map(drop).expect_err(to);
        let (told_saved, told_now) = said.split_once("now:").unwrap_or_else(|| panic!("{to}: {said}"));
        assert!(told_saved.contains(saved) && told_now.contains(now), "{to}: {said}");
        assert!(said.contains("table t") && said.contains("the statement was edited"), "{to}: {said}");
    }
}

#[test]
fn other_edits_go_on_from_the_saved_state() {
    let folder = saved();
    let filtered = BY_KEY.replace("GROUP BY", "WHERE k <> 'b' GROUP BY").replace("sum(v) AS v", "sum(v) AS total");
    let renamed = BY_KEY.replace("FROM STREAM s", "FROM STREAM s AS other").replace("INTERVAL 10", "INTERVAL 20");
    let renamed = renamed.replace(
        "AS other WATERMARK event_time DELAY OF INTERVAL 20 SECONDS",
        "WATERMARK event_time DELAY OF INTERVAL 20 SECONDS AS other",
    );
    let added = format!("{BY_KEY}{}", BY_KEY.replace("TABLE t ", "TABLE u "));
    for (edit, tables, expected) in [
        ("nothing", BY_KEY.to_owned(), vec![("a", 3), ("b", 2)]),
        ("a filter and a name", filtered, vec![("a", 3)]),
        ("an alias and a delay", renamed, vec![("a", 3), ("b", 2)]),
        ("one more table", added, vec![("a", 1), ("a", 3), ("b", 1), ("b", 2)]),
    ] {
        let mut job = load(&folder, &tables).unwrap_or_else(|error| panic!("{edit}: {error}"));
        let mut rows: Vec<(String, i64)> = epoch(&mut job, &["a", "b"])
            .iter()
            .map(|row| serde_json::from_str::<serde_json::Value>(row).expect("JSON"))
            .map(|row| (row["k"].as_str().unwrap_or_default().to_owned(), row["n"].as_i64().unwrap_or_default()))
            .collect();
        rows.sort();
        let expected: Vec<(String, i64)> = expected.into_iter().map(|(k, n)| (k.to_owned(), n)).collect();
        assert_eq!(rows, expected, "{edit}");
    }
}
