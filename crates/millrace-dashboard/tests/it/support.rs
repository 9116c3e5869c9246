//! A running dashboard over a filled store, for one test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use millrace_connectors::store::Store;
use millrace_dashboard::service::{Mends, Services};
use millrace_dashboard::testing::{alerts, fill, shop::Shop, tables};
use millrace_dashboard::{Dashboard, DashboardSettings, Limits, LiveBatch, start, start_with};
use millrace_model::Timestamp;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A dashboard, its live channel and its shop.
pub(crate) struct Stage {
    pub(crate) dashboard: Dashboard,
    pub(crate) live: mpsc::Sender<LiveBatch>,
    pub(crate) shop: Shop,
    store: Store,
    _folder: TempDir,
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}

impl Stage {
    /// With two hours of history.
    pub(crate) async fn set() -> Stage {
        Stage::with(2, Limits::default()).await
    }

    /// With so many hours of history (none: an empty store) and these limits.
    pub(crate) async fn with(hours: i64, limits: Limits) -> Stage {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}/store.db", folder.path().display());
        let store = Store::open(&url).await.expect("a store");
        let tables = tables::all();
        store.ensure_tables(&tables).await.expect("the tables");
        let mut shop = Shop::new();
        if hours > 0 {
            fill(&store, &tables, &shop.history(now(), hours)).await.expect("the fixture");
            alerts::fill(&store, now()).await.expect("the alerts");
        }
        let (dashboard, live) = run(&store, "127.0.0.1:0".parse().expect("an address"), limits).await;
        Stage { dashboard, live, shop, store, _folder: folder }
    }

    /// With an empty store and these settings.
    pub(crate) async fn of(settings: DashboardSettings) -> Stage {
        let Stage { dashboard, store, _folder, shop, .. } = Stage::with(0, Limits::default()).await;
        dashboard.shutdown().await;
        let (dashboard, live) = run_with(&store, settings).await;
        Stage { dashboard, live, shop, store, _folder }
    }

    /// Ends the dashboard and starts another over the same store, with somebody who mends dead letters.
    pub(crate) async fn mended_by(self, mends: Arc<dyn Mends>) -> Stage {
        self.dashboard.shutdown().await;
        let settings = DashboardSettings::listen_on("127.0.0.1:0".parse().expect("an address"));
        let (live, batches) = mpsc::channel(64);
        let services = Services { mends: Some(mends), ..Services::default() };
        let dashboard =
            start_with(settings, self.store.clone(), tables::all(), batches, &services).await.expect("a dashboard");
        Stage { dashboard, live, ..self }
    }

    /// Ends the dashboard and starts another over the same store: at this address, or somewhere else.
    pub(crate) async fn restart(self, at: Option<SocketAddr>) -> Stage {
        self.dashboard.shutdown().await;
        let at = at.unwrap_or_else(|| "127.0.0.1:0".parse().expect("an address"));
        let (dashboard, live) = run(&self.store, at, Limits::default()).await;
        Stage { dashboard, live, ..self }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.dashboard.address()
    }

    /// Pushes rows of a table.
    pub(crate) async fn push(&self, table: &str, rows: Vec<Value>) {
        let rows = rows.into_iter().map(|row| row.as_object().expect("an object").clone()).collect();
        self.live.send(LiveBatch { table: table.to_owned(), rows }).await.expect("the dashboard listens");
    }

    /// Moves the shop once.
    pub(crate) async fn tick(&mut self) {
        for batch in self.shop.tick(now()) {
            self.live.send(batch).await.expect("the dashboard listens");
        }
    }
}

async fn run(store: &Store, at: SocketAddr, limits: Limits) -> (Dashboard, mpsc::Sender<LiveBatch>) {
    run_with(store, DashboardSettings { limits, ..DashboardSettings::listen_on(at) }).await
}

async fn run_with(store: &Store, settings: DashboardSettings) -> (Dashboard, mpsc::Sender<LiveBatch>) {
    let (live, batches) = mpsc::channel(64);
    let dashboard = start(settings, store.clone(), tables::all(), batches).await.expect("a dashboard");
    (dashboard, live)
}

/// Lets go of the processor until something is true.
pub(crate) async fn until<F, T>(mut is_true: F) -> T
where
    F: AsyncFnMut() -> Option<T>,
{
    let work = async {
        loop {
            if let Some(found) = is_true().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("it becomes true in time")
}
