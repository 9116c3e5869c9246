//! `kill -9` of the broker at any moment: acknowledged records are there once, transactions are whole, offsets match.

use crate::support::*;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, FutureRecord, Producer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Kills the broker every so often until told to stop; gives how often.
fn disturb(
    mut broker: ChildBroker,
    every: Duration,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<(ChildBroker, usize)> {
    std::thread::spawn(move || {
        let mut kills = 0;
        while !stop.load(Ordering::SeqCst) {
            pause(every);
            broker.kill_and_restart();
            kills += 1;
        }
        (broker, kills)
    })
}

fn create_at(address: &str, topic: &str, partitions: i32) {
    run(create_topic(address, topic, partitions, &[]));
}

#[test]
fn an_idempotent_producer_loses_and_duplicates_nothing_while_the_broker_is_killed() {
    const COUNT: usize = 500_000;
    let dir = tempfile::tempdir().unwrap();
    let broker = ChildBroker::start(dir.path(), "page-cache");
    let address = broker.address.clone();
    create_at(&address, "t", 3);
    let stop = Arc::new(AtomicBool::new(false));
    let disturber = disturb(broker, Duration::from_millis(400), stop.clone());
    let extra = [
        ("enable.idempotence", "true"),
        ("message.timeout.ms", "120000"),
        ("queue.buffering.max.messages", "50000"),
        ("reconnect.backoff.max.ms", "200"),
        ("compression.codec", "lz4"),
    ];
    let acknowledged = Arc::new(AtomicUsize::new(0));
    runtime().block_on(async {
        let sender = producer(&address, &extra);
        let mut sends = Vec::with_capacity(COUNT);
        for n in 0..COUNT {
            let (key, value) = (n.to_string(), format!("{n:>100}"));
            let partition = (n % 3) as i32;
            let mut record = FutureRecord::to("t").partition(partition).key(&key).payload(&value);
            loop {
                match sender.send_result(record) {
                    Ok(send) => break sends.push(send),
                    Err((KafkaError::MessageProduction(rdkafka::types::RDKafkaErrorCode::QueueFull), back)) => {
                        record = back;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Err((error, _)) => panic!("{error}"),
                }
            }
        }
        for send in sends {
            send.await.unwrap().unwrap();
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    });
    stop.store(true, Ordering::SeqCst);
    let (broker, kills) = disturber.join().unwrap();
    assert!(kills >= 3, "the broker was killed only {kills} times; nothing was tested");
    let mut next = [0usize, 1, 2];
    let records = read_all(&broker.address, "t", "read_uncommitted");
    for record in &records {
        let expected = &mut next[record.partition as usize];
        assert_eq!(
            record.key.as_deref(),
            Some(expected.to_string().as_str()),
            "lost, repeated or out of order: {record:?}"
        );
        *expected += 3;
    }
    assert_eq!(records.len(), COUNT);
    println!("{COUNT} records, {kills} kills, start after the last in {} ms", broker.start_ms);
}

/// Copies records from `in` to `out` in transactions with their offsets, until `done`.
fn copy(address: &str, id: &str, done: &AtomicBool, copied: &AtomicUsize) {
    while !done.load(Ordering::SeqCst) {
        // After an error that only a new producer gets over, start anew from the committed offsets.
        if let Err(error) = copy_for_a_while(address, id, done, copied) {
            println!("{id} starts anew: {error}");
        }
    }
}

fn is_disconnection(error: &KafkaError) -> bool {
    use rdkafka::types::RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut};
    matches!(error.rdkafka_error_code(), Some(AllBrokersDown | BrokerTransportFailure | OperationTimedOut))
}

fn copy_for_a_while(address: &str, id: &str, done: &AtomicBool, copied: &AtomicUsize) -> Result<(), KafkaError> {
    let producer: BaseProducer = base_producer(
        address,
        &[
            ("transactional.id", id),
            ("transaction.timeout.ms", "20000"),
            ("reconnect.backoff.max.ms", "200"),
            ("linger.ms", "1"),
        ],
    );
    producer.init_transactions(Duration::from_secs(20))?;
    let extra =
        [("isolation.level", "read_committed"), ("session.timeout.ms", "20000"), ("reconnect.backoff.max.ms", "200")];
    let source: BaseConsumer = consumer(address, "copiers", &extra);
    source.subscribe(&["in"])?;
    while !done.load(Ordering::SeqCst) {
        let mut batch = Vec::new();
        let deadline = std::time::Instant::now() + Duration::from_millis(50);
        while batch.len() < 500 && std::time::Instant::now() < deadline {
            match source.poll(Duration::from_millis(10)) {
                Some(Ok(message)) => {
                    batch.push((message.partition(), message.offset(), message.payload().unwrap().to_vec()))
                }
                // The client connects again by itself.
                Some(Err(error)) if is_disconnection(&error) => {}
                Some(Err(error)) => return Err(error),
                None => {}
            }
        }
        if batch.is_empty() {
            continue;
        }
        producer.begin_transaction()?;
        let mut offsets: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, offset, value) in &batch {
            producer.send(BaseRecord::<(), _>::to("out").partition(*partition).payload(value)).map_err(|(e, _)| e)?;
            offsets.insert(*partition, offset + 1);
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset("in", partition, rdkafka::Offset::Offset(offset))?;
        }
        let sent = producer.flush(Duration::from_secs(20)).and_then(|()| {
            producer.send_offsets_to_transaction(&list, &source.group_metadata().unwrap(), Duration::from_secs(20))
        });
        let committed = sent.and_then(|()| {
            loop {
                match producer.commit_transaction(Duration::from_secs(20)) {
                    Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
                    other => break other,
                }
            }
        });
        match committed {
            Ok(()) => drop(copied.fetch_add(batch.len(), Ordering::SeqCst)),
            Err(error) => {
                let _ = producer.abort_transaction(Duration::from_secs(20));
                return Err(error);
            }
        }
    }
    Ok(())
}

#[test]
fn records_are_copied_exactly_once_while_the_broker_is_killed() {
    const COUNT: usize = 30_000;
    let dir = tempfile::tempdir().unwrap();
    let broker = ChildBroker::start(dir.path(), "page-cache");
    let address = broker.address.clone();
    create_at(&address, "in", 2);
    create_at(&address, "out", 2);
    let source = base_producer(&address, &[("queue.buffering.max.messages", "100000")]);
    for n in 0..COUNT {
        let value = format!("{n:06}");
        source
            .send(BaseRecord::<(), _>::to("in").partition((n % 2) as i32).payload(&value))
            .map_err(|(e, _)| e)
            .unwrap();
    }
    source.flush(PATIENCE).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let disturber = disturb(broker, Duration::from_millis(900), stop.clone());
    let (done, copied) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let workers: Vec<_> = (0..2)
        .map(|n| {
            let (address, done, copied) = (address.clone(), done.clone(), copied.clone());
            std::thread::spawn(move || copy(&address, &format!("copier-{n}"), &done, &copied))
        })
        .collect();
    // Acknowledgements may get lost in a kill, so a count that stands still will do as well.
    let (mut before, mut still) = (0, 0);
    while before < COUNT && still < 20 {
        pause(Duration::from_millis(500));
        let now = copied.load(Ordering::SeqCst);
        still = if now == before { still + 1 } else { 0 };
        before = now;
    }
    stop.store(true, Ordering::SeqCst);
    let (broker, kills) = disturber.join().unwrap();
    done.store(true, Ordering::SeqCst);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert!(kills >= 3, "the broker was killed only {kills} times; nothing was tested");
    let mut values: Vec<String> =
        read_all(&broker.address, "out", "read_committed").into_iter().filter_map(|r| r.value).collect();
    values.sort();
    let expected: Vec<String> = (0..COUNT).map(|n| format!("{n:06}")).collect();
    let repeated = values.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert_eq!((values.len(), repeated), (COUNT, 0), "of {COUNT} records after {kills} kills");
    assert_eq!(values, expected);
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after_it() {
    for mode in ["page-cache", "before-ack"] {
        let dir = tempfile::tempdir().unwrap();
        let mut broker = ChildBroker::start(dir.path(), mode);
        create_at(&broker.address, "t", 1);
        run(async {
            let sender = producer(&broker.address, &[("linger.ms", "0")]);
            for n in 0..20 {
                sender.send(FutureRecord::<(), _>::to("t").payload(&n.to_string()), PATIENCE).await.unwrap();
            }
        });
        let committer = consumer(&broker.address, "g", &[]);
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("t", 0, rdkafka::Offset::Offset(12)).unwrap();
        committer.commit(&offsets, rdkafka::consumer::CommitMode::Sync).unwrap();
        broker.kill_and_restart();
        assert_eq!(read_all(&broker.address, "t", "read_committed").len(), 20, "{mode}");
        let mut asked = TopicPartitionList::new();
        asked.add_partition("t", 0);
        let committed = consumer(&broker.address, "g", &[]).committed_offsets(asked, PATIENCE).unwrap();
        assert_eq!(committed.find_partition("t", 0).unwrap().offset(), rdkafka::Offset::Offset(12), "{mode}");
    }
}

#[test]
fn a_transaction_cut_off_by_a_kill_is_never_half_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = ChildBroker::start(dir.path(), "page-cache");
    create_at(&broker.address, "t", 2);
    for round in 0..5 {
        let producer =
            base_producer(&broker.address, &[("transactional.id", "tx"), ("reconnect.backoff.max.ms", "200")]);
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        for partition in 0..2 {
            let value = format!("{round}");
            producer
                .send(BaseRecord::<(), _>::to("t").partition(partition).payload(&value))
                .map_err(|(e, _)| e)
                .unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        // The kill comes before, around or after the commit.
        let address = broker.address.clone();
        let disturber = disturb_once(broker, Duration::from_micros(round * 150));
        let _ = producer.commit_transaction(Duration::from_secs(5));
        drop(producer);
        broker = disturber.join().unwrap();
        assert_eq!(broker.address, address);
        // The next producer ends what the last one left open.
        let next = base_producer(&broker.address, &[("transactional.id", "tx")]);
        next.init_transactions(PATIENCE).unwrap();
        let seen = read_all(&broker.address, "t", "read_committed");
        let of =
            |partition| seen.iter().filter(|r| r.partition == partition && r.value == Some(round.to_string())).count();
        assert_eq!(of(0), of(1), "round {round}: {seen:?}");
        assert!(of(0) <= 1, "round {round}: {seen:?}");
    }
}

fn disturb_once(mut broker: ChildBroker, after: Duration) -> std::thread::JoinHandle<ChildBroker> {
    std::thread::spawn(move || {
        pause(after);
        broker.kill_and_restart();
        broker
    })
}

#[test]
fn a_data_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let owner = ChildBroker::start(dir.path(), "page-cache");
    let refused = run(millrace_broker::Broker::start(settings(dir.path()))).unwrap_err().to_string();
    assert!(refused.contains(&dir.path().display().to_string()) && refused.contains("running broker"), "{refused}");
    drop(owner);
    // The lock goes with the process, however it ended.
    run(async { millrace_broker::Broker::start(settings(dir.path())).await.unwrap().shutdown().await.unwrap() });
}
