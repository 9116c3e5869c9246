//! Producing and consuming: every codec, acknowledgement mode, order, headers, timestamps.

use crate::support::{PATIENCE, TestBroker, consumer, create_topic, producer, read_all, run};
use rdkafka::consumer::Consumer;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

#[test]
fn records_come_back_as_they_were_sent_with_every_codec() {
    run(async {
        let broker = TestBroker::start().await;
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            for acks in ["1", "all"] {
                let topic = format!("codec-{codec}-{acks}");
                create_topic(&broker.servers(), &topic, 1, &[]).await;
                let producer = producer(&broker.servers(), &[("compression.codec", codec), ("acks", acks)]);
                let value = |n: usize| format!("value {n} {}", "x".repeat(n % 700));
                let sends: Vec<_> = (0..2_000usize)
                    .map(|n| {
                        let (key, value) = (format!("key {n}"), value(n));
                        producer
                            .send_result(FutureRecord::to(&topic).key(&key).payload(&value))
                            .map_err(|(e, _)| e)
                            .unwrap()
                    })
                    .collect();
                for (n, send) in sends.into_iter().enumerate() {
                    let delivery = send.await.unwrap().unwrap();
                    assert_eq!((delivery.partition, delivery.offset), (0, n as i64));
                }
                let records = read_all(&broker.servers(), &topic, "read_uncommitted");
                assert_eq!(records.len(), 2_000, "{codec} {acks}");
                for (n, record) in records.iter().enumerate() {
                    assert_eq!(record.offset, n as i64);
                    assert_eq!(record.key.as_deref(), Some(format!("key {n}").as_str()));
                    assert_eq!(record.value.as_deref(), Some(value(n).as_str()));
                }
            }
        }
        broker.broker.shutdown().await.unwrap();
    });
}

#[test]
fn unacknowledged_records_arrive() {
    run(async {
        let broker = TestBroker::start().await;
        create_topic(&broker.servers(), "fire-and-forget", 1, &[]).await;
        let producer = producer(&broker.servers(), &[("acks", "0")]);
        for n in 0..100 {
            let value = n.to_string();
            drop(
                producer
                    .send_result(FutureRecord::<(), _>::to("fire-and-forget").payload(&value))
                    .map_err(|(e, _)| e)
                    .unwrap(),
            );
        }
        producer.flush(PATIENCE).unwrap();
        crate::support::wait_until("100 records", || {
            read_all(&broker.servers(), "fire-and-forget", "read_uncommitted").len() == 100
        });
    });
}

#[test]
fn headers_keys_nulls_and_times_survive_a_restart() {
    run(async {
        let broker = TestBroker::start().await;
        create_topic(&broker.servers(), "details", 1, &[]).await;
        let sender = producer(&broker.servers(), &[("compression.codec", "zstd")]);
        let headers = OwnedHeaders::new()
            .insert(Header { key: "h", value: Some("1") })
            .insert(Header { key: "h", value: Some("2") })
            .insert(Header { key: "none", value: None::<&str> });
        let record = FutureRecord::to("details").key("k").payload("v").timestamp(1_234_567_890_123).headers(headers);
        sender.send(record, PATIENCE).await.unwrap();
        sender.send(FutureRecord::<_, str>::to("details").key("tombstone").timestamp(5), PATIENCE).await.unwrap();
        let broker = broker.restart().await;
        let reader = consumer(&broker.servers(), "g", &[]);
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset("details", 0, Offset::Beginning).unwrap();
        reader.assign(&assignment).unwrap();
        let first = reader.poll(PATIENCE).unwrap().unwrap();
        let headers: Vec<_> = first.headers().unwrap().iter().map(|h| (h.key, h.value)).collect();
        assert_eq!(headers, [("h", Some(&b"1"[..])), ("h", Some(&b"2"[..])), ("none", None)]);
        assert_eq!(first.timestamp().to_millis(), Some(1_234_567_890_123));
        let second = reader.poll(PATIENCE).unwrap().unwrap();
        assert_eq!((second.key(), second.payload()), (Some(&b"tombstone"[..]), None));
    });
}

#[test]
fn a_consumer_that_waits_is_woken_by_a_record() {
    run(async {
        let broker = TestBroker::start().await;
        create_topic(&broker.servers(), "wake", 3, &[]).await;
        let reader = consumer(&broker.servers(), "g", &[("fetch.wait.max.ms", "30000")]);
        let mut assignment = TopicPartitionList::new();
        for partition in 0..3 {
            assignment.add_partition_offset("wake", partition, Offset::Beginning).unwrap();
        }
        reader.assign(&assignment).unwrap();
        // Let it begin its long poll.
        assert!(reader.poll(std::time::Duration::from_millis(500)).is_none());
        let sender = producer(&broker.servers(), &[("linger.ms", "0")]);
        sender.send(FutureRecord::<(), _>::to("wake").partition(2).payload("now"), PATIENCE).await.unwrap();
        let sent = std::time::Instant::now();
        let message = reader.poll(PATIENCE).unwrap().unwrap();
        assert_eq!(message.payload(), Some(&b"now"[..]));
        assert!(sent.elapsed().as_millis() < 2_000, "it waited {:?} instead of being woken", sent.elapsed());
    });
}
