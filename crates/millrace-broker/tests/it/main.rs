//! The broker as its clients see it: one test binary, one file per concern.

mod admin;
mod crash;
mod groups;
mod produce_consume;
mod support;
mod transactions;
mod upkeep;
