//! The broker as its clients see it: one test binary, one file per concern.

mod produce_consume;
mod support;
