//! The `millrace` command: a table of modes.

mod audit;
mod bounded;
mod commands;
mod history;
mod lake;
mod pipelines;
mod product;
mod progress;
mod replay;
mod roles;
mod runtime_file;
mod settings;
mod statics;
mod topic_scan;
mod totals;

use std::process::ExitCode;

use clap::Parser;

/// Exit code of a wrong setting, pipeline or usage: nothing was started.
const EXIT_INVALID: u8 = 2;

fn main() -> ExitCode {
    let command = commands::Cli::parse();
    commands::start_log(&command.global);
    let result = match command.mode.unwrap_or_default() {
        commands::Mode::Backfill(options) => commands::backfill::run(&command.global, options),
        commands::Mode::Up(options) => commands::up::run(&command.global, options),
        commands::Mode::Simulate(options) => commands::simulate::run(&command.global, options),
        commands::Mode::Run(options) => commands::run::run(&command.global, options),
        commands::Mode::Sink(options) => commands::role::sink(&command.global, &options),
        commands::Mode::Lake(options) => commands::role::lake(&command.global, &options),
        commands::Mode::Dashboard(options) => commands::role::dashboard(&command.global, &options),
        commands::Mode::Recommend(options) => commands::role::recommend(&command.global, &options),
        commands::Mode::Score(options) => commands::role::score(&command.global, &options),
        commands::Mode::Notify(options) => commands::role::notify(&command.global, &options),
        commands::Mode::Topics(options) => commands::role::topics(&command.global, &options),
        commands::Mode::Check(options) => commands::check::run(&command.global, options),
        commands::Mode::Explain(options) => commands::explain::run(&command.global, options),
        commands::Mode::Query(options) => commands::query::run(&command.global, options),
        commands::Mode::Replay(options) => commands::replay::run(&command.global, options),
        commands::Mode::Cluster(options) => commands::cluster::run(&command.global, options),
        commands::Mode::DeadLetters(options) => commands::dead_letters::run(&command.global, options),
        commands::Mode::Search(options) => commands::search::run(&command.global, &options),
        commands::Mode::Evaluate(options) => commands::evaluate::run(&command.global, options),
        commands::Mode::Alerts(options) => commands::alerts::run(&command.global, options),
        commands::Mode::Fraud(options) => commands::fraud::run(&command.global, options),
        commands::Mode::Audit(options) => commands::audit::run(&command.global, options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("millrace: {error:#}");
            match error.downcast_ref::<commands::Invalid>() {
                Some(_) => ExitCode::from(EXIT_INVALID),
                None => ExitCode::FAILURE,
            }
        }
    }
}
