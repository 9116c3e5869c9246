//! The life of a group, step by step, without sockets or time: what each member is told, and when.

use crate::groups::group::{Group, Member, Protocol, State};
use crate::groups::join::JoinRequest;
use crate::groups::member::{Leaving, SyncRequest};
use crate::groups::step::{Reply, Step};
use kafka_protocol::error::ResponseError as E;

const SESSION_MS: u64 = 6_000;
const REBALANCE_MS: u64 = 60_000;

/// A group and the clock it goes by.
struct Life {
    group: Group,
    now_ms: u64,
    tickets: u64,
    initial_delay_ms: u64,
}

fn life() -> Life {
    Life { group: Group::default(), now_ms: 0, tickets: 0, initial_delay_ms: 0 }
}

impl Life {
    fn request(&mut self, member: &str, fresh: &str) -> JoinRequest {
        self.tickets += 1;
        JoinRequest {
            member_id: member.into(),
            instance_id: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            protocol_type: "consumer".into(),
            protocols: vec![protocol("range")],
            knows_promised_ids: false,
            knows_skipped_assignment: true,
            fresh_id: fresh.into(),
            ticket: self.tickets,
            now_ms: self.now_ms,
            initial_delay_ms: self.initial_delay_ms,
            members_max: 3,
        }
    }

    fn join(&mut self, member: &str, change: impl FnOnce(&mut JoinRequest)) -> Vec<String> {
        let fresh = format!("m{}", self.tickets + 1);
        let mut request = self.request(member, &fresh);
        change(&mut request);
        let step = self.group.join(request);
        told(step)
    }

    fn sync(&mut self, member: &str, assignments: &[(&str, &str)]) -> Vec<String> {
        self.tickets += 1;
        let step = self.group.sync(SyncRequest {
            member_id: member.into(),
            instance_id: None,
            generation: self.group.generation,
            protocol_type: None,
            protocol: None,
            assignments: assignments.iter().map(|(id, what)| ((*id).into(), what.as_bytes().to_vec())).collect(),
            ticket: self.tickets,
            now_ms: self.now_ms,
        });
        told(step)
    }

    fn leave(&mut self, member: &str) -> Vec<String> {
        let mut step = Step::default();
        let leaving = Leaving { member_id: member.into(), instance_id: None };
        self.group.leave(&leaving, self.now_ms, &mut step).unwrap();
        told(step)
    }

    fn wait(&mut self, ms: u64) -> Vec<String> {
        self.now_ms += ms;
        told(self.group.tick(self.now_ms, self.initial_delay_ms))
    }

    fn beat(&mut self, member: &str) -> Result<(), E> {
        let generation = self.group.generation;
        self.group.heartbeat(member, None, generation, self.now_ms)
    }

    /// A stable group of one member, `m1`.
    fn stable() -> Self {
        let mut life = life();
        assert_eq!(life.join("", |_| {}), ["1: m1 generation 1 leader m1 of [m1]"]);
        assert_eq!(life.sync("m1", &[("m1", "all")]), ["2: assigned all", "stored"]);
        life
    }
}

fn protocol(name: &str) -> Protocol {
    Protocol { name: name.into(), metadata: b"meta".to_vec() }
}

/// A step as text: ticket and answer.
fn told(step: Step) -> Vec<String> {
    let tell = |(ticket, reply)| match reply {
        Reply::Join(Ok(joined)) => {
            let members: Vec<_> = joined.members.iter().map(|(id, _, _)| id.as_ref()).collect();
            let skip = if joined.skip_assignment { " skipping" } else { "" };
            let of = if members.is_empty() { String::new() } else { format!(" of [{}]", members.join(" ")) };
            format!(
                "{ticket}: {} generation {} leader {}{of}{skip}",
                joined.member_id, joined.generation, joined.leader
            )
        }
        Reply::Join(Err(refused)) => format!("{ticket}: {:?} {:?}", refused.error, refused.member_id),
        Reply::Sync(Ok(synced)) => format!("{ticket}: assigned {}", String::from_utf8_lossy(&synced.assignment)),
        Reply::Sync(Err(error)) => format!("{ticket}: {error:?}"),
    };
    let mut told: Vec<String> = step.replies.into_iter().map(tell).collect();
    if step.store {
        told.push("stored".into());
    }
    told
}

const NOTHING: [&str; 0] = [];

#[test]
fn two_members_share_a_generation() {
    let mut life = Life::stable();
    assert_eq!(life.join("", |_| {}), NOTHING, "it waits for the first to join again");
    assert_eq!(life.beat("m1"), Err(E::RebalanceInProgress));
    assert_eq!(life.join("m1", |_| {}), ["4: m1 generation 2 leader m1 of [m1 m3]", "3: m3 generation 2 leader m1"]);
    assert_eq!(life.sync("m3", &[]), NOTHING, "it waits for the leader");
    assert_eq!(
        life.sync("m1", &[("m1", "left"), ("m3", "right")]),
        ["6: assigned left", "5: assigned right", "stored"]
    );
    assert_eq!(life.beat("m3"), Ok(()));
    assert_eq!(life.group.state, State::Stable);
}

#[test]
fn whoever_does_not_join_again_in_time_is_out() {
    let mut life = Life::stable();
    life.join("", |_| {});
    for _ in 0..REBALANCE_MS / 1_000 - 1 {
        assert_eq!(life.beat("m1"), Err(E::RebalanceInProgress));
        assert_eq!(life.wait(1_000), NOTHING);
    }
    assert_eq!(life.wait(1_000), ["3: m3 generation 2 leader m3 of [m3]"]);
    assert_eq!(life.beat("m1"), Err(E::UnknownMemberId));
}

#[test]
fn a_member_that_is_silent_loses_its_session() {
    let mut life = Life::stable();
    assert_eq!(life.wait(SESSION_MS - 1), NOTHING);
    assert_eq!(life.beat("m1"), Ok(()));
    assert_eq!(life.wait(SESSION_MS - 1), NOTHING);
    assert_eq!(life.wait(1), ["stored"]);
    assert_eq!((life.group.state, life.group.members.len()), (State::Empty, 0));
    assert_eq!(life.beat("m1"), Err(E::UnknownMemberId));
}

#[test]
fn a_new_member_takes_over_from_one_that_died() {
    // The member of a stored group does not come back; another joins with a promised id.
    let mut life = Life::stable();
    let promised = |request: &mut JoinRequest| request.knows_promised_ids = true;
    life.now_ms = SESSION_MS - 10;
    assert_eq!(life.join("", promised), ["3: MemberIdRequired \"m3\""]);
    assert_eq!(life.join("m3", promised), NOTHING);
    assert_eq!(life.wait(10), ["4: m3 generation 2 leader m3 of [m3]"]);
    // The same, but the session ends between promise and join.
    let mut life = Life::stable();
    life.now_ms = SESSION_MS - 10;
    assert_eq!(life.join("", promised), ["3: MemberIdRequired \"m3\""]);
    assert_eq!(life.wait(10), ["stored"]);
    assert_eq!(life.join("m3", promised), ["4: m3 generation 3 leader m3 of [m3]"]);
}

#[test]
fn promised_ids_expire() {
    let mut life = life();
    let promised = |request: &mut JoinRequest| request.knows_promised_ids = true;
    assert_eq!(life.join("", promised), ["1: MemberIdRequired \"m1\""]);
    assert_eq!(life.wait(SESSION_MS), NOTHING);
    assert_eq!(life.join("m1", promised), ["2: UnknownMemberId \"m1\""]);
}

#[test]
fn leaving_hands_over_at_once() {
    let mut life = Life::stable();
    life.join("", |_| {});
    life.join("m1", |_| {});
    life.sync("m1", &[]);
    assert_eq!(life.leave("m1"), NOTHING);
    assert_eq!(life.beat("m3"), Err(E::RebalanceInProgress));
    assert_eq!(life.join("m3", |_| {}), ["6: m3 generation 3 leader m3 of [m3]"]);
    life.sync("m3", &[]);
    assert_eq!(life.leave("m3"), ["stored"]);
    assert_eq!(life.group.state, State::Empty);
}

#[test]
fn a_follower_that_missed_its_answer_is_told_again_without_a_rebalance() {
    let mut life = Life::stable();
    life.join("", |_| {});
    life.join("m1", |_| {});
    assert_eq!(life.join("m3", |_| {}), ["5: m3 generation 2 leader m1"], "while syncing");
    life.sync("m1", &[("m3", "right")]);
    assert_eq!(life.join("m3", |_| {}), ["7: m3 generation 2 leader m1"], "when stable");
    assert_eq!(life.sync("m3", &[]), ["8: assigned right"]);
    assert_eq!(life.join("m1", |_| {}), NOTHING, "a leader wants a new generation");
}

#[test]
fn whoever_does_not_ask_for_its_assignment_is_out() {
    let mut life = Life::stable();
    life.join("", |_| {});
    life.join("m1", |_| {});
    life.sync("m1", &[]);
    for _ in 0..REBALANCE_MS / 1_000 {
        let _ = life.beat("m1");
        let _ = life.beat("m3");
        life.wait(1_000);
    }
    assert_eq!(life.beat("m3"), Err(E::UnknownMemberId));
    assert_eq!(life.beat("m1"), Err(E::RebalanceInProgress));
}

#[test]
fn protocols_must_fit() {
    let mut life = Life::stable();
    assert_eq!(life.join("", |r| r.protocol_type = "connect".into()), ["3: InconsistentGroupProtocol \"\""]);
    assert_eq!(life.join("", |r| r.protocols = vec![protocol("sticky")]), ["4: InconsistentGroupProtocol \"\""]);
    assert_eq!(life.join("", |r| r.protocols = vec![]), ["5: InconsistentGroupProtocol \"\""]);
    life.join("", |r| r.protocols = vec![protocol("sticky"), protocol("range")]);
    life.join("m1", |_| {});
    assert_eq!(life.group.protocol.as_deref(), Some("range"), "the only one all support");
}

#[test]
fn a_static_member_comes_back_to_its_place() {
    let mut life = life();
    let one = |request: &mut JoinRequest| request.instance_id = Some("one".into());
    life.join("", one);
    life.sync("m1", &[("m1", "all")]);
    assert_eq!(life.join("", one), ["3: m3 generation 1 leader m3 of [m3] skipping", "stored"]);
    assert_eq!(life.sync("m3", &[]), ["4: assigned all"]);
    assert_eq!(life.group.heartbeat("m1", Some("one"), 1, 0), Err(E::FencedInstanceId));
    // A client that cannot skip the assignment is told of the leader that was.
    let older = |request: &mut JoinRequest| {
        one(request);
        request.knows_skipped_assignment = false;
    };
    assert_eq!(life.join("", older), ["5: m5 generation 1 leader m3", "stored"]);
    // Other protocols than before make a new generation.
    let other = |request: &mut JoinRequest| {
        one(request);
        request.protocols = vec![protocol("sticky"), protocol("range")];
    };
    assert_eq!(life.join("", other), ["6: m6 generation 2 leader m6 of [m6]", "stored"]);
}

#[test]
fn the_first_rebalance_can_wait_for_more_members() {
    let mut life = life();
    life.initial_delay_ms = 3_000;
    assert_eq!(life.join("", |_| {}), NOTHING);
    life.now_ms = 2_000;
    assert_eq!(life.join("", |_| {}), NOTHING);
    assert_eq!(life.wait(1_000), NOTHING, "a member came, so it waits on");
    assert_eq!(life.wait(3_000), ["1: m1 generation 1 leader m1 of [m1 m2]", "2: m2 generation 1 leader m1"]);
}

#[test]
fn a_group_has_a_largest_size() {
    let mut life = Life::stable();
    life.join("", |_| {});
    life.join("", |_| {});
    assert_eq!(life.join("", |_| {}), ["5: GroupMaxSizeReached \"\""]);
}

#[test]
fn commits_are_for_members_or_for_empty_groups() {
    let mut life = Life::stable();
    let check = |life: &Life, id: &str, generation, in_txn| life.group.check_commit(id, None, generation, in_txn);
    // (member, generation, in a transaction, result)
    let table = [
        ("m1", 1, false, Ok(())),
        ("m1", 0, false, Err(E::IllegalGeneration)),
        ("other", 1, false, Err(E::UnknownMemberId)),
        ("", -1, false, Err(E::UnknownMemberId)),
        ("", -1, true, Ok(())),
        ("m1", 0, true, Err(E::IllegalGeneration)),
    ];
    for (id, generation, in_txn, result) in table {
        assert_eq!(check(&life, id, generation, in_txn), result, "{id} {generation} {in_txn}");
    }
    life.join("", |_| {});
    assert_eq!(check(&life, "m1", 1, false), Ok(()), "members commit before they join again");
    life.join("m1", |_| {});
    assert_eq!(check(&life, "m1", 2, false), Err(E::RebalanceInProgress), "not between join and assignment");
    assert_eq!(Group::default().check_commit("", None, -1, false), Ok(()));
}

#[test]
fn a_stored_group_carries_on() {
    let life = Life::stable();
    let change = crate::groups::stored::put("g", &life.group);
    let (id, group) = crate::groups::stored::read(&change.key, &change.value.unwrap(), 500).unwrap();
    let member = |group: &Group| group.members.values().next().cloned();
    let expected: Option<Member> = member(&life.group).map(|m| Member { session_deadline_ms: 500 + SESSION_MS, ..m });
    assert_eq!((id.as_str(), group.state, group.generation), ("g", State::Stable, 1));
    assert_eq!(member(&group), expected);
}
