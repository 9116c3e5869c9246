//! A broker's life: lock the data directory, recover, listen, run the background tasks, stop.

use crate::clock::{Clock, SystemClock};
use crate::error::BrokerError;
use crate::groups::coordinator::{GroupLimits, Groups};
use crate::journal::{Change, Journal};
use crate::node::Node;
use crate::server::budget::Budget;
use crate::server::listener::listen;
use crate::settings::BrokerSettings;
use crate::stats::{BrokerStats, Counters};
use crate::storage::cache::SegmentCache;
use crate::tasks;
use crate::topics::registry::Topics;
use crate::txn::coordinator::{Transactions, World};
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// First byte of the journal key of the cluster id.
const CLUSTER_SPACE: u8 = b'c';

/// A running broker. It stops when it is told to ([`Broker::shutdown`]) or dropped; only the former flushes to disk.
#[derive(Debug)]
pub struct Broker {
    node: Arc<Node>,
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    tasks: JoinSet<()>,
    /// Keeps the data directory ours.
    lock: File,
}

impl Broker {
    /// Starts a broker: takes the data directory, recovers what is in it, and listens.
    ///
    /// # Errors
    /// The directory belongs to another broker, its data is unusable, or the address is taken or not allowed.
    pub async fn start(settings: BrokerSettings) -> Result<Self, BrokerError> {
        Self::start_with_clock(settings, Arc::new(SystemClock)).await
    }

    /// Starts a broker that goes by another clock.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub async fn start_with_clock(settings: BrokerSettings, clock: Arc<dyn Clock>) -> Result<Self, BrokerError> {
        check(&settings)?;
        let lock = lock_dir(&settings.data_dir)?;
        let listener = TcpListener::bind(settings.listen).await;
        let listener = listener.map_err(|source| BrokerError::Listen { address: settings.listen, source })?;
        let address =
            listener.local_addr().map_err(|source| BrokerError::Listen { address: settings.listen, source })?;
        let opening = tokio::task::spawn_blocking(move || open(settings, clock, address));
        let node =
            Arc::new(opening.await.map_err(|error| BrokerError::Stored(format!("recovery ended early: {error}")))??);
        let world = World { topics: &node.topics, groups: &node.groups, now_ms: node.now_ms() };
        let recovered = node.transactions.recover(world).await;
        recovered.map_err(|error| BrokerError::Stored(format!("open transactions cannot be completed: {error}")))?;
        let (stopping, stop) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(node.clone(), listener, stop.clone()));
        tasks::spawn_all(&mut tasks, &node, &stop);
        tracing::info!(%address, data_dir = %node.settings.data_dir.display(), topics = node.topics.all().len(), "the broker is up");
        Ok(Self { node, address, stopping, tasks, lock })
    }

    /// Where the broker listens; with the real port if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[cfg(test)]
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What the broker has done and holds.
    pub fn stats(&self) -> BrokerStats {
        let node = &self.node;
        let topics = node.topics.all();
        let partitions: Vec<_> = topics.values().flat_map(|topic| &topic.partitions).collect();
        let (groups, group_members) = node.groups.count();
        let (transactional_ids, transactions_open) = node.transactions.count();
        BrokerStats {
            topics: topics.len(),
            partitions: partitions.len(),
            log_bytes: partitions.iter().map(|partition| crate::sync::lock(&partition.log).bytes()).sum(),
            segments_open: node.cache.len(),
            groups,
            group_members,
            transactional_ids,
            transactions_open,
            ..node.counters.snapshot()
        }
    }

    /// Stops: closes the connections, forces everything to disk, gives the data directory back.
    ///
    /// # Errors
    /// Something could not be forced to disk; it is in the page cache nevertheless.
    pub async fn shutdown(mut self) -> Result<(), BrokerError> {
        let _ = self.stopping.send(true);
        while self.tasks.join_next().await.is_some() {}
        let node = self.node.clone();
        let flushed = tokio::task::spawn_blocking(move || tasks::flush_all(&node)).await;
        let _ = self.lock.unlock();
        tracing::info!("the broker is down");
        flushed.map_err(|error| BrokerError::Stored(format!("the last flush ended early: {error}")))?
    }
}

fn check(settings: &BrokerSettings) -> Result<(), BrokerError> {
    if !settings.listen.ip().is_loopback() && !settings.listen_beyond_loopback {
        return Err(BrokerError::NotLoopback(settings.listen));
    }
    let positive = [
        ("default_partitions", settings.default_partitions > 0),
        ("connections_max", settings.limits.connections_max > 0),
        ("request_bytes_max", (1..=i32::MAX as usize).contains(&settings.limits.request_bytes_max)),
        ("maintenance_interval_ms", settings.maintenance_interval_ms > 0),
    ];
    match positive.into_iter().find(|(_, fine)| !fine) {
        Some((name, _)) => Err(BrokerError::Setting { name, reason: "it is zero, negative or too large".into() }),
        None => Ok(()),
    }
}

/// Makes the data directory ours until the file is closed, be it by the end of the process.
fn lock_dir(dir: &Path) -> Result<File, BrokerError> {
    let failed = |action| move |source| BrokerError::Io { action, path: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(failed("create"))?;
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BrokerError::DataDirInUse(dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed("lock")(source)),
    }
}

/// Opens everything that is stored. Blocks.
fn open(settings: BrokerSettings, clock: Arc<dyn Clock>, address: SocketAddr) -> Result<Node, BrokerError> {
    let dir = settings.data_dir.clone();
    let journal = Journal::open(&dir).map_err(|source| BrokerError::Io {
        action: "open the journal in",
        path: dir.clone(),
        source,
    })?;
    let journal = Arc::new(journal);
    let cluster_id = cluster_id(&journal).map_err(|source| BrokerError::Io {
        action: "write the journal in",
        path: dir.clone(),
        source,
    })?;
    let limits = settings.limits.clone();
    let cache = Arc::new(SegmentCache::new(limits.segments_open_max));
    let group_limits = GroupLimits {
        groups_max: limits.groups_max,
        members_max: limits.group_members_max,
        offsets_max: limits.group_offsets_max,
        initial_delay_ms: settings.group_initial_rebalance_delay_ms,
    };
    let flushes = settings.fsync == crate::settings::FsyncPolicy::BeforeAck;
    let advertised = settings.advertised.clone().unwrap_or_else(|| (address.ip().to_string(), address.port()));
    Ok(Node {
        topics: Topics::open(&dir, journal.clone(), cache.clone(), clock.now_ms())?,
        groups: Groups::open(journal.clone(), group_limits)?,
        transactions: Transactions::open(journal.clone(), limits.transactional_ids_max, flushes)?,
        fetch_budget: Budget::new(limits.inflight_fetch_bytes_max),
        counters: Counters::default(),
        cluster_id,
        advertised,
        clock,
        journal,
        cache,
        settings,
    })
}

/// The id of the "cluster" that this data directory is; made with the directory.
fn cluster_id(journal: &Journal) -> std::io::Result<String> {
    if let Some((_, stored)) = journal.entries(CLUSTER_SPACE).first() {
        return Ok(String::from_utf8_lossy(stored).into_owned());
    }
    let id = uuid::Uuid::new_v4().simple().to_string()[..22].to_owned();
    journal.write(&[Change::put(vec![CLUSTER_SPACE], id.clone().into_bytes())])?;
    Ok(id)
}
