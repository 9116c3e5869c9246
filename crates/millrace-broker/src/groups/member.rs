//! What a member does between joins: ask for its assignment, show that it lives, leave.

use crate::groups::group::{Group, MemberId, State, Ticket};
use crate::groups::step::Step;
use kafka_protocol::error::ResponseError;

/// A request for the assignment; the leader brings everybody's.
#[derive(Debug, Clone)]
pub(crate) struct SyncRequest {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignments: Vec<(String, Vec<u8>)>,
    pub(crate) ticket: Ticket,
    pub(crate) now_ms: u64,
}

/// Who leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// May be empty for a static member that an operator removes.
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
}

impl Group {
    /// Handles a request for the assignment; the answer may come with a later step.
    pub(crate) fn sync(&mut self, request: SyncRequest) -> Step {
        let mut step = Step::default();
        let id: MemberId = request.member_id.as_str().into();
        if let Err(error) = self.check_sync(&request) {
            step.reply_sync(Some(request.ticket), Err(error));
            return step;
        }
        self.unsynced.remove(&id);
        let is_leader = self.is_leader(&id);
        let Some(member) = self.members.get_mut(&id) else { return step };
        member.session_deadline_ms = request.now_ms + member.session_timeout_ms;
        if self.state == State::Stable {
            step.reply_sync(Some(request.ticket), Ok(self.synced(&id)));
            return step;
        }
        let before = member.awaiting_sync.replace(request.ticket);
        step.reply_sync(before, Err(ResponseError::RebalanceInProgress));
        if is_leader {
            self.assign(request, &mut step);
        }
        step
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), ResponseError> {
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        let differs = |asked: &Option<String>, ours: &Option<String>| asked.is_some() && asked != ours;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::Joining { .. } => Err(ResponseError::RebalanceInProgress),
            State::Syncing | State::Stable => Ok(()),
        }
    }

    /// The leader's assignment makes the group stable.
    fn assign(&mut self, request: SyncRequest, step: &mut Step) {
        for member in self.members.values_mut() {
            member.assignment.clear();
        }
        for (id, assignment) in request.assignments {
            if let Some(member) = self.members.get_mut(id.as_str()) {
                member.assignment = assignment;
            }
        }
        self.state = State::Stable;
        step.store = true;
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in ids {
            let synced = self.synced(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            let ticket = member.awaiting_sync.take();
            if ticket.is_some() {
                member.session_deadline_ms = request.now_ms + member.session_timeout_ms;
            }
            step.reply_sync(ticket, Ok(synced));
        }
    }

    /// A sign of life.
    pub(crate) fn heartbeat(
        &mut self,
        id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now_ms: u64,
    ) -> Result<(), ResponseError> {
        self.check_member(id, instance_id)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        self.touch(id, now_ms);
        match self.state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::Joining { .. } => Err(ResponseError::RebalanceInProgress),
            State::Syncing | State::Stable => Ok(()),
        }
    }

    /// Prolongs a member's session.
    pub(crate) fn touch(&mut self, id: &str, now_ms: u64) {
        if let Some(member) = self.members.get_mut(id) {
            member.session_deadline_ms = now_ms + member.session_timeout_ms;
        }
    }

    /// Lets a member go.
    pub(crate) fn leave(&mut self, leaving: &Leaving, now_ms: u64, step: &mut Step) -> Result<(), ResponseError> {
        let mut id: MemberId = leaving.member_id.as_str().into();
        if let Some(instance) = &leaving.instance_id {
            let owner = self.statics.get(instance).ok_or(ResponseError::UnknownMemberId)?;
            if leaving.member_id.is_empty() {
                id = owner.clone();
            }
        } else if self.promised.contains_key(&id) {
            self.break_promise(&id, now_ms, step);
            return Ok(());
        }
        self.check_member(&id, leaving.instance_id.as_deref())?;
        self.remove(&id, now_ms, step);
        Ok(())
    }

    /// Whether a member (or an outsider, while the group is empty) may commit offsets.
    pub(crate) fn check_commit(
        &self,
        id: &str,
        instance_id: Option<&str>,
        generation: i32,
        in_transaction: bool,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation >= 0 || !id.is_empty() || instance_id.is_some() {
            self.check_member(id, instance_id)?;
            if generation != self.generation {
                return Err(ResponseError::IllegalGeneration);
            }
        } else if !in_transaction && self.state != State::Empty {
            return Err(ResponseError::UnknownMemberId);
        }
        if !in_transaction && self.state == State::Syncing { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }
}
