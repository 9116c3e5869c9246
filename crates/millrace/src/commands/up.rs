//! `millrace up`: everything in one process.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use millrace_connectors::{Ending, shutdown};
use millrace_model::time::parse_duration;
use millrace_simulate::CampaignSet;

use super::Global;
use crate::pipelines::Pipelines;
use crate::product::{Product, Roles};
use crate::roles::simulate::{self, SimulateSettings, SimulateStatus};
use crate::settings::Settings;

/// Options of `up`.
#[derive(Args, Debug, Default)]
#[command(after_help = "Examples:
  millrace up --rate 20000                 a busier shop
  millrace up --no-simulate                your own records: produce to 127.0.0.1:9092
  millrace up --store postgres://user@localhost/shop
  millrace up --for 60s                    stop by itself, after everything has gone through")]
pub(crate) struct Options {
    /// Records a second of the simulated shop [default: 300]
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// Do not run the simulated shop
    #[arg(long)]
    pub(crate) no_simulate: bool,
    /// Stop after this time
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// How fast the simulated shop's clock runs [default: 1]
    #[arg(long, value_name = "FACTOR")]
    pub(crate) speed: Option<f64>,
    /// How much past a new simulated shop opens with [default: 45m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) history: Option<Duration>,
    /// Everything random in the simulated shop follows from it [default: 42]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) cluster: super::role::ClusterOptions,
    #[command(flatten)]
    pub(crate) backend: super::role::BackendOptions,
    /// Address of the page; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// Address of the Kafka port; port 0 takes any free one [default: 127.0.0.1:9092]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) kafka_listen: Option<std::net::SocketAddr>,
}

impl Options {
    /// Puts the options over the settings.
    fn over(&self, settings: &mut Settings) {
        let simulate = &mut settings.simulate;
        simulate.enabled &= !self.no_simulate;
        simulate.rate = self.rate.unwrap_or(simulate.rate);
        simulate.speed = self.speed.unwrap_or(simulate.speed);
        simulate.seed = self.seed.unwrap_or(simulate.seed);
        simulate.history = self.history.unwrap_or(simulate.history);
        self.cluster.over(settings);
        self.backend.over(settings);
        settings.dashboard.listen = self.listen.unwrap_or(settings.dashboard.listen);
        settings.broker.listen = self.kafka_listen.unwrap_or(settings.broker.listen);
    }
}

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let mut settings = global.settings()?;
    options.over(&mut settings);
    let pipelines = Pipelines::find(settings.pipelines.as_deref(), settings.contracts.as_deref())
        .map_err(|error| super::Invalid(format!("{error:#}")))?;
    let origin = pipelines.origin.clone();
    super::runtime()?.block_on(async {
        let product = Product::start(&settings, pipelines, Roles::ALL).await?;
        announce(&product, &settings, &origin, started);
        let (switch, simulate_shutdown) = shutdown();
        let simulate_status = Arc::new(SimulateStatus::default());
        let simulator = settings.simulate.enabled.then(|| {
            let simulate = simulate_settings(&settings, &product);
            let status = simulate_status.clone();
            std::thread::spawn(move || simulate::run(&simulate, &simulate_shutdown, &status))
        });
        wait(options.duration).await;
        eprintln!("stopping: letting what is on its way go through (Ctrl-C again to stop at once)");
        tokio::spawn(async {
            asked_to_stop().await;
            eprintln!("stopped at once; the next start goes on from the last commit");
            // A second request means now. Everything is written to survive a kill.
            std::process::abort();
        });
        switch.ask(Ending::Stop);
        let produced = match simulator {
            None => 0,
            Some(thread) => {
                let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
                joined.map_err(|_| anyhow::anyhow!("the simulated shop panicked; the log says where"))??
            }
        };
        let sink = product.sink_stats.clone();
        let seen: u64 = crate::roles::jobs::seen(&product.jobs).iter().map(|job| job.records).sum();
        let ended = product.end().await?;
        println!(
            "stopped after {:.0?}: {produced} records simulated, {seen} read by jobs, {} rows written to the store{}",
            started.elapsed(),
            sink.snapshot().rows_written,
            if ended.drained { "" } else { "; not everything had gone through, the next start goes on" },
        );
        for (job, why) in &ended.failed_jobs {
            eprintln!("job {job} had stopped: {why}");
        }
        let _ = simulate_status.event_time.load(Ordering::Relaxed);
        Ok(if ended.failed_jobs.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn simulate_settings(settings: &Settings, product: &Product) -> SimulateSettings {
    SimulateSettings {
        kafka: product.kafka.clone(),
        rate: settings.simulate.rate,
        seed: settings.simulate.seed,
        speed: settings.simulate.speed,
        history: settings.simulate.history,
        state_file: Some(product.data_dir.join("simulator.json")),
        duration: None,
        campaigns: CampaignSet::all(),
        finish: false,
    }
}

fn announce(product: &Product, settings: &Settings, origin: &str, started: Instant) {
    let page = product.page().map_or_else(String::new, |address| format!("http://{address}"));
    println!("Millrace is running (started in {:.1?})", started.elapsed());
    println!("  page       {page}");
    println!("  Kafka      {}", product.kafka_address());
    println!("  store      {}", millrace_connectors::store::masked(&product.store_url));
    println!("  lake       {}", product.lake_dir.display());
    println!("  pipelines  {origin}");
    match settings.simulate.enabled {
        true => println!(
            "  shop       simulated, {} records a second, seed {}",
            settings.simulate.rate, settings.simulate.seed
        ),
        false => println!("  shop       none: produce to user_events, transactions and inventory_updates"),
    }
    println!("Ctrl-C stops; the next start goes on from there.");
}

/// Waits for Ctrl-C, SIGTERM, or the time to be over.
async fn wait(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = asked_to_stop() => {}
        },
        None => asked_to_stop().await,
    }
}

/// Ctrl-C or SIGTERM.
pub(crate) async fn asked_to_stop() {
    let interrupt = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(interrupt.await),
    }
}
