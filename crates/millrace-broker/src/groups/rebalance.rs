//! The turn of generations: beginning a rebalance, completing the join, handing out assignments.

use crate::groups::group::{Group, MemberId, State};
use crate::groups::step::Step;
use kafka_protocol::error::ResponseError;

impl Group {
    /// Begins a rebalance unless one is under way, and completes its join phase if everybody is there.
    pub(crate) fn rebalance(&mut self, now_ms: u64, initial_delay_ms: u64, step: &mut Step) {
        match self.state {
            State::Joining { .. } => {}
            State::Empty => {
                let timeout_ms = self.rebalance_timeout_ms();
                self.joined_in_delay = false;
                self.state = State::Joining {
                    deadline_ms: now_ms + timeout_ms,
                    initial_until_ms: (initial_delay_ms > 0).then(|| now_ms + initial_delay_ms.min(timeout_ms)),
                };
            }
            State::Syncing | State::Stable => {
                for member in self.members.values_mut() {
                    step.reply_sync(member.awaiting_sync.take(), Err(ResponseError::RebalanceInProgress));
                }
                self.unsynced.clear();
                self.sync_deadline_ms = None;
                self.state =
                    State::Joining { deadline_ms: now_ms + self.rebalance_timeout_ms(), initial_until_ms: None };
            }
        }
        self.complete_join_if_all(now_ms, step);
    }

    /// Completes the join phase if everybody is there and the group does not wait for more.
    pub(crate) fn complete_join_if_all(&mut self, now_ms: u64, step: &mut Step) {
        if matches!(self.state, State::Joining { initial_until_ms: None, .. }) && self.all_joined() {
            self.complete_join(now_ms, step);
        }
    }

    /// The join phase is over: whoever is not there is out, the rest gets a new generation.
    pub(crate) fn complete_join(&mut self, now_ms: u64, step: &mut Step) {
        let late: Vec<MemberId> = self
            .members
            .iter()
            .filter(|(_, member)| member.awaiting_join.is_none() && member.instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in late {
            self.forget(&id, ResponseError::UnknownMemberId, step);
        }
        if self.members.is_empty() {
            self.become_empty(step);
            return;
        }
        let leader_is_here =
            self.leader.as_ref().and_then(|id| self.members.get(id)).is_some_and(|m| m.awaiting_join.is_some());
        if !leader_is_here {
            let here = self.members.iter().find(|(_, member)| member.awaiting_join.is_some()).map(|(id, _)| id.clone());
            let Some(here) = here else {
                // Only static members that are away: they have until their sessions end.
                self.state =
                    State::Joining { deadline_ms: now_ms + self.rebalance_timeout_ms().max(1), initial_until_ms: None };
                return;
            };
            self.leader = Some(here);
        }
        self.generation += 1;
        self.protocol = self.choose_protocol();
        self.state = State::Syncing;
        self.sync_deadline_ms = Some(now_ms + self.rebalance_timeout_ms());
        self.unsynced = self.members.keys().cloned().collect();
        let ids: Vec<MemberId> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id, self.is_leader(&id));
            let Some(member) = self.members.get_mut(&id) else { continue };
            let ticket = member.awaiting_join.take();
            if ticket.is_some() {
                member.session_deadline_ms = now_ms + member.session_timeout_ms;
                member.is_new = false;
            }
            step.reply_join(ticket, Ok(joined));
        }
    }

    /// The group has lost its last member.
    pub(crate) fn become_empty(&mut self, step: &mut Step) {
        self.generation += 1;
        self.state = State::Empty;
        self.protocol = None;
        self.leader = None;
        self.unsynced.clear();
        self.sync_deadline_ms = None;
        step.store = true;
    }

    /// Removes a member from all lists; whoever waits in its name gets `error`.
    pub(crate) fn forget(&mut self, id: &MemberId, error: ResponseError, step: &mut Step) {
        let Some(member) = self.members.remove(id) else { return };
        step.refuse_join(member.awaiting_join, error, id);
        step.reply_sync(member.awaiting_sync, Err(error));
        self.unsynced.remove(id);
        if let Some(instance) = member.instance_id
            && self.statics.get(&instance) == Some(id)
        {
            self.statics.remove(&instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Removes a member and lets the rest rebalance.
    pub(crate) fn remove(&mut self, id: &MemberId, now_ms: u64, step: &mut Step) {
        self.forget(id, ResponseError::UnknownMemberId, step);
        match self.state {
            State::Empty => {}
            State::Joining { .. } => self.complete_join_if_all(now_ms, step),
            // With nobody left the join phase completes at once, and the group is empty.
            State::Syncing | State::Stable => self.rebalance(now_ms, 0, step),
        }
    }

    /// Takes back a promised id.
    pub(crate) fn break_promise(&mut self, id: &MemberId, now_ms: u64, step: &mut Step) {
        self.promised.remove(id);
        self.complete_join_if_all(now_ms, step);
    }

    /// Does what time has brought due.
    pub(crate) fn tick(&mut self, now_ms: u64, initial_delay_ms: u64) -> Step {
        let mut step = Step::default();
        let broken: Vec<MemberId> =
            self.promised.iter().filter(|(_, until)| **until <= now_ms).map(|(id, _)| id.clone()).collect();
        for id in broken {
            self.break_promise(&id, now_ms, &mut step);
        }
        let mut gone = Vec::new();
        for (id, member) in &mut self.members {
            if member.session_deadline_ms > now_ms {
                continue;
            }
            if member.is_waiting() && !member.is_new {
                member.session_deadline_ms = now_ms + member.session_timeout_ms;
            } else {
                gone.push(id.clone());
            }
        }
        for id in gone {
            self.remove(&id, now_ms, &mut step);
        }
        if self.sync_deadline_ms.is_some_and(|deadline| deadline <= now_ms) {
            self.sync_deadline_ms = None;
            let silent: Vec<MemberId> = std::mem::take(&mut self.unsynced).into_iter().collect();
            for id in &silent {
                self.forget(id, ResponseError::UnknownMemberId, &mut step);
            }
            if !silent.is_empty() && matches!(self.state, State::Syncing | State::Stable) {
                self.rebalance(now_ms, 0, &mut step);
            }
        }
        self.tick_joining(now_ms, initial_delay_ms, &mut step);
        step
    }

    fn tick_joining(&mut self, now_ms: u64, initial_delay_ms: u64, step: &mut Step) {
        let State::Joining { deadline_ms, initial_until_ms } = self.state else { return };
        match initial_until_ms {
            Some(until_ms) if until_ms <= now_ms => {
                let more = std::mem::take(&mut self.joined_in_delay) && now_ms < deadline_ms;
                if more {
                    let until_ms = (now_ms + initial_delay_ms.max(1)).min(deadline_ms);
                    self.state = State::Joining { deadline_ms, initial_until_ms: Some(until_ms) };
                } else {
                    self.complete_join(now_ms, step);
                }
            }
            None if deadline_ms <= now_ms => self.complete_join(now_ms, step),
            _ => {}
        }
    }
}
