//! `millrace fraud`: the analyst's side of the scorer. Review what it held, say what it was, list who is known, see how well it does,
//! and try rules on the past before they act.

mod backtest;
mod list;
mod review;
mod scoreboard;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use millrace_connectors::kafka::ClientSettings;
use millrace_intelligence::fraud::live::Judge;
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
  millrace fraud rules                              the rules that run; docs/operating/fraud.md says how to change them")]
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
    /// The rules that run
    Rules,
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
        Action::Rules => rules(&settings)?,
        Action::Features => {
            FEATURES.iter().zip(MEANINGS).for_each(|(name, meaning)| println!("{name:<38} {meaning}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn rules(settings: &Settings) -> anyhow::Result<()> {
    let judge = settings.score.judge();
    Judge::new(judge.clone()).map_err(|why| Invalid(format!("score: {why}")))?;
    for (name, rule) in judge.merged() {
        let state = match (rule.off, rule.shadow) {
            (true, _) => "off",
            (false, true) => "shadow",
            (false, false) => "acts",
        };
        println!("{name:<28} {state:<6} {:>5.1}  {}\n{:42} {}", rule.points, rule.when, "", rule.description);
    }
    Ok(())
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
