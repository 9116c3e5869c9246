//! A consumer group: its members, its state, and the questions asked of it. Changes are in the sibling files.
//!
//! ```text
//!            first member joins                 all have joined, or time is up
//!   Empty ────────────────────────▶ Joining ────────────────────────────────▶ Syncing
//!     ▲                              ▲   ▲                                       │ the leader has sent
//!     │ the last member is gone      │   │ a member joins or leaves              ▼ the assignment
//!     └──────────────────────────────┘   └───────────────────────────────────  Stable
//! ```
//! Times are milliseconds on a clock that only runs forward (not wall time).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names a member within its group.
pub(crate) type MemberId = Arc<str>;

/// Names a request that waits for an answer.
pub(crate) type Ticket = u64;

/// Where a group is in its cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// No members; maybe committed offsets.
    Empty,
    /// Members are to join (again) until the deadline. While `initial_until_ms` is set, the group waits for more members
    /// even if all have joined.
    Joining {
        deadline_ms: u64,
        initial_until_ms: Option<u64>,
    },
    /// All know the generation; the leader works out the assignment.
    Syncing,
    Stable,
}

impl State {
    /// Kafka's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Joining { .. } => "PreparingRebalance",
            Self::Syncing => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A way of assigning that a member supports, with what it tells the leader for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: String,
    pub(crate) metadata: Vec<u8>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Set for static members, which keep their place over a restart.
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: u64,
    pub(crate) rebalance_timeout_ms: u64,
    /// In the member's order of preference.
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Vec<u8>,
    /// Unless heard of by then, it is removed.
    pub(crate) session_deadline_ms: u64,
    /// It has never been part of a generation.
    pub(crate) is_new: bool,
    pub(crate) awaiting_join: Option<Ticket>,
    pub(crate) awaiting_sync: Option<Ticket>,
}

impl Member {
    pub(crate) fn metadata_for(&self, protocol: &str) -> Vec<u8> {
        self.protocols.iter().find(|p| p.name == protocol).map(|p| p.metadata.clone()).unwrap_or_default()
    }

    /// Waiting for an answer from us counts as a sign of life.
    pub(crate) fn is_waiting(&self) -> bool {
        self.awaiting_join.is_some() || self.awaiting_sync.is_some()
    }
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) state: State,
    pub(crate) generation: i32,
    /// `consumer`, `connect`, …; none until a member has joined.
    pub(crate) protocol_type: Option<String>,
    /// The assignor in use.
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<MemberId>,
    pub(crate) members: BTreeMap<MemberId, Member>,
    /// Static members by instance id.
    pub(crate) statics: BTreeMap<String, MemberId>,
    /// Ids handed out to members that are to join with them, and until when.
    pub(crate) promised: BTreeMap<MemberId, u64>,
    /// Members that know of this generation but have not asked for their assignment.
    pub(crate) unsynced: BTreeSet<MemberId>,
    pub(crate) sync_deadline_ms: Option<u64>,
    /// A member joined during the initial delay, so the delay is prolonged.
    pub(crate) joined_in_delay: bool,
    /// Wall time of the last change of members; committed offsets of an empty group live from then.
    pub(crate) changed_at_ms: i64,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            promised: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            sync_deadline_ms: None,
            joined_in_delay: false,
            changed_at_ms: 0,
        }
    }
}

impl Group {
    pub(crate) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// Longest time that any member may take to join again.
    pub(crate) fn rebalance_timeout_ms(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    /// Whether a member with these protocols fits with the rest.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let shared =
            |protocol: &Protocol| self.members.values().all(|m| m.protocols.iter().any(|p| p.name == protocol.name));
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(shared)
    }

    /// The protocol that most members prefer among those that all support.
    pub(crate) fn choose_protocol(&self) -> Option<String> {
        let supported =
            |name: &str| self.members.values().all(|member| member.protocols.iter().any(|p| p.name == name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(favourite) = member.protocols.iter().find(|protocol| supported(&protocol.name)) {
                *votes.entry(&favourite.name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name.to_owned())
    }

    /// Everybody who may join has done so.
    pub(crate) fn all_joined(&self) -> bool {
        self.promised.is_empty() && self.members.values().all(|member| member.awaiting_join.is_some())
    }

    /// When something has to be done next without being asked.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        let joining = match self.state {
            State::Joining { deadline_ms, initial_until_ms } => Some(initial_until_ms.unwrap_or(deadline_ms)),
            _ => None,
        };
        let sessions = self.members.values().map(|member| member.session_deadline_ms);
        sessions.chain(self.promised.values().copied()).chain(joining).chain(self.sync_deadline_ms).min()
    }
}
