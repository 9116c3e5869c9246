//! A look at a cluster, and records for somebody to look at, against a broker.

use std::time::Duration;

use millrace_connectors::kafka::browse::{BrowseLimits, Browsed, From, Stopped, browse};
use millrace_connectors::kafka::inspect::Inspector;
use millrace_connectors::kafka::producer::transactional;
use millrace_connectors::kafka::unread::{FirstUnread, Unread};
use millrace_connectors::kafka::{ClientSettings, Cluster, Place, topics};
use millrace_model::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};

use crate::support::{PATIENCE, broker, contract, eventually, unique};

const LIMITS: BrowseLimits =
    BrowseLimits { wanted: 10, records_max: 5_000, bytes_max: 1 << 20, time_max: Duration::from_secs(10) };

/// Time of record `n`: a second apart.
fn time(n: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + n * 1_000)
}

/// Records `from..to` of a partition, in one transaction that is committed or not.
fn produce(settings: &ClientSettings, topic: &str, partition: i32, records: std::ops::Range<i64>, commit: bool) {
    let producer = transactional(settings, &unique("inspect")).expect("a producer");
    producer.init_transactions(PATIENCE).expect("a transactional id");
    producer.begin_transaction().expect("begun");
    for n in records {
        let (key, value) = (format!("k{n}"), format!("{{\"n\":{n}}}"));
        let headers = OwnedHeaders::new().insert(Header { key: "trace", value: Some(&key) });
        let record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value).headers(headers);
        producer.send(record.timestamp(time(n).0 / 1_000)).map_err(|(e, _)| e).expect("sent");
    }
    producer.flush(PATIENCE).expect("acknowledged");
    match commit {
        true => producer.commit_transaction(PATIENCE).expect("committed"),
        false => producer.abort_transaction(PATIENCE).expect("aborted"),
    }
}

fn numbers(browsed: &Browsed) -> Vec<i64> {
    let number =
        |value: &[u8]| std::str::from_utf8(value).ok()?.trim_matches(['{', '}']).rsplit_once(':')?.1.parse().ok();
    browsed.records.iter().filter_map(|found| number(found.value.as_deref()?)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_seen_as_it_is() {
    let broker = broker().await;
    let contract = contract(&unique("seen"), 2);
    let name = contract.name.clone();
    topics::ensure(&broker.settings, &[contract], None).await.expect("created");
    produce(&broker.settings, &name, 0, 0..10, true);
    let mut inspector = Inspector::new(&broker.settings).expect("an inspector");
    let topology = inspector.topology().await.expect("the cluster answers");
    let node = topology.brokers.first().expect("a broker");
    assert!(node.address.is_some());
    let topic = topology.topics.iter().find(|topic| topic.name == name).expect("the topic");
    assert_eq!(topic.partitions.iter().map(|part| part.partition).collect::<Vec<_>>(), [0, 1]);
    assert!(topic.partitions.iter().all(|part| part.leader.is_some() && !part.is_under_replicated()));
    let extents = inspector.extents(&topology).await.expect("ends");
    // Ten records and the marker of their transaction.
    assert_eq!((extents[&Place::new(name.as_str(), 0)].end, extents[&Place::new(name.as_str(), 1)].end), (11, 0));
    let configs = inspector.configs(&[name.clone(), unique("missing")]).await.expect("configurations");
    assert_eq!(configs[&name]["retention.ms"], ("604800000".to_owned(), true));
    assert!(configs[&name].contains_key("cleanup.policy") && configs.len() == 1);
    let roles = inspector.broker_roles(&[node.id]).await;
    assert!(roles.values().all(|role| role.contains("broker")), "{roles:?}");

    // A group with a member, and one that only commits.
    let member: BaseConsumer =
        broker.settings.consumer(&unique("members")).set("auto.offset.reset", "earliest").create().expect("a consumer");
    member.subscribe(&[name.as_str()]).expect("subscribed");
    let committing = unique("commits");
    let cluster = Cluster::new(&broker.settings, &committing).expect("a client");
    cluster.commit(&[(Place::new(name.as_str(), 0), 4)].into()).await.expect("committed");
    eventually("both groups are seen", async || {
        member.poll(Duration::from_millis(50));
        let groups = inspector.groups().await.expect("groups");
        let share = |group: &str| {
            let group = groups.iter().find(|known| known.name.starts_with(group))?;
            Some((group.state.clone(), group.members.first().map_or(0, |member| member.share.len())))
        };
        share("members") == Some(("Stable".into(), 2)) && share(&committing) == Some(("Empty".into(), 0))
    })
    .await;
    let places = [Place::new(name.as_str(), 0), Place::new(name.as_str(), 1)];
    let committed = inspector.committed(&[&committing], &places).await;
    assert_eq!(committed[&committing], Ok([(places[0].clone(), 4)].into()));
    assert!(inspector.committed(&[], &places).await.is_empty(), "others are let go");
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_records_tell_since_when() {
    let broker = broker().await;
    let contract = contract(&unique("unread"), 2);
    let name = contract.name.clone();
    topics::ensure(&broker.settings, &[contract], None).await.expect("created");
    produce(&broker.settings, &name, 0, 0..10, true);
    produce(&broker.settings, &name, 1, 20..25, true);
    produce(&broker.settings, &name, 1, 30..33, false);
    let unread =
        |partition: i32, offset: i64, end: i64| Unread { place: Place::new(name.as_str(), partition), offset, end };
    let mut ages = FirstUnread::new(&broker.settings);
    // Two groups at different places of one partition; the last stands before a marker and an aborted transaction.
    let wanted = [unread(0, 4, 11), unread(0, 7, 11), unread(1, 0, 10), unread(1, 5, 10)];
    let times = ages.times(&wanted).await.expect("times");
    let at = |unread: &Unread| times.get(&(unread.place.clone(), unread.offset)).copied();
    let expected = [Some(Some(time(4))), Some(Some(time(7))), Some(Some(time(20))), Some(None)];
    assert_eq!(wanted.iter().map(at).collect::<Vec<_>>(), expected);
    // Remembered: no broker is needed for it.
    assert_eq!(ages.times(&wanted[..3]).await.expect("times").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_browsed_within_limits() {
    let broker = broker().await;
    let contract = contract(&unique("browse"), 2);
    let name = contract.name.clone();
    topics::ensure(&broker.settings, &[contract], None).await.expect("created");
    produce(&broker.settings, &name, 0, 0..100, true);
    produce(&broker.settings, &name, 0, 900..950, false);
    produce(&broker.settings, &name, 1, 100..110, true);
    let places = || vec![Place::new(name.as_str(), 0), Place::new(name.as_str(), 1)];
    let look = async |places: Vec<Place>, from: From, limits: BrowseLimits| {
        browse(&broker.settings, places, from, limits, |_| true).await.expect("records")
    };
    let newest = look(places(), From::Newest, LIMITS).await;
    assert_eq!((numbers(&newest), newest.stopped), ((100..110).rev().collect(), Stopped::Enough));
    let first = &newest.records[0];
    assert_eq!((first.key.as_deref(), first.time), (Some(&b"k109"[..]), Some(time(109))));
    assert_eq!(first.headers, [("trace".to_owned(), Some(b"k109".to_vec()))]);
    // Older ones are found further back, past what was never committed.
    let wanted = BrowseLimits { wanted: 3, ..LIMITS };
    let newest = look(vec![Place::new(name.as_str(), 0)], From::Newest, wanted).await;
    assert_eq!((numbers(&newest), newest.stopped), (vec![99, 98, 97], Stopped::Enough));
    let oldest = look(places(), From::Oldest, LIMITS).await;
    assert_eq!(numbers(&oldest), (0..10).collect::<Vec<_>>(), "by time over all partitions");
    let at = look(vec![Place::new(name.as_str(), 0)], From::Offset(42), wanted).await;
    assert_eq!(numbers(&at), [42, 43, 44]);
    let at = look(vec![Place::new(name.as_str(), 0)], From::Offset(1_000_000), wanted).await;
    assert_eq!((at.records.len(), at.stopped), (0, Stopped::Ended));
    let at = look(places(), From::Time(time(98)), wanted).await;
    assert_eq!(numbers(&at), [98, 99, 100]);
    assert_eq!(look(places(), From::Time(time(5_000)), wanted).await.records.len(), 0);
    let short = look(places(), From::Oldest, BrowseLimits { records_max: 5, ..LIMITS }).await;
    assert_eq!((short.records.len(), short.read, short.stopped), (5, 5, Stopped::Limit));
    let small = look(places(), From::Oldest, BrowseLimits { bytes_max: 20, ..LIMITS }).await;
    assert!(small.read < 10 && small.stopped == Stopped::Limit, "{small:?}");
    let late = look(places(), From::Newest, BrowseLimits { time_max: Duration::ZERO, ..LIMITS }).await;
    assert_eq!(late.stopped, Stopped::Time);
    // One that is far back is found in growing steps, and nothing is committed anywhere.
    let found = browse(&broker.settings, places(), From::Newest, LIMITS, |found| found.key.as_deref() == Some(b"k7"));
    let found = found.await.expect("records");
    assert_eq!((numbers(&found), found.stopped, found.read), (vec![7], Stopped::Ended, 110));
    let inspector = Inspector::new(&broker.settings).expect("an inspector");
    assert!(inspector.groups().await.expect("groups").iter().all(|group| group.name != "millrace-browse"));
}
