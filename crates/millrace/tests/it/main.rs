//! The product as its users run it: the real program, its Kafka port, its page and its commands.
//!
//! One binary for all of it; what starts servers, browsers or other programs is in the slow suite.

mod answers;
mod bounded;
mod browser;
mod clients;
mod commands;
mod crash;
mod dead_letters;
#[cfg(feature = "spark")]
mod failures;
#[cfg(feature = "spark")]
mod moves;
mod replay;
mod roles;
mod streamlit;
mod support;
mod up;
