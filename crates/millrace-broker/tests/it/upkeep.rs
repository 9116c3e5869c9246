//! What the broker does on its own and what time does to records: retention, compaction, look-ups by time, stamps.

use crate::support::*;
use millrace_broker::{Broker, Clock};
use rdkafka::consumer::Consumer;
use rdkafka::producer::{BaseRecord, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A clock that a test moves.
#[derive(Debug)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

const NOON_MS: i64 = 1_700_000_000_000;

async fn start() -> (TestBroker, Arc<HandClock>) {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(HandClock(AtomicI64::new(NOON_MS)));
    let mut settings = settings(dir.path());
    settings.maintenance_interval_ms = 50;
    let broker = Broker::start_with_clock(settings, clock.clone()).await.unwrap();
    (TestBroker { broker, dir }, clock)
}

fn first_offset(servers: &str, topic: &str) -> i64 {
    consumer(servers, "watermarks", &[]).fetch_watermarks(topic, 0, PATIENCE).unwrap().0
}

#[test]
fn records_are_found_by_time_whatever_their_codec() {
    run(async {
        let broker = TestBroker::start().await;
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let topic = format!("times-{codec}");
            create_topic(&broker.servers(), &topic, 1, &[]).await;
            // A long linger puts many records into one batch.
            let sender = base_producer(&broker.servers(), &[("compression.codec", codec), ("linger.ms", "500")]);
            for n in 0..100 {
                let record =
                    BaseRecord::to(&topic).key("k").payload("some value that repeats").timestamp(NOON_MS + n * 10);
                sender.send(record).map_err(|(e, _)| e).unwrap();
            }
            sender.flush(PATIENCE).unwrap();
            let reader = consumer(&broker.servers(), "g", &[]);
            let at = |time_ms: i64| {
                let mut asked = TopicPartitionList::new();
                asked.add_partition_offset(&topic, 0, Offset::Offset(time_ms)).unwrap();
                reader.offsets_for_times(asked, PATIENCE).unwrap().find_partition(&topic, 0).unwrap().offset()
            };
            assert_eq!(at(0), Offset::Offset(0), "{codec}");
            assert_eq!(at(NOON_MS + 500), Offset::Offset(50), "{codec}");
            assert_eq!(at(NOON_MS + 501), Offset::Offset(51), "{codec}");
            assert_eq!(at(NOON_MS + 990), Offset::Offset(99), "{codec}");
            assert_eq!(at(NOON_MS + 991), Offset::End, "{codec}: after the last");
        }
    });
}

#[test]
fn old_records_go_when_their_time_has_come() {
    run(async {
        let (broker, clock) = start().await;
        let servers = broker.servers();
        create_topic(&servers, "t", 1, &[("retention.ms", "60000"), ("segment.bytes", "2000")]).await;
        let sender = producer(&servers, &[("linger.ms", "0")]);
        let value = "x".repeat(500);
        for n in 0..20 {
            let record = FutureRecord::<(), _>::to("t").payload(&value).timestamp(NOON_MS + n * 1_000);
            sender.send(record, PATIENCE).await.unwrap();
        }
        assert_eq!(first_offset(&servers, "t"), 0);
        clock.0.fetch_add(70_500, Ordering::SeqCst);
        wait_until("the first half went", || (6..=10).contains(&first_offset(&servers, "t")));
        clock.0.fetch_add(60_000, Ordering::SeqCst);
        wait_until("the rest went", || first_offset(&servers, "t") == 20);
        assert!(broker.broker.stats().log_bytes == 0);
    });
}

#[test]
fn a_compacted_topic_keeps_the_latest_value_of_each_key() {
    run(async {
        let (broker, clock) = start().await;
        let servers = broker.servers();
        let configs = [
            ("cleanup.policy", "compact"),
            ("segment.bytes", "20000"),
            ("delete.retention.ms", "60000"),
            ("segment.ms", "30000"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ];
        create_topic(&servers, "t", 1, &configs).await;
        let sender =
            base_producer(&servers, &[("linger.ms", "1"), ("batch.size", "2000"), ("compression.codec", "lz4")]);
        let mut expected = BTreeMap::new();
        for n in 0..20_000 {
            let (key, value) = (format!("key-{}", n % 100), format!("value-{n}"));
            let record = BaseRecord::to("t").key(&key).payload(&value).timestamp(NOON_MS);
            sender.send(record).map_err(|(e, _)| e).unwrap();
            expected.insert(key, Some(value));
        }
        for n in 0..50 {
            let key = format!("key-{n}");
            sender.send(BaseRecord::<_, str>::to("t").key(&key).timestamp(NOON_MS)).map_err(|(e, _)| e).unwrap();
            expected.insert(key, None);
        }
        sender.flush(PATIENCE).unwrap();
        let state = || {
            let records = read_all(&servers, "t", "read_committed");
            let count = records.len();
            let latest: BTreeMap<_, _> = records.into_iter().map(|r| (r.key.unwrap(), r.value)).collect();
            (count, latest)
        };
        wait_until("it is compacted", || state().0 < 2_000);
        assert_eq!(state().1, expected);
        expected.retain(|_, value| value.is_some());
        // First the active segment grows old and is sealed, then the tombstones in it do.
        wait_until("the tombstones went", || {
            clock.0.fetch_add(20_000, Ordering::SeqCst);
            state().1 == expected
        });
        let broker = broker.restart().await;
        let records = read_all(&broker.servers(), "t", "read_committed");
        let latest: BTreeMap<_, _> = records.into_iter().map(|r| (r.key.unwrap(), r.value)).collect();
        assert_eq!(latest, expected);
    });
}

#[test]
fn the_broker_stamps_records_where_the_topic_says_so() {
    run(async {
        let (broker, clock) = start().await;
        let servers = broker.servers();
        create_topic(&servers, "t", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
        let sender = producer(&servers, &[("compression.codec", "zstd")]);
        sender.send(FutureRecord::<(), _>::to("t").payload("a").timestamp(5), PATIENCE).await.unwrap();
        clock.0.fetch_add(1_000, Ordering::SeqCst);
        sender.send(FutureRecord::<(), _>::to("t").payload("b").timestamp(6), PATIENCE).await.unwrap();
        let times: Vec<_> = read_all(&servers, "t", "read_committed").into_iter().map(|r| r.timestamp_ms).collect();
        assert_eq!(times, [Some(NOON_MS), Some(NOON_MS + 1_000)]);
    });
}

#[test]
fn a_group_that_nobody_uses_forgets_its_offsets() {
    run(async {
        let (broker, clock) = start().await;
        let servers = broker.servers();
        create_topic(&servers, "t", 1, &[]).await;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("t", 0, Offset::Offset(0)).unwrap();
        consumer(&servers, "g", &[]).commit(&offsets, rdkafka::consumer::CommitMode::Sync).unwrap();
        assert_eq!(broker.broker.stats().groups, 1);
        clock.0.fetch_add(8 * 24 * 3_600_000, Ordering::SeqCst);
        wait_until("it is forgotten", || broker.broker.stats().groups == 0);
    });
}
