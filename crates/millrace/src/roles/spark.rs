//! Jobs on Spark: the same pipeline files, each supervised by a thread here while its queries run there.
//!
//! What Spark tells of its batches becomes `job_progress`, and the offsets it has processed become those of the job's
//! consumer group, so that its lag is seen where every other lag is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::{ClientSettings, Cluster, Place};
use millrace_connectors::{Ending, Shutdown};
use millrace_engine::plan::TableState;
use millrace_engine::sql::{self, Origin, OutputMode, Read};
use millrace_engine::{JobPlan, PipelineFile};
use millrace_model::progress::{SourceProgress, TableProgress, TakenOver};
use millrace_spark::{
    SparkEvent, SparkJob, SparkNew, SparkOutputMode, SparkProgress, SparkQuery, SparkRead, SparkSettings, SparkSource,
    SparkStatic, SparkTable, SparkTakeover, SparkTrigger, SparkView,
};

use super::job::takeover::last_rows;
use super::job::trouble::{self, Stopped};
use super::job::{JobStatus, fence, group_of};
use super::jobs::JobHandle;
use crate::settings::Settings;

/// What progress rows of this backend say.
const BACKEND: &str = "spark";
/// Longest wait for room in the producer's queue, and for an acknowledgement.
const PATIENCE: Duration = Duration::from_secs(30);

/// How Spark is reached and told to run.
pub(crate) fn settings(settings: &Settings, kafka: &ClientSettings, data_dir: &std::path::Path) -> SparkSettings {
    let own = data_dir.join("spark");
    let own = std::path::absolute(&own).unwrap_or(own);
    let checkpoints = own.join("checkpoints").display().to_string();
    let given = &settings.spark;
    let mut spark = SparkSettings::new(
        given.url.clone(),
        given.checkpoint_dir.clone().unwrap_or(checkpoints),
        own.join("sessions"),
    );
    spark.kafka = kafka.properties.clone();
    let servers = match given.bootstrap_servers.as_str() {
        "" => kafka.bootstrap_servers.clone(),
        servers => servers.to_owned(),
    };
    spark.kafka.insert("bootstrap.servers".into(), servers);
    spark.trigger = SparkTrigger::Every(given.trigger);
    spark.records_per_batch_max = Some(given.records_per_batch_max).filter(|max| *max > 0);
    spark.value_bytes_max = settings.engine.record_bytes_max;
    spark.conf = given.conf.clone();
    spark
}

/// A pipeline file as Spark takes it; `plan` says what its tables hold.
///
/// # Errors
/// The text, which `plan` was made from, cannot be parsed.
pub(crate) fn job(file: &PipelineFile, plan: &JobPlan) -> anyhow::Result<SparkJob> {
    let pipeline = sql::parse(&file.path, &file.text)?;
    let query = |sql: &str, reads: &[Read]| SparkQuery {
        sql: sql.to_owned(),
        reads: reads
            .iter()
            .map(|read| SparkRead {
                table: read.table.clone(),
                name_at: read.name_at.clone(),
                watermark: read.watermark.clone(),
                clause_at: read.clause_at.clone(),
            })
            .collect(),
    };
    let topic = |source: &millrace_engine::plan::SourcePlan| match &source.origin {
        Origin::Topic(topic) => Ok(topic.clone()),
        Origin::Ndjson(path) => Err(anyhow!("{}: a stream from the file {path} cannot run on Spark", file.path)),
    };
    let sources =
        plan.sources.iter().map(|source| Ok(SparkSource { contract: source.contract.clone(), topic: topic(source)? }));
    let tables = pipeline.tables.iter().map(|table| {
        let planned = plan.tables.iter().find(|planned| planned.contract.name == table.name);
        let contract = planned.with_context(|| format!("table `{}` is not planned", table.name))?.contract.clone();
        Ok(SparkTable {
            topic: contract.name.clone(),
            contract,
            query: query(&table.sql, &table.reads),
            output_mode: match table.output_mode {
                OutputMode::Update => SparkOutputMode::Update,
                OutputMode::Append => SparkOutputMode::Append,
                OutputMode::Complete => SparkOutputMode::Complete,
            },
            trigger: table.trigger,
            taken_over: None,
        })
    });
    Ok(SparkJob {
        name: plan.name.clone(),
        sources: sources.collect::<anyhow::Result<_>>()?,
        views: views_read(&pipeline)
            .into_iter()
            .map(|view| SparkView { name: view.name.clone(), query: query(&view.sql, &view.reads) })
            .collect(),
        statics: pipeline
            .static_tables
            .iter()
            .map(|table| SparkStatic {
                name: table.name.clone(),
                format: table.format.clone(),
                options: table.options.clone(),
            })
            .collect(),
        tables: tables.collect::<anyhow::Result<_>>()?,
    })
}

/// The views that tables read, or views they read, in the order of the file: the streams of others are not planned.
fn views_read(pipeline: &sql::Pipeline) -> Vec<&sql::View> {
    let mut names: BTreeSet<&str> =
        pipeline.tables.iter().flat_map(|table| &table.reads).map(|read| read.table.as_str()).collect();
    // A view reads only what stands before it.
    let mut views: Vec<&sql::View> = Vec::new();
    for view in pipeline.views.iter().rev() {
        if names.contains(view.name.as_str()) {
            names.extend(view.reads.iter().map(|read| read.table.as_str()));
            views.push(view);
        }
    }
    views.reverse();
    views
}

/// What a takeover must know of a job's tables, by table: what they keep, and the column that ends their windows.
pub(crate) type Kinds = BTreeMap<String, (TableState, Option<String>)>;

/// The kinds of a job's tables.
pub(crate) fn kinds(plan: &JobPlan) -> Kinds {
    let tables = plan.tables.iter();
    tables.map(|table| (table.contract.name.clone(), (table.state, table.window_end.clone()))).collect()
}

/// Starts the thread that supervises a job on Spark.
///
/// # Errors
/// The system gives no more threads.
pub(crate) fn start(
    job: SparkJob,
    kinds: Kinds,
    spark: SparkSettings,
    kafka: ClientSettings,
    runtime: tokio::runtime::Handle,
    shutdown: Shutdown,
) -> std::io::Result<JobHandle> {
    let handle = JobHandle::spawn(job.name.clone(), move |status| {
        let name = job.name.clone();
        let tables: Vec<String> = job.tables.iter().map(|table| table.contract.name.clone()).collect();
        if let Err(error) = supervise(job, &kinds, &spark, kafka.clone(), &runtime, &shutdown, status) {
            let why = format!("{error:#}");
            tracing::error!(job = name, error = why, "the job has stopped");
            status.failed(why.clone());
            let stopped = Stopped { job: &name, backend: BACKEND, tables: &tables, why: &format!("stopped: {why}") };
            if let Err(error) = trouble::tell(&kafka, &runtime, &stopped) {
                tracing::warn!(job = name, %error, "the reason is told here alone");
            }
        }
    });
    handle.map(JobHandle::elsewhere)
}

fn supervise(
    mut job: SparkJob,
    kinds: &Kinds,
    spark: &SparkSettings,
    kafka: ClientSettings,
    runtime: &tokio::runtime::Handle,
    shutdown: &Shutdown,
    status: &Arc<JobStatus>,
) -> anyhow::Result<()> {
    // The embedded backend may still run it somewhere: from here on it cannot write.
    fence(&kafka, &job.name)?;
    let mut teller = Teller::new(&job, kafka, runtime.clone(), status.clone())?;
    for table in &mut job.tables {
        if let Some(taken_over) = teller.taken_over.get(&table.contract.name) {
            table.taken_over = Some(teller.takeover(&table.contract.name, taken_over, kinds)?);
        }
    }
    let job = &job;
    let mut trouble = None;
    // Spark goes on reading while others drain: what is stopped is what is asked to stop.
    let stop = || shutdown.asked() == Ending::Stop;
    millrace_spark::run(job, spark, &stop, &mut |event| match event {
        SparkEvent::Connected { session, version } => {
            tracing::info!(job = job.name, session, version, "connected to Spark");
        }
        SparkEvent::Started { table, taken_over } => {
            tracing::info!(job = job.name, table, taken_over, "query runs");
        }
        SparkEvent::Progress(progress) => {
            if let Err(error) = teller.tell(&progress) {
                // Progress is news, not the result: the next batch's row says all of it.
                tracing::warn!(job = job.name, error = format!("{error:#}"), "progress not told");
            }
        }
        SparkEvent::Retrying { error, .. } => trouble = Some(error),
        SparkEvent::Finished { .. } => {}
    })
    .with_context(|| match &trouble {
        Some(trouble) => format!("after {trouble}"),
        None => format!("Spark at {}", spark.url),
    })
}

/// Turns what Spark tells into progress rows and committed offsets.
struct Teller {
    modes: BTreeMap<String, SparkOutputMode>,
    last: BTreeMap<String, TableProgress>,
    taken_over: BTreeMap<String, TakenOver>,
    producer: Producer,
    cluster: Cluster,
    runtime: tokio::runtime::Handle,
    status: Arc<JobStatus>,
}

impl Teller {
    fn new(
        job: &SparkJob,
        kafka: ClientSettings,
        runtime: tokio::runtime::Handle,
        status: Arc<JobStatus>,
    ) -> anyhow::Result<Self> {
        let modes: BTreeMap<String, SparkOutputMode> =
            job.tables.iter().map(|table| (table.contract.name.clone(), table.output_mode)).collect();
        let tables: Vec<String> = modes.keys().cloned().collect();
        let mut rows = last_rows(&kafka, &runtime, &tables)?;
        let cluster = Cluster::new(&kafka, &group_of(&job.name))?;
        told_to_stop(&cluster, &runtime, rows.values().filter(|row| row.backend != BACKEND))?;
        let found = |row: &TableProgress| match row.backend.as_str() {
            BACKEND => row.taken_over.clone(),
            _ => Some(row.taken_over()),
        };
        let taken_over = rows.values().filter_map(|row| Some((row.table.clone(), found(row)?))).collect();
        // Spark reads all records from the earliest: what the other backend counted is counted again.
        rows.retain(|_, row| row.backend == BACKEND);
        let producer = Producer::new(&kafka, None)?;
        Ok(Teller { modes, last: rows, taken_over, producer, cluster, runtime, status })
    }

    /// How Spark goes on with a table that another backend ran.
    fn takeover(&self, table: &str, from: &TakenOver, kinds: &Kinds) -> anyhow::Result<SparkTakeover> {
        let offsets = from.offsets.iter().map(|at| ((at.topic.clone(), at.partition), at.offset)).collect();
        let new = match kinds.get(table) {
            Some((TableState::Nothing, _)) => SparkNew::RecordsFrom(offsets),
            Some((TableState::Windows, Some(column))) => {
                let watermark = from.watermark.map_or(0, |watermark| watermark.0);
                SparkNew::WindowsAfter { column: column.clone(), watermark }
            }
            Some((TableState::Windows, None)) => bail!(
                "table `{table}` ran on the embedded backend and does not show the end of its windows, by which Spark \
                 could tell what is new: add window.end to its columns, or leave the job where it was"
            ),
            Some((TableState::Groups, _)) | None => {
                self.everything_is_there(table, from)?;
                SparkNew::Everything
            }
        };
        Ok(SparkTakeover { epoch: from.epoch, new })
    }

    /// A running total needs every record there ever was.
    fn everything_is_there(&self, table: &str, from: &TakenOver) -> anyhow::Result<()> {
        let places: Vec<Place> = from.offsets.iter().map(|at| Place::new(at.topic.as_str(), at.partition)).collect();
        let extents = self.runtime.block_on(self.cluster.extents(&places))?;
        match extents.iter().find(|(_, extent)| extent.low > 0) {
            None => Ok(()),
            Some((place, extent)) => bail!(
                "table `{table}` has no windows: it counts all records there ever were, and the first {} of {} partition \
                 {} are gone; leave the job where it was, or put its tables with windows into a file of their own",
                extent.low,
                place.topic,
                place.partition
            ),
        }
    }

    fn tell(&mut self, progress: &SparkProgress) -> anyhow::Result<()> {
        let mode = match self.modes.get(&progress.table) {
            Some(SparkOutputMode::Append) => "append",
            Some(SparkOutputMode::Complete) => "complete",
            _ => "update",
        };
        let before = self.last.get(&progress.table);
        let mut row = progress.table_progress(mode, before, self.taken_over.get(&progress.table));
        by_topic(&mut row, progress, before);
        let value = serde_json::to_vec(&row)?;
        let outgoing = Outgoing {
            topic: "job_progress",
            partition: None,
            key: Some(row.table.as_bytes()),
            value: Some(&value),
            time: None,
        };
        self.producer.send(outgoing, PATIENCE)?;
        self.producer.flush(PATIENCE)?;
        let records = progress.sources.values().map(|counts| counts.records_in).sum::<u64>();
        if records > 0 || progress.rows_out.is_some_and(|rows| rows > 0) {
            self.status.committed(row.epoch, usize::try_from(records).unwrap_or(usize::MAX), micros(progress));
        }
        self.last.insert(row.table.clone(), row);
        if self.last.len() < self.modes.len() {
            // A table that has not told yet may be behind all that have.
            self.status.looked(1, false, Instant::now());
            return Ok(());
        }
        // The job has processed what all of its tables have.
        let mut done: HashMap<Place, i64> = HashMap::new();
        for source in self.last.values().flat_map(|row| &row.sources) {
            let next = done.entry(Place::new(source.topic.as_str(), source.partition)).or_insert(source.offset);
            *next = (*next).min(source.offset);
        }
        self.runtime.block_on(self.cluster.commit(&done))?;
        let places: Vec<Place> = done.keys().cloned().collect();
        let extents = self.runtime.block_on(self.cluster.extents(&places))?;
        let behind = |(place, next): (&Place, &i64)| extents.get(place).map_or(0, |extent| (extent.end - next).max(0));
        self.status.looked(done.iter().map(behind).sum::<i64>(), false, Instant::now());
        Ok(())
    }
}

/// Refuses to go on from rows that tell of less than their backend has done: it was killed, and its last half second would be
/// given again.
fn told_to_stop<'a>(
    cluster: &Cluster,
    runtime: &tokio::runtime::Handle,
    rows: impl Iterator<Item = &'a TableProgress>,
) -> anyhow::Result<()> {
    let told: HashMap<Place, i64> = rows
        .flat_map(|row| &row.sources)
        .map(|source| (Place::new(source.topic.as_str(), source.partition), source.offset))
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    let places: Vec<Place> = told.keys().cloned().collect();
    let committed = runtime.block_on(cluster.committed(&places))?;
    match committed.iter().find(|(place, next)| told.get(place).is_some_and(|told| *next > told)) {
        None => Ok(()),
        Some((place, next)) => bail!(
            "the embedded backend was not told to stop: it has read {} partition {} to {next} and its last row in job_progress \
             says {}; start this job with backend = \"embedded\" once more and stop it with Ctrl-C",
            place.topic,
            place.partition,
            told[place]
        ),
    }
}

fn micros(progress: &SparkProgress) -> Duration {
    Duration::from_micros(progress.batch_micros)
}

/// Spark counts by source, not by partition: a topic's counts stand with its first partition. Repeats and late rows it
/// counts by query only, so they stand in the row's own counts.
fn by_topic(row: &mut TableProgress, progress: &SparkProgress, before: Option<&TableProgress>) {
    let told = before.is_some_and(|before| before.epoch == row.epoch);
    let mut firsts: BTreeMap<String, &mut SourceProgress> = BTreeMap::new();
    for source in &mut row.sources {
        let topic = source.topic.clone();
        match firsts.get(&topic) {
            Some(first) if first.partition <= source.partition => {}
            _ => drop(firsts.insert(topic, source)),
        }
    }
    for (topic, first) in firsts {
        let earlier = before.into_iter().flat_map(|before| &before.sources).filter(|source| source.topic == topic);
        let mut counts = millrace_model::progress::RecordCounts::default();
        earlier.for_each(|source| counts.add(&source.counts));
        if let Some(batch) = progress.sources.get(&topic).filter(|_| !told) {
            counts.records_in += batch.records_in;
            counts.records_malformed += batch.records_malformed;
            counts.records_counted += batch.records_in - batch.records_malformed;
        }
        first.counts = counts;
    }
}
