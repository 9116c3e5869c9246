//! Starting brokers and the clients that talk to them.

use millrace_broker::{Broker, BrokerSettings};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseProducer, FutureProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long anything in these tests may take before it counts as hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime like the product's.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs a test on that runtime.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    runtime().block_on(test)
}

/// Settings for a test: any free port, data in `dir`, short waits.
pub(crate) fn settings(dir: &Path) -> BrokerSettings {
    BrokerSettings {
        data_dir: dir.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        group_session_timeout_ms_min: 100,
        ..BrokerSettings::default()
    }
}

/// A broker in this process with its own directory.
pub(crate) struct TestBroker {
    pub(crate) broker: Broker,
    pub(crate) dir: tempfile::TempDir,
}

impl TestBroker {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(settings(dir.path())).await.unwrap();
        Self { broker, dir }
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut BrokerSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        change(&mut settings);
        Self { broker: Broker::start(settings).await.unwrap(), dir }
    }

    /// Stops in order and starts again on the same data.
    pub(crate) async fn restart(self) -> Self {
        self.broker.shutdown().await.unwrap();
        let broker = Broker::start(settings(self.dir.path())).await.unwrap();
        Self { broker, dir: self.dir }
    }

    pub(crate) fn servers(&self) -> String {
        self.broker.address().to_string()
    }
}

/// Client settings that every test client shares.
pub(crate) fn config(servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("broker.address.family", "v4")
        .set("allow.auto.create.topics", "false");
    config
}

pub(crate) fn admin(servers: &str) -> AdminClient<DefaultClientContext> {
    config(servers).create().unwrap()
}

/// Creates a topic with settings.
pub(crate) async fn create_topic(servers: &str, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in configs {
        topic = topic.set(key, value);
    }
    let created = admin(servers).create_topics([&topic], &AdminOptions::new()).await.unwrap();
    assert_eq!(created, [Ok(name.to_owned())]);
}

pub(crate) fn producer(servers: &str, extra: &[(&str, &str)]) -> FutureProducer {
    let mut config = config(servers);
    config.set("linger.ms", "5");
    for (key, value) in extra {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

pub(crate) fn base_producer(servers: &str, extra: &[(&str, &str)]) -> BaseProducer {
    let mut config = config(servers);
    config.set("linger.ms", "5");
    for (key, value) in extra {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

pub(crate) fn consumer(servers: &str, group: &str, extra: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(servers);
    config.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    config.set("fetch.wait.max.ms", "200");
    for (key, value) in extra {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

/// A record as a test looks at it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) timestamp_ms: Option<i64>,
}

pub(crate) fn seen(message: &BorrowedMessage<'_>) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Seen {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(text),
        value: message.payload().map(text),
        timestamp_ms: message.timestamp().to_millis(),
    }
}

/// Reads all partitions of a topic from the start until the end that they have now. `isolation` as in the client's
/// `isolation.level`.
pub(crate) fn read_all(servers: &str, topic: &str, isolation: &str) -> Vec<Seen> {
    let consumer = consumer(servers, "read-all", &[("isolation.level", isolation), ("enable.partition.eof", "true")]);
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|p| p.id()).collect();
    let mut assignment = TopicPartitionList::new();
    for partition in &partitions {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut records = Vec::new();
    let mut ended = 0;
    let deadline = Instant::now() + PATIENCE;
    while ended < partitions.len() {
        assert!(Instant::now() < deadline, "reading {topic} hangs with {} records", records.len());
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => records.push(seen(&message)),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("reading {topic}: {error}"),
            None => {}
        }
    }
    records.sort();
    records
}

/// Polls until `count` records have come.
pub(crate) fn read_count(consumer: &BaseConsumer, count: usize) -> Vec<Seen> {
    let mut records = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while records.len() < count {
        assert!(Instant::now() < deadline, "only {} of {count} records came", records.len());
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => records.push(seen(&message)),
            Some(Err(error)) => panic!("{error}"),
            None => {}
        }
    }
    records
}

/// Polls `check` until it holds.
pub(crate) fn wait_until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let (_sender, ticks) = std::sync::mpsc::channel::<()>();
    while !check() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        // A channel nobody sends on is a timer.
        let _ = ticks.recv_timeout(Duration::from_millis(20));
    }
}

/// A broker in a process of its own, so that it can be killed.
pub(crate) struct ChildBroker {
    child: std::process::Child,
    dir: std::path::PathBuf,
    mode: String,
    pub(crate) address: String,
    /// Milliseconds from the start of recovery to listening, as the broker says.
    pub(crate) start_ms: f64,
}

impl ChildBroker {
    pub(crate) fn start(dir: &Path, mode: &str) -> Self {
        Self::start_at(dir, "127.0.0.1:0", mode)
    }

    fn start_at(dir: &Path, listen: &str, mode: &str) -> Self {
        use std::io::BufRead;
        // Cargo builds the examples beside the tests: target/<profile>/deps/<test> and target/<profile>/examples/broker.
        let exe = std::env::current_exe().unwrap();
        let program = exe.parent().unwrap().parent().unwrap().join("examples/broker");
        let mut child = std::process::Command::new(&program)
            .args([dir.as_os_str(), listen.as_ref(), mode.as_ref()])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}; build it with --examples", program.display()));
        let mut said = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let words: Vec<&str> = said.split_whitespace().collect();
        let ["listening", "on", address, "after", ms, "ms"] = words[..] else {
            panic!("the broker did not start: {said:?}")
        };
        Self { address: address.into(), start_ms: ms.parse().unwrap(), child, dir: dir.into(), mode: mode.into() }
    }

    /// `kill -9`, and at once a new one on the same data and port.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        *self = Self::start_at(&self.dir, &self.address, &self.mode);
    }
}

impl Drop for ChildBroker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets some time pass between two disturbances.
pub(crate) fn pause(time: Duration) {
    let (_sender, timer) = std::sync::mpsc::channel::<()>();
    let _ = timer.recv_timeout(time);
}
