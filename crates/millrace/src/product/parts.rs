//! The parts a product is started from: broker, store, sinks, each with what the settings say of it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use millrace_broker::{Broker, BrokerSettings, FsyncPolicy};
use millrace_connectors::Shutdown;
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::lake::{self, LakeSettings};
use millrace_connectors::sink::SinkStats;
use millrace_connectors::sink::search::{self as search_sink, SearchSettings, SearchSinkSettings};
use millrace_connectors::sink::store::{self as store_sink, Retention, StoreSinkSettings};
use millrace_connectors::store::{Store, StoreError};
use millrace_dashboard::service::Mends;
use millrace_model::names::did_you_mean;
use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::time::parse_duration;
use millrace_model::{Classified, Contract, Role};
use tokio::task::JoinHandle;

use crate::commands::Invalid;
use crate::commands::dead_letters::desk::Desk;
use crate::pipelines::{Pipelines, Planned};
use crate::roles::notify::Notifier;
use crate::roles::score;
use crate::runtime_file::RuntimeFile;
use crate::settings::Settings;
use crate::statics::Statics;

pub(super) fn plan(pipelines: &Pipelines, statics: &Statics) -> anyhow::Result<Planned> {
    Ok(pipelines
        .plan(statics)
        .map_err(|errors| Invalid(format!("the pipelines cannot run:\n\n{}", pipelines.explain(&errors))))?)
}

/// The tables that routes and search may name: results, and what the scorer sent to review or blocked.
fn tables_of(planned: &Planned) -> Vec<Contract> {
    let is_wanted = |table: &&Contract| table.role == Role::Result || table.name == score::records::ALERTS;
    planned.contracts.iter().filter(is_wanted).cloned().collect()
}

/// The alerts, when the settings have routes for them.
pub(super) fn notifier(settings: &Settings, planned: &Planned) -> anyhow::Result<Option<Notifier>> {
    let tables = tables_of(planned);
    let page = format!("http://{}", settings.dashboard.listen);
    Ok(Notifier::new(&settings.notify, &tables, Some(page)).map_err(Invalid)?)
}

/// The search sink and its tables, when the settings name a server.
pub(super) fn search(
    settings: &Settings,
    planned: &Planned,
) -> anyhow::Result<Option<(SearchSettings, Vec<Contract>)>> {
    let tables = searched_tables(settings, planned)?;
    let search = settings.sink.elasticsearch.clone();
    Ok((!search.url.is_empty()).then_some((search, tables)))
}

/// The tables the search sink writes, were there a server.
///
/// # Errors
/// [`Invalid`]: the settings name a table that is none.
pub(crate) fn searched_tables(settings: &Settings, planned: &Planned) -> anyhow::Result<Vec<Contract>> {
    let named = &settings.sink.elasticsearch.tables;
    let tables = tables_of(planned);
    if let Some(unknown) = named.iter().find(|name| !tables.iter().any(|table| table.name == **name)) {
        let hint = did_you_mean(unknown, tables.iter().map(|table| table.name.as_str()));
        return Err(Invalid(format!("sink.elasticsearch.tables: there is no result table `{unknown}`{hint}")).into());
    }
    Ok(tables.into_iter().filter(|table| named.is_empty() || named.contains(&table.name)).collect())
}

/// Repairs and redrives of dead letters, for the page.
pub(super) fn mends(settings: &Settings, kafka: &ClientSettings, store: Store) -> Arc<dyn Mends> {
    Arc::new(Desk::new(settings, kafka, store))
}

pub(super) async fn run_search(
    settings: SearchSinkSettings,
    tables: Vec<Contract>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    search_sink::run(settings, tables, SinkStats::default(), shutdown).await.context("the search sink has stopped")?;
    Ok(())
}

/// How a role's task ends; never, when there is none.
pub(super) async fn ended(role: Option<&mut JoinHandle<anyhow::Result<()>>>) -> anyhow::Result<()> {
    match role {
        Some(role) => role.await.unwrap_or_else(|panic| Err(anyhow!("a role was cut off: {panic}"))),
        None => std::future::pending().await,
    }
}

/// The store with its tables. One that is away is waited for, as a running sink does.
///
/// # Errors
/// What no waiting mends: the URL, the credentials, a table of another shape.
pub(super) async fn open_store(url: &str, tables: &[Contract]) -> anyhow::Result<Store> {
    let mut failures = 0;
    loop {
        let opened = async {
            let store = Store::open(url).await?;
            store.ensure_tables(tables).await?;
            Ok::<Store, StoreError>(store)
        };
        let error = match opened.await {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        failures += 1;
        let RetryDecision::After(wait) = after_failure(&RetryPolicy::default(), error.kind(), failures, 0.5) else {
            return Err(error.into());
        };
        tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "the start waits for the store");
        tokio::time::sleep(wait).await;
    }
}

/// The cluster of the settings, else the one of the product that runs on this data folder.
///
/// # Errors
/// [`Invalid`]: there is neither.
pub(crate) fn cluster(settings: &Settings, data_dir: &Path) -> anyhow::Result<ClientSettings> {
    let servers = match settings.kafka.bootstrap_servers.as_str() {
        "" => RuntimeFile::find(data_dir).map(|running| running.kafka),
        servers => Some(servers.to_owned()),
    };
    let text = "a role alone needs a Kafka cluster, or a product that runs on the same data folder: name the cluster with \
                --bootstrap-servers HOST:PORT,… or MILLRACE_KAFKA_BOOTSTRAP_SERVERS";
    let mut kafka = ClientSettings::new(servers.ok_or_else(|| Invalid(text.into()))?);
    kafka.properties = settings.kafka.properties.clone();
    Ok(kafka)
}

/// The embedded broker, unless the settings name a cluster.
pub(super) async fn start_broker(
    settings: &Settings,
    data_dir: &Path,
) -> anyhow::Result<(Option<Broker>, ClientSettings)> {
    if !settings.kafka.bootstrap_servers.is_empty() {
        return Ok((None, cluster(settings, data_dir)?));
    }
    let fsync = match settings.broker.fsync.as_str() {
        "always" => FsyncPolicy::BeforeAck,
        "interval" => FsyncPolicy::EveryMs(1_000),
        other => return Err(Invalid(format!("broker.fsync is `{other}`; write `interval` or `always`")).into()),
    };
    let broker = Broker::start(BrokerSettings {
        data_dir: data_dir.join("broker"),
        listen: settings.broker.listen,
        listen_beyond_loopback: settings.broker.listen_beyond_loopback,
        fsync,
        ..BrokerSettings::default()
    })
    .await
    .context("the embedded broker cannot start")?;
    let mut kafka = ClientSettings::new(broker.address().to_string());
    kafka.properties = settings.kafka.properties.clone();
    Ok((Some(broker), kafka))
}

/// The store's URL: as set, else SQLite in the data folder.
pub(crate) fn store_url(settings: &Settings, data_dir: &Path) -> String {
    if settings.store.url.is_empty() {
        format!(
            "sqlite://{}",
            std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned()).join("millrace.db").display()
        )
    } else {
        settings.store.url.clone()
    }
}

/// How long the store keeps result rows.
pub(super) fn retention(text: &str) -> anyhow::Result<Retention> {
    match text {
        "" => Ok(Retention::Forever),
        "contracts" => Ok(Retention::Contracts),
        text => match parse_duration(text) {
            Ok(kept) if kept.is_zero() => Ok(Retention::Forever),
            Ok(kept) => Ok(Retention::For(kept)),
            Err(why) => Err(Invalid(format!("store.retention: {why}; or write `contracts`")).into()),
        },
    }
}

/// The tables of the store: results, dead letters and progress.
pub(crate) fn stored_tables(contracts: &[Contract]) -> Vec<Contract> {
    contracts.iter().filter(|contract| contract.is_stored()).cloned().collect()
}

pub(super) async fn run_sink(
    settings: StoreSinkSettings,
    tables: Vec<Contract>,
    store: Store,
    stats: SinkStats,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    store_sink::run(settings, tables, store, stats, shutdown).await.context("the store sink has stopped")?;
    Ok(())
}

pub(super) async fn run_lake(
    settings: LakeSettings,
    sources: Vec<Contract>,
    stats: SinkStats,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    lake::run(settings, sources, stats, shutdown).await.context("the lake has stopped")?;
    Ok(())
}
