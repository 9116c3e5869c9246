//! `millrace replay --from lake`: what the lake has archived, into other topics or through pipelines alone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use millrace_connectors::lake::LakeSpan;
use millrace_connectors::{Ending, shutdown};
use millrace_model::names::did_you_mean;
use millrace_model::{Contract, Role, Timestamp};

use super::Invalid;
use crate::bounded::Past;
use crate::product::{Product, Roles, cluster};
use crate::replay::past::{PastReplay, Target};
use crate::runtime_file::RuntimeFile;
use crate::settings::Settings;
use crate::statics::Statics;

/// Options of a replay from the lake.
#[derive(Args, Debug)]
pub(crate) struct PastOptions {
    /// Replay what is archived, instead of a file
    #[arg(long, value_enum)]
    from: Option<Archive>,
    /// Only what happened from this time on (event time)
    #[arg(long, value_name = "TIME", value_parser = super::time, requires = "from")]
    since: Option<Timestamp>,
    /// Only what happened before this time
    #[arg(long, value_name = "TIME", value_parser = super::time, requires = "from")]
    until: Option<Timestamp>,
    /// Seconds of the past in a second; 1: as it was [default: as fast as it is taken]
    #[arg(long, value_name = "FACTOR", value_parser = speed, requires = "from", conflicts_with = "run")]
    speed: Option<f64>,
    /// Send every source topic to the topic of its name with this before it
    #[arg(long, value_name = "PREFIX", requires = "from", conflicts_with = "run")]
    to_prefix: Option<String>,
    /// Send this source topic to this topic; may be given several times
    #[arg(long, value_name = "TOPIC=TARGET", requires = "from", conflicts_with = "run")]
    to: Vec<String>,
    /// Run these pipelines over it, and end; nothing is sent
    #[arg(long, value_name = "PIPELINE", requires = "from")]
    run: Vec<PathBuf>,
    /// Folder for the rows of --run [default: standard output]
    #[arg(long, value_name = "DIR", requires = "run")]
    output: Option<PathBuf>,
    /// The lake: a folder or s3://BUCKET/PREFIX [default: of the settings]
    #[arg(long, value_name = "PLACE", requires = "from")]
    lake: Option<PathBuf>,
}

/// Where records come from.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Archive {
    /// What the lake has archived
    Lake,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: Option<f64> = text.trim_end_matches('x').parse().ok();
    speed
        .filter(|speed| speed.is_finite() && *speed > 0.0)
        .ok_or_else(|| format!("`{text}` is no factor; write for example 60"))
}

/// Runs it.
pub(super) fn run(mut settings: Settings, options: PastOptions) -> anyhow::Result<ExitCode> {
    let data_dir = settings.data_dir()?;
    let of_running = RuntimeFile::find(&data_dir).and_then(|running| running.lake);
    let lake = options.lake.clone().or(of_running).or_else(|| settings.lake.dir.clone());
    let lake = lake.unwrap_or_else(|| data_dir.join("lake"));
    let span = LakeSpan { since: options.since, until: options.until };
    if let (Some(since), Some(until)) = (options.since, options.until)
        && since >= until
    {
        return Err(Invalid(format!("--since {since} is not before --until {until}")).into());
    }
    let runtime = super::runtime()?;
    if !options.run.is_empty() {
        return through_pipelines(&settings, &runtime, &options, &lake, span);
    }
    let pipelines = super::pipelines(&settings, &[])?;
    let planned = super::check::plan(&pipelines, &Statics::new(runtime.handle().clone()))?;
    let contracts: Vec<Contract> = planned.contracts.iter().cloned().collect();
    let targets = targets(&contracts, options.to_prefix.as_deref(), &options.to)?;
    let alone = cluster(&settings, &data_dir).is_ok();
    if !alone {
        settings.broker.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    }
    runtime.block_on(async {
        let product = Product::start(&settings, pipelines, Roles { alone, ..Roles::ALONE }).await?;
        let sent = send(&settings, &product, targets, &lake, span, options.speed).await;
        product.stop().await?;
        sent
    })
}

/// Which topic goes where.
fn targets(contracts: &[Contract], prefix: Option<&str>, to: &[String]) -> anyhow::Result<Vec<Target>> {
    let sources: Vec<&Contract> = contracts.iter().filter(|contract| contract.role == Role::Source).collect();
    let mut targets: Vec<Target> = Vec::new();
    for pair in to {
        let (source, topic) = pair
            .split_once('=')
            .filter(|(source, topic)| !source.is_empty() && !topic.is_empty())
            .ok_or_else(|| Invalid(format!("--to `{pair}`: write TOPIC=TARGET")))?;
        let contract = sources.iter().find(|contract| contract.name == source).ok_or_else(|| {
            let hint = did_you_mean(source, sources.iter().map(|contract| contract.name.as_str()));
            Invalid(format!("--to `{pair}`: the lake holds source topics; there is no `{source}`{hint}"))
        })?;
        targets.push(Target { contract: (*contract).clone(), topic: topic.to_owned() });
    }
    if let Some(prefix) = prefix {
        let others =
            sources.iter().filter(|contract| !to.iter().any(|pair| pair.split('=').next() == Some(&contract.name)));
        targets.extend(
            others
                .map(|contract| Target { contract: (*contract).clone(), topic: format!("{prefix}{}", contract.name) }),
        );
    }
    if targets.is_empty() {
        let text =
            "say where the records go: --to-prefix replayed_ (all source topics), --to TOPIC=TARGET, or --run PIPELINE";
        return Err(Invalid(text.into()).into());
    }
    // What is sent into a topic that is read already would be counted a second time.
    if let Some(own) = targets.iter().find(|target| contracts.iter().any(|contract| contract.name == target.topic)) {
        let text = format!("`{}` is a topic of the product; replay into one of another name", own.topic);
        return Err(Invalid(text).into());
    }
    Ok(targets)
}

async fn send(
    settings: &Settings,
    product: &Product,
    targets: Vec<Target>,
    lake: &Path,
    span: LakeSpan,
    speed: Option<f64>,
) -> anyhow::Result<ExitCode> {
    let (switch, asked) = shutdown();
    tokio::spawn(async move {
        super::up::asked_to_stop().await;
        switch.ask(Ending::Stop);
        // It is told for as long as anyone listens.
        std::future::pending::<()>().await;
    });
    let (kafka, replication, lake) = (product.kafka.clone(), settings.kafka.replication, lake.to_owned());
    let started = Instant::now();
    let stopped = asked.clone();
    let work = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let replay = PastReplay::open(&lake, &targets, span, &kafka, replication)?;
        let bar = crate::progress::bar(replay.records_most, "sending");
        let sent = replay.send(&targets, &kafka, speed, &asked, &bar)?;
        bar.finish_and_clear();
        Ok(sent)
    });
    let sent = work.await.map_err(|panic| anyhow!("the replay was cut off: {panic}"))??;
    for (source, sent) in &sent {
        let when = sent.arrived.map_or_else(String::new, |(first, last)| format!(", arrived {first} to {last}"));
        println!("{source} → {}: {} records{when}", sent.topic, sent.records);
    }
    let records: u64 = sent.values().map(|sent| sent.records).sum();
    let took = started.elapsed().as_secs_f64();
    println!("{records} records sent in {took:.1} s ({:.0} a second)", records as f64 / took.max(0.001));
    if stopped.asked() == Ending::Stop {
        println!("stopped before the end");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// A bounded run whose topics are the lake's.
fn through_pipelines(
    settings: &Settings,
    runtime: &tokio::runtime::Runtime,
    options: &PastOptions,
    lake: &Path,
    span: LakeSpan,
) -> anyhow::Result<ExitCode> {
    let pipelines = super::pipelines(settings, &options.run)?;
    let planned = super::check::plan(&pipelines, &Statics::new(runtime.handle().clone()))?;
    let past = Past::open(lake, span, runtime.handle().clone()).context("the lake")?;
    super::run::bounded(planned.jobs, Some(&past), options.output.as_deref(), false, false)?;
    Ok(ExitCode::SUCCESS)
}
