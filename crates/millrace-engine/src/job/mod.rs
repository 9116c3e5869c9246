//! One pipeline file running: records in, rows out, epoch by epoch.
//!
//! ```text
//!  records of a topic ─▶ decode ─▶ repeats out ─▶ slots ─▶ every table: input plan ─▶ operators ─▶ output plan ─▶ rows
//!                          │                                               │
//!                       malformed                                        late ─▶ dead letters
//!
//!  then: event time advances, windows close, state is forgotten
//! ```
//!
//! An epoch is a pure function of the state before it, its records and its watermarks. That is what lets recovery replay
//! the epochs since the last snapshot (see [`crate::state`]).

mod account;
mod decoded;
mod profile;
mod saved;
mod source;
mod stage;
mod table;
mod takeover;
mod watermark;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::execution::TaskContext;
use millrace_codec::encode::EncodedRows;
use millrace_codec::{DecodeLimits, Malformed};
use millrace_model::Timestamp;
use millrace_model::contract::Contract;
use millrace_model::progress::TableProgress;

use crate::error::EngineError;
use crate::plan::{JobPlan, StaticTables};
use account::Account;
pub use decoded::{DecodedRecords, DecodedSpan, TopicDecoder};
pub(crate) use profile::Meter;
pub use profile::OperatorProfile;
pub(crate) use saved::{SavedHead, SavedJob, TableNumbers};
use source::Source;
pub use table::GiveRows;
use table::{Table, TableEpoch};
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
            groups_max: 100_000_000,
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
    /// The same records decoded, each span of one partition, in this order; empty when that is still to be done.
    pub decoded: Vec<DecodedSpan<'a>>,
}

impl<'a> SourceBatch<'a> {
    /// Records that are to be decoded here.
    pub fn new(source: &'a str, records: Vec<SourceRecord<'a>>) -> Self {
        SourceBatch { source, records, decoded: Vec::new() }
    }
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
        let mut rows = Vec::new();
        let mut give = |given| {
            rows.push(given);
            Ok(())
        };
        let output = self.run_giving(input, advance, &mut give)?;
        Ok(EpochOutput { rows, ..output })
    }

    /// Runs one epoch as [`run`](Self::run) does, but hands every batch of rows to `give` at once, so that a window of
    /// millions of keys is never in memory as text. There are no rows in what it returns.
    ///
    /// # Errors
    /// As [`run`](Self::run), and what `give` says.
    pub fn run_giving(
        &mut self,
        input: &[SourceBatch<'_>],
        advance: &Advance,
        give: &mut GiveRows<'_>,
    ) -> Result<EpochOutput, EngineError> {
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
        for (at, table) in self.tables.iter_mut().enumerate() {
            let natural = self.times.watermark(at, &table.streams, table.watermark, advance);
            let most = self.rehearsing.as_ref().and_then(|tables| tables.get(at)).map_or(i64::MAX, |t| t.watermark);
            let before = table.watermark;
            let after = natural.min(most).max(before);
            let rehearsing = self.rehearsing.is_some();
            let late = table.step(TableEpoch { task: &self.task, input, after, rehearsing, give: &mut *give })?;
            // What was late before the move, the other backend has answered for.
            if self.rehearsing.is_none() {
                table.account_late(input, &late, before, &mut output.late);
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

    /// Bytes of its state, estimated: the capacities of what keeps it.
    pub fn state_bytes(&self) -> usize {
        self.sources.iter().map(Source::bytes).sum::<usize>() + self.tables.iter().map(Table::bytes).sum::<usize>()
    }

    fn check_limits(&self) -> Result<(), EngineError> {
        let bytes = self.state_bytes();
        for table in &self.tables {
            let groups = table.groups();
            if groups > self.settings.groups_max {
                return Err(EngineError::Limit {
                    table: table.contract.name.clone(),
                    limit: "groups_max",
                    detail: format!(
                        "{groups} open groups or rows of joins; raise the limit, or use fewer keys, shorter windows or a \
                         shorter range of time"
                    ),
                });
            }
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

    /// Begins to count what every operator does; see [`profile`](Self::profile).
    pub fn start_profile(&mut self) {
        self.sources.iter_mut().for_each(Source::start_profile);
        self.tables.iter_mut().for_each(Table::start_profile);
    }

    /// Rows, bytes, CPU time and state by operator since [`start_profile`](Self::start_profile): sources, then tables.
    pub fn profile(&self) -> Vec<OperatorProfile> {
        self.sources.iter().map(Source::profile).chain(self.tables.iter().flat_map(Table::profile)).collect()
    }

    /// Where every record went, by table. Offsets and times are the caller's to fill in.
    pub fn progress(&self, backend: &str, now: Timestamp) -> Vec<TableProgress> {
        if self.tables.is_empty() {
            return vec![TableProgress {
                epoch: self.epoch,
                time: now,
                counts: self.checked.total(),
                sources: self.checked.sources(),
                ..TableProgress::begun(&self.name, &self.name, backend)
            }];
        }
        self.tables.iter().map(|table| table.progress(&self.name, backend, self.epoch, now)).collect()
    }
}

/// Partitions, by source.
pub(crate) type Partitions = BTreeMap<String, BTreeSet<i32>>;
