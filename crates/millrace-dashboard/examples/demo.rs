//! The dashboard over a moving shop of fixture rows, to look at: `cargo run --release -p millrace-dashboard --example demo`.
//!
//! Listens on 127.0.0.1:8080, or on the address given as the first argument; a second one names a Kafka cluster
//! (host:port) for the Kafka page.

use std::error::Error;
use std::time::{Duration, SystemTime};

use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::store::Store;
use millrace_dashboard::testing::{alerts, fill, held, shop::Shop, tables};
use millrace_dashboard::{DashboardSettings, KafkaSettings, start};
use millrace_model::{Contracts, Timestamp};
use tokio::sync::mpsc;

const BATCHES_MAX: usize = 256;
const TICK: Duration = Duration::from_millis(250);
const HISTORY_HOURS: i64 = 47;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let folder = tempfile::tempdir()?;
    let store = Store::open(&format!("sqlite://{}/demo.db", folder.path().display())).await?;
    let tables = tables::all();
    store.ensure_tables(&tables).await?;
    let mut shop = Shop::new();
    fill(&store, &tables, &shop.history(now(), HISTORY_HOURS)).await?;
    fill(&store, &tables, &held::history(now())).await?;
    alerts::fill(&store, now()).await?;
    let (sender, live) = mpsc::channel(BATCHES_MAX);
    let kafka = std::env::args().nth(2).map(|servers| KafkaSettings {
        client: ClientSettings::new(servers),
        contracts: Contracts::builtin().iter().chain(&tables).cloned().collect(),
    });
    let settings = DashboardSettings { kafka, ..DashboardSettings::listen_on(address.parse()?) };
    let dashboard = start(settings, store, tables, live).await?;
    println!("http://{}", dashboard.address());
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                for batch in shop.tick(now()) {
                    sender.send(batch).await?;
                }
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    dashboard.shutdown().await;
    Ok(())
}

fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}
