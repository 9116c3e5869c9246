//! Integration tests, one binary. The slow suite (`--ignored`) starts Debian's PostgreSQL 15 itself.

#![allow(clippy::disallowed_methods, reason = "tests wait for other processes, and let time pass")]

mod foreign;
mod inspect;
mod kafka;
mod lake;
mod postgres;
mod saved;
mod search;
mod sink;
mod store;
mod support;
