//! What a change of a group leads to: answers to those who wait, and whether the group must be stored first.

use crate::groups::group::{Group, MemberId, Ticket};
use kafka_protocol::error::ResponseError;

/// The answer to a member that joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: MemberId,
    pub(crate) member_id: MemberId,
    /// A returning static leader need not assign anew.
    pub(crate) skip_assignment: bool,
    /// Only for the leader: id, instance id and metadata of everyone.
    pub(crate) members: Vec<(MemberId, Option<String>, Vec<u8>)>,
}

/// A refused join. `member_id` is what the member should use next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinRefused {
    pub(crate) error: ResponseError,
    pub(crate) member_id: MemberId,
}

/// The answer to a member that asked for its assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Vec<u8>,
}

/// An answer to a waiting request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Join(Result<Joined, JoinRefused>),
    Sync(Result<Synced, ResponseError>),
}

/// What is to be done after a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// The members or their assignment changed: store the group.
    pub(crate) store: bool,
    pub(crate) replies: Vec<(Ticket, Reply)>,
}

impl Step {
    pub(crate) fn reply_join(&mut self, ticket: Option<Ticket>, reply: Result<Joined, JoinRefused>) {
        self.replies.extend(ticket.map(|ticket| (ticket, Reply::Join(reply))));
    }

    pub(crate) fn refuse_join(&mut self, ticket: Option<Ticket>, error: ResponseError, member_id: &MemberId) {
        self.reply_join(ticket, Err(JoinRefused { error, member_id: member_id.clone() }));
    }

    pub(crate) fn reply_sync(&mut self, ticket: Option<Ticket>, reply: Result<Synced, ResponseError>) {
        self.replies.extend(ticket.map(|ticket| (ticket, Reply::Sync(reply))));
    }
}

impl Group {
    /// What a member of the current generation is told.
    pub(crate) fn joined(&self, id: &MemberId, with_members: bool) -> Joined {
        let protocol = self.protocol.clone().unwrap_or_default();
        let members = if with_members {
            self.members.iter().map(|(id, m)| (id.clone(), m.instance_id.clone(), m.metadata_for(&protocol))).collect()
        } else {
            vec![]
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: id.clone(),
            skip_assignment: false,
            members,
        }
    }

    /// The assignment of a member.
    pub(crate) fn synced(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }
}
