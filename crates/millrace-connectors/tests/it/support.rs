//! What the tests share: a broker to talk to, names of their own, contracts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use millrace_broker::BrokerSettings;
use millrace_connectors::kafka::ClientSettings;
use millrace_model::contract::TopicSettings;
use millrace_model::{Column, ColumnType, Contract, Role};

/// Longest wait of a test for something that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A broker for one test.
pub(crate) struct Broker {
    pub(crate) settings: ClientSettings,
    /// The embedded one and its folder, unless the test talks to a cluster.
    _embedded: Option<(millrace_broker::Broker, tempfile::TempDir)>,
}

/// An embedded broker of the test's own; or, where the variable `MILLRACE_TEST_KAFKA` names one (host:port), a Kafka
/// cluster, so that the same tests keep the two alike.
pub(crate) async fn broker() -> Broker {
    if let Ok(address) = std::env::var("MILLRACE_TEST_KAFKA") {
        return Broker { settings: ClientSettings::new(address), _embedded: None };
    }
    let folder = tempfile::tempdir().expect("a folder");
    let settings = BrokerSettings {
        data_dir: folder.path().join("broker"),
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        ..BrokerSettings::default()
    };
    let embedded = millrace_broker::Broker::start(settings).await.expect("a broker");
    Broker { settings: ClientSettings::new(embedded.address().to_string()), _embedded: Some((embedded, folder)) }
}

/// A name no other test, and no other run on the same cluster, uses.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let run = std::process::id();
    format!("{name}_{run}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn column(name: &str, column_type: ColumnType) -> Column {
    let description = String::new();
    Column { name: name.into(), column_type, required: true, nullable: true, not_empty: false, description }
}

/// `NAME (store_id, orders)`, keyed by the store.
pub(crate) fn contract(name: &str, partitions: u32) -> Contract {
    Contract {
        name: name.into(),
        description: String::new(),
        role: Role::Result,
        columns: vec![column("store_id", ColumnType::Text), column("orders", ColumnType::Integer)],
        key: vec!["store_id".into()],
        event_time: None,
        watermark_delay_micros: 0,
        deduplicate_by: Vec::new(),
        topic: TopicSettings {
            partitions,
            config: BTreeMap::from([("retention.ms".to_owned(), "604800000".to_owned())]),
        },
    }
}

/// Waits until `happened` says so.
pub(crate) async fn eventually(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !happened().await {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
