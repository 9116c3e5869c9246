//! What the backend is given: a pipeline file as plain data, and how to run it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use millrace_model::Contract;
use millrace_model::retry::RetryPolicy;

/// A pipeline file: one Spark session, a streaming query a table.
#[derive(Clone, Debug)]
pub struct SparkJob {
    /// Name: the file's stem.
    pub name: String,
    /// Streams its statements read.
    pub sources: Vec<SparkSource>,
    /// Named queries, in the order of the file.
    pub views: Vec<SparkView>,
    /// Tables that are read whole.
    pub statics: Vec<SparkStatic>,
    /// Results.
    pub tables: Vec<SparkTable>,
}

/// A topic as a table of the SQL.
#[derive(Clone, Debug)]
pub struct SparkSource {
    /// What its records hold; its name is the table's.
    pub contract: Contract,
    /// The topic.
    pub topic: String,
}

/// A query as written, and what it reads.
#[derive(Clone, Debug)]
pub struct SparkQuery {
    /// The text of the SELECT.
    pub sql: String,
    /// Tables it names, in the order of the text.
    pub reads: Vec<SparkRead>,
}

/// A table named in a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SparkRead {
    /// Source, view or static table.
    pub table: String,
    /// Its name in the text, bytes.
    pub name_at: Range<usize>,
    /// Column and delay in microseconds of its WATERMARK clause.
    pub watermark: Option<(String, i64)>,
    /// The WATERMARK clause in the text, bytes.
    pub clause_at: Option<Range<usize>>,
}

/// `CREATE TEMPORARY VIEW name AS query`.
#[derive(Clone, Debug)]
pub struct SparkView {
    /// Name in SQL.
    pub name: String,
    /// Its query.
    pub query: SparkQuery,
}

/// `CREATE TEMPORARY VIEW name USING format OPTIONS (…)`.
#[derive(Clone, Debug)]
pub struct SparkStatic {
    /// Name in SQL.
    pub name: String,
    /// `csv`, `parquet` or `jdbc`.
    pub format: String,
    /// Options as written.
    pub options: BTreeMap<String, String>,
}

/// `CREATE STREAMING TABLE name AS query`.
#[derive(Clone, Debug)]
pub struct SparkTable {
    /// Contract of the result: name, columns, key.
    pub contract: Contract,
    /// Topic the rows go to; the contract's name in a pipeline that ships.
    pub topic: String,
    /// Its query.
    pub query: SparkQuery,
    /// When rows are given.
    pub output_mode: SparkOutputMode,
    /// Its own trigger, if it asks for one.
    pub trigger: Option<Duration>,
    /// Where another backend stood that ran it before.
    pub taken_over: Option<SparkTakeover>,
}

/// Where another backend left a table. Spark computes its state from the earliest record and gives only what is new.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SparkTakeover {
    /// The other's last epoch: it names the checkpoint, so that none of an earlier time is gone on with.
    pub epoch: u64,
    /// What is new.
    pub new: SparkNew,
}

/// Which rows are new after a takeover.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SparkNew {
    /// Rows of windows that end after the other's watermark.
    WindowsAfter {
        /// Column of the result that holds the end of the window.
        column: String,
        /// The watermark, microseconds since 1970.
        watermark: i64,
    },
    /// Rows of records from these offsets on, by topic and partition: for tables without state.
    RecordsFrom(BTreeMap<(String, i32), i64>),
    /// All: running totals are given again, as they are.
    Everything,
}

/// When a table's rows are given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SparkOutputMode {
    /// Whenever they change.
    Update,
    /// Once, when final.
    Append,
    /// All of them, in every batch.
    Complete,
}

impl SparkOutputMode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            SparkOutputMode::Update => "update",
            SparkOutputMode::Append => "append",
            SparkOutputMode::Complete => "complete",
        }
    }
}

/// When Spark starts a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SparkTrigger {
    /// Again and again, at least this long apart.
    Every(Duration),
    /// Takes what is there, then the query ends: for tests and backfills.
    AvailableNow,
}

/// How jobs run. Its `Debug` form shows no secrets.
#[derive(Clone)]
pub struct SparkSettings {
    /// The Spark Connect server: `sc://host:15002`, with `;token=…;use_ssl=true` behind a slash where it asks for them.
    pub url: String,
    /// Kafka client properties as the rest of the product names them (librdkafka's names), `bootstrap.servers` among them:
    /// as Spark's machines reach the cluster.
    pub kafka: BTreeMap<String, String>,
    /// Folder of checkpoints, any path or URL all of Spark's machines can write. Each table has `<job>/<table>` in it.
    pub checkpoint_dir: String,
    /// Folder of ours that keeps the sessions' ids, so that a restart finds the queries that still run.
    pub session_dir: PathBuf,
    /// When a batch starts, for tables that do not say.
    pub trigger: SparkTrigger,
    /// Most records of a source in one batch; `None` takes all there are.
    pub records_per_batch_max: Option<u64>,
    /// Longest record value, bytes: the decoder's limit.
    pub value_bytes_max: usize,
    /// Deepest nesting of arrays and objects in a record: the decoder's limit.
    pub depth_max: u32,
    /// How far an event time may lie after its record's Kafka time, microseconds: the decoder's limit.
    pub future_micros_max: i64,
    /// Stop with an error when records were deleted before they were read.
    pub fail_on_data_loss: bool,
    /// More session settings, for example `spark.sql.shuffle.partitions`.
    pub conf: BTreeMap<String, String>,
    /// How often progress is asked for.
    pub poll_interval: Duration,
    /// Longest wait for an answer of the server. The first query on a cold server takes most of a minute.
    pub request_max: Duration,
    /// Longest wait for a batch to end when asked to stop; then it is cut short, and done again at the next start.
    pub stop_max: Duration,
    /// When a lost server or a failed query is tried again.
    pub retry: RetryPolicy,
    /// A query that fails this often in a row, by Spark's word and not for want of a connection, stops the job.
    pub failures_max: u32,
}

/// Trigger of a table that asks for none.
pub const TRIGGER_DEFAULT: Duration = Duration::from_secs(30);

impl SparkSettings {
    /// With the limits and times that suit most.
    pub fn new(url: impl Into<String>, checkpoint_dir: impl Into<String>, session_dir: impl Into<PathBuf>) -> Self {
        SparkSettings {
            url: url.into(),
            kafka: BTreeMap::new(),
            checkpoint_dir: checkpoint_dir.into(),
            session_dir: session_dir.into(),
            trigger: SparkTrigger::Every(TRIGGER_DEFAULT),
            records_per_batch_max: None,
            value_bytes_max: 1 << 20,
            depth_max: 64,
            future_micros_max: 3_600_000_000,
            fail_on_data_loss: true,
            conf: BTreeMap::new(),
            poll_interval: Duration::from_secs(1),
            request_max: Duration::from_secs(180),
            stop_max: Duration::from_secs(120),
            retry: RetryPolicy::default(),
            failures_max: 5,
        }
    }
}

impl std::fmt::Debug for SparkSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SparkSettings")
            .field("server", &crate::session_file::server_of(&self.url))
            .field("kafka", &self.kafka.keys())
            .field("checkpoint_dir", &self.checkpoint_dir)
            .field("session_dir", &self.session_dir)
            .field("trigger", &self.trigger)
            .field("records_per_batch_max", &self.records_per_batch_max)
            .finish_non_exhaustive()
    }
}

/// Name of a table's streaming query, as Spark's page shows it.
pub fn query_name(job: &str, table: &str) -> String {
    format!("millrace-{job}-{table}")
}
