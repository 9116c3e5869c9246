//! Apache Kafka's own tools against the broker: what operators type works.

use crate::support::{TestBroker, read_all, run};
use millrace_broker::testing::kafka_tools::{
    self, API_VERSIONS, CONFIGS, CONSOLE_CONSUMER, CONSOLE_PRODUCER, CONSUMER_GROUPS, CONSUMER_PERF, DELETE_RECORDS,
    GET_OFFSETS, PRODUCER_PERF, TOPICS, TRANSACTIONS,
};

/// The tools, pointed at one broker.
struct Tools {
    broker: TestBroker,
}

impl Tools {
    async fn start() -> Self {
        Self { broker: TestBroker::start().await }
    }

    fn servers(&self) -> String {
        self.broker.servers()
    }

    /// Runs a tool with a line of arguments; `input` is its standard input.
    fn with_input(&self, class: &str, line: &str, input: &str) -> String {
        let servers = self.servers();
        let args: Vec<&str> = ["--bootstrap-server", &servers].into_iter().chain(line.split_whitespace()).collect();
        kafka_tools::run(class, &args, input).unwrap_or_else(|why| panic!("{why}"))
    }

    fn run(&self, class: &str, line: &str) -> String {
        self.with_input(class, line, "")
    }

    /// The lines it says, words apart by one space, without empty ones.
    fn lines(&self, class: &str, line: &str) -> Vec<String> {
        let said = self.run(class, line);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        said.lines().map(words).filter(|line| !line.is_empty()).collect()
    }
}

#[test]
#[ignore = "slow suite: starts Apache Kafka's tools"]
fn topics_are_created_described_extended_and_deleted() {
    run(async {
        let tools = Tools::start().await;
        let said = tools.run(TOPICS, "--create --topic orders --partitions 3 --config retention.ms=3600000");
        assert!(said.contains("Created topic orders."), "{said}");
        tools.run(TOPICS, "--create --topic orders --partitions 3 --if-not-exists");
        assert_eq!(tools.lines(TOPICS, "--list"), ["orders"]);
        tools.run(TOPICS, "--alter --topic orders --partitions 5");
        let described = tools.lines(TOPICS, "--describe --topic orders");
        assert!(described[0].contains("PartitionCount: 5 ReplicationFactor: 1"), "{described:?}");
        assert!(described[0].contains("retention.ms=3600000"), "{described:?}");
        assert_eq!(described.len(), 6, "{described:?}");
        assert!(described[5].contains("Partition: 4 Leader: 1 Replicas: 1 Isr: 1"), "{described:?}");
        tools.run(TOPICS, "--delete --topic orders");
        assert!(tools.lines(TOPICS, "--list").is_empty());
        let versions = tools.run(API_VERSIONS, "");
        assert!(!versions.contains("ERROR") && !versions.contains("UNKNOWN"), "{versions}");
        assert!(versions.contains("Produce(0): 0 to 11 [usable: 11]"), "{versions}");
    });
}

#[test]
#[ignore = "slow suite: starts Apache Kafka's tools"]
fn configs_are_set_shown_and_reset() {
    run(async {
        let tools = Tools::start().await;
        tools.run(TOPICS, "--create --topic orders --partitions 1");
        let topic = "--entity-type topics --entity-name orders";
        tools.run(CONFIGS, &format!("{topic} --alter --add-config retention.ms=7200000,cleanup.policy=compact"));
        let shown = tools.run(CONFIGS, &format!("{topic} --describe"));
        assert!(shown.contains("retention.ms=7200000") && shown.contains("cleanup.policy=compact"), "{shown}");
        tools.run(CONFIGS, &format!("{topic} --alter --delete-config retention.ms"));
        let shown = tools.run(CONFIGS, &format!("{topic} --describe"));
        assert!(!shown.contains("retention.ms=7200000") && shown.contains("cleanup.policy=compact"), "{shown}");
        let wrong = ["--bootstrap-server", &tools.servers(), "--entity-type", "topics", "--entity-name", "orders"];
        let wrong = [&wrong[..], &["--alter", "--add-config", "retention.ms=soon"]].concat();
        assert!(kafka_tools::run(CONFIGS, &wrong, "").expect_err("not a number").contains("retention.ms"));
        let broker = tools.run(CONFIGS, "--entity-type brokers --entity-name 1 --describe --all");
        assert!(broker.contains("advertised.listeners="), "{broker}");
    });
}

#[test]
#[ignore = "slow suite: starts Apache Kafka's tools"]
fn records_go_through_the_console_and_groups_are_operated() {
    run(async {
        let tools = Tools::start().await;
        tools.run(TOPICS, "--create --topic orders --partitions 2");
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let line = format!(
                "--topic orders --compression-codec {codec} --reader-property parse.key=true \
                 --reader-property key.separator=:"
            );
            tools.with_input(CONSOLE_PRODUCER, &line, &format!("{codec}-1:one\n{codec}-2:two\n"));
        }
        let line = "--topic orders --from-beginning --group shop --max-messages 10 --timeout-ms 30000 \
                    --formatter-property print.key=true --isolation-level read_committed";
        let mut seen = tools.lines(CONSOLE_CONSUMER, line);
        seen.sort();
        let mut sent: Vec<String> = ["none", "gzip", "snappy", "lz4", "zstd"]
            .iter()
            .flat_map(|codec| [format!("{codec}-1 one"), format!("{codec}-2 two")])
            .collect();
        sent.sort();
        assert_eq!(seen, sent);

        assert_eq!(tools.lines(CONSUMER_GROUPS, "--list"), ["shop"]);
        let lag = |tools: &Tools| -> (i64, i64) {
            let rows = tools.lines(CONSUMER_GROUPS, "--describe --group shop");
            let rows = rows.iter().filter(|row| row.starts_with("shop orders"));
            let number = |row: &str, at: usize| row.split(' ').nth(at).and_then(|n| n.parse::<i64>().ok()).expect(row);
            rows.fold((0, 0), |(at, lag), row| (at + number(row, 3), lag + number(row, 5)))
        };
        assert_eq!(lag(&tools), (10, 0));
        tools.run(CONSUMER_GROUPS, "--group shop --topic orders --reset-offsets --to-earliest --execute");
        assert_eq!(lag(&tools), (0, 10));
        let said = tools.run(CONSUMER_GROUPS, "--group shop --topic orders --delete-offsets");
        assert!(said.contains("Successful"), "{said}");
        let said = tools.run(CONSUMER_GROUPS, "--group shop --delete");
        assert!(said.contains("was successful"), "{said}");
        assert!(tools.lines(CONSUMER_GROUPS, "--list").is_empty());

        let file = tools.broker.dir.path().join("delete.json");
        let offsets = r#"{"partitions":[{"topic":"orders","partition":0,"offset":-1}],"version":1}"#;
        std::fs::write(&file, offsets).unwrap();
        tools.run(DELETE_RECORDS, &format!("--offset-json-file {}", file.display()));
        let (first, last) = ("--topic orders --partitions 0 --time earliest", "--topic orders --partitions 0");
        let [first, last] = [first, last].map(|line| tools.lines(GET_OFFSETS, line));
        assert_eq!(first, last);
        assert_ne!(first, ["orders:0:0"]);
    });
}

#[test]
#[ignore = "slow suite: starts Apache Kafka's tools"]
fn the_performance_tests_run_with_and_without_transactions() {
    const RECORDS: usize = 50_000;
    run(async {
        let tools = Tools::start().await;
        tools.run(TOPICS, "--create --topic plain --partitions 4");
        tools.run(TOPICS, "--create --topic atomic --partitions 4");
        let load = format!("--num-records {RECORDS} --record-size 335 --throughput -1");
        let said = tools.run(
            PRODUCER_PERF,
            &format!("--topic plain {load} --command-property acks=all compression.type=lz4 enable.idempotence=true"),
        );
        println!("{}", said.trim());
        assert!(said.contains(&format!("{RECORDS} records sent")), "{said}");
        let said = tools.run(
            PRODUCER_PERF,
            &format!("--topic atomic {load} --transactional-id perf --transaction-duration-ms 200"),
        );
        println!("{}", said.trim());
        assert!(said.contains(&format!("{RECORDS} records sent")), "{said}");
        let said = tools.run(CONSUMER_PERF, &format!("--topic plain --num-records {RECORDS} --timeout 30000"));
        println!("{}", said.trim());
        let figures = said.lines().last().expect("figures");
        assert_eq!(figures.split(", ").nth(4), Some(RECORDS.to_string().as_str()), "{said}");
        assert_eq!(read_all(&tools.servers(), "atomic", "read_committed").len(), RECORDS);
        let listed = tools.lines(TRANSACTIONS, "list");
        assert!(listed.iter().any(|row| row.starts_with("perf 1 ") && row.ends_with("CompleteCommit")), "{listed:?}");
    });
}
