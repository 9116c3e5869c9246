//! Kafka for these tests: topics, records in, records out.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_model::Timestamp;
use millrace_spark::SparkSettings;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::servers::Spark;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Key and value of a record.
pub(crate) type KeyValue = (Option<Vec<u8>>, Option<Vec<u8>>);

/// A record to produce.
#[derive(Clone, Copy, Default)]
pub(crate) struct Outgoing<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) time: Option<Timestamp>,
    pub(crate) partition: Option<i32>,
}

/// A cluster to talk to.
pub(crate) struct Kafka {
    pub(crate) servers: String,
    runtime: tokio::runtime::Runtime,
}

impl Kafka {
    /// One that runs.
    pub(crate) fn at(servers: &str) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
        Kafka { servers: servers.to_owned(), runtime }
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.servers).set("broker.address.family", "v4");
        client.set("message.max.bytes", "8000000");
        client
    }

    /// Creates the topics of these names and numbers of partitions.
    pub(crate) fn create<'a>(&self, topics: impl IntoIterator<Item = (&'a str, u32)>) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("an admin client");
        let new = topics.into_iter().map(|(name, partitions)| {
            let partitions = i32::try_from(partitions).expect("few");
            NewTopic::new(name, partitions, TopicReplication::Fixed(1))
                .set("max.message.bytes", "8000000")
                .set("retention.ms", "-1")
        });
        let new: Vec<NewTopic<'_>> = new.collect();
        let created = self.runtime.block_on(admin.create_topics(&new, &AdminOptions::new())).expect("an answer");
        for result in created {
            assert!(!matches!(&result, Err((_, code)) if *code != RDKafkaErrorCode::TopicAlreadyExists), "{result:?}");
        }
    }

    /// Produces key, value and time of each record, to a partition by its key.
    pub(crate) fn produce<'a>(&self, topic: &str, records: impl IntoIterator<Item = Outgoing<'a>>) {
        let producer: BaseProducer = self.client().set("partitioner", "murmur2_random").create().expect("a producer");
        for outgoing in records {
            let mut record = BaseRecord::<[u8], [u8]>::to(topic);
            record.key = outgoing.key;
            record.payload = outgoing.value;
            record.partition = outgoing.partition;
            record.timestamp = outgoing.time.map(Timestamp::millis);
            while let Err((error, again)) = producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full);
                producer.poll(Duration::from_millis(10));
                record = again;
            }
        }
        producer.flush(PATIENCE).expect("acknowledged");
    }

    /// The sum of the ends of a topic's partitions; 0 when there is no such topic yet.
    pub(crate) fn end(&self, topic: &str) -> i64 {
        let consumer: BaseConsumer = self.client().create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
        let partitions = metadata.topics()[0].partitions().iter();
        partitions
            .map(|partition| consumer.fetch_watermarks(topic, partition.id(), PATIENCE).map_or(0, |(_, end)| end))
            .sum()
    }

    /// Everything in the topic, partition by partition.
    pub(crate) fn read(&self, topic: &str) -> Vec<KeyValue> {
        let mut config = self.client();
        config.set("group.id", "millrace-spark-test").set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "true").set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
        let mut list = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            list.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("an offset");
        }
        consumer.assign(&list).expect("assigned");
        let mut left = list.count();
        let mut records = Vec::new();
        while left > 0 {
            match consumer.poll(PATIENCE).expect("an answer in time") {
                Ok(message) => records.push((message.key().map(<[u8]>::to_vec), message.payload().map(<[u8]>::to_vec))),
                Err(KafkaError::PartitionEOF(_)) => left -= 1,
                Err(error) => panic!("{topic}: {error}"),
            }
        }
        records
    }
}

/// Settings for a server and a cluster, with everything kept in a folder.
pub(crate) fn settings(spark: &Spark, kafka: &Kafka, dir: &std::path::Path) -> SparkSettings {
    let checkpoints = dir.join("checkpoints").display().to_string();
    let mut settings = SparkSettings::new(spark.url(), checkpoints, dir.join("sessions"));
    settings.kafka = BTreeMap::from([("bootstrap.servers".to_owned(), kafka.servers.clone())]);
    settings.poll_interval = Duration::from_millis(300);
    settings
}

/// Tries until there is an answer.
pub(crate) fn wait_for<T>(what: &str, most: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < most, "waited {most:?} in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(200));
    }
}
