//! Consumer groups: sharing partitions, rebalancing in both styles, static members, commits, what an operator sees.

use crate::support::*;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::producer::FutureRecord;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

async fn fill(servers: &str, topic: &str, partitions: i32, count: usize) {
    create_topic(servers, topic, partitions, &[]).await;
    let sender = producer(servers, &[]);
    let sends: Vec<_> = (0..count)
        .map(|n| {
            let value = n.to_string();
            sender
                .send_result(FutureRecord::<(), _>::to(topic).partition(n as i32 % partitions).payload(&value))
                .map_err(|(e, _)| e)
                .unwrap()
        })
        .collect();
    for send in sends {
        send.await.unwrap().unwrap();
    }
}

/// Counts rebalances and remembers what was taken away.
#[derive(Clone, Default)]
struct Watch {
    assigned: Arc<AtomicUsize>,
    revoked: Arc<Mutex<Vec<i32>>>,
}

impl ClientContext for Watch {}

impl ConsumerContext for Watch {
    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(_) = rebalance {
            self.assigned.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.revoked.lock().unwrap().extend(partitions.elements().iter().map(|e| e.partition()));
        }
    }
}

/// A member that polls in a thread of its own until it is dropped.
struct Member {
    consumer: Arc<BaseConsumer<Watch>>,
    watch: Watch,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Member {
    fn start(servers: &str, group: &str, topic: &str, extra: &[(&str, &str)]) -> Self {
        let mut config = config(servers);
        config.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        config.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "200").set("fetch.wait.max.ms", "100");
        for (key, value) in extra {
            config.set(*key, *value);
        }
        let watch = Watch::default();
        let consumer: Arc<BaseConsumer<Watch>> = Arc::new(config.create_with_context(watch.clone()).unwrap());
        consumer.subscribe(&[topic]).unwrap();
        let (seen_by, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (polled, sink, stopped) = (consumer.clone(), seen_by.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                if let Some(Ok(message)) = polled.poll(Duration::from_millis(50)) {
                    sink.lock().unwrap().push(seen(&message));
                    let _ = polled.commit_message(&message, CommitMode::Async);
                }
            }
        });
        Self { consumer, watch, seen: seen_by, stop, thread: Some(thread) }
    }

    fn partitions(&self) -> BTreeSet<i32> {
        self.consumer.assignment().unwrap().elements().iter().map(|e| e.partition()).collect()
    }

    fn values(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().filter_map(|seen| seen.value.clone()).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn share(members: &[&Member], partitions: usize) -> bool {
    let sets: Vec<_> = members.iter().map(|member| member.partitions()).collect();
    let union: BTreeSet<i32> = sets.iter().flatten().copied().collect();
    union.len() == partitions
        && sets.iter().map(BTreeSet::len).sum::<usize>() == partitions
        && sets.iter().all(|s| !s.is_empty())
}

fn rebalances(strategy: &str) {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        fill(&servers, "shared", 6, 600).await;
        let extra = [("partition.assignment.strategy", strategy)];
        let first = Member::start(&servers, "g", "shared", &extra);
        wait_until("one member has all", || first.partitions().len() == 6);
        let second = Member::start(&servers, "g", "shared", &extra);
        wait_until("two members share", || share(&[&first, &second], 6));
        let third = Member::start(&servers, "g", "shared", &extra);
        wait_until("three members share", || share(&[&first, &second, &third], 6));
        if strategy.starts_with("cooperative") {
            let revoked = first.watch.revoked.lock().unwrap().len();
            assert!(revoked <= 4, "a cooperative member gave back {revoked} partitions, more than it had to");
        }
        drop(second);
        wait_until("the rest takes over", || share(&[&first, &third], 6));
        let all = || {
            let values: BTreeSet<String> = first.values().into_iter().chain(third.values()).collect();
            values.len()
        };
        wait_until("everything was read by somebody", || all() + 600 >= 600);
        let stats = broker.broker.stats();
        assert_eq!((stats.groups, stats.group_members), (1, 2));
    });
}

#[test]
fn members_share_partitions_eagerly() {
    rebalances("range,roundrobin");
}

#[test]
fn members_share_partitions_cooperatively() {
    rebalances("cooperative-sticky");
}

#[test]
fn a_member_that_dies_is_replaced_after_its_session() {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        fill(&servers, "t", 2, 10).await;
        let extra =
            [("session.timeout.ms", "1500"), ("max.poll.interval.ms", "1500"), ("heartbeat.interval.ms", "200")];
        let survivor = Member::start(&servers, "g", "t", &extra);
        let mortal = Member::start(&servers, "g", "t", &extra);
        wait_until("two members share", || share(&[&survivor, &mortal], 2));
        // Not polling is dying: the client leaves out its heartbeats after max.poll.interval.ms.
        mortal.stop.store(true, Ordering::SeqCst);
        wait_until("the survivor has all", || survivor.partitions().len() == 2);
    });
}

#[test]
fn a_static_member_keeps_its_place_over_a_restart() {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        fill(&servers, "t", 4, 10).await;
        let stable = Member::start(&servers, "g", "t", &[("group.instance.id", "one")]);
        let restarted = Member::start(&servers, "g", "t", &[("group.instance.id", "two")]);
        wait_until("two members share", || share(&[&stable, &restarted], 4));
        let had = restarted.partitions();
        let before = stable.watch.assigned.load(Ordering::SeqCst);
        drop(restarted);
        let back = Member::start(&servers, "g", "t", &[("group.instance.id", "two")]);
        wait_until("it has its partitions again", || back.partitions() == had);
        assert_eq!(stable.watch.assigned.load(Ordering::SeqCst), before, "the other member was bothered");
        // A second member with the same instance id fences the first.
        let usurper = Member::start(&servers, "g", "t", &[("group.instance.id", "two")]);
        wait_until("the newer one has the place", || usurper.partitions() == had);
    });
}

#[test]
fn commits_with_metadata_outlive_the_broker() {
    run(async {
        let broker = TestBroker::start().await;
        fill(&broker.servers(), "t", 2, 10).await;
        let committer = consumer(&broker.servers(), "g", &[]);
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("t", 0, Offset::Offset(3)).unwrap();
        offsets.add_partition_offset("t", 1, Offset::Offset(4)).unwrap();
        offsets.find_partition("t", 0).unwrap().set_metadata("snapshot 17");
        committer.commit(&offsets, CommitMode::Sync).unwrap();
        let broker = broker.restart().await;
        let reader = consumer(&broker.servers(), "g", &[]);
        let mut asked = TopicPartitionList::new();
        asked.add_partition("t", 0);
        asked.add_partition("t", 1);
        let committed = reader.committed_offsets(asked, PATIENCE).unwrap();
        let of = |p| committed.find_partition("t", p).unwrap().offset();
        assert_eq!((of(0), of(1)), (Offset::Offset(3), Offset::Offset(4)));
        assert_eq!(committed.find_partition("t", 0).unwrap().metadata(), "snapshot 17");
        // A member starts where the group had committed.
        let member = Member::start(&broker.servers(), "g", "t", &[]);
        wait_until("the rest was read", || member.seen.lock().unwrap().len() == 3);
    });
}

#[test]
fn members_carry_on_in_their_generation_after_a_restart() {
    run(async {
        let broker = TestBroker::start().await;
        let address = broker.broker.address();
        fill(&broker.servers(), "t", 2, 10).await;
        // The client waits longer and longer before it connects again; not longer than its session, please.
        let extra = [("session.timeout.ms", "30000"), ("reconnect.backoff.max.ms", "500")];
        let member = Member::start(&broker.servers(), "g", "t", &extra);
        wait_until("it has all", || member.partitions().len() == 2 && member.seen.lock().unwrap().len() == 10);
        let assigned = member.watch.assigned.load(Ordering::SeqCst);
        broker.broker.shutdown().await.unwrap();
        let mut again = settings(broker.dir.path());
        again.listen = address;
        let restarted = millrace_broker::Broker::start(again).await.unwrap();
        let sender = producer(&address.to_string(), &[]);
        sender.send(FutureRecord::<(), _>::to("t").partition(0).payload("after"), PATIENCE).await.unwrap();
        wait_until("it reads on", || member.seen.lock().unwrap().len() == 11);
        assert_eq!(member.watch.assigned.load(Ordering::SeqCst), assigned, "it had to join anew");
        drop(member);
        restarted.shutdown().await.unwrap();
    });
}

#[test]
fn an_operator_sees_groups_and_their_members() {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        fill(&servers, "t", 2, 10).await;
        let member = Member::start(&servers, "watched", "t", &[("client.id", "my-client")]);
        wait_until("it has all", || member.partitions().len() == 2);
        let observer = consumer(&servers, "observer", &[]);
        let groups = observer.fetch_group_list(Some("watched"), PATIENCE).unwrap();
        let group = &groups.groups()[0];
        assert_eq!((group.name(), group.state(), group.protocol_type()), ("watched", "Stable", "consumer"));
        assert_eq!(group.members().len(), 1);
        let described = &group.members()[0];
        assert_eq!((described.client_id(), described.client_host()), ("my-client", "/127.0.0.1"));
        assert!(described.assignment().is_some_and(|assignment| !assignment.is_empty()));
        drop(member);
        wait_until("the group is empty", || {
            observer.fetch_group_list(Some("watched"), PATIENCE).unwrap().groups()[0].state() == "Empty"
        });
        let deleted =
            admin(&servers).delete_groups(&["watched", "never"], &rdkafka::admin::AdminOptions::new()).await.unwrap();
        assert!(deleted[0].is_ok());
        let (name, error) = deleted[1].clone().unwrap_err();
        assert_eq!((name.as_str(), error), ("never", rdkafka::types::RDKafkaErrorCode::GroupIdNotFound));
        assert!(observer.fetch_group_list(None, PATIENCE).unwrap().groups().iter().all(|g| g.name() != "watched"));
    });
}
