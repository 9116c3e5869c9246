//! Style as a test: the mechanical part of how this code is written, strict, without an allow-list.
//!
//! The checks are in [`rules`] (pure: text in, faults out), the walk over the files in `tests/tidy.rs`.

pub mod rules;
