//! The Spark backend against a real Spark, with a real Kafka or the embedded broker. Everything here starts servers.

mod checking;
mod decoding;
mod glue;
mod pipelines;
mod servers;
mod supervision;
mod support;
