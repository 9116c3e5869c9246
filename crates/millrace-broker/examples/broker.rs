//! A broker in a process of its own: for tests that kill it, and for trying clients against it.
//!
//! `broker <data dir> [listen address] [before-ack]` prints `listening on <address>` and runs until stdin closes (then
//! it shuts down in order) or it is killed.

use millrace_broker::{Broker, BrokerSettings, FsyncPolicy};
use std::io::Write;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let data_dir = arguments.next().ok_or("usage: broker <data dir> [listen address] [before-ack]")?;
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:0".into()).parse()?;
    let fsync = match arguments.next().as_deref() {
        Some("before-ack") => FsyncPolicy::BeforeAck,
        _ => FsyncPolicy::EveryMs(1_000),
    };
    let settings = BrokerSettings { data_dir: data_dir.into(), listen, fsync, ..BrokerSettings::default() };
    let begun = std::time::Instant::now();
    let broker = Broker::start(settings).await?;
    println!("listening on {} after {:.1} ms", broker.address(), begun.elapsed().as_secs_f64() * 1_000.0);
    std::io::stdout().flush()?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    broker.shutdown().await?;
    Ok(())
}
