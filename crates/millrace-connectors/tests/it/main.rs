//! Integration tests, one binary. The slow suite (`--ignored`) starts Debian's PostgreSQL 15 itself.

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
