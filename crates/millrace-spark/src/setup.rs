//! A job on a session: its settings, streams, static tables, views, and the query of each table.

use std::collections::BTreeMap;

use spark_connect_proto as proto;
use spark_connect_proto::write_stream_operation_start::Trigger;

use crate::connect::{RunningQuery, Session};
use crate::error::SparkError;
use crate::job::{SparkJob, SparkNew, SparkSettings, SparkSource, SparkStatic, SparkTable, SparkTrigger, query_name};
use crate::watermark::{ViewWatermark, text_for, view_watermarks};
use crate::{decode, encode, kafka, relation};

/// Settings every session needs: the SQL means the same wherever Spark runs.
const CONF: [(&str, &str); 3] = [
    ("spark.sql.session.timeZone", "UTC"),
    ("spark.sql.ansi.enabled", "true"),
    (
        "spark.sql.streaming.stateStore.providerClass",
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
    ),
];

/// Next offsets by topic and partition.
type Offsets = BTreeMap<(String, i32), i64>;

/// What can be known of a job before a server is asked.
pub(crate) struct Prepared<'a> {
    pub(crate) job: &'a SparkJob,
    settings: &'a SparkSettings,
    kafka: BTreeMap<String, String>,
    watermarks: BTreeMap<String, ViewWatermark>,
}

impl<'a> Prepared<'a> {
    /// # Errors
    /// `Invalid` for Kafka properties or watermarks Spark cannot have.
    pub(crate) fn new(job: &'a SparkJob, settings: &'a SparkSettings) -> Result<Self, SparkError> {
        let of_job = |error: SparkError| error.of_job(&job.name);
        let kafka = kafka::options(&settings.kafka).map_err(of_job)?;
        let watermarks = view_watermarks(job).map_err(of_job)?;
        Ok(Prepared { job, settings, kafka, watermarks })
    }

    /// Applies the settings of the session.
    pub(crate) fn configure(&self, session: &Session) -> Result<(), SparkError> {
        let own = self.settings.conf.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (key, value) in CONF.into_iter().chain(own) {
            session.set(key, value).map_err(|error| error.of_job(&self.job.name))?;
        }
        Ok(())
    }

    /// Creates everything statements may name, and hands each failure to `failed`, which says whether to go on.
    pub(crate) fn create_views(
        &self,
        session: &Session,
        failed: impl FnMut(SparkError) -> Result<(), SparkError>,
    ) -> Result<(), SparkError> {
        self.create_views_from(session, None, failed)
    }

    /// The same; rows of records before these offsets do not come out of the streams.
    fn create_views_from(
        &self,
        session: &Session,
        from: Option<&Offsets>,
        mut failed: impl FnMut(SparkError) -> Result<(), SparkError>,
    ) -> Result<(), SparkError> {
        let job = self.job;
        let mut created = |name: &str, result: Result<(), SparkError>| match result {
            Ok(()) => Ok(()),
            Err(error) => failed(error.of_job(&job.name).of_table(name)),
        };
        for source in &job.sources {
            let name = &source.contract.name;
            created(name, session.create_view(name, self.source(source, from)))?;
        }
        for table in &job.statics {
            created(&table.name, session.run_sql(&static_view(table)))?;
        }
        for view in &job.views {
            let text = text_for(&view.query, &self.watermarks);
            created(&view.name, session.create_view(&view.name, relation::sql(&text)))?;
        }
        Ok(())
    }

    /// Starts the query of a table. The views must be there; they are as before when this returns.
    pub(crate) fn start(&self, session: &Session, table: &SparkTable) -> Result<RunningQuery, SparkError> {
        let of_table = |error: SparkError| error.of_table(&table.contract.name);
        match table.taken_over.as_ref().map(|taken_over| &taken_over.new) {
            // A query keeps the views it was started over.
            Some(SparkNew::RecordsFrom(offsets)) => {
                self.create_views_from(session, Some(offsets), Err)?;
                let started = session.start(self.query(table)).map_err(of_table);
                self.create_views(session, Err)?;
                started
            }
            _ => session.start(self.query(table)).map_err(of_table),
        }
    }

    fn source(&self, source: &SparkSource, from: Option<&Offsets>) -> proto::Relation {
        let settings = self.settings;
        let mut options = self.kafka.clone();
        options.insert("subscribe".into(), source.topic.clone());
        options.insert("startingOffsets".into(), "earliest".into());
        options.insert("failOnDataLoss".into(), settings.fail_on_data_loss.to_string());
        // Rows of our other backend come in transactions; those that were aborted are none.
        options.insert("kafka.isolation.level".into(), "read_committed".into());
        if let Some(records) = settings.records_per_batch_max {
            options.insert("maxOffsetsPerTrigger".into(), records.to_string());
        }
        let contract = &source.contract;
        let stages = match from {
            None => decode::stages(contract, self.limits()),
            Some(_) => decode::stages_with_place(contract, self.limits()),
        };
        let mut stream =
            stages.iter().fold(relation::stream("kafka", &options), |input, stage| relation::project(input, stage));
        let malformed = format!("count_if(NOT {}) AS malformed", decode::GOOD);
        stream = relation::observe(stream, &contract.name, &["count(*) AS records", &malformed]);
        stream = relation::filter(stream, decode::GOOD);
        let mut columns = decode::columns(contract);
        if from.is_some() {
            columns.extend(decode::PLACE.map(str::to_owned));
        }
        stream = relation::project(stream, &columns);
        if let Some((column, delay)) = self.watermarks.get(&contract.name) {
            stream = relation::with_watermark(stream, column, *delay);
            stream = relation::deduplicate(stream, &contract.deduplicate_by);
        }
        if let Some(from) = from {
            // Only now: a repeat is one of a record before them, too.
            stream = relation::filter(stream, &is_new(&source.topic, from));
            let names: Vec<String> = contract.columns.iter().map(|column| decode::quoted(&column.name)).collect();
            stream = relation::project(stream, &names);
        }
        stream
    }

    /// The rows of a table.
    pub(crate) fn rows(&self, table: &SparkTable) -> proto::Relation {
        let rows = relation::sql(&text_for(&table.query, &self.watermarks));
        match table.taken_over.as_ref().map(|taken_over| &taken_over.new) {
            Some(SparkNew::WindowsAfter { column, watermark }) => {
                relation::filter(rows, &ends_after(column, *watermark))
            }
            _ => rows,
        }
    }

    /// Folder of a table's checkpoint.
    fn checkpoint(&self, table: &SparkTable) -> String {
        let folder = self.settings.checkpoint_dir.trim_end_matches('/');
        let name = format!("{folder}/{}/{}", self.job.name, table.contract.name);
        match &table.taken_over {
            Some(taken_over) => format!("{name}-after-{}", taken_over.epoch),
            None => name,
        }
    }

    /// The streaming query of a table.
    pub(crate) fn query(&self, table: &SparkTable) -> proto::WriteStreamOperationStart {
        let settings = self.settings;
        let name = &table.contract.name;
        let mut options = self.kafka.clone();
        options.insert("topic".into(), table.topic.clone());
        options.insert("checkpointLocation".into(), self.checkpoint(table));
        let trigger = match (settings.trigger, table.trigger) {
            (SparkTrigger::AvailableNow, _) => Trigger::AvailableNow(true),
            (SparkTrigger::Every(_), Some(own)) => every(own),
            (SparkTrigger::Every(usual), None) => every(usual),
        };
        proto::WriteStreamOperationStart {
            input: Some(relation::project(self.rows(table), &encode::record(&table.contract))),
            format: "kafka".into(),
            options: options.into_iter().collect(),
            trigger: Some(trigger),
            output_mode: table.output_mode.name().into(),
            query_name: query_name(&self.job.name, name),
            ..Default::default()
        }
    }

    /// The same rows in the same mode under another name, to nowhere: what [`check()`](crate::check()) asks Spark to judge.
    pub(crate) fn trial(&self, table: &SparkTable, name: &str) -> proto::WriteStreamOperationStart {
        nowhere(self.rows(table), table.output_mode.name(), name)
    }

    /// A number that changes with whatever the query of a table is made of, secrets apart: those a query is started
    /// again with when the old ones have failed it.
    pub(crate) fn fingerprint(&self, table: &SparkTable) -> u64 {
        let settings = self.settings;
        let sources: Vec<_> = self
            .job
            .sources
            .iter()
            .map(|source| {
                let contract = &source.contract;
                let read = (decode::stages(contract, self.limits()), decode::columns(contract));
                let repeats = (self.watermarks.get(&contract.name), &contract.deduplicate_by);
                (&contract.name, &source.topic, read, repeats)
            })
            .collect();
        let views: Vec<_> =
            self.job.views.iter().map(|view| (&view.name, text_for(&view.query, &self.watermarks))).collect();
        let statics: Vec<String> = self
            .job
            .statics
            .iter()
            .map(|table| {
                let options = table.options.iter().filter(|(name, _)| is_open(name));
                let options = options.map(|(name, value)| (name.clone(), value.clone())).collect();
                static_view(&SparkStatic { options, ..table.clone() })
            })
            .collect();
        let rows = (text_for(&table.query, &self.watermarks), encode::record(&table.contract), &table.topic);
        let run = (table.output_mode.name(), settings.trigger, table.trigger, &settings.checkpoint_dir);
        let reading = (settings.records_per_batch_max, settings.fail_on_data_loss);
        let kafka: Vec<_> = self.kafka.iter().filter(|(name, _)| is_open(name)).collect();
        let own = (&settings.conf, &table.taken_over);
        fnv(&format!("{:?}", (sources, views, statics, rows, run, reading, kafka, CONF, own)))
    }

    fn limits(&self) -> decode::Limits {
        decode::Limits {
            value_bytes_max: self.settings.value_bytes_max,
            depth_max: self.settings.depth_max,
            future_micros_max: self.settings.future_micros_max,
        }
    }
}

/// The row is of a record from these offsets on; a partition they do not name is new.
fn is_new(topic: &str, from: &Offsets) -> String {
    let [partition, offset] = decode::PLACE;
    let of_topic = from.iter().filter(|((of, _), _)| of == topic);
    let cases: Vec<String> = of_topic.map(|((_, number), next)| format!("WHEN {number} THEN {next}")).collect();
    match cases.is_empty() {
        true => "true".to_owned(),
        false => format!("{offset} >= CASE {partition} {} ELSE 0 END", cases.join(" ")),
    }
}

/// The row's window ends after a watermark. The call that changes nothing keeps Spark from testing the parts of a session
/// window before it has put them together. (`rand() < 0` would not: Spark 4.2 knows that it is never true.)
fn ends_after(column: &str, watermark: i64) -> String {
    let column = decode::quoted(column);
    format!("IF(spark_partition_id() < 0, false, {column} IS NULL OR {column} > timestamp_micros({watermark}L))")
}

/// An option of this name holds no secret.
fn is_open(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !["password", "jaas", "secret", "token"].iter().any(|word| name.contains(word))
}

/// A query that writes nothing.
pub(crate) fn nowhere(input: proto::Relation, output_mode: &str, name: &str) -> proto::WriteStreamOperationStart {
    proto::WriteStreamOperationStart {
        input: Some(input),
        format: "noop".into(),
        output_mode: output_mode.into(),
        query_name: name.into(),
        trigger: Some(every(std::time::Duration::from_secs(3_600))),
        ..Default::default()
    }
}

fn every(interval: std::time::Duration) -> Trigger {
    Trigger::ProcessingTimeInterval(format!("{} milliseconds", interval.as_millis().max(1)))
}

/// `CREATE TEMPORARY VIEW … USING …`, as the file has it.
fn static_view(table: &SparkStatic) -> String {
    // When it is read again is Spark's affair: with every batch.
    let options = table.options.iter().filter(|(name, _)| *name != "refresh");
    let options: Vec<String> =
        options.map(|(name, value)| format!("{} {}", decode::literal(name), decode::literal(value))).collect();
    let (name, format) = (decode::quoted(&table.name), &table.format);
    format!("CREATE OR REPLACE TEMPORARY VIEW {name} USING {format} OPTIONS ({})", options.join(", "))
}

/// FNV-1a, 64 bits: the same in every build, unlike the standard library's hasher.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_after_a_takeover() {
        let from = BTreeMap::from([(("a".to_owned(), 0), 7), (("a".to_owned(), 2), 0), (("b".to_owned(), 0), 9)]);
        assert_eq!(
            is_new("a", &from),
            "_millrace_offset >= CASE _millrace_partition WHEN 0 THEN 7 WHEN 2 THEN 0 ELSE 0 END"
        );
        assert_eq!(is_new("c", &from), "true");
        assert!(ends_after("window_end", 5).ends_with("`window_end` IS NULL OR `window_end` > timestamp_micros(5L))"));
    }
    use crate::job::{SparkOutputMode, SparkQuery, SparkView};

    #[test]
    fn static_views_keep_their_options() {
        let options = [("header", "true"), ("path", "it's.csv"), ("refresh", "60s")];
        let table = SparkStatic {
            name: "prices".into(),
            format: "csv".into(),
            options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        assert_eq!(
            static_view(&table),
            r"CREATE OR REPLACE TEMPORARY VIEW `prices` USING csv OPTIONS ('header' 'true', 'path' 'it\'s.csv')"
        );
    }

    fn job() -> SparkJob {
        let contract = |name: &str| millrace_model::Contracts::builtin().get(name).expect("shipped").clone();
        let query = |sql: &str| SparkQuery { sql: sql.into(), reads: Vec::new() };
        let options = BTreeMap::from([("path".to_owned(), "a.csv".to_owned()), ("password".into(), "old".into())]);
        SparkJob {
            name: "test".into(),
            sources: vec![SparkSource { contract: contract("transactions"), topic: "transactions".into() }],
            views: vec![SparkView { name: "v".into(), query: query("SELECT 1") }],
            statics: vec![SparkStatic { name: "s".into(), format: "csv".into(), options }],
            tables: vec![SparkTable {
                contract: contract("dead_letters"),
                topic: "out".into(),
                query: query("SELECT 2"),
                output_mode: SparkOutputMode::Update,
                trigger: None,
                taken_over: None,
            }],
        }
    }

    fn fingerprint_of(change: impl FnOnce(&mut SparkJob, &mut SparkSettings)) -> u64 {
        let (mut job, mut settings) = (job(), SparkSettings::new("sc://a:1", "/checkpoints", "/sessions"));
        settings.kafka = BTreeMap::from([("bootstrap.servers".to_owned(), "a:1".to_owned())]);
        change(&mut job, &mut settings);
        Prepared::new(&job, &settings).expect("a job").fingerprint(&job.tables[0])
    }

    #[test]
    fn the_fingerprint_tells_what_is_to_run_from_what_runs() {
        let before = fingerprint_of(|_, _| {});
        let mut all = std::collections::BTreeSet::from([before]);
        let mut differs = |change: fn(&mut SparkJob, &mut SparkSettings)| {
            assert!(all.insert(fingerprint_of(change)), "change {} is not seen", all.len());
        };
        differs(|job, _| job.tables[0].query.sql.push(' '));
        differs(|job, _| job.tables[0].topic.push('2'));
        differs(|job, _| job.tables[0].contract.key.clear());
        differs(|job, _| job.tables[0].output_mode = SparkOutputMode::Append);
        differs(|job, _| job.tables[0].trigger = Some(std::time::Duration::from_secs(5)));
        differs(|job, _| job.views[0].query.sql.push(' '));
        differs(|job, _| job.sources[0].topic.push('2'));
        differs(|job, _| drop(job.sources[0].contract.columns.pop()));
        differs(|job, _| job.sources[0].contract.deduplicate_by.clear());
        differs(|job, _| job.sources[0].contract.watermark_delay_micros += 1);
        differs(|job, _| drop(job.statics[0].options.insert("path".into(), "b.csv".into())));
        differs(|job, _| job.statics[0].format = "parquet".into());
        differs(|_, settings| drop(settings.conf.insert("spark.sql.shuffle.partitions".into(), "4".into())));
        differs(|_, settings| drop(settings.kafka.insert("bootstrap.servers".into(), "b:1".into())));
        differs(|_, settings| settings.trigger = SparkTrigger::AvailableNow);
        differs(|_, settings| settings.records_per_batch_max = Some(7));
        differs(|_, settings| settings.checkpoint_dir.push('2'));
        differs(|_, settings| settings.depth_max += 1);
        differs(|_, settings| settings.fail_on_data_loss = false);
    }

    #[test]
    fn the_fingerprint_is_the_same_for_the_same_query() {
        let before = fingerprint_of(|_, _| {});
        assert_eq!(before, fingerprint_of(|_, _| {}));
        let same = [
            fingerprint_of(|job, _| drop(job.statics[0].options.insert("password".into(), "new".into()))),
            fingerprint_of(|_, settings| settings.poll_interval *= 2),
            fingerprint_of(|_, settings| settings.url.push_str("/;token=new")),
        ];
        assert_eq!(same, [before; 3]);
    }
}
