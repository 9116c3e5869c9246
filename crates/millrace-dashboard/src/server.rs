//! The server: routes, start, orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, middleware};
use millrace_model::retry::{RetryDecision, RetryPolicy, after_failure};
use millrace_model::{Classified, Contract, Contracts};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::answer::Problem;
use crate::cache::Cache;
use crate::connection::Deadlined;
use crate::error::DashboardError;
use crate::feed::{self, LiveBatch};
use crate::page::{self, Page};
use crate::params::Params;
use crate::service::{self, Services};
use crate::settings::{DashboardSettings, Limits};
use crate::shared::Shared;
use crate::store::{Store, load};
use crate::{api, assets, guard, kafka, live};

/// Tables of the product's own that are shown beside the results.
const SYSTEM_TABLES: [&str; 6] =
    ["dead_letters", "fraud_alerts", "fraud_lists", "fraud_rules", "fraud_verdicts", "job_progress"];

/// A running dashboard.
#[derive(Debug)]
pub struct Dashboard {
    address: SocketAddr,
    shutdown_max: Duration,
    closing: tokio::sync::watch::Sender<bool>,
    server: JoinHandle<()>,
    workers: Vec<JoinHandle<()>>,
}

/// Starts the dashboard: fills its cache from the store, then serves pages and takes live rows.
///
/// `tables` are the result tables; the product's own are added when they are missing. The tables must
/// exist in the store.
///
/// # Errors
/// The address cannot be listened on, the store does not answer, or a limit leaves no room to work.
pub async fn start(
    settings: DashboardSettings,
    store: Store,
    tables: Vec<Contract>,
    live: mpsc::Receiver<LiveBatch>,
) -> Result<Dashboard, DashboardError> {
    start_with(settings, store, tables, live, &Services::default()).await
}

/// As [`start`], with the answers of other roles behind the same address.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    settings: DashboardSettings,
    store: Store,
    tables: Vec<Contract>,
    live: mpsc::Receiver<LiveBatch>,
    services: &Services,
) -> Result<Dashboard, DashboardError> {
    check(&settings.limits)?;
    let mut cache = Cache::new(with_system_tables(tables), &settings.limits);
    fill(&store, &mut cache).await?;
    let wanted = settings.listen;
    let failed = |source| DashboardError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let listener = Deadlined::new(listener, settings.limits.sse_stall_ms_max);
    let shutdown_max = Duration::from_millis(settings.limits.shutdown_ms_max);
    let shared = Arc::new(Shared::new(settings, store, cache, services));
    let mut workers = vec![
        tokio::spawn(feed::follow(shared.clone(), live)),
        tokio::spawn(feed::complete(shared.clone())),
        tokio::spawn(feed::sample(shared.clone())),
    ];
    if let Some(cluster) = shared.kafka.clone() {
        workers.push(tokio::spawn(kafka::watch(cluster, shared.closing.subscribe())));
    }
    let closing = shared.closing.clone();
    let mut closes = shared.closing.subscribe();
    let routes = router(shared, services);
    let server = tokio::spawn(async move {
        let until = async move {
            let _ = closes.wait_for(|closing| *closing).await;
        };
        if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(until).await {
            tracing::error!(%error, "the dashboard's server ended");
        }
    });
    tracing::info!(%address, "dashboard is listening");
    Ok(Dashboard { address, shutdown_max, closing, server, workers })
}

/// Reads the rows there are. A store that goes away meanwhile is waited for: it may die at any moment, and so at this one.
async fn fill(store: &Store, cache: &mut Cache) -> Result<(), DashboardError> {
    let mut failures = 0;
    while let Err((table, source)) = load(store, cache).await {
        failures += 1;
        let RetryDecision::After(wait) = after_failure(&RetryPolicy::default(), source.kind(), failures, 0.5) else {
            return Err(DashboardError::Store { table, source });
        };
        tracing::warn!(error = %source, wait_ms = wait.as_millis() as u64, "the page waits for the store");
        tokio::time::sleep(wait).await;
    }
    Ok(())
}

impl Dashboard {
    /// Where it listens: with the real port, when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the streams, answers what is under way, and returns; after `shutdown_ms_max` without waiting any longer.
    pub async fn shutdown(self) {
        self.closing.send_replace(true);
        let mut server = self.server;
        if tokio::time::timeout(self.shutdown_max, &mut server).await.is_err() {
            server.abort();
        }
        for worker in self.workers {
            worker.abort();
        }
    }
}

fn check(limits: &Limits) -> Result<(), DashboardError> {
    for (name, value, least) in [
        ("cached_rows_max", limits.cached_rows_max as u64, 100),
        ("sse_clients_max", limits.sse_clients_max as u64, 1),
        ("sse_push_ms_min", limits.sse_push_ms_min, 10),
        ("sse_heartbeat_ms", limits.sse_heartbeat_ms, 100),
        ("store_ms_max", limits.store_ms_max, 1),
        ("browse_records_max", limits.browse_records_max as u64, 1),
        ("browse_bytes_max", limits.browse_bytes_max as u64, 1),
        ("browse_ms_max", limits.browse_ms_max, 100),
        ("browses_at_once_max", limits.browses_at_once_max as u64, 1),
    ] {
        if value < least {
            return Err(DashboardError::Limit { name, least });
        }
    }
    Ok(())
}

fn with_system_tables(mut tables: Vec<Contract>) -> Vec<Contract> {
    let builtin = Contracts::builtin();
    for name in SYSTEM_TABLES {
        if !tables.iter().any(|table| table.name == name) {
            tables.extend(builtin.get(name).cloned());
        }
    }
    tables
}

fn router(shared: Arc<Shared>, services: &Services) -> Router {
    let mut router = Router::new();
    for page in Page::ALL {
        let show = move |state: State<Arc<Shared>>, params: Params| page::show(page, state, params);
        router = router.route(page.path(), get(show));
    }
    router
        .route("/events", get(live::events))
        .route("/assets/{name}", get(assets::serve))
        .merge(api::routes())
        .merge(api::letters::routes(services))
        .merge(service::routes(services))
        .fallback(|| async { Problem::not_found("there is no such page; the pages are linked from /").into_response() })
        .layer(middleware::from_fn_with_state(shared.clone(), guard::guard))
        .with_state(shared)
}
