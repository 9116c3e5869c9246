//! The broker as its clients see it: one test binary, one file per concern.

mod groups;
mod produce_consume;
mod support;
mod transactions;
