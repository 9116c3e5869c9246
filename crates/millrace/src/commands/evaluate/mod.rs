//! `millrace evaluate`: how good the predictive parts are, on files nobody here made, by the code that runs live.

mod clicks;
pub(crate) mod fraud;
mod payments;
pub(crate) mod recommend;
mod table_file;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::Global;

/// Options of `evaluate`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

/// What is evaluated.
#[derive(Subcommand, Debug)]
enum What {
    /// The recommender: is the next click among what it recommends?
    Recommend(recommend::Options),
    /// The fraud model: does it find what the labels say, days before they come?
    Fraud(fraud::Options),
}

/// Form of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people
    Table,
    /// One object
    Json,
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    match options.what {
        What::Recommend(options) => recommend::run(global, &options),
        What::Fraud(options) => fraud::run(global, &options),
    }
}
