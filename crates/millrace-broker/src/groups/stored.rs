//! How a group's members are stored, so that after a restart they carry on in the same generation.

use crate::fields::{Malformed, Reader, Writer};
use crate::groups::group::{Group, Member, Protocol, State};
use crate::journal::Change;

/// First byte of the journal keys of groups.
pub(crate) const GROUP_SPACE: u8 = b'g';

fn key(id: &str) -> Vec<u8> {
    [&[GROUP_SPACE], id.as_bytes()].concat()
}

/// The journal entry of a group.
pub(crate) fn put(id: &str, group: &Group) -> Change {
    let mut out = Writer::new();
    out.i32(group.generation)
        .optional_string(group.protocol_type.as_deref())
        .optional_string(group.protocol.as_deref());
    out.optional_string(group.leader.as_deref()).i64(group.changed_at_ms).count(group.members.len());
    for (id, member) in &group.members {
        out.string(id)
            .optional_string(member.instance_id.as_deref())
            .string(&member.client_id)
            .string(&member.client_host);
        out.i64(member.session_timeout_ms as i64).i64(member.rebalance_timeout_ms as i64).bytes(&member.assignment);
        out.count(member.protocols.len());
        for protocol in &member.protocols {
            out.string(&protocol.name).bytes(&protocol.metadata);
        }
    }
    Change::put(key(id), out.finish())
}

/// The journal entry that forgets a group.
pub(crate) fn remove(id: &str) -> Change {
    Change::remove(key(id))
}

/// Reads what [`put`] wrote. Members get a whole session from `now_ms` to be heard of.
pub(crate) fn read(key: &[u8], value: &[u8], now_ms: u64) -> Result<(String, Group), Malformed> {
    let id = std::str::from_utf8(&key[1..]).map_err(|_| Malformed)?.to_owned();
    let mut fields = Reader::new(value);
    let mut group = Group {
        generation: fields.i32()?,
        protocol_type: fields.optional_string()?.map(str::to_owned),
        protocol: fields.optional_string()?.map(str::to_owned),
        leader: fields.optional_string()?.map(Into::into),
        changed_at_ms: fields.i64()?,
        ..Group::default()
    };
    for _ in 0..fields.count()? {
        let member_id = fields.string()?;
        let mut member = Member {
            instance_id: fields.optional_string()?.map(str::to_owned),
            client_id: fields.string()?.to_owned(),
            client_host: fields.string()?.to_owned(),
            session_timeout_ms: fields.i64()? as u64,
            rebalance_timeout_ms: fields.i64()? as u64,
            assignment: fields.bytes()?.to_vec(),
            protocols: vec![],
            session_deadline_ms: 0,
            is_new: false,
            awaiting_join: None,
            awaiting_sync: None,
        };
        member.session_deadline_ms = now_ms + member.session_timeout_ms;
        for _ in 0..fields.count()? {
            let name = fields.string()?.to_owned();
            member.protocols.push(Protocol { name, metadata: fields.bytes()?.to_vec() });
        }
        if let Some(instance) = &member.instance_id {
            group.statics.insert(instance.clone(), member_id.into());
        }
        group.members.insert(member_id.into(), member);
    }
    if !group.members.is_empty() {
        group.state = State::Stable;
    }
    Ok((id, group))
}
