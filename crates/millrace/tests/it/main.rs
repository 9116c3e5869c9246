//! The product as its users run it: the real program, its Kafka port, its page and its commands.
//!
//! One binary for all of it; what starts servers, browsers or other programs is in the slow suite.

#![allow(clippy::disallowed_methods, reason = "tests wait for other processes, and let time pass")]

mod alerts;
mod answers;
mod backfill;
mod bounded;
mod browser;
mod chaos;
mod clients;
mod commands;
mod crash;
mod dead_letters;
#[cfg(feature = "spark")]
mod failures;
mod history;
mod lake;
#[cfg(feature = "spark")]
mod matrix;
#[cfg(feature = "spark")]
mod moves;
mod recommend;
mod redrive;
mod replay;
mod roles;
#[cfg(feature = "spark")]
mod scenarios;
mod score;
mod streamlit;
mod support;
mod takeover;
mod trouble;
mod up;
