//! The Spark backend against a real Spark, with the embedded broker as Kafka. Everything here starts servers.

mod checking;
mod decoding;
mod glue;
mod pipelines;
mod servers;
mod supervision;
mod support;
