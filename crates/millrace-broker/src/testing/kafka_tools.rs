//! Apache Kafka's command-line tools, by the main class that its shell scripts start.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{cache, process};

/// Version of the tools; newer than what Spark's connector brings.
const VERSION: &str = "4.3.1";
const POM: &str = include_str!("kafka-tools-pom.xml");
const LOGGING: &str = "status = error
rootLogger.level = warn
rootLogger.appenderRef.err.ref = err
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
";

/// `kafka-topics`.
pub const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
/// `kafka-configs`.
pub const CONFIGS: &str = "kafka.admin.ConfigCommand";
/// `kafka-consumer-groups`.
pub const CONSUMER_GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
/// `kafka-console-producer`.
pub const CONSOLE_PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
/// `kafka-console-consumer`.
pub const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
/// `kafka-producer-perf-test`.
pub const PRODUCER_PERF: &str = "org.apache.kafka.tools.ProducerPerformance";
/// `kafka-consumer-perf-test`.
pub const CONSUMER_PERF: &str = "org.apache.kafka.tools.ConsumerPerformance";
/// `kafka-get-offsets`.
pub const GET_OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
/// `kafka-delete-records`.
pub const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
/// `kafka-transactions`.
pub const TRANSACTIONS: &str = "org.apache.kafka.tools.TransactionsCommand";
/// `kafka-broker-api-versions`.
pub const API_VERSIONS: &str = "org.apache.kafka.tools.BrokerApiVersionsCommand";

/// Runs a tool to its end with `input` on its standard input; what it wrote to its standard output.
///
/// # Errors
/// The jars cannot be fetched, Java is missing, or the tool ended with an error; the text has all it wrote.
pub fn run(class: &str, args: &[&str], input: &str) -> Result<String, String> {
    let said = process::run(command(class)?.args(args), input);
    said.map_err(|why| format!("{class} {}: {why}", args.join(" ")))
}

/// The command that starts a tool, for tests that want its process.
///
/// # Errors
/// The jars cannot be fetched.
pub fn command(class: &str) -> Result<Command, String> {
    let folder = jars()?;
    let mut command = Command::new("java");
    // A small machine that lives for seconds: the cheapest collector, no optimising compiler.
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-Djava.awt.headless=true"]);
    command.arg(format!("-Dlog4j2.configurationFile={}", folder.join("log4j2.properties").display()));
    command.arg("-cp").arg(folder.join("libs/*")).arg(class);
    Ok(command)
}

fn jars() -> Result<PathBuf, String> {
    cache::folder(&format!("kafka-tools-{VERSION}"), |folder| {
        let written = |name: &str, text: &str| fs::write(folder.join(name), text).map_err(|e| format!("{name}: {e}"));
        written("pom.xml", POM)?;
        written("log4j2.properties", LOGGING)?;
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=libs"]);
        maven.arg(format!("-Dkafka.version={VERSION}")).current_dir(folder);
        process::run(&mut maven, "").map(drop)
    })
}
