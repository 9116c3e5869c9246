//! Answers that are not pages: JSON, and problems as RFC 9457 describes them.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::store::AskError;

/// What is wrong with a request, or with us.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Problem {
    status: u16,
    title: &'static str,
    detail: String,
}

impl Problem {
    /// A problem in words.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem");
        Problem { status: status.as_u16(), title, detail: detail.into() }
    }

    /// There is no such thing.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// The request cannot be answered as it is.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The words.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let status = if error.is_invalid() { StatusCode::BAD_REQUEST } else { StatusCode::SERVICE_UNAVAILABLE };
        Problem::new(status, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        response
    }
}
