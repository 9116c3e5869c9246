//! The Python clients against the broker: admin, groups, transactions, times, each in a script a user could have written.

use crate::support::{TestBroker, run};
use millrace_broker::testing::python::{self, CLIENTS};
use std::path::Path;

fn passes(script: &str, last_words: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python").join(script);
    run(async {
        let broker = TestBroker::start().await;
        let said = python::run(CLIENTS, &script, &[&broker.servers()]).unwrap_or_else(|why| panic!("{why}"));
        assert!(said.contains(last_words), "{said}");
    });
}

#[test]
#[ignore = "slow suite: installs Python clients"]
fn all_of_confluent_kafka() {
    passes("with_confluent_kafka.py", "all of confluent-kafka");
}

#[test]
#[ignore = "slow suite: installs Python clients"]
fn all_of_kafka_python() {
    passes("with_kafka_python.py", "all of kafka-python");
}
