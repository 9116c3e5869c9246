//! A bounded run: pipelines over files, until the input ends; windows that are still open then close.
//!
//! ```text
//!  *.ndjson ─▶ chunks of lines ─▶ Job::run ─▶ rows ─┬▶ output
//!                                    ▲              └▶ tables that read this table (in the same run)
//!                                    └──────────────────┘
//! ```
//!
//! Topics can be read from the lake instead of files (`past`).

mod input;
mod output;
mod past;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use indicatif::ProgressBar;
use millrace_engine::job::{Advance, EpochOutput, OperatorProfile, SourceBatch, SourceRecord, TableRows};
use millrace_engine::sql::Origin;
use millrace_engine::{EngineError, Job, JobPlan, JobSettings};
use millrace_model::dead_letter::DeadLetter;
use millrace_model::progress::RecordCounts;
use millrace_model::{Role, Timestamp};

use crate::history::records;
use input::Lines;
pub(crate) use output::Output;
pub(crate) use past::Past;
use past::{PastFeed, PastSource};

/// Bytes of a file taken into one epoch.
const CHUNK_BYTES: usize = 4 << 20;

/// What a bounded run came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Where the records of each table's sources went.
    pub(crate) counts: BTreeMap<String, RecordCounts>,
    /// Rows in the output, by table.
    pub(crate) rows: BTreeMap<String, u64>,
    /// What every operator did, when that was asked for.
    pub(crate) profile: Vec<OperatorProfile>,
}

/// Does this job read a file?
pub(crate) fn is_bounded(plan: &JobPlan) -> bool {
    plan.sources.iter().any(|source| matches!(source.origin, Origin::Ndjson(_)))
}

/// Lines of sources, by name.
type Chunks = Vec<(String, Vec<u8>)>;

/// A job of the run, with what waits for it.
struct Part {
    job: Job,
    files: Vec<File>,
    /// What is left of its topics in the lake.
    past: Option<PastFeed>,
    /// Records of other tables of the run, by source.
    waiting: BTreeMap<String, Vec<Vec<u8>>>,
    /// Offset of the next record of each table source.
    offsets: BTreeMap<String, i64>,
    ended: BTreeSet<String>,
}

struct File {
    source: String,
    path: PathBuf,
    lines: Option<Lines>,
}

/// Runs the jobs until their files are read and every window is closed; topics are read from the lake, if there is one. Counts
/// what every operator does if `profiled`.
///
/// # Errors
/// A file that cannot be read, a source that is no file of the run, or the engine.
pub(crate) fn run(
    plans: Vec<JobPlan>,
    past: Option<&Past>,
    profiled: bool,
    output: &mut Output,
) -> anyhow::Result<Report> {
    let made: BTreeSet<String> =
        plans.iter().flat_map(|plan| plan.tables.iter().map(|table| table.contract.name.clone())).collect();
    let mut parts = plans.into_iter().map(|plan| part(plan, &made, past)).collect::<anyhow::Result<Vec<_>>>()?;
    if profiled {
        parts.iter_mut().for_each(|part| part.job.start_profile());
    }
    // Only these tables' rows are kept until they have been read.
    let read: BTreeSet<String> = parts.iter().flat_map(|part| part.waiting.keys().cloned()).collect();
    let bytes: u64 =
        parts.iter().flat_map(|part| &part.files).filter_map(|file| file.lines.as_ref()).map(Lines::bytes).sum();
    let records: u64 = parts.iter().filter_map(|part| part.past.as_ref()).map(|past| past.records_most).sum();
    let bar = crate::progress::bar(bytes + records, "reading");
    let mut ended: BTreeSet<String> = BTreeSet::new();
    loop {
        let mut busy = false;
        for at in 0..parts.len() {
            let (worked, rows) = parts[at].step(&bar, &ended, &read, output)?;
            busy |= worked;
            for (table, row) in rows {
                for reader in &mut parts {
                    if let Some(waiting) = reader.waiting.get_mut(&table) {
                        waiting.push(row.clone());
                    }
                }
            }
        }
        if busy {
            continue;
        }
        // Nothing is left to read now: tables whose sources have ended give their last rows, then end themselves.
        let before = ended.len();
        for part in &parts {
            ended.extend(part.finished_tables());
        }
        if ended.len() == before {
            break;
        }
    }
    bar.finish_and_clear();
    let mut report = Report { counts: BTreeMap::new(), rows: output.finish()?, profile: Vec::new() };
    for part in &parts {
        if profiled {
            report.profile.extend(part.job.profile());
        }
        for row in part.job.progress("embedded", Timestamp(0)) {
            report.counts.insert(row.table, row.counts);
        }
    }
    Ok(report)
}

fn part(plan: JobPlan, made: &BTreeSet<String>, past: Option<&Past>) -> anyhow::Result<Part> {
    let (mut columns, mut watched) = records::columns(&plan);
    let archived: BTreeSet<String> = plan
        .sources
        .iter()
        .filter(|source| source.contract.role == Role::Source)
        .map(|source| source.contract.name.clone())
        .collect();
    let mut of_lake = Vec::new();
    let mut part = Part {
        job: Job::new(plan, JobSettings::default())?,
        files: Vec::new(),
        past: None,
        waiting: BTreeMap::new(),
        offsets: BTreeMap::new(),
        ended: BTreeSet::new(),
    };
    let sources: Vec<(String, Origin)> =
        part.job.sources().map(|(name, origin)| (name.to_owned(), origin.clone())).collect();
    for (source, origin) in sources {
        match origin {
            Origin::Ndjson(path) => {
                part.job.set_partitions(&source, [0]);
                let lines = Lines::open(path.as_ref()).with_context(|| format!("cannot read {path}"))?;
                part.files.push(File { source, path: path.into(), lines: Some(lines) });
            }
            Origin::Topic(topic) if made.contains(&topic) => {
                part.job.set_partitions(&source, [0]);
                part.waiting.insert(source, Vec::new());
            }
            Origin::Topic(topic) if past.is_some() && archived.contains(&source) => of_lake.push(PastSource {
                columns: columns.remove(&source).unwrap_or_default(),
                watched: watched.remove(&source).unwrap_or_default(),
                name: source,
                topic,
            }),
            Origin::Topic(topic) if past.is_some() => bail!(
                "source `{source}` is topic `{topic}`, which no table of the run makes and the lake does not hold; name the \
                 pipeline that makes it too"
            ),
            Origin::Topic(topic) => bail!(
                "source `{source}` is topic `{topic}`, but another source of the run is a file; declare it with \
                 CREATE TABLE {source} (…) USING json OPTIONS ('path' = '…')"
            ),
        }
    }
    if let Some(past) = past.filter(|_| !of_lake.is_empty()) {
        let feed = past.feed(of_lake).context("the lake")?;
        for place in &feed.places {
            part.job.set_partitions(&place.source, [place.partition]);
        }
        part.past = Some(feed);
    }
    Ok(part)
}

impl Part {
    /// One epoch over what there is; tells whether there was anything, and the rows other parts wait for.
    fn step(
        &mut self,
        bar: &ProgressBar,
        tables_ended: &BTreeSet<String>,
        read: &BTreeSet<String>,
        output: &mut Output,
    ) -> anyhow::Result<(bool, Chunks)> {
        let mut chunks = Vec::new();
        for file in &mut self.files {
            let Some(lines) = &mut file.lines else { continue };
            let chunk =
                lines.next_chunk(CHUNK_BYTES).with_context(|| format!("cannot read {}", file.path.display()))?;
            match chunk {
                Some(chunk) => {
                    bar.inc(chunk.bytes() as u64);
                    chunks.push((file.source.clone(), chunk));
                }
                None => {
                    file.lines = None;
                    self.ended.insert(file.source.clone());
                }
            }
        }
        let waiting: Vec<(String, Vec<Vec<u8>>)> = self
            .waiting
            .iter_mut()
            .filter(|(_, rows)| !rows.is_empty())
            .map(|(source, rows)| (source.clone(), std::mem::take(rows)))
            .collect();
        let epoch = match &mut self.past {
            Some(past) => past.next().context("the lake")?,
            None => None,
        };
        if epoch.is_none()
            && let Some(past) = self.past.take()
        {
            self.ended.extend(past.sources);
        }
        if chunks.is_empty() && waiting.is_empty() && epoch.is_none() {
            self.ended.extend(self.waiting.keys().filter(|source| tables_ended.contains(*source)).cloned());
        }
        let mut batches: Vec<SourceBatch<'_>> =
            chunks.iter().map(|(source, chunk)| SourceBatch::new(source, chunk.records())).collect();
        for (source, rows) in &waiting {
            let offset = self.offsets.entry(source.clone()).or_default();
            let records = rows
                .iter()
                .enumerate()
                .map(|(at, row)| SourceRecord {
                    partition: 0,
                    offset: *offset + at as i64,
                    time: None,
                    value: Some(row),
                })
                .collect();
            batches.push(SourceBatch::new(source, records));
            *offset += rows.len() as i64;
        }
        let mut idle = BTreeSet::new();
        if let (Some(epoch), Some(past)) = (&epoch, &self.past) {
            bar.inc(epoch.records as u64);
            batches.extend(records::batches(&past.places, epoch));
            idle.extend(epoch.idle.iter().map(|at| (past.places[*at].source.clone(), past.places[*at].partition)));
        }
        let advance = Advance::Live { idle, ended: self.ended.clone() };
        if batches.is_empty() && !self.job.would_advance(&advance) {
            return Ok((false, Vec::new()));
        }
        let mut passed = Vec::new();
        let mut unwritten = None;
        let mut give = |rows: TableRows| {
            if read.contains(&rows.table) {
                passed.extend(rows.rows.iter().map(|row| (rows.table.clone(), row.to_vec())));
            }
            output.rows(&rows).map_err(|error| {
                unwritten = Some(error);
                EngineError::Io { what: format!("rows of {}", rows.table), error: std::io::ErrorKind::Other.into() }
            })
        };
        let given = self.job.run_giving(&batches, &advance, &mut give);
        if let Some(error) = unwritten {
            return Err(error);
        }
        self.dead_letters(&batches, &given?, output)?;
        Ok((true, passed))
    }

    fn dead_letters(
        &self,
        batches: &[SourceBatch<'_>],
        given: &EpochOutput,
        output: &mut Output,
    ) -> anyhow::Result<()> {
        let letter = |batch: usize, record: usize, table: Option<&str>| {
            let found = &batches[batch].records[record];
            DeadLetter {
                dead_letter_id: DeadLetter::id(batches[batch].source, found.partition, found.offset, table),
                kind: String::new(),
                code: String::new(),
                reason: String::new(),
                field: None,
                topic: batches[batch].source.to_owned(),
                partition: found.partition,
                offset: found.offset,
                record_time: found.time,
                event_time: None,
                watermark: None,
                table: table.map(str::to_owned),
                job: self.job.name().to_owned(),
                first_seen: Timestamp(0),
                key_base64: None,
                value_base64: found.value.map(|value| BASE64.encode(value)),
                headers: None,
            }
        };
        for found in &given.malformed {
            let mut dead = letter(found.batch, found.record, None);
            dead.kind = "malformed".into();
            dead.code = found.malformed.code.name().into();
            dead.reason = found.malformed.in_words();
            dead.field.clone_from(&found.malformed.field);
            dead.event_time = found.malformed.event_time;
            output.dead_letter(&dead)?;
        }
        for late in &given.late {
            let mut dead = letter(late.batch, late.record, Some(&late.table));
            dead.kind = "late".into();
            dead.code = "late".into();
            dead.reason = format!("every window it belongs to in {} had closed by {}", late.table, late.watermark);
            dead.watermark = Some(late.watermark);
            output.dead_letter(&dead)?;
        }
        Ok(())
    }

    /// Tables that can give nothing more: all their sources have ended and nothing waits.
    fn finished_tables(&self) -> Vec<String> {
        let over = self.past.is_none()
            && self.files.iter().all(|file| file.lines.is_none())
            && self.waiting.iter().all(|(source, rows)| rows.is_empty() && self.ended.contains(source));
        if over {
            return self.job.results().map(|contract| contract.name.clone()).collect();
        }
        // A table may end before others of its file: when each of its own sources has.
        let ended = |table: &&millrace_engine::job::TableSources<'_>| {
            table.sources.iter().all(|source| self.ended.contains(*source))
                && table.sources.iter().all(|source| self.waiting.get(*source).is_none_or(Vec::is_empty))
        };
        self.job.table_sources().iter().filter(ended).map(|table| table.table.to_owned()).collect()
    }
}
