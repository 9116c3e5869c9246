//! Transactions: atomic, isolated, fenced, surviving restarts; offsets inside them.

use crate::support::*;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

fn transactional(servers: &str, id: &str, extra: &[(&str, &str)]) -> BaseProducer {
    let mut all = vec![("transactional.id", id)];
    all.extend_from_slice(extra);
    let producer = base_producer(servers, &all);
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, value: &str) {
    producer.send(BaseRecord::<(), _>::to(topic).partition(partition).payload(value)).map_err(|(e, _)| e).unwrap();
}

fn values(servers: &str, topic: &str, isolation: &str) -> Vec<String> {
    read_all(servers, topic, isolation).into_iter().filter_map(|seen| seen.value).collect()
}

#[test]
fn committed_records_are_seen_and_aborted_ones_are_not() {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        create_topic(&servers, "t", 2, &[]).await;
        let producer = transactional(&servers, "tx", &[]);
        for (round, commits) in [true, false, true, false].into_iter().enumerate() {
            producer.begin_transaction().unwrap();
            for partition in 0..2 {
                send(&producer, "t", partition, &format!("{round}-{partition}"));
            }
            if commits {
                producer.commit_transaction(PATIENCE).unwrap();
            } else {
                // Flushed, so that the broker has them when they are aborted.
                producer.flush(PATIENCE).unwrap();
                producer.abort_transaction(PATIENCE).unwrap();
            }
        }
        assert_eq!(values(&servers, "t", "read_committed"), ["0-0", "2-0", "0-1", "2-1"]);
        assert_eq!(values(&servers, "t", "read_uncommitted").len(), 8);
        let broker = broker.restart().await;
        assert_eq!(values(&broker.servers(), "t", "read_committed"), ["0-0", "2-0", "0-1", "2-1"], "after a restart");
    });
}

#[test]
fn an_open_transaction_holds_back_what_follows_it() {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        create_topic(&servers, "t", 1, &[]).await;
        let open = transactional(&servers, "open", &[]);
        open.begin_transaction().unwrap();
        send(&open, "t", 0, "open");
        open.flush(PATIENCE).unwrap();
        let plain = base_producer(&servers, &[]);
        send(&plain, "t", 0, "plain");
        plain.flush(PATIENCE).unwrap();
        let ends = |isolation| {
            let reader = consumer(&servers, "g", &[("isolation.level", isolation)]);
            reader.fetch_watermarks("t", 0, PATIENCE).unwrap()
        };
        assert_eq!((ends("read_committed"), ends("read_uncommitted")), ((0, 0), (0, 2)));
        let reader = consumer(&servers, "g", &[("isolation.level", "read_committed")]);
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset("t", 0, Offset::Beginning).unwrap();
        reader.assign(&assignment).unwrap();
        assert!(reader.poll(std::time::Duration::from_millis(700)).is_none(), "nothing is stable yet");
        open.commit_transaction(PATIENCE).unwrap();
        let records = read_count(&reader, 2);
        assert_eq!(records.iter().filter_map(|r| r.value.as_deref()).collect::<Vec<_>>(), ["open", "plain"]);
    });
}

#[test]
fn a_newer_producer_fences_the_older_and_aborts_its_transaction() {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        create_topic(&servers, "t", 1, &[]).await;
        let zombie = transactional(&servers, "same", &[]);
        zombie.begin_transaction().unwrap();
        send(&zombie, "t", 0, "zombie");
        zombie.flush(PATIENCE).unwrap();
        let heir = transactional(&servers, "same", &[]);
        heir.begin_transaction().unwrap();
        send(&heir, "t", 0, "heir");
        heir.commit_transaction(PATIENCE).unwrap();
        let refused = zombie.commit_transaction(PATIENCE).unwrap_err();
        let KafkaError::Transaction(error) = &refused else { panic!("{refused}") };
        assert!(error.is_fatal(), "{error}");
        assert_eq!(error.code(), RDKafkaErrorCode::Fenced, "{error}");
        assert_eq!(values(&servers, "t", "read_committed"), ["heir"]);
    });
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        create_topic(&servers, "t", 1, &[]).await;
        let slow =
            transactional(&servers, "slow", &[("transaction.timeout.ms", "1000"), ("message.timeout.ms", "1000")]);
        slow.begin_transaction().unwrap();
        send(&slow, "t", 0, "too late");
        slow.flush(PATIENCE).unwrap();
        assert_eq!(broker.broker.stats().transactions_open, 1);
        wait_until("it is aborted", || broker.broker.stats().transactions_open == 0);
        assert_eq!(values(&servers, "t", "read_committed"), [] as [&str; 0]);
        assert!(slow.commit_transaction(PATIENCE).is_err());
    });
}

fn committed(consumer: &BaseConsumer, topic: &str) -> Offset {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    consumer.committed_offsets(asked, PATIENCE).unwrap().find_partition(topic, 0).unwrap().offset()
}

#[test]
fn offsets_in_a_transaction_count_only_when_it_commits() {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        create_topic(&servers, "in", 1, &[]).await;
        create_topic(&servers, "out", 1, &[]).await;
        let source = base_producer(&servers, &[]);
        for n in 0..10 {
            send(&source, "in", 0, &n.to_string());
        }
        source.flush(PATIENCE).unwrap();
        let worker = consumer(&servers, "workers", &[]);
        worker.subscribe(&["in"]).unwrap();
        let read = read_count(&worker, 10);
        assert_eq!(read.len(), 10);
        let producer = transactional(&servers, "worker-1", &[]);
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("in", 0, Offset::Offset(5)).unwrap();
        offsets.find_partition("in", 0).unwrap().set_metadata("epoch 5");
        producer.begin_transaction().unwrap();
        send(&producer, "out", 0, "aborted");
        producer.flush(PATIENCE).unwrap();
        producer.send_offsets_to_transaction(&offsets, &worker.group_metadata().unwrap(), PATIENCE).unwrap();
        producer.abort_transaction(PATIENCE).unwrap();
        assert_eq!(committed(&worker, "in"), Offset::Invalid);
        producer.begin_transaction().unwrap();
        send(&producer, "out", 0, "committed");
        producer.send_offsets_to_transaction(&offsets, &worker.group_metadata().unwrap(), PATIENCE).unwrap();
        producer.commit_transaction(PATIENCE).unwrap();
        assert_eq!(committed(&worker, "in"), Offset::Offset(5));
        let broker = {
            drop(worker);
            broker.restart().await
        };
        let reader = consumer(&broker.servers(), "workers", &[]);
        assert_eq!(committed(&reader, "in"), Offset::Offset(5), "after a restart");
        let mut asked = TopicPartitionList::new();
        asked.add_partition("in", 0);
        let after = reader.committed_offsets(asked, PATIENCE).unwrap();
        assert_eq!(after.find_partition("in", 0).unwrap().metadata(), "epoch 5");
        assert_eq!(values(&broker.servers(), "out", "read_committed"), ["committed"]);
        reader.commit(&after, CommitMode::Sync).unwrap();
    });
}

#[test]
fn a_transaction_survives_a_restart_of_the_broker() {
    run(async {
        let broker = TestBroker::start().await;
        let address = broker.broker.address();
        let servers = broker.servers();
        create_topic(&servers, "t", 1, &[]).await;
        let producer = transactional(&servers, "tx", &[]);
        producer.begin_transaction().unwrap();
        send(&producer, "t", 0, "before");
        producer.flush(PATIENCE).unwrap();
        broker.broker.shutdown().await.unwrap();
        let mut again = settings(broker.dir.path());
        again.listen = address;
        let broker = millrace_broker::Broker::start(again).await.unwrap();
        assert_eq!(values(&servers, "t", "read_committed"), [] as [&str; 0]);
        send(&producer, "t", 0, "after");
        producer.commit_transaction(PATIENCE).unwrap();
        assert_eq!(values(&servers, "t", "read_committed"), ["before", "after"]);
        broker.shutdown().await.unwrap();
    });
}
