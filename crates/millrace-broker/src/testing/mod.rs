//! For integration tests of any crate: other people's Kafka clients, fetched once and run as processes.
//!
//! ```text
//! kafka_tools::run(TOPICS, &["--bootstrap-server", …], "")   Apache Kafka's own tools; jars by Maven, one JVM a call
//! python::run(CLIENTS, script, &[…])                          confluent-kafka and kafka-python; wheels by pip
//! ```
//!
//! What they fetch stays in `millrace-tests` under the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`; the folder
//! for temporary files where there is neither), so a clone stays small and a second run needs no network.

mod cache;
pub mod kafka_tools;
mod process;
pub mod python;
