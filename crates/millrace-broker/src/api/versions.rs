//! ApiVersions: what this broker answers, told even to clients that ask in a version it does not know.

use crate::server::apis::{APIS, PRODUCE_ADVERTISED_MIN};
use crate::server::dispatch::Context;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

pub(crate) async fn api_versions(_context: Context, _request: ApiVersionsRequest) -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_api_keys(advertised())
}

/// The version 0 answer to a version that is too new: an error, and the versions to try.
pub(crate) fn too_new() -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_error_code(ResponseError::UnsupportedVersion.code()).with_api_keys(advertised())
}

fn advertised() -> Vec<ApiVersion> {
    let version = |api: &crate::server::apis::Api| {
        let min = if api.key == ApiKey::Produce { PRODUCE_ADVERTISED_MIN } else { api.min };
        ApiVersion::default().with_api_key(api.key as i16).with_min_version(min).with_max_version(api.max)
    };
    APIS.iter().map(version).collect()
}
