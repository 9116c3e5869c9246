//! Runs scenario files: tables in, tables out, and `crash` is a line.
//!
//! Each file of `tests/scenarios/` runs four ways, and must give the same: straight; crashed and restored where it says
//! `crash`; crashed after every single epoch; and taken over after every epoch by a job that knows no more than another
//! backend would tell. A crash keeps what a real one would: the snapshot of some epoch before, and the log of the epochs
//! since, which are replayed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use millrace_model::{ColumnType, Contract, Contracts, Timestamp};
use serde_json::{Map, Value};

use super::RowsAsStatics;
use crate::job::{Advance, EpochOutput, SourceBatch, SourceRecord, TableTakeover};
use crate::state::{Claim, EpochEntry, StateDir};
use crate::{Job, JobSettings, PipelineFile, plan_pipelines};

const DAY: &str = "2026-01-01T";

/// A scenario file, parsed.
pub(super) struct Scenario {
    sql: String,
    statics: RowsAsStatics,
    pub(super) steps: Vec<Step>,
    /// Expected rows by table, `late` and `malformed` among them.
    expected: Vec<(String, Vec<String>, Vec<Vec<String>>)>,
}

pub(super) enum Step {
    /// Rows of a source, as JSON texts.
    Rows(String, Vec<String>),
    Epoch,
    Crash,
    Idle(String),
    End,
}

pub(super) fn parse(text: &str) -> Scenario {
    let (sql, statics) = (String::new(), RowsAsStatics::default());
    let mut scenario = Scenario { sql, statics, steps: Vec::new(), expected: Vec::new() };
    let mut lines = text.lines().filter(|line| !line.starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (None, _) => {}
            (Some("sql"), _) => {
                let starts = |line: &&str| ["in ", "out ", "static "].iter().any(|word| line.starts_with(word));
                while let Some(sql) = lines.next_if(|line| !starts(line)) {
                    let _ = writeln!(scenario.sql, "{sql}");
                }
            }
            (Some("pipeline"), Some(file)) => scenario.sql = statements(file, &words.collect::<Vec<_>>()),
            (Some("static"), Some(name)) => {
                let rows = table(&mut lines);
                scenario.statics.0.insert(name.to_owned(), rows);
            }
            (Some("in"), Some(source)) => {
                let (columns, rows) = table(&mut lines);
                let rows = rows.iter().map(|row| format!("{}\u{0}{}", columns.join("|"), row.join("|")));
                scenario.steps.push(Step::Rows(source.to_owned(), rows.collect()));
            }
            (Some("raw"), Some(source)) => {
                let mut rows = Vec::new();
                while let Some(row) = lines.next_if(|line| !line.trim().is_empty()) {
                    rows.push(row.to_owned());
                }
                scenario.steps.push(Step::Rows(source.to_owned(), rows));
            }
            (Some("epoch"), _) => scenario.steps.push(Step::Epoch),
            (Some("crash"), _) => scenario.steps.push(Step::Crash),
            (Some("idle"), Some(source)) => scenario.steps.push(Step::Idle(source.to_owned())),
            (Some("end"), _) => scenario.steps.push(Step::End),
            (Some("out"), Some(name)) => {
                let (columns, rows) = table(&mut lines);
                scenario.expected.push((name.to_owned(), columns, rows));
            }
            (Some(other), _) => panic!("a scenario has no `{other}`"),
        }
    }
    scenario
}

/// The views of a file that ships, and these of its tables.
fn statements(file: &str, tables: &[&str]) -> String {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/{}"), file);
    let text = std::fs::read_to_string(path).expect("a pipeline");
    let table = |statement: &str| {
        let head = statement.lines().find_map(|line| line.strip_prefix("CREATE STREAMING TABLE "));
        head.map(|name| name.trim().to_owned())
    };
    let all: Vec<&str> = text.split_inclusive(";\n").collect();
    for wanted in tables {
        assert!(all.iter().any(|statement| table(statement).as_deref() == Some(wanted)), "{file} has no {wanted}");
    }
    all.into_iter().filter(|statement| table(statement).is_none_or(|name| tables.contains(&name.as_str()))).collect()
}

type Cells = Vec<String>;

fn table<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> (Cells, Vec<Cells>) {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Cells>();
    let columns = lines.next().map(cells).expect("a line with the names of the columns");
    let mut rows = Vec::new();
    while let Some(row) = lines.next_if(|line| !line.trim().is_empty()) {
        rows.push(cells(row));
    }
    (columns, rows)
}

/// A row of an `in` table as the JSON text its contract asks for; a `raw` row as it stands.
pub(super) fn json(contract: &Contract, row: &str) -> String {
    let Some((columns, cells)) = row.split_once('\u{0}') else { return row.to_owned() };
    let mut fields = Map::new();
    for (column, cell) in columns.split('|').zip(cells.split('|')) {
        let found = contract.column(column).unwrap_or_else(|| panic!("{} has no column {column}", contract.name));
        let value = match (&found.column_type, cell) {
            (_, "null") => Value::Null,
            (ColumnType::Timestamp, time) => Value::String(format!("{DAY}{time}Z")),
            (ColumnType::Text, text) => Value::String(text.to_owned()),
            (_, other) => serde_json::from_str(other).unwrap_or_else(|_| panic!("{column}: {other}")),
        };
        fields.insert(column.to_owned(), value);
    }
    Value::Object(fields).to_string()
}

/// A cell of a result as the scenario writes it.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => match text.strip_prefix(DAY).and_then(|time| time.strip_suffix(".000000Z")) {
            Some(time) => time.to_owned(),
            None => text.clone(),
        },
        Value::Array(items) => format!("[{}]", items.iter().map(cell).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            format!(
                "{{{}}}",
                fields.iter().map(|(name, value)| format!("{name}:{}", cell(value))).collect::<Vec<_>>().join(",")
            )
        }
        other => other.to_string(),
    }
}

/// When to crash.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Crashes {
    Never,
    AsWritten,
    AfterEveryEpoch,
    /// Another job takes over after every epoch.
    Takeovers,
}

/// Offset, values and watermarks of an epoch that was run, for the replay.
struct Logged {
    entry: EpochEntry,
    batches: Vec<(String, i64, Vec<String>)>,
}

/// Rows by table, with their keys; a keyed table keeps the last row of a key.
type RowsOf = BTreeMap<String, Vec<(Option<String>, Map<String, Value>)>>;

struct Run<'a> {
    scenario: &'a Scenario,
    job: Job,
    folder: tempfile::TempDir,
    log: Vec<Logged>,
    snapshot: Option<u64>,
    offsets: BTreeMap<String, i64>,
    waiting: Vec<(String, Vec<String>)>,
    idle: Vec<String>,
    ended: bool,
    rows: RowsOf,
}

pub(super) fn job(scenario: &Scenario) -> Job {
    let file = PipelineFile { path: "scenario.sql".into(), text: scenario.sql.clone() };
    let planned = plan_pipelines(std::slice::from_ref(&file), &Contracts::builtin(), &scenario.statics);
    let (mut plans, _) = planned.unwrap_or_else(|errors| panic!("{}", errors[0].with_excerpt(&file.text)));
    let mut job = Job::new(plans.remove(0), JobSettings::default()).expect("a job");
    let sources: Vec<String> = job.sources().map(|(name, _)| name.to_owned()).collect();
    for source in sources {
        job.set_partitions(&source, [0]);
    }
    job
}

/// The contract of a source.
pub(super) fn contract(scenario: &Scenario, source: &str) -> Contract {
    let declared = crate::sql::parse("scenario.sql", &scenario.sql).expect("planned before");
    let declared = declared.sources.into_iter().map(|source| source.contract);
    let found = declared.chain(Contracts::builtin().iter().cloned()).find(|contract| contract.name == source);
    found.unwrap_or_else(|| panic!("no source {source}"))
}

impl Run<'_> {
    fn advance(&self) -> Advance {
        let sources: Vec<String> = self.job.sources().map(|(name, _)| name.to_owned()).collect();
        Advance::Live {
            idle: self.idle.iter().map(|source| (source.clone(), 0)).collect(),
            ended: if self.ended { sources.into_iter().collect() } else { Default::default() },
        }
    }

    fn epoch(&mut self) {
        let mut batches = Vec::new();
        for (source, rows) in std::mem::take(&mut self.waiting) {
            let offset = self.offsets.entry(source.clone()).or_default();
            let first = *offset;
            *offset += rows.len() as i64;
            batches.push((source, first, rows));
        }
        let advance = self.advance();
        let output = run(&mut self.job, &batches, &advance);
        let entry = EpochEntry { epoch: self.job.epoch(), ranges: Vec::new(), watermarks: self.job.watermarks() };
        for given in &output.rows {
            if self.job.sources().any(|(name, _)| name == given.table) {
                let rows = given.rows.iter().map(|row| String::from_utf8_lossy(row).into_owned());
                self.waiting.push((given.table.clone(), rows.collect()));
            }
        }
        self.keep(&batches, output);
        self.log.push(Logged { entry, batches });
    }

    fn keep(&mut self, batches: &[(String, i64, Vec<String>)], output: EpochOutput) {
        for given in output.rows {
            let kept = self.rows.entry(given.table.clone()).or_default();
            let keys: Vec<Option<String>> = match &given.keys {
                Some(keys) => keys.iter().map(|key| Some(String::from_utf8_lossy(key).into_owned())).collect(),
                None => vec![None; given.rows.iter().len()],
            };
            for (key, row) in keys.into_iter().zip(given.rows.iter()) {
                let row = serde_json::from_slice(row).expect("rows are JSON");
                match kept.iter_mut().find(|(known, _)| key.is_some() && *known == key) {
                    Some(found) => found.1 = row,
                    None => kept.push((key, row)),
                }
            }
        }
        let place = |batch: usize, record: usize| (batches[batch].0.clone(), batches[batch].1 + record as i64);
        for late in output.late {
            let (source, offset) = place(late.batch, late.record);
            let row = serde_json::json!({ "table": late.table, "source": source, "offset": offset });
            self.rows.entry("late".into()).or_default().push((None, row.as_object().cloned().unwrap_or_default()));
        }
        for found in output.malformed {
            let (source, offset) = place(found.batch, found.record);
            let row = serde_json::json!({ "code": found.malformed.code.name(), "source": source, "offset": offset });
            self.rows.entry("malformed".into()).or_default().push((None, row.as_object().cloned().unwrap_or_default()));
        }
    }

    /// Memory is lost. What is on disk comes back, and the epochs since are run again without output.
    fn crash(&mut self) {
        self.job = job(self.scenario);
        let state =
            StateDir::open(Claim::take(self.folder.path(), "scenario").expect("the claim")).expect("the state folder");
        if let Some(epoch) = self.snapshot {
            state.load(&mut self.job, epoch).expect("a snapshot of ours");
        }
        for logged in self.log.iter().filter(|logged| logged.entry.epoch > self.snapshot.unwrap_or(0)) {
            let _ = run(&mut self.job, &logged.batches, &Advance::Recorded(logged.entry.watermarks.clone()));
        }
    }

    /// Another job goes on, from what progress rows tell of this one and the records themselves.
    fn take_over(&mut self) {
        let epoch = self.job.epoch();
        let tables = self.job.progress("other", Timestamp(0)).into_iter().map(|row| TableTakeover {
            table: row.table,
            watermark: row.watermark.map_or(i64::MIN, |watermark| watermark.0),
            rows_out: row.rows_out,
            offsets: self.offsets.iter().map(|(source, next)| ((source.clone(), 0), *next)).collect(),
        });
        let tables: Vec<TableTakeover> = tables.collect();
        self.job = job(self.scenario);
        // In pieces that no epoch had: what is rehearsed does not hang on them.
        let records = self.log.iter().flat_map(|logged| &logged.batches);
        for batch in records {
            let input = input(std::slice::from_ref(batch));
            self.job.rehearse(&input, &tables).expect("the scenario's rows can be evaluated");
        }
        self.job.take_over(&tables, epoch).expect("the scenario's rows can be evaluated");
    }

    fn take_snapshot(&mut self) {
        let mut state =
            StateDir::open(Claim::take(self.folder.path(), "scenario").expect("the claim")).expect("the state folder");
        state.snapshot(&self.job).expect("a snapshot");
        state.settle().expect("a snapshot");
        self.snapshot = Some(self.job.epoch());
    }
}

pub(super) fn input(batches: &[(String, i64, Vec<String>)]) -> Vec<SourceBatch<'_>> {
    batches
        .iter()
        .map(|(source, first, rows)| {
            let records = rows.iter().enumerate().map(|(at, row)| SourceRecord {
                partition: 0,
                offset: first + at as i64,
                time: Timestamp::parse(format!("{DAY}23:59:59Z").as_bytes()),
                value: Some(row.as_bytes()),
            });
            SourceBatch::new(source, records.collect())
        })
        .collect()
}

pub(super) fn run(job: &mut Job, batches: &[(String, i64, Vec<String>)], advance: &Advance) -> EpochOutput {
    job.run(&input(batches), advance).expect("the scenario's rows can be evaluated")
}

fn play(scenario: &Scenario, crashes: Crashes) -> RowsOf {
    let mut run = Run {
        scenario,
        job: job(scenario),
        folder: tempfile::tempdir().expect("a folder"),
        log: Vec::new(),
        snapshot: None,
        offsets: BTreeMap::new(),
        waiting: Vec::new(),
        idle: Vec::new(),
        ended: false,
        rows: BTreeMap::new(),
    };
    for step in &scenario.steps {
        match step {
            Step::Rows(source, rows) => {
                let contract = contract(scenario, source);
                run.idle.retain(|idle| idle != source);
                run.waiting.push((source.clone(), rows.iter().map(|row| json(&contract, row)).collect()));
                continue;
            }
            Step::Idle(source) => {
                run.idle.push(source.clone());
                continue;
            }
            Step::Epoch => run.epoch(),
            Step::End => {
                run.epoch();
                run.ended = true;
                run.epoch();
            }
            Step::Crash => {}
        }
        let due = match crashes {
            Crashes::Never => false,
            Crashes::AsWritten => matches!(step, Step::Crash),
            Crashes::AfterEveryEpoch => true,
            Crashes::Takeovers => {
                run.take_over();
                false
            }
        };
        if due {
            run.crash();
            // Every second crash finds a snapshot of the epoch just before, the others replay further back.
            if run.log.len().is_multiple_of(2) {
                run.take_snapshot();
            }
        }
    }
    run.rows
}

fn check(name: &str, text: &str) {
    let scenario = parse(text);
    assert!(!scenario.expected.is_empty(), "{name} expects nothing");
    for crashes in [Crashes::Never, Crashes::AsWritten, Crashes::AfterEveryEpoch, Crashes::Takeovers] {
        let given = play(&scenario, crashes);
        for (table, columns, rows) in &scenario.expected {
            let found = given.get(table).map(Vec::as_slice).unwrap_or_default();
            let shown = |row: &Map<String, Value>| {
                columns.iter().map(|column| cell(row.get(column).unwrap_or(&Value::Null))).collect::<Cells>()
            };
            let mut found: Vec<Cells> = found.iter().map(|(_, row)| shown(row)).collect();
            let mut wanted = rows.clone();
            found.sort();
            wanted.sort();
            let text = |rows: &[Cells]| rows.iter().map(|row| row.join(" | ")).collect::<Vec<_>>().join("\n");
            assert_eq!(text(&found), text(&wanted), "{name}, {crashes:?}: {table} ({})", columns.join(" | "));
        }
        let unexpected: Vec<&String> =
            given.keys().filter(|table| !scenario.expected.iter().any(|(name, ..)| name == *table)).collect();
        assert!(unexpected.is_empty(), "{name}: rows of {unexpected:?} that the scenario does not speak of");
    }
}

/// The files of `tests/scenarios/`: names and texts.
pub(super) fn files() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/scenarios");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder of scenarios").flatten().map(|f| f.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "scenario"));
    files.sort();
    assert!(files.len() >= 8, "only {} scenarios", files.len());
    let name = |path: &std::path::Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).expect("a scenario"))).collect()
}

#[test]
fn every_scenario_holds() {
    for (name, text) in files() {
        check(&name, &text);
    }
}
