//! The broker as its clients see it: one test binary, one file per concern. The slow suite (`--ignored`) runs Apache
//! Kafka's tools (needs Java and Maven) and Python clients (needs Python 3 with venv).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails; helpers of tests are not seen as tests")]

mod admin;
mod crash;
mod groups;
mod kafka_tools;
mod produce_consume;
mod python;
mod support;
mod transactions;
mod upkeep;
