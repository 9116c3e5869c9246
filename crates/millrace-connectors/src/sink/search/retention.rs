//! What is past its topic's retention leaves the indices: a day's index whole, and of a table with one index the documents.
//!
//! ```text
//!                 now − retention.ms
//!         deleted ◀──────┼──────▶ kept
//!   …-2026.10.23 │ …-2026.10.24 │ …-2026.10.25 │      indices of days: whole ones
//!   ·    ·  ·   ·    ·   ┼   ·     ·  ·    ·          one index: documents by their event time, a piece at a time
//! ```

use std::collections::HashMap;

use millrace_model::{ErrorKind, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::index::Index;
use super::server::Server;
use super::settings::DELETE_DOCUMENTS_MAX;
use crate::http::Method;
use crate::sink::SinkError;

/// Deletes what is past its retention. `true`: there is more, which is for the next time, so that writing goes on meanwhile.
pub(super) async fn delete_past(
    server: &Server,
    indices: impl Iterator<Item = &Index>,
    now: Timestamp,
) -> Result<bool, SinkError> {
    let mut more = false;
    for index in indices {
        if let Some(days) = index.days() {
            delete_days(server, index, &days, now).await?;
        } else if let Some(query) = index.past_documents(now, DELETE_DOCUMENTS_MAX) {
            more |= delete_documents(server, index, &query).await?;
        }
    }
    Ok(more)
}

async fn delete_days(server: &Server, index: &Index, days: &str, now: Timestamp) -> Result<(), SinkError> {
    let path = format!("/{days}/_settings?filter_path=*.settings.index.uuid&allow_no_indices=true");
    let answer = server.ask(Method::GET, &path, None).await?;
    server.succeeded("the list of indices", &answer)?;
    let found: HashMap<String, Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
    let names: Vec<String> = found.into_keys().collect();
    for name in index.past(&names, now) {
        let answer = server.ask(Method::DELETE, &format!("/{name}"), None).await?;
        // Somebody else may have deleted it.
        if answer.status != 404 {
            server.succeeded("the deletion of an old index", &answer)?;
        }
        tracing::info!(index = name, "its topic's retention is over: deleted");
    }
    Ok(())
}

/// What a `_delete_by_query` came to.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Deleted {
    deleted: u64,
    version_conflicts: u64,
    failures: Vec<Value>,
}

async fn delete_documents(server: &Server, index: &Index, query: &Value) -> Result<bool, SinkError> {
    // A document that is written anew meanwhile is not past its retention any more: a conflict, and left alone.
    let path = format!("/{}/_delete_by_query?conflicts=proceed&ignore_unavailable=true", index.name());
    let answer = server.ask(Method::POST, &path, Some(query)).await?;
    server.succeeded("the deletion of old documents", &answer)?;
    let done: Deleted = serde_json::from_slice(&answer.body).unwrap_or_default();
    if let Some(failure) = done.failures.first() {
        let reason = failure["cause"]["reason"].as_str().or(failure["reason"]["reason"].as_str()).unwrap_or_default();
        let text = format!("old documents of {}: {} are not deleted: {reason}", index.name(), done.failures.len());
        return Err(SinkError::new(ErrorKind::Unavailable, text));
    }
    if done.deleted > 0 {
        tracing::info!(index = index.name(), documents = done.deleted, "their topic's retention is over: deleted");
    }
    Ok(done.deleted + done.version_conflicts >= DELETE_DOCUMENTS_MAX)
}
