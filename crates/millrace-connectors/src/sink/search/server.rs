//! The server: a request, its answer, and what the answer means for the sink.

use std::time::Duration;

use millrace_model::{Classified, ErrorKind};
use serde_json::Value;

use super::settings::ANSWER_MS_MAX;
use crate::http::{Answer, HttpClient, Method, kind_of_status};
use crate::secret::Secret;
use crate::sink::SinkError;

/// The server and how we show who we are.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) http: HttpClient,
    pub(super) authorization: Option<Secret>,
}

impl Server {
    /// Asks with a body in JSON, or with none.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, SinkError> {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        self.send(method, path, &[("content-type", "application/json")], body).await
    }

    /// Sends documents and what to do with them, compressed.
    pub(super) async fn bulk(&self, body: Vec<u8>) -> Result<Answer, SinkError> {
        let headers = [("content-type", "application/x-ndjson"), ("content-encoding", "gzip")];
        self.send(Method::POST, "/_bulk", &headers, body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, SinkError> {
        let mut headers = headers.to_vec();
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization.reveal()));
        }
        let answer = self.http.send(method, path, &headers, body, Duration::from_millis(ANSWER_MS_MAX)).await;
        answer.map_err(|error| SinkError::new(error.kind(), error.to_string()))
    }

    /// An answer as success or error.
    pub(super) fn succeeded(&self, what: &str, answer: &Answer) -> Result<(), SinkError> {
        match kind_of_status(answer.status) {
            None => Ok(()),
            // No record is at fault here: the request is ours.
            Some(ErrorKind::Data) => Err(SinkError::new(ErrorKind::Invalid, self.said(what, answer))),
            Some(kind) => Err(SinkError::new(kind, self.said(what, answer))),
        }
    }

    /// What the server said, for a log.
    pub(super) fn said(&self, what: &str, answer: &Answer) -> String {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let reason = body["error"]["reason"].as_str().or(body["error"].as_str()).unwrap_or_default();
        format!("search server {}: {what} is answered {} {reason}", self.http.server(), answer.status)
    }
}
