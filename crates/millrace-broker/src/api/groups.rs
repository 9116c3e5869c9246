//! FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use crate::api::text;
use crate::groups::group::Protocol;
use crate::groups::join::JoinRequest;
use crate::groups::member::{Leaving, SyncRequest};
use crate::groups::step::{JoinRefused, Joined};
use crate::server::dispatch::Context;
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// Key types of FindCoordinator: a group, a transactional id.
const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

pub(crate) async fn find_coordinator(context: Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let known = KEY_TYPES.contains(&request.key_type);
    let error = if known { 0 } else { ResponseError::InvalidRequest.code() };
    let (host, port) = &context.advertised;
    let (node_id, host, port) =
        if known { (context.settings.node_id, text(host), i32::from(*port)) } else { (-1, text(""), -1) };
    let message = (!known).then(|| text("only groups and transactional ids have a coordinator"));
    if context.version < 4 {
        let message = message.filter(|_| context.version >= 1);
        let response = FindCoordinatorResponse::default().with_error_code(error).with_error_message(message);
        return response.with_node_id(BrokerId(node_id)).with_host(host).with_port(port);
    }
    let coordinator = |key: StrBytes| {
        let coordinator =
            Coordinator::default().with_key(key).with_error_code(error).with_error_message(message.clone());
        coordinator.with_node_id(BrokerId(node_id)).with_host(host.clone()).with_port(port)
    };
    FindCoordinatorResponse::default()
        .with_coordinators(request.coordinator_keys.into_iter().map(coordinator).collect())
}

/// The id of a new member: who it says it is, and something unique.
fn fresh_member_id(context: &Context, instance_id: Option<&str>) -> String {
    let client = context.client_id.as_ref().map(|id| id.as_str()).unwrap_or_default();
    format!("{}-{}", instance_id.unwrap_or(client), Uuid::new_v4())
}

fn milliseconds(value: i32) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(crate) async fn join_group(context: Context, request: JoinGroupRequest) -> JoinGroupResponse {
    let version = context.version;
    let refused = |error| JoinRefused { error, member_id: request.member_id.as_str().into() };
    let session_timeout_ms = milliseconds(request.session_timeout_ms);
    let settings = &context.settings;
    let allowed = settings.group_session_timeout_ms_min..=settings.group_session_timeout_ms_max;
    let result = if request.group_id.is_empty() {
        Err(refused(ResponseError::InvalidGroupId))
    } else if !allowed.contains(&session_timeout_ms) {
        Err(refused(ResponseError::InvalidSessionTimeout))
    } else {
        let instance_id = request.group_instance_id.as_ref().map(|id| id.to_string());
        let protocol = |p: &kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol| Protocol {
            name: p.name.to_string(),
            metadata: p.metadata.to_vec(),
        };
        let join = JoinRequest {
            member_id: request.member_id.to_string(),
            fresh_id: fresh_member_id(&context, instance_id.as_deref()).into(),
            instance_id,
            client_id: context.client_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            client_host: format!("/{}", context.peer.ip()),
            session_timeout_ms,
            rebalance_timeout_ms: if version == 0 {
                session_timeout_ms
            } else {
                milliseconds(request.rebalance_timeout_ms)
            },
            protocol_type: request.protocol_type.to_string(),
            protocols: request.protocols.iter().map(protocol).collect(),
            knows_promised_ids: version >= 4,
            knows_skipped_assignment: version >= 9,
            ticket: context.groups.ticket(),
            now_ms: context.groups.now_ms(),
            initial_delay_ms: context.groups.limits.initial_delay_ms,
            members_max: context.groups.limits.members_max,
        };
        context.groups.join(&request.group_id, join, context.now_ms()).await
    };
    join_response(version, result)
}

fn join_response(version: i16, result: Result<Joined, JoinRefused>) -> JoinGroupResponse {
    match result {
        Ok(joined) => {
            let member = |(id, instance, metadata): (std::sync::Arc<str>, Option<String>, Vec<u8>)| {
                let instance = instance.filter(|_| version >= 5).map(StrBytes::from_string);
                JoinGroupResponseMember::default()
                    .with_member_id(text(&id))
                    .with_group_instance_id(instance)
                    .with_metadata(metadata.into())
            };
            JoinGroupResponse::default()
                .with_generation_id(joined.generation)
                .with_protocol_type(joined.protocol_type.filter(|_| version >= 7).map(StrBytes::from_string))
                .with_protocol_name(joined.protocol.map(StrBytes::from_string))
                .with_leader(text(&joined.leader))
                .with_skip_assignment(joined.skip_assignment)
                .with_member_id(text(&joined.member_id))
                .with_members(joined.members.into_iter().map(member).collect())
        }
        Err(refused) => JoinGroupResponse::default()
            .with_error_code(refused.error.code())
            .with_generation_id(-1)
            // Null only since version 7.
            .with_protocol_name((version < 7).then(|| text("")))
            .with_member_id(text(&refused.member_id)),
    }
}

pub(crate) async fn sync_group(context: Context, request: SyncGroupRequest) -> SyncGroupResponse {
    let sync = SyncRequest {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        generation: request.generation_id,
        protocol_type: request.protocol_type.map(|name| name.to_string()),
        protocol: request.protocol_name.map(|name| name.to_string()),
        assignments: request.assignments.iter().map(|a| (a.member_id.to_string(), a.assignment.to_vec())).collect(),
        ticket: context.groups.ticket(),
        now_ms: context.groups.now_ms(),
    };
    match context.groups.sync(&request.group_id, sync, context.now_ms()).await {
        Ok(synced) => {
            let since_5 = |name: Option<String>| name.filter(|_| context.version >= 5).map(StrBytes::from_string);
            SyncGroupResponse::default()
                .with_protocol_type(since_5(synced.protocol_type))
                .with_protocol_name(since_5(synced.protocol))
                .with_assignment(Bytes::from(synced.assignment))
        }
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}

pub(crate) async fn heartbeat(context: Context, request: HeartbeatRequest) -> HeartbeatResponse {
    let instance = request.group_instance_id.as_deref();
    let result = context.groups.heartbeat(&request.group_id, &request.member_id, instance, request.generation_id);
    HeartbeatResponse::default().with_error_code(crate::api::code(&result))
}

pub(crate) async fn leave_group(context: Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let leaving: Vec<Leaving> = match context.version {
        0..=2 => vec![Leaving { member_id: request.member_id.to_string(), instance_id: None }],
        _ => {
            let leaving = |m: &kafka_protocol::messages::leave_group_request::MemberIdentity| Leaving {
                member_id: m.member_id.to_string(),
                instance_id: m.group_instance_id.as_ref().map(|id| id.to_string()),
            };
            request.members.iter().map(leaving).collect()
        }
    };
    let results = context.groups.leave(&request.group_id, &leaving, context.now_ms());
    let results = results.unwrap_or_else(|error| leaving.iter().map(|_| Err(error)).collect());
    if context.version < 3 {
        let error = results.first().map_or(0, crate::api::code);
        return LeaveGroupResponse::default().with_error_code(error);
    }
    let member = |(leaving, result): (&Leaving, &Result<(), ResponseError>)| {
        MemberResponse::default()
            .with_member_id(text(&leaving.member_id))
            .with_group_instance_id(leaving.instance_id.as_deref().map(text))
            .with_error_code(crate::api::code(result))
    };
    LeaveGroupResponse::default().with_members(leaving.iter().zip(&results).map(member).collect())
}
