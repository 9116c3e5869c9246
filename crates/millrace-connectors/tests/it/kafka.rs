//! The Kafka side against a broker: topics, producer, reader, tail and lag.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_connectors::kafka::producer::{Outgoing, Producer, transactional};
use millrace_connectors::kafka::reader::Reader;
use millrace_connectors::kafka::settings::MESSAGE_BYTES_MAX;
use millrace_connectors::kafka::tail::{Start, Tailed, tail};
use millrace_connectors::kafka::{ClientSettings, Cluster, Extent, Place, lag, topics};
use millrace_model::{Classified, ErrorKind, Timestamp};
use rdkafka::Message;
use rdkafka::producer::{BaseRecord, Producer as _};

use crate::support::{PATIENCE, broker, contract, eventually, unique};

fn produce(settings: &ClientSettings, topic: &str, values: std::ops::Range<u32>) {
    let producer = Producer::new(settings, None).expect("a producer");
    for value in values {
        let value = value.to_string();
        let record =
            Outgoing { topic, partition: None, key: Some(value.as_bytes()), value: Some(value.as_bytes()), time: None };
        producer.send(record, PATIENCE).expect("sent");
    }
    producer.flush(PATIENCE).expect("acknowledged");
}

/// Produces in one transaction, which then ends as told.
fn produce_transaction(settings: &ClientSettings, topic: &str, id: &str, values: std::ops::Range<u32>, commit: bool) {
    let producer = transactional(settings, id).expect("a producer");
    producer.init_transactions(PATIENCE).expect("a transactional id");
    producer.begin_transaction().expect("begun");
    for value in values {
        let value = value.to_string();
        producer.send(BaseRecord::to(topic).key(&value).payload(&value)).map_err(|(e, _)| e).expect("sent");
    }
    producer.flush(PATIENCE).expect("acknowledged");
    if commit {
        producer.commit_transaction(PATIENCE).expect("committed");
    } else {
        producer.abort_transaction(PATIENCE).expect("aborted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_follow_their_contracts() {
    let broker = broker().await;
    let mut contract = contract(&unique("follow"), 2);
    let report = topics::ensure(&broker.settings, std::slice::from_ref(&contract), None).await.expect("created");
    assert_eq!(report.created, [contract.name.clone()]);
    let again = topics::ensure(&broker.settings, std::slice::from_ref(&contract), None).await.expect("nothing to do");
    assert_eq!(again, topics::TopicReport::default());
    contract.topic.partitions = 3;
    contract.topic.config.insert("retention.ms".into(), "3600000".into());
    contract.topic.config.insert("cleanup.policy".into(), "compact,delete".into());
    let report = topics::ensure(&broker.settings, std::slice::from_ref(&contract), None).await.expect("changed");
    assert_eq!((report.widened.len(), report.reconfigured.len()), (1, 1));
    eventually("the change is visible", async || {
        let again = topics::ensure(&broker.settings, std::slice::from_ref(&contract), None).await;
        again.is_ok_and(|report| report == topics::TopicReport::default())
    })
    .await;
    contract.topic.partitions = 1;
    let error = topics::ensure(&broker.settings, std::slice::from_ref(&contract), None).await.expect_err("it cannot");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("cannot take partitions away"), "{error}");
    contract.name = "not a topic name".into();
    let error = topics::ensure(&broker.settings, &[contract], None).await.expect_err("not a name");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_unavailable() {
    let mut settings = ClientSettings::new("127.0.0.1:1");
    settings.properties.insert("socket.connection.setup.timeout.ms".into(), "1000".into());
    let error = topics::ensure(&settings, &[contract("away", 1)], None).await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("bootstrap_servers"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_producer_is_fast_and_bounded() {
    let broker = broker().await;
    let topic = contract(&unique("fast"), 4);
    topics::ensure(&broker.settings, std::slice::from_ref(&topic), None).await.expect("created");
    let (settings, name) = (broker.settings.clone(), topic.name.clone());
    let records = 300_000_u32;
    tokio::task::spawn_blocking(move || {
        let producer = Producer::new(&settings, Some(8 * 1024 * 1024)).expect("a producer");
        let value = vec![b'x'; 300];
        let start = Instant::now();
        for at in 0..records {
            let key = (at % 1000).to_le_bytes();
            let time = Some(Timestamp::from_millis(1_795_000_000_000 + i64::from(at)));
            let record = Outgoing { topic: &name, partition: None, key: Some(&key), value: Some(&value), time };
            producer.send(record, PATIENCE).expect("sent");
        }
        producer.flush(PATIENCE).expect("acknowledged");
        println!("{records} records of 300 bytes: {:.0}/s", f64::from(records) / start.elapsed().as_secs_f64());
        assert_eq!((producer.sent(), producer.in_flight()), (u64::from(records), 0));
        let huge = vec![b'x'; MESSAGE_BYTES_MAX + 1];
        let error = producer
            .send(Outgoing { topic: &name, partition: None, key: None, value: Some(&huge), time: None }, PATIENCE);
        assert_eq!(error.expect_err("too large").kind(), ErrorKind::Data);
    })
    .await
    .expect("the producer's thread");
    let cluster = Cluster::new(&broker.settings, "test").expect("a reader");
    let places = cluster.places(&[Arc::from(topic.name.as_str())]).await.expect("places");
    assert_eq!(places.len(), 4);
    let extents = cluster.extents(&places).await.expect("extents");
    assert_eq!(extents.values().map(|extent| extent.end).sum::<i64>(), i64::from(records));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_sees_committed_records_and_passes_markers() {
    let broker = broker().await;
    let topic = contract(&unique("committed"), 1);
    topics::ensure(&broker.settings, std::slice::from_ref(&topic), None).await.expect("created");
    let (settings, name) = (broker.settings.clone(), topic.name.clone());
    tokio::task::spawn_blocking(move || {
        produce(&settings, &name, 0..3);
        produce_transaction(&settings, &name, &unique("id"), 3..5, true);
        produce_transaction(&settings, &name, &unique("id"), 90..95, false);
    })
    .await
    .expect("the producer's thread");
    let mut reader = Reader::new(&broker.settings, &unique("group")).expect("a reader");
    let cluster = Cluster::new(&broker.settings, &unique("group")).expect("a client");
    let place = Place::new(topic.name.as_str(), 0);
    let places = [place.clone()];
    let extent = cluster.extents(&places).await.expect("extents")[&place];
    // Three, two and their marker, five aborted and theirs.
    assert_eq!(extent, Extent { low: 0, end: 12 });
    reader.assign(HashMap::from([(place.clone(), 0)])).expect("assigned");
    let mut values = Vec::new();
    let start = Instant::now();
    while reader.positions()[&place] < extent.end {
        assert!(start.elapsed() < PATIENCE, "stuck at {:?} with {values:?}", reader.positions());
        while let Some(message) = reader.next().expect("records") {
            values.push(String::from_utf8_lossy(message.payload().expect("a value")).into_owned());
        }
        reader.ready().await;
    }
    assert_eq!(values, ["0", "1", "2", "3", "4"]);
    cluster.commit(&reader.positions()).await.expect("committed");
    assert_eq!(cluster.committed(&places).await.expect("read back"), HashMap::from([(place, 12)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_holds_the_end_back() {
    let broker = broker().await;
    let topic = contract(&unique("open"), 1);
    topics::ensure(&broker.settings, std::slice::from_ref(&topic), None).await.expect("created");
    let (settings, name) = (broker.settings.clone(), topic.name.clone());
    let producer = tokio::task::spawn_blocking(move || {
        produce(&settings, &name, 0..3);
        let producer = transactional(&settings, &unique("id")).expect("a producer");
        producer.init_transactions(PATIENCE).expect("a transactional id");
        producer.begin_transaction().expect("begun");
        producer.send(BaseRecord::to(&name).key("k").payload("v")).map_err(|(e, _)| e).expect("sent");
        producer.flush(PATIENCE).expect("acknowledged");
        producer
    })
    .await
    .expect("the producer's thread");
    let cluster = Cluster::new(&broker.settings, "test").expect("a reader");
    let place = Place::new(topic.name.as_str(), 0);
    let end = async || cluster.extents(std::slice::from_ref(&place)).await.expect("extents")[&place].end;
    assert_eq!(end().await, 3);
    tokio::task::spawn_blocking(move || producer.commit_transaction(PATIENCE).expect("committed"))
        .await
        .expect("a thread");
    eventually("the marker is in the log", async || end().await == 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_starts_where_it_is_told() {
    let broker = broker().await;
    let topic = contract(&unique("tail"), 1);
    topics::ensure(&broker.settings, std::slice::from_ref(&topic), None).await.expect("created");
    let (settings, name) = (broker.settings.clone(), topic.name.clone());
    let produce_more = async |values: std::ops::Range<u32>| {
        let (settings, name) = (settings.clone(), name.clone());
        tokio::task::spawn_blocking(move || produce(&settings, &name, values)).await.expect("a thread");
    };
    produce_more(0..3).await;
    let place = Place::new(name.as_str(), 0);
    let open = |start| tail(&settings, &[&name], start).expect("a tail");
    let mut latest = open(Start::Latest);
    let mut earliest = open(Start::Earliest);
    let mut at = open(Start::At(HashMap::from([(place, 2)])));
    for (tail, expected) in [(&mut earliest, "0"), (&mut at, "2")] {
        assert_eq!(value(tail.recv().await), expected);
    }
    // The tail that starts with the latest says nothing until there is something: produce until it does.
    let mut next = 3;
    loop {
        produce_more(next..next + 1).await;
        next += 1;
        match tokio::time::timeout(Duration::from_millis(500), latest.recv()).await {
            Ok(record) => {
                let first: u32 = value(record).parse().expect("a number");
                assert!(first >= 3, "{first} was there before");
                break;
            }
            Err(_) => assert!(next < 60, "nothing came"),
        }
    }
}

fn value(tailed: Option<Tailed>) -> String {
    match tailed {
        Some(Tailed::Record(record)) => String::from_utf8(record.value.expect("a value")).expect("text"),
        other => panic!("not a record: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_end_minus_committed() {
    let broker = broker().await;
    let topic = contract(&unique("lag"), 2);
    topics::ensure(&broker.settings, std::slice::from_ref(&topic), None).await.expect("created");
    let (settings, name) = (broker.settings.clone(), topic.name.clone());
    tokio::task::spawn_blocking(move || produce(&settings, &name, 0..100)).await.expect("a thread");
    let (group, other) = (unique("group"), unique("group"));
    let cluster = Cluster::new(&broker.settings, &group).expect("a reader");
    let places = cluster.places(&[Arc::from(topic.name.as_str())]).await.expect("places");
    cluster.commit(&places.iter().map(|place| (place.clone(), 10)).collect()).await.expect("committed");
    let names = [topic.name.as_str(), "no_such_topic"];
    let lags = lag::of_groups(&broker.settings, &[&group, &other], &names).await.expect("lags");
    assert_eq!(lags.len(), 2, "{lags:?}");
    assert!(lags.iter().all(|lag| lag.group == group && lag.committed == 10));
    assert_eq!(lags.iter().map(lag::PartitionLag::records).sum::<i64>(), 80);
}
