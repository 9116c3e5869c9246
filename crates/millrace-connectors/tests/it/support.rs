//! What the tests share: a broker to talk to, names of their own, contracts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use millrace_connectors::kafka::ClientSettings;
use millrace_model::contract::TopicSettings;
use millrace_model::{Column, ColumnType, Contract, Role};

/// Longest wait of a test for something that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A broker for one test.
pub(crate) struct Broker {
    pub(crate) settings: ClientSettings,
}

/// The Kafka at `MILLRACE_TEST_KAFKA` (host:port).
pub(crate) async fn broker() -> Broker {
    let address = std::env::var("MILLRACE_TEST_KAFKA").expect("MILLRACE_TEST_KAFKA");
    Broker { settings: ClientSettings::new(address) }
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
