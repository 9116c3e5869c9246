//! The lake: every record once, whatever crashes, with its bytes and what is wrong with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::{ClientSettings, topics};
use millrace_connectors::lake::{self, LakeLimits, LakeSettings, MergeSettings};
use millrace_connectors::sink::{SinkError, SinkReport, SinkStats};
use millrace_connectors::testing::objects;
use millrace_connectors::{Ending, Shutdown, ShutdownSwitch, shutdown};
use millrace_model::time::HOUR_MICROS;
use millrace_model::{Classified, Contract, Contracts, ErrorKind, Timestamp};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::task::JoinHandle;

use crate::support::{Broker, PATIENCE, broker, eventually, unique};

/// What is written stays as it is.
const NEVER: MergeSettings = MergeSettings { after: Duration::MAX, every: Duration::from_secs(3_600) };

struct Bench {
    broker: Broker,
    contract: Contract,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new(name: &str) -> Bench {
        let broker = broker().await;
        let mut contract = Contracts::builtin().get("inventory_updates").expect("it ships").clone();
        contract.name = unique(name);
        contract.topic.partitions = 3;
        topics::ensure(&broker.settings, std::slice::from_ref(&contract), None).await.expect("topics");
        Bench { broker, contract, folder: tempfile::tempdir().expect("a folder") }
    }

    fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    async fn run(&self, limits: LakeLimits, stats: SinkStats, ending: Shutdown) -> Result<SinkReport, String> {
        let settings = LakeSettings::new(self.broker.settings.clone(), self.lake());
        let settings = LakeSettings { limits, merge: NEVER, ..settings };
        let run = lake::run(settings, vec![self.contract.clone()], stats, ending);
        tokio::time::timeout(PATIENCE, run).await.expect("in time").map_err(|e| {
            assert_eq!(e.kind(), ErrorKind::Invalid);
            e.to_string()
        })
    }

    async fn drain(&self) -> Result<SinkReport, String> {
        let (switch, ending) = shutdown();
        switch.ask(Ending::Drain);
        self.run(LakeLimits::default(), SinkStats::default(), ending).await
    }

    /// An archiver that shares the partitions with others of its kind, and what it has done.
    fn share(&self, switch: &ShutdownSwitch) -> (JoinHandle<Result<SinkReport, SinkError>>, SinkStats) {
        let limits = LakeLimits { rows_max: 50, wait_ms_max: 100, ..LakeLimits::default() };
        let settings = LakeSettings::new(self.broker.settings.clone(), self.lake());
        let settings = LakeSettings { limits, shared: true, ..settings };
        let stats = SinkStats::default();
        let run = lake::run(settings, vec![self.contract.clone()], stats.clone(), switch.subscribe());
        (tokio::spawn(run), stats)
    }

    /// Partition and offset of every row in the lake, and how many rows say what is wrong with them.
    fn rows(&self) -> (Vec<(i32, i64)>, usize) {
        let mut places = Vec::new();
        let mut wrong = 0;
        for path in parquet_files(&self.lake()) {
            let file = std::fs::File::open(&path).expect("a file");
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("a reader") {
                let batch = batch.expect("rows");
                let partitions = batch.column_by_name("_partition").expect("a column").as_primitive::<Int32Type>();
                let offsets = batch.column_by_name("_offset").expect("a column").as_primitive::<Int64Type>();
                places.extend(partitions.values().iter().copied().zip(offsets.values().iter().copied()));
                let errors = batch.column_by_name("_error").expect("a column");
                wrong += errors.len() - errors.null_count();
            }
        }
        places.sort_unstable();
        (places, wrong)
    }

    /// Every record once: as many rows as records, no place twice, and the footers say the same.
    async fn check(&self, records: usize, malformed: usize) {
        let (places, wrong) = self.rows();
        assert_eq!(places.len(), records);
        assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), records, "a place is there twice");
        assert_eq!(wrong, malformed);
        let found = lake::inspect(&self.lake()).await.expect("footers");
        assert_eq!(found[&self.contract.name].rows, records as u64);
        assert_eq!(found[&self.contract.name].next_offsets.values().sum::<i64>(), records as i64);
    }
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
    files
}

/// Records `range`, four hours of event time in every hundred; every fiftieth is no JSON.
async fn produce(settings: &ClientSettings, topic: &str, range: std::ops::Range<i64>) {
    let (settings, topic) = (settings.clone(), topic.to_owned());
    tokio::task::spawn_blocking(move || {
        let producer = Producer::new(&settings, None).expect("a producer");
        let noon = Timestamp::parse(b"2026-01-31T12:00:00Z").expect("a time");
        for at in range {
            let time = Timestamp(noon.0 + at % 4 * HOUR_MICROS);
            let key = format!("p{at}");
            let value = if at % 50 == 7 {
                "{".to_owned()
            } else {
                format!(
                    r#"{{"event_id":"{at}","event_type":"restocked","event_time":"{time}","product_id":"{key}","on_hand_change":1,"reserved_change":0}}"#
                )
            };
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            let record = Outgoing { topic: &topic, partition: None, key, value, time: Some(Timestamp(noon.0 + 3 * HOUR_MICROS + at)) };
            producer.send(record, PATIENCE).expect("sent");
        }
        producer.flush(PATIENCE).expect("acknowledged");
    })
    .await
    .expect("the producer's thread");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_topic_is_in_the_lake() {
    let bench = Bench::new("lake").await;
    produce(&bench.broker.settings, &bench.contract.name, 0..1_000).await;
    let report = bench.drain().await.expect("drained");
    assert_eq!((report.records_read, report.rows_written), (1_000, 1_000));
    bench.check(1_000, 20).await;
    let again = bench.drain().await.expect("nothing new");
    assert_eq!(again.records_read, 0);
    produce(&bench.broker.settings, &bench.contract.name, 1_000..1_100).await;
    bench.drain().await.expect("drained");
    bench.check(1_100, 22).await;
    let hour = bench.lake().join(&bench.contract.name).join("date=2026-01-31/hour=13");
    assert!(hour.is_dir(), "{}", hour.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_batch_left_is_not_counted_twice() {
    let bench = Bench::new("left").await;
    produce(&bench.broker.settings, &bench.contract.name, 0..300).await;
    bench.drain().await.expect("drained");
    // As a crash between the files and the commit leaves it: files of offsets that are not committed.
    let next = lake::inspect(&bench.lake()).await.expect("footers")[&bench.contract.name].next_offsets.clone();
    for (partition, next) in next {
        let some = parquet_files(&bench.lake()).into_iter().next().expect("a file");
        let name = format!("p{partition:05}-{next:012}-{:012}.parquet", next + 4);
        std::fs::copy(&some, some.with_file_name(&name)).expect("a left-over file");
    }
    produce(&bench.broker.settings, &bench.contract.name, 300..400).await;
    bench.drain().await.expect("drained");
    bench.check(400, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archiver_that_is_killed_again_and_again_counts_nothing_twice() {
    let bench = Bench::new("killed").await;
    let producing = produce(&bench.broker.settings, &bench.contract.name, 0..20_000);
    let limits = LakeLimits { rows_max: 700, ..LakeLimits::default() };
    let killing = async {
        let mut flushes = 0;
        for life in 0..8_u64 {
            let (_switch, ending) = shutdown();
            let stats = SinkStats::default();
            let lived = tokio::select! {
                lived = bench.run(limits, stats.clone(), ending) => Some(lived),
                // Each dies at another point of its work.
                () = tokio::time::sleep(Duration::from_millis(150 + 37 * life)) => None,
            };
            assert!(lived.is_none(), "{lived:?}");
            flushes += stats.snapshot().batches;
        }
        flushes
    };
    let ((), flushes) = tokio::join!(producing, killing);
    println!("{flushes} flushes in eight lives");
    bench.drain().await.expect("drained");
    bench.check(20_000, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn archivers_share_the_partitions_and_one_is_cut_off() {
    let bench = Bench::new("shared").await;
    let (switch, _) = shutdown();
    let ((first, first_stats), (second, second_stats)) = (bench.share(&switch), bench.share(&switch));
    let mut produced = 0;
    eventually("both of them write", async || {
        produce(&bench.broker.settings, &bench.contract.name, produced..produced + 200).await;
        produced += 200;
        first_stats.snapshot().rows_written > 0 && second_stats.snapshot().rows_written > 0
    })
    .await;
    // While it writes, without a word to anyone.
    produce(&bench.broker.settings, &bench.contract.name, produced..produced + 1_000).await;
    first.abort();
    produced += 1_000;
    produce(&bench.broker.settings, &bench.contract.name, produced..produced + 300).await;
    produced += 300;
    let (third, third_stats) = bench.share(&switch);
    eventually("the new one writes too", async || {
        produce(&bench.broker.settings, &bench.contract.name, produced..produced + 100).await;
        produced += 100;
        third_stats.snapshot().rows_written > 0
    })
    .await;
    eventually("the lake has everything", async || {
        let found = lake::inspect(&bench.lake()).await.expect("footers");
        found[&bench.contract.name].rows == produced as u64
    })
    .await;
    switch.ask(Ending::Drain);
    for archiver in [second, third] {
        tokio::time::timeout(PATIENCE, archiver).await.expect("in time").expect("a task").expect("drained");
    }
    bench.check(produced as usize, produced as usize / 50).await;
}

/// A batch that was claimed by a process that died is written by the next as it was claimed, whatever of it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_batch_is_written_as_it_was_claimed() {
    let bench = Bench::new("claimed").await;
    let name = &bench.contract.name;
    produce(&bench.broker.settings, name, 0..300).await;
    bench.drain().await.expect("drained");
    let next = lake::inspect(&bench.lake()).await.expect("footers")[name].next_offsets.clone();
    produce(&bench.broker.settings, name, 300..600).await;
    // As it is left between the claim and the files: of one partition nothing, of another a file with the rows of the claim.
    for (partition, next) in &next {
        let claim = format!("{{\"from\":{next},\"next\":{},\"writer\":\"another\"}}", next + 10);
        let path = bench.lake().join(format!("_claims/{name}/p{partition:05}-{next:012}.json"));
        std::fs::write(path, claim).expect("a claim");
    }
    let some = parquet_files(&bench.lake().join(name)).into_iter().next().expect("a file");
    let half = some.with_file_name(format!("p00001-{:012}-{:012}.parquet", next[&1], next[&1] + 9));
    std::fs::copy(&some, half).expect("a file of the batch, with other rows");
    let report = bench.drain().await.expect("drained");
    assert_eq!(report.records_read, 270, "30 records were of the claimed batches");
    bench.check(600, 12).await;
    let has_edge = |partition: i32, edge: i64| {
        let names = parquet_files(&bench.lake().join(name)).into_iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_prefix(&format!("p{partition:05}-"))?.to_owned();
            Some((name[..12].parse::<i64>().ok()?, name[13..25].parse::<i64>().ok()?))
        });
        names.into_iter().all(|(first, last)| last < edge || first >= edge)
    };
    for (partition, next) in next {
        assert!(has_edge(partition, next + 10), "a file of partition {partition} crosses the end of the claim");
    }
}

/// Small files become few while others ask; every answer is the same, before, meanwhile and after, also of DuckDB and pandas.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "slow suite: fetches DuckDB, pandas and pyarrow"]
async fn merging_changes_no_answer() {
    let bench = Bench::new("merged").await;
    let name = &bench.contract.name;
    for batch in 0..8 {
        produce(&bench.broker.settings, name, batch * 250..(batch + 1) * 250).await;
        bench.drain().await.expect("drained");
    }
    let before = parquet_files(&bench.lake().join(name)).len();
    let told = by_others(&bench.lake().join(name));
    assert!(told.contains("2000 40 1999000 1960"), "{told}");
    let (switch, ending) = shutdown();
    let merge = MergeSettings { after: Duration::ZERO, every: Duration::from_millis(20) };
    let settings = LakeSettings { merge, ..LakeSettings::new(bench.broker.settings.clone(), bench.lake()) };
    let merging = tokio::spawn(lake::run(settings, vec![bench.contract.clone()], SinkStats::default(), ending));
    let mut looks = 0;
    eventually("the files are few", async || {
        let found = lake::inspect(&bench.lake()).await.expect("footers");
        assert_eq!(found[name].rows, 2_000, "look {looks}");
        looks += 1;
        // Three partitions, four hours each.
        found[name].files == 12 && parquet_files(&bench.lake().join(name)).len() == 12
    })
    .await;
    println!("{before} files became 12; {looks} looks meanwhile");
    assert!(before > 60, "{before}");
    assert_eq!(by_others(&bench.lake().join(name)), told);
    produce(&bench.broker.settings, name, 2_000..2_100).await;
    switch.ask(Ending::Drain);
    tokio::time::timeout(PATIENCE, merging).await.expect("in time").expect("a task").expect("drained");
    bench.check(2_100, 42).await;

    // As a crash between the merged file and the deletion leaves it, or as somebody finds it who looks in that moment.
    let merged = parquet_files(&bench.lake().join(name))
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('q')));
    let merged = merged.expect("a merged file");
    let text = merged.file_name().expect("a name").to_string_lossy().replacen('q', "p", 1);
    let left = merged.with_file_name(text);
    std::fs::copy(&merged, &left).expect("a left-over file");
    assert_eq!(lake::inspect(&bench.lake()).await.expect("footers")[name].rows, 2_100);
    let (switch, ending) = shutdown();
    let settings = LakeSettings { merge, ..LakeSettings::new(bench.broker.settings.clone(), bench.lake()) };
    let merging = tokio::spawn(lake::run(settings, vec![bench.contract.clone()], SinkStats::default(), ending));
    eventually("it is gone", async || !left.exists()).await;
    switch.ask(Ending::Stop);
    merging.await.expect("a task").expect("stopped");
    bench.check(2_100, 42).await;
}

/// Rows, rows with an error, sum of the event ids, and rows that keep the contract, as DuckDB and pandas count them.
fn by_others(topic: &Path) -> String {
    let script = "
import sys, duckdb, pandas
glob = sys.argv[1] + '/**/*.parquet'
sql = 'SELECT count(*), count(_error), count(event_id) FROM read_parquet(?, hive_partitioning = true)'
rows, errors, good = duckdb.execute(sql, [glob]).fetchone()
frame = pandas.read_parquet(sys.argv[1])
assert (len(frame), frame['_error'].count()) == (rows, errors), (len(frame), rows)
assert set(frame.columns) >= {'date', 'hour', '_raw', '_offset'}, frame.columns
bad = sum(7 + 50 * n for n in range(errors))
print(rows, errors, int(frame['event_id'].dropna().astype(int).sum()) + bad, good)
";
    objects::run(script, &[topic.to_str().expect("a path")], &[]).expect("DuckDB and pandas read it")
}

#[tokio::test(flavor = "multi_thread")]
async fn contradictions_are_left_to_a_person() {
    let bench = Bench::new("contradict").await;
    produce(&bench.broker.settings, &bench.contract.name, 0..100).await;
    bench.drain().await.expect("drained");
    let topic = bench.lake().join(&bench.contract.name);
    let some = parquet_files(&topic).into_iter().next().expect("a file");
    let far = some.with_file_name("p00000-000000000000-000099999999.parquet");
    std::fs::copy(&some, &far).expect("a file of many offsets");
    // Its first offset is before the committed one: it is history, whatever it says.
    bench.drain().await.expect("nothing to do");
    assert!(far.exists());
    let mut contract = bench.contract.clone();
    contract.name = unique("contradict");
    let other = Bench { contract, ..bench };
    topics::ensure(&other.broker.settings, std::slice::from_ref(&other.contract), None).await.expect("topics");
    // Files, but neither claim nor committed offset.
    std::fs::rename(&topic, other.lake().join(&other.contract.name)).expect("moved");
    let why = other.drain().await.expect_err("it cannot know what is archived");
    assert!(why.contains("has no committed offset"), "{why}");
    assert!(!parquet_files(&other.lake()).is_empty());
}
