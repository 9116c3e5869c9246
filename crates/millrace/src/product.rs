//! The roles of one process: all of the product, or one role of many. They start in order, and end in the order the records
//! flow.
//!
//! ```text
//!  start:  broker ─▶ topics ─▶ store ─▶ dashboard, sink, lake, recommend, score, alerts ─▶ jobs ─▶ (simulator)
//!  end:    (simulator) ─▶ jobs and score, when they have caught up ─▶ sink, lake, recommend, alerts ─▶ dashboard ─▶ store ─▶ broker
//! ```

mod parts;
mod promises;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use millrace_broker::Broker;
use millrace_connectors::kafka::{ClientSettings, broker_ends, topics};
use millrace_connectors::lake::LakeSettings;
use millrace_connectors::sink::SinkStats;
use millrace_connectors::sink::search::SearchSinkSettings;
use millrace_connectors::sink::store::StoreSinkSettings;
use millrace_connectors::store::Store;
use millrace_connectors::{Ending, ShutdownSwitch, shutdown};
use millrace_dashboard::service::{self, ServiceServer, Services};
use millrace_dashboard::{Dashboard, DashboardSettings, KafkaSettings};
use millrace_model::{Contract, Role};
use tokio::task::JoinHandle;

pub(crate) use self::parts::{cluster, searched_tables, store_url, stored_tables};
use self::parts::{ended, mends, notifier, open_store, plan, run_lake, run_search, run_sink, search, start_broker};
use crate::pipelines::Pipelines;
use crate::roles::backends::{self, JobPlace};
use crate::roles::jobs::{self, JobHandle};
use crate::roles::score::backtest::desk::Desk;
use crate::roles::score::board::Board;
use crate::roles::score::said::Analysts;
use crate::roles::{live, recommend, score};
use crate::runtime_file::RuntimeFile;
use crate::settings::Settings;
use crate::statics::Statics;

/// Which roles a process runs. The embedded broker is there when no cluster is named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roles {
    pub(crate) jobs: bool,
    /// The job that checks every source record against its contract.
    pub(crate) intake: bool,
    pub(crate) sink: bool,
    pub(crate) lake: bool,
    pub(crate) dashboard: bool,
    pub(crate) recommend: bool,
    pub(crate) score: bool,
    /// Alerts, where the settings have routes for them.
    pub(crate) notify: bool,
    /// Other processes run the other roles, and perhaps this one too: the cluster divides the work.
    pub(crate) alone: bool,
}

impl Roles {
    /// The whole product in this process.
    pub(crate) const ALL: Roles = Roles {
        jobs: true,
        intake: true,
        sink: true,
        lake: true,
        dashboard: true,
        recommend: true,
        score: true,
        notify: true,
        alone: false,
    };
    /// One role of many, to be switched on.
    pub(crate) const ALONE: Roles = Roles {
        jobs: false,
        intake: false,
        sink: false,
        lake: false,
        dashboard: false,
        recommend: false,
        score: false,
        notify: false,
        alone: true,
    };
    /// A product that nobody asks: neither page nor answers nor alerts.
    pub(crate) const UNASKED: Roles =
        Roles { dashboard: false, recommend: false, score: false, notify: false, ..Roles::ALL };
}

/// The running product.
pub(crate) struct Product {
    pub(crate) kafka: ClientSettings,
    store: Option<Store>,
    pub(crate) store_url: String,
    pub(crate) contracts: Vec<Contract>,
    pub(crate) lake_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) jobs: Vec<JobHandle>,
    pub(crate) sink_stats: SinkStats,
    pub(crate) dashboard: Option<Dashboard>,
    broker: Option<Broker>,
    job_switch: ShutdownSwitch,
    sink_switch: ShutdownSwitch,
    sink: Option<JoinHandle<anyhow::Result<()>>>,
    lake: Option<JoinHandle<anyhow::Result<()>>>,
    recommend: Option<JoinHandle<anyhow::Result<()>>>,
    score: Option<JoinHandle<anyhow::Result<()>>>,
    /// Of a recommender or scorer that runs alone.
    answers: Option<ServiceServer>,
    notify: Option<JoinHandle<anyhow::Result<()>>>,
    search: Option<JoinHandle<anyhow::Result<()>>>,
    has_lake: bool,
    found_by_others: bool,
}

/// What the end of the product came to.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Jobs that had stopped before, with the reason.
    pub(crate) failed_jobs: Vec<(String, String)>,
    /// Everything that was in the topics has gone through.
    pub(crate) drained: bool,
}

/// Longest wait for the jobs to catch up at the end.
const DRAIN_MAX: Duration = Duration::from_secs(300);
/// How often the drain looks.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

impl Product {
    /// Starts everything; when this returns, records that are produced go through.
    ///
    /// # Errors
    /// [`Invalid`] for settings and pipelines; else what could not be started, and why.
    pub(crate) async fn start(settings: &Settings, pipelines: Pipelines, roles: Roles) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let planned = plan(&pipelines, &Statics::new(runtime.clone()))?;
        let notifier = if roles.notify { notifier(settings, &planned)? } else { None };
        let search = search(settings, &planned)?;
        let data_dir = settings.data_dir()?;
        std::fs::create_dir_all(&data_dir)
            .with_context(|| format!("cannot make the data folder {}", data_dir.display()))?;
        let (broker, kafka) = match roles.alone {
            true => (None, cluster(settings, &data_dir)?),
            false => start_broker(settings, &data_dir).await?,
        };
        let results = planned.results();
        let contracts: Vec<Contract> = planned.contracts.iter().cloned().collect();
        topics::ensure(&kafka, &contracts, settings.kafka.replication).await?;
        let store_url = store_url(settings, &data_dir);
        let tables = stored_tables(&contracts);
        let store = match roles.sink || roles.dashboard || notifier.is_some() {
            true => Some(open_store(&store_url, &tables).await?),
            false => None,
        };
        let (job_switch, job_shutdown) = shutdown();
        let (sink_switch, sink_shutdown) = shutdown();
        let sink_stats = SinkStats::default();
        let retention = parts::retention(&settings.store.retention)?;
        let sink = store.clone().filter(|_| roles.sink).map(|store| {
            let new = StoreSinkSettings::new(kafka.clone());
            let settings = StoreSinkSettings { shared: roles.alone, retention, ..new };
            tokio::spawn(run_sink(settings, tables.clone(), store, sink_stats.clone(), sink_shutdown.clone()))
        });
        let lake_dir = settings.lake.dir.clone().unwrap_or_else(|| data_dir.join("lake"));
        let lake = (roles.lake && settings.lake.enabled).then(|| {
            let mut lake = LakeSettings::new(kafka.clone(), lake_dir.clone());
            lake.limits.wait_ms_max = u64::try_from(settings.lake.flush_interval.as_millis()).unwrap_or(u64::MAX);
            lake.retention = Some(settings.lake.retention).filter(|keep| !keep.is_zero());
            lake.shared = roles.alone;
            let sources: Vec<Contract> = planned.contracts.of_role(Role::Source).cloned().collect();
            tokio::spawn(run_lake(lake, sources, SinkStats::default(), sink_shutdown.clone()))
        });
        let recommend = match roles.recommend && settings.recommend.enabled {
            true => Some(recommend::start(&settings.recommend, &kafka, &data_dir, sink_shutdown.clone())?),
            false => None,
        };
        // With the jobs, as it writes topics that the sink reads.
        let score = match roles.score && settings.score.enabled {
            true => Some(score::start(&settings.score, &kafka, &data_dir, job_shutdown.clone())?),
            false => None,
        };
        let services = Services {
            recommends: recommend.as_ref().map(recommend::recommends),
            scores: score.as_ref().map(score::answer::scores),
            hears: match roles.dashboard || score.is_some() {
                true => Some(Analysts::new(&kafka, &settings.score.judge())?.hears()),
                false => None,
            },
            measures: roles.dashboard.then(|| Board::unasked(&kafka, settings.score.review_at)),
            backtests: roles
                .dashboard
                .then(|| Desk::open(&kafka, lake_dir.clone(), &settings.score, job_shutdown.clone())),
            mends: store.clone().filter(|_| roles.dashboard).map(|store| mends(settings, &kafka, store)),
        };
        let listen = if recommend.is_some() { settings.recommend.listen } else { settings.score.listen };
        let answers = match (recommend.is_some() || score.is_some()) && !roles.dashboard {
            true => Some(service::serve(listen, settings.dashboard.hosts_allowed.clone(), &services).await?),
            false => None,
        };
        let search = search.filter(|_| roles.sink).map(|(search, tables)| {
            let settings = SearchSinkSettings::new(kafka.clone(), search);
            tokio::spawn(run_search(settings, tables, sink_shutdown.clone()))
        });
        let notify = notifier
            .zip(store.clone())
            .map(|(notifier, store)| tokio::spawn(notifier.run(kafka.clone(), store, sink_shutdown.clone())));
        let dashboard = match store.clone().filter(|_| roles.dashboard) {
            None => None,
            Some(store) => {
                let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
                let live = live::start(&kafka, &names)?;
                let of_page = &settings.dashboard;
                let page = DashboardSettings {
                    hosts_allowed: of_page.hosts_allowed.clone(),
                    kafka: Some(KafkaSettings { client: kafka.clone(), contracts: contracts.clone() }),
                    review_within: settings.score.review_within,
                    sinks: promises::promises(settings, &store_url),
                    spark_ui: of_page.spark_ui.clone(),
                    kafka_ui: of_page.kafka_ui.clone(),
                    ..DashboardSettings::listen_on(of_page.listen)
                };
                Some(millrace_dashboard::start_with(page, store, results, live, &services).await?)
            }
        };
        let place =
            JobPlace { settings, kafka: &kafka, data_dir: &data_dir, runtime: &runtime, shutdown: &job_shutdown };
        let jobs = backends::start(&place, roles, planned, pipelines)?;
        let running = RuntimeFile {
            pid: std::process::id(),
            kafka: kafka.bootstrap_servers.clone(),
            dashboard: dashboard.as_ref().map(Dashboard::address),
            store: if store_url.starts_with("sqlite:") { store_url.clone() } else { String::new() },
            lake: lake.is_some().then(|| lake_dir.clone()),
            jobs: jobs.iter().map(|job| job.name.clone()).collect(),
        };
        if !roles.alone {
            running.write(&data_dir).context("cannot tell other commands where the product runs")?;
        }
        Ok(Product {
            kafka,
            store,
            store_url,
            contracts,
            lake_dir,
            data_dir,
            jobs,
            sink_stats,
            dashboard,
            broker,
            job_switch,
            sink_switch,
            sink,
            has_lake: lake.is_some(),
            lake,
            recommend: recommend.map(|recommend| recommend.task),
            score: score.map(|score| score.task),
            answers,
            notify,
            search,
            found_by_others: !roles.alone,
        })
    }

    /// The store of a product that writes or shows one.
    ///
    /// # Errors
    /// It does neither.
    pub(crate) fn store(&self) -> anyhow::Result<&Store> {
        self.store.as_ref().context("this process has no store")
    }

    /// Kafka address of the product.
    pub(crate) fn kafka_address(&self) -> &str {
        &self.kafka.bootstrap_servers
    }

    /// Address of the page.
    pub(crate) fn page(&self) -> Option<SocketAddr> {
        self.dashboard.as_ref().map(Dashboard::address)
    }

    /// Address of a recommender or scorer that runs alone.
    pub(crate) fn answers(&self) -> Option<SocketAddr> {
        self.answers.as_ref().map(ServiceServer::address)
    }

    /// Waits until every job has read everything; false when that takes too long.
    pub(crate) async fn catch_up(&self, patience: Duration) -> bool {
        self.job_switch.ask(Ending::Drain);
        let start = Instant::now();
        while start.elapsed() < patience {
            if jobs::caught_up(&self.jobs) {
                return true;
            }
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        false
    }

    /// Lets everything that is in the topics go through, and ends jobs, sink and lake. Topics and store can still be read.
    ///
    /// # Errors
    /// The first role that ended badly; the others are ended all the same.
    pub(crate) async fn settle(&mut self) -> anyhow::Result<Ended> {
        let is_at_once = self.sink_switch.asked() == Ending::Stop;
        let drained = is_at_once || self.catch_up(DRAIN_MAX).await;
        let mut score = self.score.take();
        let mut scored = None;
        if let Some(role) = score.as_mut().filter(|_| !is_at_once) {
            // It drains with the jobs, and ends by itself.
            scored = tokio::time::timeout(DRAIN_MAX, ended(Some(role))).await.ok();
        }
        self.job_switch.ask(Ending::Stop);
        let scored = match scored {
            Some(ended) => ended,
            None if score.is_some() => ended(score.as_mut()).await,
            None => Ok(()),
        };
        let jobs = std::mem::take(&mut self.jobs);
        let joined = tokio::task::spawn_blocking(move || jobs::join(jobs)).await.context("the jobs' threads")?;
        let failed_jobs =
            joined.into_iter().filter_map(|(name, status)| status.failure().map(|why| (name, why))).collect();
        self.sink_switch.ask(Ending::Drain);
        let mut first_error = scored.err();
        let (sink, lake, recommend) = (self.sink.take(), self.lake.take(), self.recommend.take());
        for role in [sink, lake, recommend, self.notify.take(), self.search.take()].into_iter().flatten() {
            if let Err(error) = role.await.unwrap_or_else(|panic| Err(anyhow!("a role was cut off: {panic}"))) {
                first_error.get_or_insert(error);
            }
        }
        match first_error {
            Some(error) => Err(error),
            None => Ok(Ended { failed_jobs, drained }),
        }
    }

    /// Ends page, store and broker.
    ///
    /// # Errors
    /// The broker did not end well.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        if let Some(dashboard) = self.dashboard {
            dashboard.shutdown().await;
        }
        if let Some(answers) = self.answers {
            answers.shutdown().await;
        }
        if let Some(store) = self.store {
            store.close().await;
        }
        if self.found_by_others {
            RuntimeFile::remove(&self.data_dir);
        }
        if let Some(broker) = self.broker {
            broker_ends();
            broker.shutdown().await.context("the broker did not end well")?;
        }
        Ok(())
    }

    /// The first role that ends by itself, which none should, with the reason. Waits for ever when nothing fails.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        let (sink, lake, recommend) = (self.sink.as_mut(), self.lake.as_mut(), self.recommend.as_mut());
        let (score, notify, search) = (self.score.as_mut(), self.notify.as_mut(), self.search.as_mut());
        let ended = tokio::select! {
            ended = ended(sink) => ended,
            ended = ended(lake) => ended,
            ended = ended(recommend) => ended,
            ended = ended(score) => ended,
            ended = ended(notify) => ended,
            ended = ended(search) => ended,
            () = jobs::all_failed(&self.jobs) => return anyhow!("every job has stopped; the log says why"),
        };
        ended.err().unwrap_or_else(|| anyhow!("a role ended without being asked"))
    }

    /// Ends at once what can go on elsewhere or later, then closes.
    ///
    /// # Errors
    /// As [`Product::settle`].
    pub(crate) async fn stop(mut self) -> anyhow::Result<Ended> {
        self.job_switch.ask(Ending::Stop);
        self.sink_switch.ask(Ending::Stop);
        let ended = self.settle().await;
        self.close().await?;
        ended
    }

    /// Settles, then closes.
    ///
    /// # Errors
    /// As both.
    pub(crate) async fn end(mut self) -> anyhow::Result<Ended> {
        let settled = self.settle().await;
        self.close().await?;
        settled
    }

    /// The lake's folder or `s3://…`, when there is a lake.
    pub(crate) fn lake(&self) -> Option<&Path> {
        self.has_lake.then_some(self.lake_dir.as_path())
    }
}
