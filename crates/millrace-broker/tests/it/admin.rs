//! What an operator does: create, describe, alter, grow, delete; and the refusals that clients must understand.

use crate::support::*;
use rdkafka::admin::{
    AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::producer::FutureRecord;
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

fn options() -> AdminOptions {
    AdminOptions::new()
}

#[test]
fn topics_are_created_described_altered_and_deleted() {
    run(async {
        let broker = TestBroker::start().await;
        let admin = admin(&broker.servers());
        create_topic(&broker.servers(), "t", 3, &[("retention.ms", "1234"), ("cleanup.policy", "compact,delete")])
            .await;
        let again =
            admin.create_topics([&NewTopic::new("t", 1, TopicReplication::Fixed(1))], &options()).await.unwrap();
        assert_eq!(again, [Err(("t".into(), Code::TopicAlreadyExists))]);
        let replicated =
            admin.create_topics([&NewTopic::new("r", 1, TopicReplication::Fixed(3))], &options()).await.unwrap();
        assert_eq!(replicated, [Err(("r".into(), Code::InvalidReplicationFactor))]);
        let bad = NewTopic::new("b", 1, TopicReplication::Fixed(1)).set("retention.ms", "soon");
        assert_eq!(admin.create_topics([&bad], &options()).await.unwrap(), [Err(("b".into(), Code::InvalidConfig))]);

        let settings_of_t = || async {
            let described = admin.describe_configs(&[ResourceSpecifier::Topic("t")], &options()).await.unwrap();
            described.into_iter().next().unwrap().unwrap()
        };
        let settings = settings_of_t().await;
        let retention = settings.get("retention.ms").unwrap();
        assert_eq!((retention.value.as_deref(), &retention.source), (Some("1234"), &ConfigSource::DynamicTopic));
        let bytes = settings.get("max.message.bytes").unwrap();
        assert_eq!((bytes.value.as_deref(), &bytes.source), (Some("1048588"), &ConfigSource::Default));

        let alter = AlterConfig::new(ResourceSpecifier::Topic("t")).set("retention.ms", "99");
        assert!(admin.alter_configs(&[alter], &options()).await.unwrap()[0].is_ok());
        let grown = admin.create_partitions(&[NewPartitions::new("t", 5)], &options()).await.unwrap();
        assert_eq!(grown, [Ok("t".into())]);
        let shrunk = admin.create_partitions(&[NewPartitions::new("t", 2)], &options()).await.unwrap();
        assert_eq!(shrunk, [Err(("t".into(), Code::InvalidPartitions))]);

        let broker = broker.restart().await;
        let admin = crate::support::admin(&broker.servers());
        let metadata = admin.inner().fetch_metadata(None, PATIENCE).unwrap();
        assert_eq!(metadata.topics().iter().map(|t| (t.name(), t.partitions().len())).collect::<Vec<_>>(), [("t", 5)]);
        let described = admin
            .describe_configs(&[ResourceSpecifier::Topic("t"), ResourceSpecifier::Broker(1)], &options())
            .await
            .unwrap();
        let topic = described[0].as_ref().unwrap();
        assert_eq!(topic.get("retention.ms").unwrap().value.as_deref(), Some("99"));
        assert_eq!(
            topic.get("cleanup.policy").unwrap().value.as_deref(),
            Some("delete"),
            "altering replaces all of it"
        );
        assert!(described[1].as_ref().unwrap().get("node.id").unwrap().is_read_only);

        let deleted = admin.delete_topics(&["t", "never"], &options()).await.unwrap();
        assert_eq!(deleted, [Ok("t".into()), Err(("never".into(), Code::UnknownTopicOrPartition))]);
        assert!(admin.inner().fetch_metadata(None, PATIENCE).unwrap().topics().is_empty());
        let left = std::fs::read_dir(broker.dir.path().join("logs")).unwrap().count();
        assert_eq!(left, 0, "directories of a deleted topic");
    });
}

#[test]
fn a_topic_that_is_created_again_is_empty() {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        for round in 0..3 {
            create_topic(&servers, "t", 2, &[]).await;
            let sender = producer(&servers, &[]);
            let sent = sender
                .send(FutureRecord::<(), _>::to("t").partition(1).payload(&round.to_string()), PATIENCE)
                .await
                .unwrap();
            assert_eq!(sent.offset, 0);
            let reader = consumer(&servers, "g", &[]);
            let mut offsets = TopicPartitionList::new();
            offsets.add_partition_offset("t", 1, Offset::Offset(1)).unwrap();
            reader.commit(&offsets, rdkafka::consumer::CommitMode::Sync).unwrap();
            let seen: Vec<_> = read_all(&servers, "t", "read_committed").into_iter().filter_map(|r| r.value).collect();
            assert_eq!(seen, [round.to_string()]);
            assert!(admin(&servers).delete_topics(&["t"], &options()).await.unwrap()[0].is_ok());
        }
        create_topic(&servers, "t", 2, &[]).await;
        let mut asked = TopicPartitionList::new();
        asked.add_partition("t", 1);
        let committed = consumer(&servers, "g", &[]).committed_offsets(asked, PATIENCE).unwrap();
        assert_eq!(committed.find_partition("t", 1).unwrap().offset(), Offset::Invalid, "its commits went with it");
    });
}

#[test]
fn records_are_deleted_up_to_an_offset_and_readers_start_after_it() {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        create_topic(&servers, "t", 1, &[]).await;
        let sender = producer(&servers, &[]);
        for n in 0..10 {
            sender.send(FutureRecord::<(), _>::to("t").payload(&n.to_string()), PATIENCE).await.unwrap();
        }
        let mut before = TopicPartitionList::new();
        before.add_partition_offset("t", 0, Offset::Offset(4)).unwrap();
        let deleted = admin(&servers).delete_records(&before, &options()).await.unwrap();
        assert_eq!(deleted.find_partition("t", 0).unwrap().offset(), Offset::Offset(4));
        let broker = broker.restart().await;
        let reader = consumer(&broker.servers(), "g", &[]);
        assert_eq!(reader.fetch_watermarks("t", 0, PATIENCE).unwrap(), (4, 10));
        // From an offset that is gone: `auto.offset.reset` decides.
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset("t", 0, Offset::Offset(1)).unwrap();
        reader.assign(&assignment).unwrap();
        assert_eq!(read_count(&reader, 1)[0].offset, 4);
        let strict = consumer(&broker.servers(), "g", &[("auto.offset.reset", "error")]);
        strict.assign(&assignment).unwrap();
        let error = strict.poll(PATIENCE).unwrap().unwrap_err();
        assert_eq!(error.rdkafka_error_code(), Some(Code::AutoOffsetReset), "{error}");
    });
}

#[test]
fn refusals_say_what_is_wrong() {
    run(async {
        let broker = TestBroker::start().await;
        let servers = broker.servers();
        create_topic(&servers, "small", 1, &[("max.message.bytes", "1000")]).await;
        create_topic(&servers, "compact", 1, &[("cleanup.policy", "compact")]).await;
        create_topic(&servers, "replicated", 1, &[("min.insync.replicas", "2")]).await;
        let sender = producer(&servers, &[("message.timeout.ms", "1500")]);
        let code = |error: KafkaError| error.rdkafka_error_code().unwrap();
        let big = "x".repeat(2_000);
        let (error, _) = sender.send(FutureRecord::<(), _>::to("small").payload(&big), PATIENCE).await.unwrap_err();
        assert_eq!(code(error), Code::MessageSizeTooLarge);
        let (error, _) =
            sender.send(FutureRecord::<(), _>::to("compact").payload("no key"), PATIENCE).await.unwrap_err();
        assert_eq!(code(error), Code::InvalidRecord);
        let far = FutureRecord::<(), _>::to("small").payload("x").timestamp(i64::MAX / 2);
        let (error, _) = sender.send(far, PATIENCE).await.unwrap_err();
        assert_eq!(code(error), Code::InvalidTimestamp);
        let (error, _) = sender.send(FutureRecord::<(), _>::to("replicated").payload("x"), PATIENCE).await.unwrap_err();
        assert!(matches!(code(error), Code::NotEnoughReplicas | Code::MessageTimedOut));
        let (error, _) = sender.send(FutureRecord::<(), _>::to("nowhere").payload("x"), PATIENCE).await.unwrap_err();
        assert!(matches!(code(error), Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::MessageTimedOut));
        let reader = consumer(&servers, "g", &[("session.timeout.ms", "50")]);
        reader.subscribe(&["small"]).unwrap();
        let error = reader.poll(PATIENCE).unwrap().unwrap_err();
        assert!(error.to_string().contains("session"), "{error}");
    });
}

#[test]
fn topics_appear_by_themselves_only_if_the_settings_say_so() {
    run(async {
        let broker = TestBroker::start_with(|settings| {
            settings.auto_create_topics = true;
            settings.default_partitions = 3;
        })
        .await;
        let sender = producer(&broker.servers(), &[("allow.auto.create.topics", "true")]);
        sender.send(FutureRecord::<(), _>::to("by-itself").payload("x"), PATIENCE).await.unwrap();
        let stats = broker.broker.stats();
        assert_eq!((stats.topics, stats.partitions, stats.records_in), (1, 3, 1));
    });
}

#[test]
fn limits_are_kept() {
    run(async {
        let broker = TestBroker::start_with(|settings| {
            settings.limits.connections_max = 6;
            settings.limits.topics_max = 2;
            settings.limits.groups_max = 1;
            settings.limits.offset_metadata_bytes_max = 10;
        })
        .await;
        let servers = broker.servers();
        create_topic(&servers, "a", 1, &[]).await;
        create_topic(&servers, "b", 1, &[]).await;
        let third = admin(&servers)
            .create_topics([&NewTopic::new("c", 1, TopicReplication::Fixed(1))], &options())
            .await
            .unwrap();
        assert_eq!(third, [Err(("c".into(), Code::PolicyViolation))]);
        let commit = |group: &str, metadata: &str| {
            let mut offsets = TopicPartitionList::new();
            offsets.add_partition_offset("a", 0, Offset::Offset(0)).unwrap();
            offsets.find_partition("a", 0).unwrap().set_metadata(metadata);
            consumer(&servers, group, &[]).commit(&offsets, rdkafka::consumer::CommitMode::Sync)
        };
        commit("one", "short").unwrap();
        assert_eq!(
            commit("one", "much too long").unwrap_err().rdkafka_error_code(),
            Some(Code::OffsetMetadataTooLarge)
        );
        assert!(commit("two", "").is_err());
        let mut held = Vec::new();
        wait_until("connections are refused", || {
            held.push(std::net::TcpStream::connect(broker.broker.address()).unwrap());
            broker.broker.stats().connections_refused > 0
        });
        assert!(broker.broker.stats().connections <= 6);
    });
}

#[test]
fn nothing_but_loopback_is_listened_on_unasked() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        settings.listen = "0.0.0.0:0".parse().unwrap();
        let refused = millrace_broker::Broker::start(settings.clone()).await.unwrap_err().to_string();
        assert!(refused.contains("not loopback") && refused.contains("listen_beyond_loopback"), "{refused}");
        let taken = TestBroker::start().await;
        settings.listen = taken.broker.address();
        let refused = millrace_broker::Broker::start(settings).await.unwrap_err().to_string();
        assert!(refused.contains("cannot listen on 127.0.0.1"), "{refused}");
    });
}
