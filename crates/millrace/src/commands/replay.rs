//! `millrace replay`: a file of real data through the product, or the lake's past into other topics or a bounded run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_model::Timestamp;

use super::{Global, Invalid};
use crate::product::{Product, Roles};
use crate::replay::{Kind, SourceRecord, read};
use crate::runtime_file::RuntimeFile;
use crate::totals;

/// Options of `replay`.
#[derive(Args, Debug)]
#[command(
    after_help = "A file: without a running product it starts one in this process, on a data folder of its own unless --data-dir
names one, lets everything go through, and prints the totals from result topics, store and lake.

The lake: records of the source topics in the order in which they came, with key, bytes, partition and time as they
were, into other topics (made when they are missing), at the pace they had (--speed 1), faster, or as fast as they
are taken; or, with --run, through pipelines alone, as `millrace run` over files: every window closes at the end.

Examples:
  millrace replay online_retail.parquet --as online-retail
  millrace replay train.txt --as clicks --times now
  millrace replay user_events.ndjson --as events
  millrace replay --from lake --since 2026-01-31T09:00:00Z --until 2026-01-31T12:00:00Z --to-prefix replayed_ --speed 60
  millrace replay --from lake --to transactions=orders_again --bootstrap-servers kafka1:9092
  millrace replay --from lake --since 2026-01-01 --until 2026-02-01 --run my.sql --output out/"
)]
pub(crate) struct Options {
    /// The file
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    file: Option<PathBuf>,
    /// What the file holds
    #[arg(long = "as", value_enum, value_name = "KIND", required_unless_present = "from", conflicts_with = "from")]
    kind: Option<Kind>,
    /// Event times of a file: as in it, or moved so that the last is now
    #[arg(long, value_enum, conflicts_with = "from")]
    times: Option<Times>,
    /// Source topic of an `events` file [default: the name of the file]
    #[arg(long, value_name = "TOPIC", conflicts_with = "from")]
    topic: Option<String>,
    #[command(flatten)]
    past: super::replay_lake::PastOptions,
    #[command(flatten)]
    cluster: super::role::ClusterOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Times {
    /// As in the file: the default when this starts a product of its own
    Original,
    /// The last event is now: the default into a running product, whose windows of the past have closed
    Now,
}

/// Longest wait for room in the producer's queue.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs it.
pub(crate) fn run(global: &Global, options: Options) -> anyhow::Result<ExitCode> {
    let mut settings = global.settings()?;
    let Options { file, kind, times, topic, past, cluster } = options;
    let (Some(file), Some(kind)) = (file, kind) else {
        cluster.over(&mut settings);
        return super::replay_lake::run(settings, past);
    };
    ensure!(file.exists(), "there is no file {}", file.display());
    if cluster.bootstrap_servers.is_some() {
        let text = "a file goes into the product that runs on the data folder, or into one of its own; name a cluster in \
                    millrace.toml, or use `millrace up` on it";
        return Err(Invalid(text.into()).into());
    }
    let running = RuntimeFile::find(&settings.data_dir()?);
    super::runtime()?.block_on(async {
        let records = read(kind, &file, topic.as_deref()).await?;
        ensure!(!records.is_empty(), "{} holds no records", file.display());
        if let Some(running) = running {
            let mut kafka = ClientSettings::new(running.kafka.clone());
            kafka.properties = settings.kafka.properties.clone();
            send(&kafka, &records, times.unwrap_or(Times::Now))?;
            let page = running.dashboard.map_or_else(String::new, |page| format!(": see http://{page}"));
            println!("{} records sent into the running product{page}", records.len());
            return Ok(ExitCode::SUCCESS);
        }
        let scratch = match global.data_dir {
            Some(_) => None,
            None => Some(scratch_dir()?),
        };
        if let Some(scratch) = &scratch {
            settings.data_dir = Some(scratch.clone());
            // A product for one replay does not write among the documents of the one that lasts.
            settings.sink.elasticsearch.url.clear();
        }
        cluster.over(&mut settings);
        settings.broker.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let pipelines = super::pipelines(&settings, &[])?;
        let started = Instant::now();
        let mut product = Product::start(&settings, pipelines, Roles::UNASKED).await?;
        send(&product.kafka, &records, times.unwrap_or(Times::Original))?;
        let ended = product.settle().await?;
        let totals = totals::collect(&product).await?;
        let data_dir = product.data_dir.clone();
        product.close().await?;
        println!(
            "{} records went through in {:.1?}; the data is in {}",
            records.len(),
            started.elapsed(),
            data_dir.display()
        );
        println!("{totals}");
        if let Some(memory) = peak_memory() {
            println!("peak memory {} MiB", memory >> 20);
        }
        for (job, why) in &ended.failed_jobs {
            eprintln!("job {job} had stopped: {why}");
        }
        Ok(if ended.failed_jobs.is_empty() && totals.agree() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Produces the records in order, as fast as they are taken.
fn send(kafka: &ClientSettings, records: &[SourceRecord], times: Times) -> anyhow::Result<()> {
    let now = Timestamp::from_system_time(SystemTime::now());
    let last = records.iter().map(|record| record.event_time).max().unwrap_or(now);
    let shift = if times == Times::Now { now.0 - last.0 } else { 0 };
    let producer = Producer::new(kafka, None)?;
    let bar = crate::progress::bar(records.len() as u64, "sending");
    for record in records {
        let value = record.value(shift);
        let time = Some(Timestamp(record.event_time.0 + shift));
        let outgoing = Outgoing {
            topic: record.topic,
            partition: None,
            key: Some(record.key.as_bytes()),
            value: Some(&value),
            time,
        };
        producer.send(outgoing, PATIENCE)?;
        bar.inc(1);
    }
    producer.flush(PATIENCE)?;
    bar.finish_and_clear();
    Ok(())
}

/// A data folder for one replay, below the system's folder for temporary files.
fn scratch_dir() -> anyhow::Result<PathBuf> {
    let now = Timestamp::from_system_time(SystemTime::now()).0;
    let dir = std::env::temp_dir().join(format!("millrace-replay-{}-{now}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Most memory this process has held, bytes.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}
