//! A running dashboard over a filled store, for one test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use millrace_connectors::store::Store;
use millrace_dashboard::service::{Backtests, Hears, Measures, Mends, Refused, Services};
use millrace_dashboard::testing::{alerts, fill, held, shop::Shop, tables};
use millrace_dashboard::{Dashboard, DashboardSettings, Limits, LiveBatch, start_with};
use millrace_model::Timestamp;
use serde_json::{Value, json};
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
            fill(&store, &tables, &held::history(now())).await.expect("the fixture");
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
    let services = Services {
        hears: Some(Arc::new(Cluster(live.downgrade()))),
        measures: Some(Arc::new(Board(store.clone()))),
        backtests: Some(Arc::new(Past(Mutex::new(is_filled(store).await.then_some((Value::Null, 0)))))),
        ..Services::default()
    };
    let dashboard = start_with(settings, store.clone(), tables::all(), batches, &services).await.expect("a dashboard");
    (dashboard, live)
}

/// Stands for the scorer's topics: what is said comes back as a live row, while somebody feeds the dashboard.
struct Cluster(mpsc::WeakSender<LiveBatch>);

impl Cluster {
    fn send(&self, table: &str, row: Value) -> Result<Value, Refused> {
        let rows = vec![row.as_object().expect("an object").clone()];
        let ended = || Refused::Unavailable("nothing feeds the dashboard".into());
        let sent = self.0.upgrade().ok_or_else(ended)?.blocking_send(LiveBatch { table: table.to_owned(), rows });
        sent.map(|()| row).map_err(|_| Refused::Unavailable("the dashboard has ended".into()))
    }
}

impl Hears for Cluster {
    fn verdict(&self, told: &Value) -> Result<Value, Refused> {
        let mut row = told.clone();
        row["decided_at"] = now().to_string().into();
        self.send("fraud_verdicts", row)
    }

    fn list(&self, told: &Value) -> Result<Value, Refused> {
        if told.get("list").is_none_or(|list| told["reason"].is_null() && !list.is_null()) {
            return Err(Refused::Invalid("`list` is missing, or `reason` is missing".into()));
        }
        let mut row = told.clone();
        row["changed_at"] = now().to_string().into();
        self.send("fraud_lists", row)
    }

    fn rule(&self, told: &Value, before: Option<&Value>) -> Result<Value, Refused> {
        if told["name"].is_null() {
            return Err(Refused::Invalid("`name` is missing".into()));
        }
        let mut row = before.cloned().unwrap_or(json!({}));
        for (name, value) in told.as_object().expect("an object") {
            row[name] = value.clone();
        }
        row["changed_at"] = now().to_string().into();
        self.send("fraud_rules", row)
    }
}

/// Stands for who measures the scorer: fixture figures where there is a fixture.
struct Board(Store);

async fn is_filled(store: &Store) -> bool {
    let rows = store.query("SELECT decision_id FROM fraud_alerts LIMIT 1", &[]).await;
    !rows.expect("the store answers").is_empty()
}

impl Measures for Board {
    fn scoreboard(&self) -> Result<Value, Refused> {
        let is_empty = !tokio::runtime::Handle::current().block_on(is_filled(&self.0));
        let report = if is_empty { Value::Null } else { held::report() };
        Ok(
            json!({ "caught_up": true, "read": 9, "to_read": 9, "answer_key": !is_empty, "as_of": now(), "report": report }),
        )
    }
}

/// Looks until the backtest of the fixture is done.
const LOOKS: u32 = 4;

/// Stands for who judges the past again: what was asked, and how many looks it is still running for; then a fixture's figures.
struct Past(Mutex<Option<(Value, u32)>>);

impl Backtests for Past {
    fn backtest(&self) -> Value {
        let rules = [json!({ "name": "promo_abuse" }), json!({ "name": "velocity" })];
        let mut told = json!({ "state": "none", "rules": rules, "review_at": 0.5, "block_at": 0.95, "records_max": 2_000_000,
            "seconds_max": 600 });
        let mut newest = self.0.lock().expect("a lock");
        let Some((asked, looks)) = newest.as_mut() else { return told };
        let fixture = json!({ "by": "ann", "name": "fast", "when": "card_attempts_1m >= 2 and amount > 100", "points": 8.0,
            "since": "6h", "memory": "24h" });
        told["asked"] = if asked.is_null() { fixture } else { asked.clone() };
        told["by"] = told["asked"]["by"].clone();
        told["started_at"] = json!(Timestamp(now().0 - 41_000_000));
        if *looks > 0 {
            *looks -= 1;
            told["state"] = json!("running");
            told["told"] = json!("judging");
            told["records_done"] = json!(412_338 / (*looks + 2));
            told["records"] = json!(412_338);
        } else {
            told["state"] = json!("done");
            told["ended_at"] = json!(now());
            told["result"] = held::backtest();
        }
        told
    }

    fn begin(&self, asked: &Value) -> Result<Value, Refused> {
        if asked["by"].is_null() {
            return Err(Refused::Invalid("`by` is missing: who asks".into()));
        }
        {
            let mut newest = self.0.lock().expect("a lock");
            if newest.as_ref().is_some_and(|(_, looks)| *looks > 0) {
                return Err(Refused::Conflict("a backtest is running; wait for it, or stop it".into()));
            }
            *newest = Some((asked.clone(), LOOKS));
        }
        Ok(self.backtest())
    }

    fn stop(&self, _: &str) -> Result<Value, Refused> {
        self.0
            .lock()
            .expect("a lock")
            .take()
            .map(|_| json!({ "state": "stopped" }))
            .ok_or_else(|| Refused::Conflict("no backtest is running".into()))
    }
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
