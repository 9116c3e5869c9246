//! `millrace fraud`: the analyst's side of the scorer. Review what it held, say what it was, list who is known, see how well it does,
//! and try rules on the past before they act.

mod backtest;
mod list;
mod review;
mod rule;
mod scoreboard;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use millrace_connectors::kafka::ClientSettings;
use millrace_intelligence::fraud::live::features::{FEATURES, MEANINGS};

use super::role::ClusterOptions;
use super::{Global, Invalid};
use crate::pipelines::Pipelines;
use crate::product::{Product, Roles, cluster};
use crate::settings::Settings;

/// Options of `fraud`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  millrace fraud review                             what waits for somebody to look at it
  millrace fraud verdict pay_1 good --comment 'a gift, she says'
  millrace fraud list add block card tok_4711 --reason 'skimmed' --expires 90d
  millrace fraud scoreboard                         against the simulated shop's answer key
  millrace fraud backtest --rule tor='amount > 500 and device_attempts_24h = 0' --points 8
  millrace fraud rule try fast --when 'card_attempts_1m >= 2' --points 8 --reason 'bursts at night'
  millrace fraud rules                              the rules as the scorer has them")]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Payments and refunds that were held, the most suspicious first
    Review(review::ReviewOptions),
    /// Say what a payment was, who looks at it, or a remark
    Verdict(review::VerdictOptions),
    /// Who is blocked, watched or allowed, why, and until when
    List(list::Options),
    /// How much of the simulated shop's fraud was found, how soon, and how many good payments were hurt
    Scoreboard(scoreboard::Options),
    /// Judge what is in the lake with other rules and thresholds, beside those that run
    Backtest(backtest::Options),
    /// Try a rule in the shadow, promote it, switch one off; who did it, and why
    Rule(rule::Options),
    /// The rules as the scorer has them
    Rules(rule::RulesOptions),
    /// What rules can be written about
    Features,
}

/// Form of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    #[default]
    Table,
    /// JSON
    Json,
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings()?;
    match options.action {
        Action::Review(options) => super::runtime()?.block_on(review::review(&mut settings, &options))?,
        Action::Verdict(options) => super::runtime()?.block_on(review::verdict(&mut settings, &options))?,
        Action::List(options) => super::runtime()?.block_on(list::run(&mut settings, &options))?,
        Action::Scoreboard(options) => super::runtime()?.block_on(scoreboard::run(&mut settings, &options))?,
        Action::Backtest(options) => super::runtime()?.block_on(backtest::run(&mut settings, &options))?,
        Action::Rule(options) => super::runtime()?.block_on(rule::run(&mut settings, &options))?,
        Action::Rules(options) => super::runtime()?.block_on(rule::rules(&mut settings, &options))?,
        Action::Features => {
            FEATURES.iter().zip(MEANINGS).for_each(|(name, meaning)| println!("{name:<38} {meaning}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Kafka of the product that runs or is named; else of one whose broker alone is started for the question.
struct Kafka {
    client: ClientSettings,
    started: Option<Product>,
}

impl Kafka {
    async fn open(settings: &mut Settings, options: &ClusterOptions) -> anyhow::Result<Self> {
        options.over(settings);
        let data_dir = settings.data_dir()?;
        if let Ok(client) = cluster(settings, &data_dir) {
            return Ok(Kafka { client, started: None });
        }
        settings.broker.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let pipelines: Pipelines = super::pipelines(settings, &[])?;
        let product = Product::start(settings, pipelines, Roles { alone: false, ..Roles::ALONE }).await?;
        Ok(Kafka { client: product.kafka.clone(), started: Some(product) })
    }

    async fn close(self) -> anyhow::Result<()> {
        match self.started {
            Some(product) => product.stop().await.map(drop),
            None => Ok(()),
        }
    }
}
