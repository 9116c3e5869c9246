//! What a Kafka node is started with: properties, logging, arguments. Pure functions.

use std::path::Path;

/// Version of the brokers and of the tools: 4.4.0 has no tools in the public repositories.
pub const VERSION: &str = "4.3.1";
/// Longest record batch, bytes: a record of 16 MiB and room for its headers.
pub const MESSAGE_BYTES_MAX: u32 = 17 << 20;
/// What the server writes to its log when it is up.
pub const READY: &str = "Kafka Server started";
/// Main class of `kafka-topics`.
pub const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
/// Main class of `kafka-consumer-groups`.
pub const CONSUMER_GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
/// Main class of `kafka-console-producer`.
pub const CONSOLE_PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
/// Main class of `kafka-console-consumer`.
pub const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
/// Main class of `kafka-metadata-quorum`.
pub const METADATA_QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";
/// Main class of `kafka-get-offsets`.
pub const GET_OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
/// Main class of `kafka-producer-perf-test`.
pub const PRODUCER_PERF: &str = "org.apache.kafka.tools.ProducerPerformance";

/// `log4j2.properties` of the servers: to standard output, which is the node's log file.
pub const SERVER_LOGGING: &str = "status = error
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
logger.raft.name = kafka.server.KafkaRaftServer
logger.raft.level = info
logger.broker.name = kafka.server.BrokerServer
logger.broker.level = info
";

/// `log4j2.properties` of the tools: to standard error, so that their output is theirs.
pub const TOOL_LOGGING: &str = "status = error
rootLogger.level = warn
rootLogger.appenderRef.err.ref = err
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
";

/// The ports of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KafkaPorts {
    /// Node id, from 1.
    pub id: u32,
    /// Port of the clients.
    pub kafka: u16,
    /// Port of the controllers among themselves.
    pub controller: u16,
}

/// Nodes that must live for the metadata to be written.
pub fn majority(nodes: usize) -> usize {
    nodes / 2 + 1
}

/// `server.properties` of the node `own`. Three copies of everything from three nodes on; two must be in sync.
pub fn server_properties(own: KafkaPorts, all: &[KafkaPorts], log_dir: &Path) -> String {
    let copies = all.len().min(3);
    let in_sync = if copies == 3 { 2 } else { 1 };
    let voters: Vec<String> = all.iter().map(|node| format!("{}@127.0.0.1:{}", node.id, node.controller)).collect();
    let KafkaPorts { id, kafka, controller } = own;
    let voters = voters.join(",");
    let log_dir = log_dir.display();
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{kafka},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{kafka}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={log_dir}
num.partitions=4
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={in_sync}
message.max.bytes={MESSAGE_BYTES_MAX}
replica.fetch.max.bytes={MESSAGE_BYTES_MAX}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=8
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
controlled.shutdown.enable=true
"
    )
}

/// Arguments of `java` for a broker. The small heap and the serial collector keep a node below half a GiB.
pub fn server_args(libs: &Path, logging: &Path, properties: &Path, heap_mib: u32) -> Vec<String> {
    let mut args: Vec<String> =
        ["-XX:+UseSerialGC", "-XX:MaxMetaspaceSize=128m", "-Djava.awt.headless=true", "-Xms128m"]
            .map(str::to_owned)
            .into();
    args.push(format!("-Xmx{}m", heap_mib.max(128)));
    args.push(format!("-Dlog4j2.configurationFile={}", logging.display()));
    args.extend(["-cp".into(), class_path(libs), "kafka.Kafka".into(), properties.display().to_string()]);
    args
}

/// Arguments of `java` for a command-line tool: a small machine that lives for seconds.
pub fn tool_args(libs: &Path, logging: &Path, class: &str) -> Vec<String> {
    let mut args: Vec<String> = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-Djava.awt.headless=true"]
        .map(str::to_owned)
        .into();
    args.push(format!("-Dlog4j2.configurationFile={}", logging.display()));
    args.extend(["-cp".into(), class_path(libs), class.to_owned()]);
    args
}

fn class_path(libs: &Path) -> String {
    format!("{}/*", libs.display())
}

/// Sixteen random bytes as Kafka writes a cluster id: base64 for URLs, without padding.
pub fn cluster_id(random: u128) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // A UUID of version 4. The highest bit is cleared too: an id with a leading `-` would look like an option.
    let uuid = random & !(0xf000 << 64) & !(0b11 << 62) & !(1 << 127) | (0x4000 << 64) | (0b10 << 62);
    let digit = |at: u32| {
        let six = if at == 21 { (uuid << 4) & 63 } else { (uuid >> (122 - 6 * at)) & 63 };
        DIGITS.get(six as usize).copied().map_or('A', char::from)
    };
    (0..22).map(digit).collect()
}

/// What `kafka-metadata-quorum describe --status` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Node id of the active controller; negative when there is none.
    pub leader_id: i64,
    /// How far the slowest node is behind, metadata records.
    pub follower_lag_max: i64,
}

/// Reads what `kafka-metadata-quorum describe --status` writes; `None` if it is something else.
pub fn parse_quorum(text: &str) -> Option<Quorum> {
    let number = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
        value.trim().parse().ok()
    };
    Some(Quorum { leader_id: number("LeaderId")?, follower_lag_max: number("MaxFollowerLag")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [KafkaPorts; 3] = [
        KafkaPorts { id: 1, kafka: 11, controller: 12 },
        KafkaPorts { id: 2, kafka: 21, controller: 22 },
        KafkaPorts { id: 3, kafka: 31, controller: 32 },
    ];

    #[test]
    fn three_nodes_keep_three_copies_of_which_two_must_be_in_sync() {
        let text = server_properties(NODES[1], &NODES, Path::new("/d/log"));
        for line in [
            "node.id=2",
            "controller.quorum.voters=1@127.0.0.1:12,2@127.0.0.1:22,3@127.0.0.1:32",
            "listeners=PLAINTEXT://127.0.0.1:21,CONTROLLER://127.0.0.1:22",
            "default.replication.factor=3",
            "min.insync.replicas=2",
            "transaction.state.log.min.isr=2",
            "auto.create.topics.enable=false",
            "message.max.bytes=17825792",
            "log.dirs=/d/log",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn one_node_keeps_one_copy() {
        let text = server_properties(NODES[0], &NODES[..1], Path::new("/d/log"));
        assert!(text.contains("default.replication.factor=1\nmin.insync.replicas=1\n"), "{text}");
    }

    #[test]
    fn arguments_name_heap_class_path_and_properties() {
        let args = server_args(Path::new("/l"), Path::new("/c/log4j2"), Path::new("/d/server.properties"), 256);
        assert!(args.contains(&"-Xmx256m".to_owned()));
        assert_eq!(args[args.len() - 4..], ["-cp", "/l/*", "kafka.Kafka", "/d/server.properties"]);
        assert_eq!(tool_args(Path::new("/l"), Path::new("/c"), TOPICS).last().map(String::as_str), Some(TOPICS));
    }

    #[test]
    fn a_cluster_id_is_a_version_4_uuid_in_22_digits() {
        assert_eq!(cluster_id(0), "AAAAAAAAQACAAAAAAAAAAA");
        let all = cluster_id(u128::MAX);
        assert_eq!(all, "f_______T_-__________w");
    }

    #[test]
    fn majorities() {
        assert_eq!([1, 2, 3, 5].map(majority), [1, 2, 2, 3]);
    }

    #[test]
    fn the_quorum_is_read_from_the_tools_text() {
        let text = "ClusterId:              abc\nLeaderId:               2\nMaxFollowerLag:         0\n";
        assert_eq!(parse_quorum(text), Some(Quorum { leader_id: 2, follower_lag_max: 0 }));
        assert_eq!(parse_quorum("java: error"), None);
    }
}
