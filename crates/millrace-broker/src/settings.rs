//! The settings of a broker: plain data, with limits that carry their unit in the name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// When written records are forced to disk. In every mode a record is in the page cache before it is acknowledged, so
/// `kill -9` of the process loses nothing; the modes differ in what a power cut or a kernel crash may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsyncPolicy {
    /// Every so many milliseconds, at segment roll (within the same interval) and at shutdown. A power cut may take the
    /// records acknowledged during the last interval.
    EveryMs(u64),
    /// Before every acknowledgement: a power cut takes nothing that was acknowledged. One fsync serves all requests that
    /// wait for it. The background flush runs every second.
    BeforeAck,
}

impl FsyncPolicy {
    /// Milliseconds between background flushes.
    pub(crate) fn interval_ms(self) -> u64 {
        match self {
            Self::EveryMs(ms) => ms.max(1),
            Self::BeforeAck => 1_000,
        }
    }
}

/// Where a broker keeps its data, where it listens, and its limits. `Default` is what the product uses.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// Directory of all data; made if need be. One process owns it at a time.
    pub data_dir: PathBuf,
    /// Address to listen on; port 0 takes any free port.
    pub listen: SocketAddr,
    /// Must be true to listen on anything but loopback: the broker has no authentication.
    pub listen_beyond_loopback: bool,
    /// Host and port that clients are told to connect to; the listen address if absent.
    pub advertised: Option<(String, u16)>,
    /// The broker's node id.
    pub node_id: i32,
    /// When records are forced to disk.
    pub fsync: FsyncPolicy,
    /// Create a topic when a client first asks for it.
    pub auto_create_topics: bool,
    /// Partitions of a topic whose creator leaves the number to the broker.
    pub default_partitions: i32,
    /// Milliseconds between rounds of retention and compaction.
    pub maintenance_interval_ms: u64,
    /// Milliseconds that the first rebalance of an empty group waits for more members.
    pub group_initial_rebalance_delay_ms: u64,
    /// Shortest session timeout a group member may ask for.
    pub group_session_timeout_ms_min: u64,
    /// Longest session timeout a group member may ask for.
    pub group_session_timeout_ms_max: u64,
    /// Committed offsets of a group without members are forgotten after this time.
    pub offsets_retention_ms: i64,
    /// A transactional id that is not used for this time is forgotten.
    pub transactional_id_expiration_ms: i64,
    /// A partition forgets a producer that wrote nothing for this time.
    pub producer_id_expiration_ms: i64,
    /// Limits.
    pub limits: Limits,
}

/// Bounds on what clients can make the broker hold. Each is enforced with a protocol error or by closing the connection.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest request; a longer frame closes the connection.
    pub request_bytes_max: usize,
    /// Largest request other than Produce.
    pub control_request_bytes_max: usize,
    /// Open connections; one more is closed at once.
    pub connections_max: usize,
    /// A connection without a request for so long is closed.
    pub connection_idle_ms_max: u64,
    /// Request bytes held at once over all connections; further requests wait in their sockets.
    pub inflight_request_bytes_max: usize,
    /// Record bytes in one Fetch response (one batch may exceed it).
    pub fetch_response_bytes_max: usize,
    /// Record bytes in Fetch responses over all connections; at the limit responses get smaller.
    pub inflight_fetch_bytes_max: usize,
    /// Upper bound of a topic's `max.message.bytes`.
    pub message_bytes_max: usize,
    /// A batch that has to be looked into may unpack to so many bytes.
    pub decompressed_batch_bytes_max: usize,
    /// Sealed segments held open.
    pub segments_open_max: usize,
    /// Topics.
    pub topics_max: usize,
    /// Partitions of all topics together.
    pub partitions_max: usize,
    /// Consumer groups, those with only committed offsets included.
    pub groups_max: usize,
    /// Members of one group.
    pub group_members_max: usize,
    /// Committed offsets of one group.
    pub group_offsets_max: usize,
    /// Metadata string of one committed offset.
    pub offset_metadata_bytes_max: usize,
    /// Transactional ids known at once.
    pub transactional_ids_max: usize,
    /// Longest transaction timeout a producer may ask for.
    pub transaction_timeout_ms_max: i32,
    /// Distinct keys that one round of compaction looks at; the rest waits for the next round.
    pub compaction_keys_max: usize,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("millrace-data/broker"),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9092),
            listen_beyond_loopback: false,
            advertised: None,
            node_id: 1,
            fsync: FsyncPolicy::EveryMs(1_000),
            auto_create_topics: false,
            default_partitions: 1,
            maintenance_interval_ms: 15_000,
            group_initial_rebalance_delay_ms: 0,
            group_session_timeout_ms_min: 6_000,
            group_session_timeout_ms_max: 1_800_000,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            transactional_id_expiration_ms: 7 * 24 * 3_600_000,
            producer_id_expiration_ms: 24 * 3_600_000,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            request_bytes_max: 100 * MIB,
            control_request_bytes_max: 16 * MIB,
            connections_max: 1_000,
            connection_idle_ms_max: 600_000,
            inflight_request_bytes_max: 256 * MIB,
            fetch_response_bytes_max: 55 * MIB,
            inflight_fetch_bytes_max: 256 * MIB,
            message_bytes_max: 64 * MIB,
            decompressed_batch_bytes_max: 256 * MIB,
            segments_open_max: 256,
            topics_max: 1_000,
            partitions_max: 4_000,
            groups_max: 2_000,
            group_members_max: 500,
            group_offsets_max: 10_000,
            offset_metadata_bytes_max: 4_096,
            transactional_ids_max: 2_000,
            transaction_timeout_ms_max: 900_000,
            compaction_keys_max: 1_000_000,
        }
    }
}
