//! One pipeline file running: records in, rows out, epoch by epoch.
//!
//! ```text
//!  records of a topic ─▶ decode ─▶ repeats out ─▶ slots ─▶ every table: input plan ─▶ operator ─▶ output plan ─▶ rows
//!                          │                                               │
//!                       malformed                                        late ─▶ dead letters
//!
//!  then: event time advances, windows close, state is forgotten
//! ```
//!
//! An epoch is a pure function of the state before it, its records and its watermarks. That is what lets recovery replay
//! the epochs since the last snapshot (see [`crate::state`]).

mod account;
mod source;
mod table;
mod takeover;
mod watermark;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use datafusion::execution::TaskContext;
use millrace_codec::encode::EncodedRows;
use millrace_codec::{DecodeLimits, Malformed};
use millrace_model::Timestamp;
use millrace_model::contract::Contract;
use millrace_model::progress::{RecordCounts, TableProgress};

use crate::error::EngineError;
use crate::plan::{JobPlan, StaticTables};
use account::Account;
use source::Source;
use table::Table;
pub use takeover::TableTakeover;
use watermark::EventTimes;
pub use watermark::{Advance, Watermarks};

/// What bounds a job.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// Bounds on one record.
    pub decode: DecodeLimits,
    /// Most open groups in the state of one table; at the limit the job stops with the reason.
    pub groups_max: usize,
    /// Most bytes of state (estimated) in one job.
    pub state_bytes_max: usize,
    /// Secret of the deduplicator's hash; kept with the state.
    pub secret: (u64, u64),
}

impl Default for JobSettings {
    fn default() -> Self {
        JobSettings {
            decode: DecodeLimits::default(),
            groups_max: 10_000_000,
            state_bytes_max: 4 << 30,
            secret: (0, 0),
        }
    }
}

/// A record of a source topic, as received.
#[derive(Clone, Copy, Debug)]
pub struct SourceRecord<'a> {
    /// Partition.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
    /// Kafka timestamp.
    pub time: Option<Timestamp>,
    /// Value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
}

/// The records of one source in an epoch, by partition and offset.
#[derive(Debug)]
pub struct SourceBatch<'a> {
    /// The source's name in SQL.
    pub source: &'a str,
    /// Its records.
    pub records: Vec<SourceRecord<'a>>,
}

/// Rows a table gives in an epoch.
pub struct TableRows {
    /// The streaming table.
    pub table: String,
    /// One JSON text a row.
    pub rows: EncodedRows,
    /// The JSON text of each row's key columns; none when the table has no key.
    pub keys: Option<EncodedRows>,
}

/// A record that came too late for a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LateRecord {
    /// The streaming table.
    pub table: String,
    /// Place of the batch in the epoch's input.
    pub batch: usize,
    /// Place of the record in the batch.
    pub record: usize,
    /// The watermark it came after.
    pub watermark: Timestamp,
}

/// A record that breaks its contract.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MalformedRecord {
    /// Place of the batch in the epoch's input.
    pub batch: usize,
    /// Place of the record in the batch.
    pub record: usize,
    /// Why.
    pub malformed: Malformed,
}

/// The sources a table reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSources<'a> {
    /// The streaming table.
    pub table: &'a str,
    /// Names in SQL of its sources.
    pub sources: Vec<&'a str>,
}

/// What an epoch gives.
#[derive(Default)]
pub struct EpochOutput {
    /// Rows, by table.
    pub rows: Vec<TableRows>,
    /// Records that came too late, by table.
    pub late: Vec<LateRecord>,
    /// Records that break their contract.
    pub malformed: Vec<MalformedRecord>,
}

/// A running pipeline file.
pub struct Job {
    name: String,
    sources: Vec<Source>,
    tables: Vec<Table>,
    statics: Vec<crate::plan::StaticSlot>,
    task: Arc<TaskContext>,
    settings: JobSettings,
    times: EventTimes,
    epoch: u64,
    /// Where the records of a job without tables went: it only checks them.
    checked: Account,
    /// It takes in what another backend has answered for (see [`takeover`]).
    rehearsing: Option<Vec<TableTakeover>>,
}

/// Bits of a record number that tell the record; the rest tells the batch.
const RECORD_BITS: u32 = 40;

fn record_number(batch: usize, record: usize) -> i64 {
    ((batch as i64) << RECORD_BITS) | record as i64
}

fn batch_and_record(number: i64) -> (usize, usize) {
    ((number >> RECORD_BITS) as usize, (number & ((1 << RECORD_BITS) - 1)) as usize)
}

impl Job {
    /// A job with empty state.
    ///
    /// # Errors
    /// An internal fault of the plan.
    pub fn new(plan: JobPlan, settings: JobSettings) -> Result<Self, EngineError> {
        let job = plan.name.clone();
        let internal = |error: datafusion::common::DataFusionError| EngineError::State {
            job: job.clone(),
            detail: error.strip_backtrace(),
        };
        let sources: Vec<Source> = plan
            .sources
            .into_iter()
            .map(|source| Source::new(source, &settings))
            .collect::<Result<_, _>>()
            .map_err(internal)?;
        let tables: Vec<Table> = plan.tables.into_iter().map(Table::new).collect();
        let mut times = EventTimes::default();
        for table in &tables {
            times.watch(&table.streams);
        }
        for source in &sources {
            if let Some(column) = source.dedup_time() {
                times.watch_column(source.name(), column);
            }
        }
        Ok(Job {
            name: plan.name,
            sources,
            tables,
            statics: plan.static_slots,
            task: plan.task,
            settings,
            times,
            epoch: 0,
            checked: Account::default(),
            rehearsing: None,
        })
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Epochs done.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The sources it reads: name in SQL and where the records come from.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &crate::sql::Origin)> {
        self.sources.iter().map(|source| (source.name(), &source.origin))
    }

    /// Which sources each table reads.
    pub fn table_sources(&self) -> Vec<TableSources<'_>> {
        self.tables.iter().map(Table::sources).collect()
    }

    /// Contracts of its results.
    pub fn results(&self) -> impl Iterator<Item = &Contract> {
        self.tables.iter().map(|table| &table.contract)
    }

    /// Tells which partitions a source has: one that has given nothing yet holds the watermark back until it is idle.
    pub fn set_partitions(&mut self, source: &str, partitions: impl IntoIterator<Item = i32>) {
        self.times.set_partitions(source, partitions);
    }

    /// Runs one epoch. `advance` says how event time moves at its end.
    ///
    /// # Errors
    /// An expression that fails on the data, or a limit. The state is then undefined: restore the job.
    pub fn run(&mut self, input: &[SourceBatch<'_>], advance: &Advance) -> Result<EpochOutput, EngineError> {
        self.epoch += 1;
        let mut output = EpochOutput::default();
        for source in &mut self.sources {
            source.clear();
        }
        for (at, batch) in input.iter().enumerate() {
            let Some(source) = self.sources.iter_mut().find(|source| source.name() == batch.source) else { continue };
            let decoded = source.decode(at, batch, &mut self.times, &mut output.malformed)?;
            for table in &mut self.tables {
                table.account(batch.source, &decoded);
            }
            if self.tables.is_empty() {
                self.checked.add(batch.source, &decoded);
            }
        }
        for source in &mut self.sources {
            source.fill_slots();
        }
        let before: Vec<i64> = self.tables.iter().map(|table| table.watermark).collect();
        for (table, before) in self.tables.iter_mut().zip(&before) {
            let late = table.push(&self.task, *before)?;
            // What was late before the move, the other backend has answered for.
            if self.rehearsing.is_none() {
                table.account_late(input, &late, &mut output.late);
            }
            table.skip_answered(input);
        }
        for (at, table) in self.tables.iter_mut().enumerate() {
            let natural = self.times.watermark(at, &table.streams, table.watermark, advance);
            let most = self.rehearsing.as_ref().and_then(|tables| tables.get(at)).map_or(i64::MAX, |t| t.watermark);
            table.watermark = natural.min(most).max(table.watermark);
            if let Some(rows) = table.advance(&self.task, before[at])? {
                output.rows.push(rows);
            }
        }
        for (at, source) in self.sources.iter_mut().enumerate() {
            let (name, column) = (source.name(), source.dedup_time());
            let watermark = self.times.source_watermark(at, name, column, source.delay, source.watermark, advance);
            source.advance(watermark);
        }
        self.check_limits()?;
        Ok(output)
    }

    fn check_limits(&self) -> Result<(), EngineError> {
        let mut bytes = self.sources.iter().map(Source::bytes).sum::<usize>();
        for table in &self.tables {
            let groups = table.groups();
            if groups > self.settings.groups_max {
                return Err(EngineError::Limit {
                    table: table.contract.name.clone(),
                    limit: "groups_max",
                    detail: format!("{groups} open groups; raise the limit, or group by fewer keys or shorter windows"),
                });
            }
            bytes += table.bytes();
        }
        if bytes > self.settings.state_bytes_max {
            let largest = self.tables.iter().max_by_key(|table| table.bytes());
            return Err(EngineError::Limit {
                table: largest.map(|table| table.contract.name.clone()).unwrap_or_default(),
                limit: "state_bytes_max",
                detail: format!("about {bytes} bytes of state in job {}; raise the limit", self.name),
            });
        }
        Ok(())
    }

    /// Would an epoch without records move any table's event time?
    pub fn would_advance(&self, advance: &Advance) -> bool {
        let moves = |(at, table): (usize, &Table)| {
            self.times.watermark(at, &table.streams, table.watermark, advance) != table.watermark
        };
        self.tables.iter().enumerate().any(moves)
    }

    /// Where event time stands: what an epoch log records.
    pub fn watermarks(&self) -> Watermarks {
        Watermarks {
            tables: self.tables.iter().map(|table| table.watermark).collect(),
            sources: self.sources.iter().map(|source| source.watermark).collect(),
        }
    }

    /// Static tables to be read again now, with the time each was last read.
    pub fn reload_static(
        &mut self,
        tables: &dyn StaticTables,
        due: impl Fn(&crate::sql::StaticTable) -> bool,
    ) -> Vec<String> {
        let mut errors = Vec::new();
        for entry in self.statics.iter().filter(|entry| due(&entry.table)) {
            match tables.load(&entry.table) {
                Ok((_, batches)) => entry.slot.put(batches),
                Err(error) => errors.push(format!("static table `{}`: {error}", entry.table.name)),
            }
        }
        errors
    }

    /// Names and refresh intervals of the static tables.
    pub fn static_tables(&self) -> impl Iterator<Item = &crate::sql::StaticTable> {
        self.statics.iter().map(|entry| &entry.table)
    }

    /// The state as named batches, and the numbers that go with it.
    pub(crate) fn save(&self) -> Result<SavedJob, EngineError> {
        let failed = |error: datafusion::common::DataFusionError| EngineError::State {
            job: self.name.clone(),
            detail: format!("cannot save: {}", error.strip_backtrace()),
        };
        let mut batches = Vec::new();
        for table in &self.tables {
            if let Some(batch) = table.save().map_err(failed)? {
                batches.push((format!("table {}", table.contract.name), batch));
            }
        }
        for source in &self.sources {
            if let Some(batch) = source.save().map_err(failed)? {
                batches.push((format!("source {}", source.name()), batch));
            }
        }
        let mut tables: Vec<TableNumbers> = self.tables.iter().map(Table::numbers).collect();
        if self.tables.is_empty() {
            let (watermark, rows_out) = (crate::operator::NO_WATERMARK, 0);
            tables.push(TableNumbers {
                table: self.name.clone(),
                watermark,
                rows_out,
                counts: self.checked.save(),
                answered: Vec::new(),
            });
        }
        let sources = self.sources.iter().map(|source| (source.name().to_owned(), source.watermark)).collect();
        let head =
            SavedHead { epoch: self.epoch, secret: self.settings.secret, times: self.times.clone(), tables, sources };
        Ok(SavedJob { head, batches })
    }

    /// Replaces the state by a saved one. Tables that are new since start empty; tables that are gone are dropped.
    pub(crate) fn load(&mut self, saved: SavedJob) -> Result<(), EngineError> {
        let name = self.name.clone();
        let failed = |what: &str, error: datafusion::common::DataFusionError| EngineError::State {
            job: name.clone(),
            detail: format!(
                "the saved state of {what} does not fit its statement ({}); the statement was edited: delete the \
                 job's consumer group and its state directory to recompute from the earliest record",
                error.strip_backtrace()
            ),
        };
        let head = saved.head;
        self.epoch = head.epoch;
        self.times.restore(head.times);
        let mut batches: BTreeMap<String, RecordBatch> = saved.batches.into_iter().collect();
        for table in &mut self.tables {
            let what = format!("table {}", table.contract.name);
            if let Some(batch) = batches.remove(&what) {
                table.load(&batch).map_err(|error| failed(&what, error))?;
            }
            if let Some(numbers) = head.tables.iter().find(|n| n.table == table.contract.name) {
                table.restore(numbers);
            }
        }
        for source in &mut self.sources {
            let what = format!("source {}", source.name());
            if let Some(batch) = batches.remove(&what) {
                source.load(&batch, head.secret).map_err(|error| failed(&what, error))?;
            }
            if let Some((_, watermark)) = head.sources.iter().find(|(name, _)| name == source.name()) {
                source.watermark = *watermark;
            }
        }
        if let Some(numbers) = head.tables.iter().find(|n| self.tables.is_empty() && n.table == self.name) {
            self.checked = Account::load(&numbers.counts);
        }
        self.settings.secret = head.secret;
        Ok(())
    }

    /// Where every record went, by table. Offsets and times are the caller's to fill in.
    pub fn progress(&self, backend: &str, now: Timestamp) -> Vec<TableProgress> {
        if self.tables.is_empty() {
            return vec![TableProgress {
                table: self.name.clone(),
                job: self.name.clone(),
                backend: backend.to_owned(),
                epoch: self.epoch,
                time: now,
                watermark: None,
                output_mode: None,
                counts: self.checked.total(),
                rows_out: 0,
                state_groups: 0,
                state_bytes: 0,
                epoch_micros: 0,
                phases_ms: BTreeMap::new(),
                sources: self.checked.sources(),
                taken_over: None,
            }];
        }
        self.tables.iter().map(|table| table.progress(&self.name, backend, self.epoch, now)).collect()
    }
}

/// A job's state outside its memory.
pub(crate) struct SavedJob {
    pub(crate) head: SavedHead,
    pub(crate) batches: Vec<(String, RecordBatch)>,
}

/// The small part of a saved job.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct SavedHead {
    pub(crate) epoch: u64,
    pub(crate) secret: (u64, u64),
    pub(crate) times: EventTimes,
    pub(crate) tables: Vec<TableNumbers>,
    pub(crate) sources: Vec<(String, i64)>,
}

/// What a table counts, and its watermark.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct TableNumbers {
    pub(crate) table: String,
    pub(crate) watermark: i64,
    pub(crate) rows_out: u64,
    /// By source and partition.
    pub(crate) counts: Vec<(String, i32, RecordCounts)>,
    /// By source and partition: records before this offset were answered for by another backend.
    #[serde(default)]
    pub(crate) answered: Vec<(String, i32, i64)>,
}

/// Partitions, by source.
pub(crate) type Partitions = BTreeMap<String, BTreeSet<i32>>;
