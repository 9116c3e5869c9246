//! ListGroups, DescribeGroups, DeleteGroups.

use crate::api::{OPERATIONS_UNKNOWN, text};
use crate::groups::coordinator::Entry;
use crate::groups::group::State;
use crate::server::dispatch::Context;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse,
};
use kafka_protocol::protocol::StrBytes;

/// The only type of group there is here.
const GROUP_TYPE: &str = "classic";

pub(crate) async fn list_groups(context: Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let wanted = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|one| one.eq_ignore_ascii_case(value))
    };
    if !wanted(&request.types_filter, GROUP_TYPE) {
        return ListGroupsResponse::default();
    }
    let listed = context.groups.look_at_all(|id, entry| {
        let state = entry.group.state.name();
        wanted(&request.states_filter, state).then(|| {
            ListedGroup::default()
                .with_group_id(GroupId(text(id)))
                .with_protocol_type(text(entry.group.protocol_type.as_deref().unwrap_or_default()))
                .with_group_state(text(if context.version >= 4 { state } else { "" }))
                .with_group_type(text(if context.version >= 5 { GROUP_TYPE } else { "" }))
        })
    });
    ListGroupsResponse::default().with_groups(listed.into_iter().flatten().collect())
}

pub(crate) async fn describe_groups(context: Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let describe = |id: GroupId| {
        let described = context.groups.look(&id, |entry| described(&context, entry));
        let absent = || DescribedGroup::default().with_group_state(text("Dead"));
        described.unwrap_or_else(absent).with_group_id(id).with_authorized_operations(OPERATIONS_UNKNOWN)
    };
    DescribeGroupsResponse::default().with_groups(request.groups.into_iter().map(describe).collect())
}

fn described(context: &Context, entry: &Entry) -> DescribedGroup {
    let group = &entry.group;
    // Only a stable group has an assignment and one protocol to show.
    let protocol = group.protocol.as_deref().filter(|_| group.state == State::Stable);
    let member = |(id, member): (&std::sync::Arc<str>, &crate::groups::group::Member)| {
        let instance = member.instance_id.as_deref().filter(|_| context.version >= 4).map(text);
        let described = DescribedGroupMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(instance)
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host));
        match protocol {
            Some(protocol) => described
                .with_member_metadata(member.metadata_for(protocol).into())
                .with_member_assignment(member.assignment.clone().into()),
            None => described,
        }
    };
    DescribedGroup::default()
        .with_group_state(text(group.state.name()))
        .with_protocol_type(text(group.protocol_type.as_deref().unwrap_or_default()))
        .with_protocol_data(text(protocol.unwrap_or_default()))
        .with_members(group.members.iter().map(member).collect())
}

pub(crate) async fn delete_groups(context: Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut response = DeleteGroupsResponse::default();
    for id in request.groups_names {
        let mut result = context.groups.delete(&id);
        if result.is_ok() && context.settle_journal().await.is_err() {
            result = Err(ResponseError::CoordinatorNotAvailable);
        }
        response
            .results
            .push(DeletableGroupResult::default().with_error_code(crate::api::code(&result)).with_group_id(id));
    }
    response
}
