//! What a user of the labelled shop would notice, in one binary.

mod books;
mod campaigns;
mod common;
mod conformance;
mod determinism;
mod disorder;
mod pace;
mod resume;
mod stock;
