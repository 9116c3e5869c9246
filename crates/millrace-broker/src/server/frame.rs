//! Frames on a connection: a 4-byte length, the request head, the body; and the response frame back.

use crate::server::apis::{self, Api};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use thiserror::Error;

/// Bytes of the length in front of each frame.
pub(crate) const LENGTH_BYTES: usize = 4;
/// Smallest request head: key, version, correlation id, absent client id.
const HEAD_BYTES_MIN: usize = 10;

/// Why a connection is closed: the peer does not speak the protocol, or exceeds a limit.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    #[error("a frame says it is {0} bytes long; that is no Kafka request")]
    Length(i32),
    #[error("a frame of {bytes} bytes exceeds {limit_name} = {limit}")]
    TooLarge { bytes: usize, limit: usize, limit_name: &'static str },
    #[error("api key {0} is not answered by this broker")]
    UnknownApi(i16),
    #[error("{api:?} version {version} is not answered by this broker")]
    UnknownVersion { api: kafka_protocol::messages::ApiKey, version: i16 },
    #[error("the request head is malformed: {0}")]
    Head(String),
    #[error("{api:?} version {version} is malformed: {detail}")]
    Body { api: kafka_protocol::messages::ApiKey, version: i16, detail: String },
    #[error("a response cannot be encoded: {0}")]
    Encode(String),
    #[error("a produce request with acks=0 failed; closing is the only way to say so")]
    SilentProduceFailed,
}

/// The size of a frame from its first four bytes, if it may be read.
pub(crate) fn frame_bytes(prefix: [u8; LENGTH_BYTES], limit: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    let bytes = usize::try_from(length).map_err(|_| FrameError::Length(length))?;
    if bytes < HEAD_BYTES_MIN {
        return Err(FrameError::Length(length));
    }
    if bytes > limit {
        return Err(FrameError::TooLarge { bytes, limit, limit_name: "request_bytes_max" });
    }
    Ok(bytes)
}

/// A request whose head was read.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) api: &'static Api,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<StrBytes>,
    pub(crate) body: Bytes,
}

/// A head that asks for a version of ApiVersions that does not exist yet gets a version 0 answer.
#[derive(Debug)]
pub(crate) enum Head {
    Request(Request),
    ApiVersionsTooNew { correlation_id: i32 },
}

/// Reads the head of a frame.
pub(crate) fn read_head(mut frame: Bytes) -> Result<Head, FrameError> {
    let (key, version) = (i16::from_be_bytes([frame[0], frame[1]]), i16::from_be_bytes([frame[2], frame[3]]));
    let api = apis::find(key).ok_or(FrameError::UnknownApi(key))?;
    if !(api.min..=api.max).contains(&version) {
        if api.key == kafka_protocol::messages::ApiKey::ApiVersions && version > api.max {
            let correlation_id = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
            return Ok(Head::ApiVersionsTooNew { correlation_id });
        }
        return Err(FrameError::UnknownVersion { api: api.key, version });
    }
    let header_version = if version >= api.flexible { 2 } else { 1 };
    let header = RequestHeader::decode(&mut frame, header_version).map_err(|e| FrameError::Head(e.to_string()))?;
    Ok(Head::Request(Request {
        api,
        version,
        correlation_id: header.correlation_id,
        client_id: header.client_id,
        body: frame,
    }))
}

impl Request {
    /// Decodes the body, whose shape was checked.
    pub(crate) fn decode<R: Decodable>(&self) -> Result<R, FrameError> {
        let mut body = self.body.clone();
        let decoded = R::decode(&mut body, self.version).map_err(|e| self.malformed(e))?;
        if body.has_remaining() {
            tracing::debug!(api = ?self.api.key, version = self.version, bytes = body.remaining(), "bytes after a request");
        }
        Ok(decoded)
    }

    pub(crate) fn malformed(&self, detail: impl std::fmt::Display) -> FrameError {
        FrameError::Body { api: self.api.key, version: self.version, detail: detail.to_string() }
    }
}

/// The whole response frame.
pub(crate) fn encode_response<R: Encodable + HeaderVersion>(
    response: &R,
    correlation_id: i32,
    version: i16,
) -> Result<BytesMut, FrameError> {
    let mut frame = BytesMut::with_capacity(256);
    frame.extend_from_slice(&[0; LENGTH_BYTES]);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header.encode(&mut frame, R::header_version(version)).map_err(|e| FrameError::Encode(e.to_string()))?;
    response.encode(&mut frame, version).map_err(|e| FrameError::Encode(e.to_string()))?;
    let length = (frame.len() - LENGTH_BYTES) as u32;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}
