//! `millrace simulate`: the simulated shop's records into a Kafka cluster or a running product.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;
use millrace_connectors::kafka::{ClientSettings, topics};
use millrace_connectors::{Ending, shutdown};
use millrace_model::time::parse_duration;
use millrace_model::{Contract, Contracts, Role, Timestamp};
use millrace_simulate::CampaignSet;

use super::{Global, Invalid};
use crate::roles::simulate::{self, SimulateSettings, SimulateStatus};
use crate::runtime_file::RuntimeFile;

/// Options of `simulate`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  millrace simulate --rate 20000                        into the product that runs here
  millrace simulate --bootstrap-servers kafka1:9092     into a cluster
  millrace simulate --speed 60 --for 8h                 eight hours of shop in eight minutes
  millrace simulate --campaigns card_testing,bot_scraping")]
pub(crate) struct Options {
    /// Kafka to produce to [default: the product that runs on this data folder, else 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_servers: Option<String>,
    /// Records a second (of the shop's clock)
    #[arg(long, default_value_t = 300.0, value_name = "N")]
    rate: f64,
    /// How fast the shop's clock runs
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    speed: f64,
    /// Stop after this time of the shop's clock
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// How much past the shop opens with, made as fast as it goes
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = parse_duration)]
    history: Duration,
    /// Everything random follows from it
    #[arg(long, default_value_t = 42, value_name = "N")]
    seed: u64,
    /// Campaigns to run, with commas: all, none, or names (see the documentation)
    #[arg(long, default_value = "all", value_name = "NAMES")]
    campaigns: String,
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let settings = global.settings()?;
    let running = RuntimeFile::find(&settings.data_dir()?);
    let servers = options
        .bootstrap_servers
        .clone()
        .or_else(|| running.map(|running| running.kafka))
        .unwrap_or_else(|| "127.0.0.1:9092".into());
    let mut kafka = ClientSettings::new(servers);
    kafka.properties = settings.kafka.properties.clone();
    let simulate = SimulateSettings {
        kafka: kafka.clone(),
        rate: options.rate,
        seed: options.seed,
        speed: options.speed,
        history: options.history,
        state_file: None,
        duration: options.duration,
        campaigns: campaigns(&options.campaigns)?,
        finish: options.duration.is_some(),
    };
    super::runtime()?.block_on(async {
        let contracts: Vec<Contract> = Contracts::builtin()
            .iter()
            .filter(|contract| contract.role == Role::Source || contract.name == "answer_key")
            .cloned()
            .collect();
        topics::ensure(&kafka, &contracts, settings.kafka.replication).await?;
        let (switch, asked) = shutdown();
        let status = Arc::new(SimulateStatus::default());
        let (watched, started) = (status.clone(), Instant::now());
        let thread = std::thread::spawn(move || simulate::run(&simulate, &asked, &status));
        let bar = crate::progress::counter("simulating");
        while !thread.is_finished() {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
                () = super::up::asked_to_stop() => switch.ask(Ending::Stop),
            }
            bar.set_position(watched.records.load(Ordering::Relaxed));
        }
        bar.finish_and_clear();
        let produced = thread.join().map_err(|_| anyhow!("the simulated shop panicked; the log says where"))??;
        let seconds = started.elapsed().as_secs_f64();
        let event_time = Timestamp(watched.event_time.load(Ordering::Relaxed));
        println!(
            "{produced} records in {seconds:.1} s ({:.0} a second), up to {event_time}",
            produced as f64 / seconds
        );
        Ok(ExitCode::SUCCESS)
    })
}

/// `all`, `none`, or names.
fn campaigns(text: &str) -> anyhow::Result<CampaignSet> {
    match text {
        "all" => Ok(CampaignSet::all()),
        "none" => Ok(CampaignSet::none()),
        names => {
            CampaignSet::from_names(names.split(',').map(str::trim)).map_err(|error| Invalid(error.to_string()).into())
        }
    }
}
