//! Joining a group: new members, known ones, static ones that come back (KIP-345), ids promised first (KIP-394).

use crate::groups::group::{Group, Member, MemberId, Protocol, State, Ticket};
use crate::groups::step::Step;
use kafka_protocol::error::ResponseError;

/// A member that never joined a generation waits at most so long for one.
const NEW_MEMBER_TIMEOUT_MS: u64 = 300_000;

/// A request to join, with the facts it is decided on.
#[derive(Debug, Clone)]
pub(crate) struct JoinRequest {
    /// Empty for a new member.
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: u64,
    pub(crate) rebalance_timeout_ms: u64,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<Protocol>,
    /// The client can be sent away once to come back with the id it is given.
    pub(crate) knows_promised_ids: bool,
    /// The client understands that it is leader but need not assign.
    pub(crate) knows_skipped_assignment: bool,
    /// The id a new member gets.
    pub(crate) fresh_id: MemberId,
    pub(crate) ticket: Ticket,
    pub(crate) now_ms: u64,
    pub(crate) initial_delay_ms: u64,
    pub(crate) members_max: usize,
}

impl Group {
    /// Handles a join; the answer to it may come now or with a later step.
    pub(crate) fn join(&mut self, request: JoinRequest) -> Step {
        let mut step = Step::default();
        let refuse = |mut step: Step, error| {
            step.refuse_join(Some(request.ticket), error, &MemberId::from(request.member_id.as_str()));
            step
        };
        if !self.supports(&request.protocol_type, &request.protocols) {
            return refuse(step, ResponseError::InconsistentGroupProtocol);
        }
        if request.member_id.is_empty() {
            self.join_unknown(request, &mut step);
            return step;
        }
        let known: MemberId = request.member_id.as_str().into();
        if self.promised.contains_key(&known) {
            self.promised.remove(&known);
            self.add(known, request, &mut step);
            return step;
        }
        match self.check_member(&known, request.instance_id.as_deref()) {
            Err(error) => return refuse(step, error),
            Ok(()) => self.join_known(known, request, &mut step),
        }
        step
    }

    /// Whether this is a member, and the one that its instance id belongs to.
    pub(crate) fn check_member(&self, id: &str, instance_id: Option<&str>) -> Result<(), ResponseError> {
        if let Some(instance) = instance_id {
            match self.statics.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(owner) if owner.as_ref() != id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    fn join_unknown(&mut self, request: JoinRequest, step: &mut Step) {
        let id = request.fresh_id.clone();
        let returning = request.instance_id.as_ref().and_then(|instance| self.statics.get(instance)).cloned();
        if let Some(old_id) = returning {
            self.replace_static(old_id, id, request, step);
        } else if self.members.len() + self.promised.len() >= request.members_max {
            step.refuse_join(Some(request.ticket), ResponseError::GroupMaxSizeReached, &MemberId::default());
        } else if request.instance_id.is_none() && request.knows_promised_ids {
            self.promised.insert(id.clone(), request.now_ms + request.session_timeout_ms);
            step.refuse_join(Some(request.ticket), ResponseError::MemberIdRequired, &id);
        } else {
            self.add(id, request, step);
        }
    }

    fn join_known(&mut self, id: MemberId, request: JoinRequest, step: &mut Step) {
        let unchanged = self.members.get(&id).is_some_and(|member| member.protocols == request.protocols);
        let is_leader = self.is_leader(&id);
        match self.state {
            State::Syncing if unchanged => {
                let joined = self.joined(&id, is_leader);
                step.reply_join(Some(request.ticket), Ok(joined));
            }
            // A leader that joins again wants a new assignment; a follower only missed the answer.
            State::Stable if unchanged && !is_leader => {
                let joined = self.joined(&id, false);
                step.reply_join(Some(request.ticket), Ok(joined));
            }
            State::Empty => step.refuse_join(Some(request.ticket), ResponseError::UnknownMemberId, &id),
            _ => {
                self.update(&id, &request, step);
                self.rebalance(request.now_ms, request.initial_delay_ms, step);
            }
        }
    }

    fn add(&mut self, id: MemberId, request: JoinRequest, step: &mut Step) {
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if let Some(instance) = &request.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        if let State::Joining { initial_until_ms: Some(_), .. } = self.state {
            self.joined_in_delay = true;
        }
        let member = Member {
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            protocols: request.protocols,
            assignment: vec![],
            session_deadline_ms: request.now_ms + NEW_MEMBER_TIMEOUT_MS.max(request.session_timeout_ms),
            is_new: true,
            awaiting_join: Some(request.ticket),
            awaiting_sync: None,
        };
        self.members.insert(id, member);
        self.rebalance(request.now_ms, request.initial_delay_ms, step);
    }

    /// Takes over what a member says when it joins again.
    fn update(&mut self, id: &MemberId, request: &JoinRequest, step: &mut Step) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.protocols.clone_from(&request.protocols);
        member.session_timeout_ms = request.session_timeout_ms;
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.client_id.clone_from(&request.client_id);
        member.client_host.clone_from(&request.client_host);
        member.session_deadline_ms = request.now_ms + request.session_timeout_ms;
        let before = member.awaiting_join.replace(request.ticket);
        step.refuse_join(before, ResponseError::RebalanceInProgress, id);
    }

    /// A static member is back under a new id. If nothing changes for the others, nobody is bothered.
    fn replace_static(&mut self, old_id: MemberId, id: MemberId, request: JoinRequest, step: &mut Step) {
        let old_leader = self.leader.clone();
        let Some(mut member) = self.members.remove(&old_id) else { return };
        step.refuse_join(member.awaiting_join.take(), ResponseError::FencedInstanceId, &old_id);
        step.reply_sync(member.awaiting_sync.take(), Err(ResponseError::FencedInstanceId));
        if let Some(instance) = &member.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.members.insert(id.clone(), member);
        if self.unsynced.remove(&old_id) {
            self.unsynced.insert(id.clone());
        }
        if self.is_leader(&old_id) {
            self.leader = Some(id.clone());
        }
        self.update(&id, &request, step);
        step.store = true;
        if self.state == State::Stable && self.choose_protocol() == self.protocol {
            let is_leader = self.is_leader(&id);
            let skip = is_leader && request.knows_skipped_assignment;
            let mut joined = self.joined(&id, skip);
            joined.skip_assignment = skip;
            if !skip {
                // An older client that sees itself as leader would assign anew; so it is told of the leader that was.
                joined.leader = old_leader.unwrap_or_default();
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.awaiting_join = None;
            }
            step.reply_join(Some(request.ticket), Ok(joined));
            return;
        }
        self.rebalance(request.now_ms, request.initial_delay_ms, step);
    }
}
