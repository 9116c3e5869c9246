//! The answers, one file per family of requests: each decides nothing itself but asks logs, groups and transactions,
//! and puts what they say into protocol terms.

pub(crate) mod configs;
pub(crate) mod fetch;
pub(crate) mod group_admin;
pub(crate) mod groups;
pub(crate) mod list_offsets;
pub(crate) mod metadata;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod records;
pub(crate) mod topics;
pub(crate) mod transactions;
pub(crate) mod txn_admin;
pub(crate) mod versions;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

/// A protocol string.
pub(crate) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// A protocol topic name.
pub(crate) fn topic_name(value: &str) -> TopicName {
    TopicName(text(value))
}

/// The code of a result's error; 0 if there is none.
pub(crate) fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

/// "Operations not asked for", as authorised-operations fields say it.
pub(crate) const OPERATIONS_UNKNOWN: i32 = i32::MIN;
