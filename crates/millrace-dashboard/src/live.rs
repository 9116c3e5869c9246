//! Server-sent events: one stream a page, a snapshot first, then what changed.
//!
//! ```text
//! cache ─▶ changed(version) ─▶ stream of one page ─▶ socket
//!                                   ▲
//!                        the socket can take more
//! ```
//!
//! **Invariant:** nothing waits in memory for a slow page. An event is made when the socket can take it, from the cache
//! as it is then; a page that was away for long gets one larger change or a fresh snapshot, never a queue.

mod clients;
mod follow;
mod memo;
mod rows;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use millrace_model::Timestamp;
use serde_json::{Map, Value, json};

pub(crate) use clients::{Clients, Counts};
pub(crate) use memo::Memo;

use crate::answer::Problem;
use crate::page::Page;
use crate::params::Params;
use crate::shared::{Shared, now};
use follow::{Follow, Source};

/// `GET /events?page=…` for a page of ours, `GET /events?tables=a,b` for rows as they are.
pub(crate) async fn events(State(shared): State<Arc<Shared>>, params: Params, headers: HeaderMap) -> Response {
    let source = match source(&shared, &params, &headers) {
        Ok(source) => source,
        Err(problem) => return problem.into_response(),
    };
    let Some(seat) = shared.clients.enter() else {
        let detail = format!("{} pages are open already", shared.settings.limits.sse_clients_max);
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    let follow = Follow::new(shared, source, seat);
    let body = Body::from_stream(stream::unfold(follow, Follow::next));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that collect answers must not collect this one.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

fn source(shared: &Shared, params: &Params, headers: &HeaderMap) -> Result<Source, Problem> {
    if let Some(page) = params.get("page") {
        let page = Page::named(page).ok_or_else(|| Problem::not_found(format!("there is no page `{page}`")))?;
        // What is not the page's own would end up in the links that are pushed.
        return Ok(Source::page(page, params.only(page.params())));
    }
    let Some(tables) = params.get("tables") else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "say which: ?page=overview or ?tables=vitals,sessions"));
    };
    let cache = shared.cache();
    let mut names = Vec::new();
    for name in tables.split(',').filter(|name| !name.is_empty()) {
        let table = cache.table(name).ok_or_else(|| Problem::not_found(format!("there is no table `{name}`")))?;
        names.push(table.contract.name.clone());
    }
    // A browser sends back the last id it saw; it is good for the run it came from.
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.rsplit_once('-'));
    let resume = seen.filter(|(run, _)| *run == shared.run).and_then(|(_, version)| version.parse().ok());
    Ok(Source::tables(names, resume))
}

/// What every event says beside its content: the time, and for each table how long ago its last rows came (or, when
/// none came since the start, how long ago that was).
fn envelope(shared: &Shared, tables: &[&str]) -> Map<String, Value> {
    let now = now();
    let cache = shared.cache();
    let since = |time: Timestamp| json!((now.0 - time.0).max(0) / 1_000);
    let (mut ages, mut older) = (Map::new(), Map::new());
    for table in tables.iter().filter_map(|name| cache.table(name)) {
        let name = table.contract.name.clone();
        match table.updated {
            Some(updated) => drop(ages.insert(name, since(updated))),
            // Rows of the store do not say when they came; only that it was before this start.
            None if table.len() > 0 => drop(older.insert(name, since(shared.started))),
            None => {}
        }
    }
    let mut envelope = Map::new();
    envelope.insert("now".into(), json!(now));
    envelope.insert("live".into(), json!(shared.is_live()));
    envelope.insert("ages_ms".into(), Value::Object(ages));
    envelope.insert("older_than_ms".into(), Value::Object(older));
    envelope
}
