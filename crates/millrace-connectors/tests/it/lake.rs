//! The lake: every record once, whatever crashes, with its bytes and what is wrong with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_connectors::kafka::{ClientSettings, topics};
use millrace_connectors::lake::{self, LakeLimits, LakeSettings};
use millrace_connectors::sink::{SinkReport, SinkStats};
use millrace_connectors::{Ending, Shutdown, shutdown};
use millrace_model::time::HOUR_MICROS;
use millrace_model::{Classified, Contract, Contracts, ErrorKind, Timestamp};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{Broker, PATIENCE, broker, unique};

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
        let settings = LakeSettings { limits, ..LakeSettings::new(self.broker.settings.clone(), self.lake()) };
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
    fn check(&self, records: usize, malformed: usize) {
        let (places, wrong) = self.rows();
        assert_eq!(places.len(), records);
        assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), records, "a place is there twice");
        assert_eq!(wrong, malformed);
        let found = lake::inspect(&self.lake()).expect("footers");
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
    bench.check(1_000, 20);
    let again = bench.drain().await.expect("nothing new");
    assert_eq!(again.records_read, 0);
    produce(&bench.broker.settings, &bench.contract.name, 1_000..1_100).await;
    bench.drain().await.expect("drained");
    bench.check(1_100, 22);
    let hour = bench.lake().join(&bench.contract.name).join("date=2026-01-31/hour=13");
    assert!(hour.is_dir(), "{}", hour.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_batch_left_is_not_counted_twice() {
    let bench = Bench::new("left").await;
    produce(&bench.broker.settings, &bench.contract.name, 0..300).await;
    bench.drain().await.expect("drained");
    // As a crash between the files and the commit leaves it: files of offsets that are not committed.
    let next = lake::inspect(&bench.lake()).expect("footers")[&bench.contract.name].next_offsets.clone();
    for (partition, next) in next {
        let some = parquet_files(&bench.lake()).into_iter().next().expect("a file");
        let name = format!("p{partition:05}-{next:012}-{:012}.parquet", next + 4);
        std::fs::copy(&some, some.with_file_name(&name)).expect("a left-over file");
        std::fs::write(some.with_file_name(format!("{name}#1")), "half").expect("a staged file");
    }
    produce(&bench.broker.settings, &bench.contract.name, 300..400).await;
    bench.drain().await.expect("drained");
    bench.check(400, 8);
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
    bench.check(20_000, 400);
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
    // Files, but no committed offset.
    std::fs::rename(&topic, other.lake().join(&other.contract.name)).expect("moved");
    let why = other.drain().await.expect_err("it cannot know what is archived");
    assert!(why.contains("has no committed offset"), "{why}");
    assert!(!parquet_files(&other.lake()).is_empty());
}
