//! A look is put together from answers; what is missing stays missing.

use millrace_connectors::kafka::inspect::{BrokerNode, GroupMember, PartitionState, TopicState};

use super::*;

fn place(partition: i32) -> Place {
    Place::new("orders", partition)
}

fn answers() -> Answers {
    let partition = |partition: i32, in_sync: &[i32]| PartitionState {
        partition,
        leader: in_sync.first().copied(),
        replicas: vec![1, 2],
        in_sync: in_sync.to_vec(),
    };
    let member = GroupMember { id: "m-1".into(), client: "sink".into(), host: "h".into(), share: vec![place(0)] };
    let state =
        |name: &str, members: Vec<GroupMember>| GroupState { name: name.into(), state: "Stable".into(), members };
    let own = |value: &str| (value.to_owned(), true);
    Answers {
        topology: Topology {
            brokers: vec![BrokerNode { id: 1, address: Some("a:1".into()) }, BrokerNode { id: 2, address: None }],
            topics: vec![
                TopicState { name: "__offsets".into(), partitions: vec![] },
                TopicState { name: "orders".into(), partitions: vec![partition(0, &[1]), partition(1, &[])] },
            ],
        },
        extents: [(place(0), Extent { low: 10, end: 110 })].into(),
        groups: vec![state("caught-up", vec![]), state("millrace-store", vec![member]), state("unasked", vec![])],
        committed: [
            ("millrace-store".to_owned(), [(place(0), 100)].into()),
            ("caught-up".to_owned(), [(place(0), 110)].into()),
        ]
        .into(),
        times: [((place(0), 100), Some(Timestamp(40_000_000)))].into(),
        configs: [("orders".to_owned(), [("cleanup.policy".to_owned(), own("delete"))].into())].into(),
        roles: [(1, "broker,controller".to_owned())].into(),
        trouble: vec![],
    }
}

#[test]
fn lag_in_records_and_seconds() {
    let now = Timestamp(100_000_000);
    let first = look(answers(), &[], &Look::default(), now);
    let told: Vec<_> = first.groups.iter().map(|g| (g.name.as_str(), g.lag_records, g.lag_seconds)).collect();
    let expected =
        [("millrace-store", Some(10), Some(60.0)), ("caught-up", Some(0), Some(0.0)), ("unasked", None, None)];
    assert_eq!(told, expected, "furthest behind first, what was not asked last");
    let group = &first.groups[0];
    assert_eq!((group.what.as_str(), group.members[0].partitions), ("store sink", 1));
    assert_eq!((group.places[0].client.as_deref(), group.places[0].committed), (Some("sink"), 100));
    let mut later = answers();
    later.extents = [(place(0), Extent { low: 10, end: 160 })].into();
    // Only markers are left before the end.
    later.times = [((place(0), 100), None)].into();
    let second = look(later, &[], &first, Timestamp(110_000_000));
    let store = second.groups.iter().find(|group| group.name == "millrace-store").expect("the group");
    assert_eq!((store.lag_seconds, store.history.as_slice()), (Some(0.0), &[10.0, 60.0][..]));
    assert_eq!(second.topics[1].records_per_second, None, "partition 1 has no end");
}

#[test]
fn what_is_missing_is_told() {
    let look = look(answers(), &[], &Look::default(), Timestamp(0));
    let topic = &look.topics[1];
    assert_eq!((topic.role, look.topics[0].role), ("other", "internal"));
    assert_eq!((topic.under_replicated, topic.leaderless, topic.replication, topic.records), (2, 1, 2, None));
    assert_eq!(topic.groups, ["millrace-store", "caught-up"]);
    assert_eq!(topic.lag_records, Some(10));
    let [first, second] = look.brokers.as_slice() else { panic!("two brokers") };
    assert_eq!((first.roles.len(), first.leads, first.copies, first.behind), (2, 1, 2, 1));
    assert_eq!((second.address.as_deref(), second.leads, second.behind), (None, 0, 2));
}

#[test]
fn rates_are_of_the_time_between_two_looks() {
    let whole = |end: i64| {
        let mut answers = answers();
        answers.extents.insert(place(0), Extent { low: 0, end });
        answers.extents.insert(place(1), Extent { low: 0, end: 0 });
        answers
    };
    let first = look(whole(100), &[], &Look::default(), Timestamp(0));
    assert_eq!(first.topics[1].records_per_second, None);
    let second = look(whole(150), &[], &first, Timestamp(2_000_000));
    assert_eq!((second.topics[1].records_per_second, second.topics[1].records), (Some(25.0), Some(150)));
}

#[test]
fn how_topics_are_kept() {
    let config = |pairs: &[(&str, &str)]| -> Vec<(String, String, bool)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned(), true)).collect()
    };
    for (pairs, words) in [
        (&[("cleanup.policy", "delete"), ("retention.ms", "604800000")][..], "7 d"),
        (&[("cleanup.policy", "compact,delete"), ("retention.ms", "3600000")], "compacted, 60 min"),
        (&[("cleanup.policy", "compact"), ("retention.ms", "3600000")], "compacted"),
        (
            &[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "10485760")],
            "for ever, 10 MiB a partition",
        ),
        (&[], ""),
    ] {
        assert_eq!(kept(&config(pairs)), words);
    }
}
