//! What every request and every page's stream sees: cache, store, history, counters.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use millrace_model::Timestamp;
use tokio::sync::watch;

use crate::cache::Cache;
use crate::history::History;
use crate::kafka::Kafka;
use crate::live::{Clients, Memo};
use crate::service::Services;
use crate::settings::DashboardSettings;
use crate::store::Store;

/// One dashboard's state.
pub(crate) struct Shared {
    pub(crate) settings: DashboardSettings,
    pub(crate) store: Store,
    /// The roles that answer behind the same address.
    pub(crate) services: Services,
    /// The cluster, when there is one to show.
    pub(crate) kafka: Option<Arc<Kafka>>,
    cache: RwLock<Cache>,
    history: Mutex<History>,
    /// Version of the cache, for who waits for a change.
    pub(crate) changed: watch::Sender<u64>,
    /// True once the dashboard is to end.
    pub(crate) closing: watch::Sender<bool>,
    /// Sections computed for a page, shared by who looks at the same.
    pub(crate) memo: Memo,
    /// The pages that follow events.
    pub(crate) clients: Clients,
    /// Live rows still come.
    pub(crate) feed_open: AtomicBool,
    /// How often somebody has changed something here that pages show.
    stirred: AtomicU64,
    /// HTTP requests answered.
    pub(crate) requests: AtomicU64,
    /// Tells event ids of this run from those of another.
    pub(crate) run: String,
    pub(crate) started: Timestamp,
}

impl Shared {
    /// The state around a loaded cache.
    pub(crate) fn new(settings: DashboardSettings, store: Store, cache: Cache, services: &Services) -> Self {
        let started = now();
        Shared {
            clients: Clients::new(settings.limits.sse_clients_max),
            changed: watch::Sender::new(cache.version()),
            closing: watch::Sender::new(false),
            memo: Memo::default(),
            feed_open: AtomicBool::new(true),
            stirred: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            history: Mutex::default(),
            cache: RwLock::new(cache),
            kafka: settings.kafka.clone().map(|kafka| Arc::new(Kafka::new(kafka, &settings.limits))),
            run: format!("{:x}", started.0),
            services: services.clone(),
            settings,
            store,
            started,
        }
    }

    /// The cache, for reading. Never held across an await.
    pub(crate) fn cache(&self) -> RwLockReadGuard<'_, Cache> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cache, for the feed alone.
    pub(crate) fn cache_mut(&self) -> RwLockWriteGuard<'_, Cache> {
        self.cache.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The course of every table's progress.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has changed something in the store: pages look again at once.
    pub(crate) fn stir(&self) {
        self.stirred.fetch_add(1, Ordering::Relaxed);
        let version = self.cache().version();
        self.changed.send_replace(version);
    }

    /// How often somebody has.
    pub(crate) fn stirred(&self) -> u64 {
        self.stirred.load(Ordering::Relaxed)
    }

    /// Whether live rows still come.
    pub(crate) fn is_live(&self) -> bool {
        self.feed_open.load(Ordering::Relaxed)
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}
