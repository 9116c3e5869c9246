//! How a Kafka client is configured: the user's properties, what the product needs, and limits.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use millrace_model::ErrorKind;
use rdkafka::ClientConfig;

use super::KafkaError;

/// Bytes of records a consumer holds that nobody has taken yet, KiB.
pub const CONSUMER_QUEUE_KIB_MAX: u32 = 8 * 1024;
/// Bytes of records a producer holds that the broker has not acknowledged yet, KiB, unless its user says otherwise.
pub const PRODUCER_QUEUE_KIB_MAX: u32 = 64 * 1024;
/// Longest wait for an answer of the cluster (metadata, offsets, admin), milliseconds.
pub const REQUEST_MS_MAX: u64 = 10_000;
/// Life of a transaction that its producer no longer ends, milliseconds.
pub const TRANSACTION_MS_MAX: u64 = 60_000;
/// How long a producer waits for a batch to fill, milliseconds. librdkafka waits for an acknowledgement without sleeping when
/// this time of a batch behind it is over, so it is longer than a busy cluster takes to acknowledge.
const LINGER_MS: &str = "50";
/// The same in a transaction, whose commit was seen to wait for it: with a second, results came most of a second later.
const TRANSACTION_LINGER_MS: &str = "5";

/// Properties that decide delivery promises: the product sets them, nobody else.
const RESERVED: &[&str] = &[
    "acks",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "request.required.acks",
    "transactional.id",
];

/// Where the cluster is and how to talk to it. Plain data: from the settings file as it stands.
#[derive(Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// `host:port`, several with commas between them.
    pub bootstrap_servers: String,
    /// Ordinary properties of Kafka clients (`security.protocol`, `sasl.username` …), as librdkafka names them.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<&str, &str> =
            self.properties.iter().map(|(name, value)| (name.as_str(), shown(name, value))).collect();
        f.debug_struct("ClientSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &shown)
            .finish()
    }
}

fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    let secret = ["password", "secret", ".pem", "oauthbearer.config", "jaas"].iter().any(|part| name.contains(part));
    if secret { "***" } else { value }
}

/// Largest record a producer of ours sends, bytes, unless the user sets `message.max.bytes`.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

impl ClientSettings {
    /// Settings for a cluster that needs nothing but its address.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        ClientSettings { bootstrap_servers: bootstrap_servers.into(), properties: BTreeMap::new() }
    }

    /// Checks what can be checked without the cluster.
    ///
    /// # Errors
    /// `Invalid`: no address, a property the product sets itself, or one librdkafka does not know.
    pub fn check(&self) -> Result<(), KafkaError> {
        let invalid = |text: String| Err(KafkaError::new(ErrorKind::Invalid, text));
        if self.bootstrap_servers.trim().is_empty() {
            return invalid("kafka: `bootstrap_servers` is empty; write host:port".into());
        }
        for name in self.properties.keys() {
            if ["bootstrap.servers", "metadata.broker.list"].contains(&name.as_str()) {
                return invalid(format!("kafka property `{name}`: write `bootstrap_servers` beside `properties`"));
            }
            if RESERVED.contains(&name.as_str()) {
                return invalid(format!(
                    "kafka property `{name}`: Millrace sets it, because its delivery promises rest on it; leave it out"
                ));
            }
        }
        let native = self.base().create_native_config();
        native.map(|_| ()).map_err(|e| KafkaError::of("kafka properties", &e))
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config.set("client.id", "millrace");
        // A broker that was restarted is found again within a second or two.
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    /// A consumer that is assigned its partitions and commits when told to: committed records only.
    pub fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.base();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            // A position that is gone is a decision of ours, not a silent jump.
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "false");
        self.unless_set(&mut config, "fetch.wait.max.ms", "500");
        self.unless_set(&mut config, "fetch.error.backoff.ms", "100");
        // Its default, a second, is what a reader that pauses would wait when it goes on.
        self.unless_set(&mut config, "fetch.queue.backoff.ms", "20");
        self.unless_set(&mut config, "queued.max.messages.kbytes", &CONSUMER_QUEUE_KIB_MAX.to_string());
        config
    }

    /// A producer that neither loses nor repeats a record while it lives.
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.base();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Successes are not reported one by one: `flush` and the count of failures say the same.
            .set("delivery.report.only.error", "true");
        // Waits for a broker that is away as long as it takes; the bounded queue holds back who produces.
        self.unless_set(&mut config, "message.timeout.ms", "0");
        // Dead letters hold a record of the usual limit, 1 MiB, in base64 and with its headers.
        self.unless_set(&mut config, "message.max.bytes", &MESSAGE_BYTES_MAX.to_string());
        self.unless_set(&mut config, "linger.ms", LINGER_MS);
        self.unless_set(&mut config, "compression.type", "lz4");
        self.unless_set(&mut config, "queue.buffering.max.messages", "1000000");
        self.unless_set(&mut config, "queue.buffering.max.kbytes", &PRODUCER_QUEUE_KIB_MAX.to_string());
        config
    }

    /// A producer whose records become visible with the offsets they were made from. A second producer of the same
    /// id fences the first.
    pub fn transactional_producer(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.producer();
        config.set("transactional.id", transactional_id);
        self.unless_set(&mut config, "transaction.timeout.ms", &TRANSACTION_MS_MAX.to_string());
        self.unless_set(&mut config, "linger.ms", TRANSACTION_LINGER_MS);
        // A transaction that cannot be delivered is aborted and made again; it must not outlive its timeout.
        self.unless_set(&mut config, "message.timeout.ms", &TRANSACTION_MS_MAX.to_string());
        config
    }

    /// A client that creates topics and asks about them.
    pub fn admin(&self) -> ClientConfig {
        self.base()
    }

    fn unless_set(&self, config: &mut ClientConfig, name: &str, value: &str) {
        if !self.properties.contains_key(name) {
            config.set(name, value);
        }
    }
}

/// [`REQUEST_MS_MAX`] as a duration.
pub(crate) fn request_timeout() -> Duration {
    Duration::from_millis(REQUEST_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> ClientSettings {
        let mut settings = ClientSettings::new("localhost:9092");
        settings.properties.insert(name.into(), value.into());
        settings
    }

    #[test]
    fn checks() {
        ClientSettings::new("localhost:9092").check().expect("an address is enough");
        with("socket.timeout.ms", "5000").check().expect("an ordinary property");
        for (settings, text) in [
            (ClientSettings::new(" "), "`bootstrap_servers` is empty"),
            (with("bootstrap.servers", "x"), "beside `properties`"),
            (with("isolation.level", "read_uncommitted"), "Millrace sets it"),
            (with("sokcet.timeout.ms", "5"), "property `sokcet.timeout.ms`"),
        ] {
            let error = settings.check().expect_err(text).to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn the_users_properties_win_where_no_promise_rests_on_them() {
        let config = with("linger.ms", "7").transactional_producer("job");
        assert_eq!(config.get("linger.ms"), Some("7"));
        assert_eq!(config.get("transactional.id"), Some("job"));
        assert_eq!(config.get("message.timeout.ms"), Some("60000"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", with("sasl.password", "s3cret"));
        assert!(shown.contains("sasl.password") && !shown.contains("s3cret"), "{shown}");
    }
}
