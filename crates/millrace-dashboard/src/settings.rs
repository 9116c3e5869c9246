//! Settings of the dashboard: plain data, every limit with its unit in its name.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use millrace_connectors::kafka::ClientSettings;
use millrace_model::Contract;
use serde::Serialize;

/// Port of the dashboard unless another is set.
const PORT: u16 = 8080;
/// Time for a review unless another is set.
const REVIEW_WITHIN: Duration = Duration::from_secs(4 * 3_600);

/// What an operator may set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DashboardSettings {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Host names a browser may use for us, without port. Empty: on a loopback address only `localhost` and loopback
    /// addresses (so that a foreign page cannot reach us by a name it controls), else any.
    pub hosts_allowed: Vec<String>,
    /// The cluster to show; none: the Kafka page says that there is none.
    pub kafka: Option<KafkaSettings>,
    /// How long after it was held somebody should have said what a payment is.
    pub review_within: Duration,
    /// What sinks there are and what each promises, for the health page.
    pub sinks: Vec<SinkPromise>,
    /// Address of Spark's own pages, for a link.
    pub spark_ui: Option<String>,
    /// Address of a Kafka UI, for a link.
    pub kafka_ui: Option<String>,
    /// What it may use of the machine.
    pub limits: Limits,
}

/// The cluster the Kafka page shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KafkaSettings {
    /// How to reach it.
    pub client: ClientSettings,
    /// Contracts of the topics that have one: their roles, and which of their columns are personal.
    pub contracts: Vec<Contract>,
}

/// A sink and its promise about what it delivers, in a few words each; docs/operating/delivery.md has all of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SinkPromise {
    /// From where to where.
    pub sink: String,
    /// How often a record arrives.
    pub promise: String,
    /// What makes a repeat harmless, or impossible.
    pub deduplicated_by: String,
    /// What is tried again, how long, and what becomes of what is refused.
    pub retried: String,
    /// Where its lag is seen.
    pub lag: SinkLag,
}

/// Where the lag of a sink is seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkLag {
    /// In the offsets of a consumer group.
    Group(String),
    /// In the messages of an alert channel that are not delivered.
    Channel(String),
    /// Nowhere from here.
    Unknown,
}

impl DashboardSettings {
    /// The settings for this address, with the usual limits.
    pub fn listen_on(listen: SocketAddr) -> Self {
        DashboardSettings {
            listen,
            hosts_allowed: Vec::new(),
            kafka: None,
            review_within: REVIEW_WITHIN,
            sinks: Vec::new(),
            spark_ui: None,
            kafka_ui: None,
            limits: Limits::default(),
        }
    }
}

impl Default for DashboardSettings {
    /// For this machine alone, on port 8080.
    fn default() -> Self {
        DashboardSettings::listen_on((Ipv4Addr::LOCALHOST, PORT).into())
    }
}

/// Bounds on memory, connections and answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Rows of one table held in memory, unless its policy says fewer.
    pub cached_rows_max: usize,
    /// Bytes of one text value held in memory and shown; a longer one is cut.
    pub cached_text_bytes_max: usize,
    /// Pages that may follow events at once.
    pub sse_clients_max: usize,
    /// Shortest time between two pushes to one page.
    pub sse_push_ms_min: u64,
    /// Longest silence on a page's stream.
    pub sse_heartbeat_ms: u64,
    /// A page that has not taken its events for this long gives its place to a new one.
    pub sse_stall_ms_max: u64,
    /// Changed rows in one push; beyond it the page gets a fresh snapshot.
    pub sse_delta_rows_max: usize,
    /// Rows of one table in a snapshot.
    pub sse_snapshot_rows_max: usize,
    /// Rows of a JSON answer, whatever the request asks for.
    pub api_rows_max: usize,
    /// Rows of a CSV download.
    pub csv_rows_max: usize,
    /// Lines of a list on a page.
    pub list_rows_max: usize,
    /// Longest time the store may take over a question.
    pub store_ms_max: u64,
    /// Records of a topic read for one view of its messages.
    pub browse_records_max: usize,
    /// Bytes of keys and values read for one view of messages.
    pub browse_bytes_max: usize,
    /// Longest time one view of messages reads.
    pub browse_ms_max: u64,
    /// Views of messages that read at once; others wait.
    pub browses_at_once_max: usize,
    /// Longest time a shutdown waits for open pages.
    pub shutdown_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            cached_rows_max: 6_000,
            cached_text_bytes_max: 16 * 1024,
            sse_clients_max: 64,
            sse_push_ms_min: 200,
            sse_heartbeat_ms: 2_000,
            sse_stall_ms_max: 30_000,
            sse_delta_rows_max: 2_000,
            sse_snapshot_rows_max: 2_000,
            api_rows_max: 10_000,
            csv_rows_max: 100_000,
            list_rows_max: 200,
            store_ms_max: 10_000,
            browse_records_max: 20_000,
            browse_bytes_max: 16 * 1024 * 1024,
            browse_ms_max: 5_000,
            browses_at_once_max: 2,
            shutdown_ms_max: 3_000,
        }
    }
}
