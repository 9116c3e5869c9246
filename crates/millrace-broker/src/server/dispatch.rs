//! From a frame to its answer: the head is read, the shape checked, the body decoded, and the right file of `api/` asked.

use crate::api;
use crate::node::Node;
use crate::server::apis::APIS;
use crate::server::frame::{FrameError, Head, Request, encode_response, read_head};
use crate::server::shape::{self, Field};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) peer: SocketAddr,
}

/// What a handler knows beyond the decoded request.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) node: Arc<Node>,
    pub(crate) version: i16,
    pub(crate) client_id: Option<StrBytes>,
    pub(crate) peer: SocketAddr,
}

impl std::ops::Deref for Context {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// The parsed shapes, in the order of [`APIS`].
static SHAPES: LazyLock<Vec<Vec<Field>>> = LazyLock::new(|| APIS.iter().map(|api| shape::parse(api.shape)).collect());

/// Answers one frame; `None` if the request wants no answer.
///
/// # Errors
/// The peer does not speak the protocol: the connection is to be closed.
pub(crate) async fn answer(node: &Arc<Node>, caller: &Caller, frame: Bytes) -> Result<Option<BytesMut>, FrameError> {
    let request = match read_head(frame)? {
        Head::Request(request) => request,
        Head::ApiVersionsTooNew { correlation_id } => {
            return encode_response(&api::versions::too_new(), correlation_id, 0).map(Some);
        }
    };
    check(node, &request)?;
    let context = Context {
        node: node.clone(),
        version: request.version,
        client_id: request.client_id.clone(),
        peer: caller.peer,
    };
    route(context, request).await
}

fn check(node: &Node, request: &Request) -> Result<(), FrameError> {
    let limit = node.settings.limits.control_request_bytes_max;
    let bytes = request.body.len();
    if request.api.key != ApiKey::Produce && bytes > limit {
        return Err(FrameError::TooLarge { bytes, limit, limit_name: "control_request_bytes_max" });
    }
    let index = APIS.iter().position(|api| api.key == request.api.key);
    let shape = index.and_then(|index| SHAPES.get(index)).map(Vec::as_slice).unwrap_or_default();
    let flexible = request.version >= request.api.flexible;
    shape::check(shape, request.version, flexible, &request.body).map(drop).map_err(|error| request.malformed(error))
}

/// Decodes, asks, encodes.
async fn call<R, A, F>(
    context: Context,
    request: Request,
    handler: impl FnOnce(Context, R) -> F,
) -> Result<Option<BytesMut>, FrameError>
where
    R: Decodable,
    A: Encodable + HeaderVersion,
    F: Future<Output = A>,
{
    let body = request.decode::<R>()?;
    let (correlation_id, version) = (request.correlation_id, request.version);
    drop(request);
    let response = handler(context, body).await;
    encode_response(&response, correlation_id, version).map(Some)
}

#[rustfmt::skip]
async fn route(context: Context, request: Request) -> Result<Option<BytesMut>, FrameError> {
    use api::*;
    match request.api.key {
        ApiKey::Produce => {
            let (correlation_id, version) = (request.correlation_id, request.version);
            let body = request.decode()?;
            drop(request);
            match produce::produce(context, body).await {
                produce::Answer::Response(response) => encode_response(&response, correlation_id, version).map(Some),
                produce::Answer::Silent => Ok(None),
                produce::Answer::SilentFailure => Err(FrameError::SilentProduceFailed),
            }
        }
        ApiKey::Fetch => call(context, request, fetch::fetch).await,
        ApiKey::ListOffsets => call(context, request, list_offsets::list_offsets).await,
        ApiKey::OffsetForLeaderEpoch => call(context, request, list_offsets::offset_for_leader_epoch).await,
        ApiKey::ApiVersions => call(context, request, versions::api_versions).await,
        ApiKey::Metadata => call(context, request, metadata::metadata).await,
        ApiKey::DescribeCluster => call(context, request, metadata::describe_cluster).await,
        ApiKey::DescribeTopicPartitions => call(context, request, metadata::describe_topic_partitions).await,
        ApiKey::CreateTopics => call(context, request, topics::create_topics).await,
        ApiKey::DeleteTopics => call(context, request, topics::delete_topics).await,
        ApiKey::CreatePartitions => call(context, request, topics::create_partitions).await,
        ApiKey::FindCoordinator => call(context, request, groups::find_coordinator).await,
        ApiKey::JoinGroup => call(context, request, groups::join_group).await,
        ApiKey::SyncGroup => call(context, request, groups::sync_group).await,
        ApiKey::Heartbeat => call(context, request, groups::heartbeat).await,
        ApiKey::LeaveGroup => call(context, request, groups::leave_group).await,
        ApiKey::OffsetCommit => call(context, request, offsets::offset_commit).await,
        ApiKey::OffsetFetch => call(context, request, offsets::offset_fetch).await,
        ApiKey::OffsetDelete => call(context, request, offsets::offset_delete).await,
        ApiKey::ListGroups => call(context, request, group_admin::list_groups).await,
        ApiKey::DescribeGroups => call(context, request, group_admin::describe_groups).await,
        ApiKey::DeleteGroups => call(context, request, group_admin::delete_groups).await,
        ApiKey::InitProducerId => call(context, request, transactions::init_producer_id).await,
        ApiKey::AddPartitionsToTxn => call(context, request, transactions::add_partitions).await,
        ApiKey::AddOffsetsToTxn => call(context, request, transactions::add_offsets).await,
        ApiKey::TxnOffsetCommit => call(context, request, transactions::offset_commit).await,
        ApiKey::EndTxn => call(context, request, transactions::end).await,
        ApiKey::DescribeConfigs => call(context, request, configs::describe).await,
        ApiKey::AlterConfigs => call(context, request, configs::alter_all).await,
        ApiKey::IncrementalAlterConfigs => call(context, request, configs::alter_some).await,
        ApiKey::DeleteRecords => call(context, request, records::delete_records).await,
        ApiKey::DescribeLogDirs => call(context, request, records::describe_log_dirs).await,
        ApiKey::ElectLeaders => call(context, request, records::elect_leaders).await,
        ApiKey::ListPartitionReassignments => call(context, request, records::list_reassignments).await,
        ApiKey::DescribeAcls => call(context, request, records::describe_acls).await,
        ApiKey::ListTransactions => call(context, request, txn_admin::list).await,
        ApiKey::DescribeTransactions => call(context, request, txn_admin::describe).await,
        ApiKey::DescribeProducers => call(context, request, txn_admin::describe_producers).await,
        other => Err(FrameError::UnknownApi(other as i16)),
    }
}
