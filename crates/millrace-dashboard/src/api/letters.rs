//! `GET /v1/dead-letters` and one of them; `POST /v1/dead-letters/repair` and `/redrive`: what `millrace dead-letters` does.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use millrace_connectors::dead_letters::LetterFilter;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shop;
use super::alerts::{name, read};
use crate::answer::Problem;
use crate::letters::{Chosen, RepairRules, Wanted, look, one, redrive, repair, time};
use crate::params::Params;
use crate::service::{RedriveWanted, Services};
use crate::shared::{Shared, now};
use crate::view::alerts::Since;
use crate::view::letters::LettersParams;

/// Longest body, bytes: an edited value, escaped.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Letters of an answer when the request does not say.
const LETTERS_USUAL: usize = 100;

/// The routes; `services` has who repairs and sends.
pub(crate) fn routes(services: &Services) -> Router<Arc<Shared>> {
    let (repairs, sends) = (services.mends.clone(), services.mends.clone());
    let repair = move |State(shared): Shop, body: Bytes| async move {
        let Repair { by, ids, filter, value, patch, dry_run, unchecked } = read(&body)?;
        let by = name(by)?;
        let wanted = match (value, patch) {
            (Some(value), None) => Wanted::Text(value),
            (None, Some(patch)) => Wanted::Patch(patch),
            _ => {
                return Err(Problem::bad_request(
                    "give either `value`, for one letter, or `patch`, a JSON patch (RFC 6902)",
                ));
            }
        };
        let ids = chosen(ids, filter)?.found(&shared).await?;
        let done = repair(&shared, repairs, ids, wanted, RepairRules { dry_run, unchecked, by }).await?;
        Ok::<Json<Value>, Problem>(Json(done))
    };
    let redrive = move |State(shared): Shop, body: Bytes| async move {
        let Redrive { by, ids, filter, dry_run, force, unchecked, late } = read(&body)?;
        let by = name(by)?;
        let ids = chosen(ids, filter)?.found(&shared).await?;
        let wanted = RedriveWanted { ids, dry_run, force, unchecked, late, by };
        Ok::<Json<Value>, Problem>(Json(redrive(&shared, sends, wanted).await?))
    };
    Router::new()
        .route("/v1/dead-letters", get(list))
        .route("/v1/dead-letters/{id}", get(show))
        .route("/v1/dead-letters/repair", post(repair))
        .route("/v1/dead-letters/redrive", post(redrive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn list(State(shared): Shop, params: Params) -> Result<Json<Value>, Problem> {
    let sent = match params.get("state") {
        None => None,
        Some("open") => Some(false),
        Some("sent") => Some(true),
        Some(other) => return Err(Problem::bad_request(format!("`state` is open or sent, not `{other}`"))),
    };
    let wanted = LettersParams {
        topic: params.owned("topic"),
        kind: params.owned("kind"),
        code: params.owned("code"),
        reason: params.owned("q"),
        sent,
        within: Since::Ever,
        since: time("since", params.get("since"))?,
        until: time("until", params.get("until"))?,
        limit: params.count("limit", LETTERS_USUAL, shared.settings.limits.api_rows_max),
    };
    let mut answer = json!(look(&shared, &wanted).await?);
    answer["now"] = json!(now());
    Ok(Json(answer))
}

async fn show(State(shared): Shop, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = one(&shared, &id).await?;
    let missing = || Problem::not_found("there is no such dead letter; GET /v1/dead-letters lists them");
    Ok(Json(json!(found.ok_or_else(missing)?)))
}

/// Which letters, when they are not named one by one.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields, default)]
struct Filter {
    topic: Option<String>,
    kind: Option<String>,
    code: Option<String>,
    q: Option<String>,
    since: Option<String>,
    until: Option<String>,
    state: Option<String>,
}

/// Another value for letters.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields, default)]
struct Repair {
    by: Option<String>,
    ids: Vec<String>,
    filter: Option<Filter>,
    value: Option<String>,
    patch: Option<Value>,
    dry_run: bool,
    unchecked: bool,
}

/// Letters to be sent again.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields, default)]
struct Redrive {
    by: Option<String>,
    ids: Vec<String>,
    filter: Option<Filter>,
    dry_run: bool,
    force: bool,
    unchecked: bool,
    late: bool,
}

fn chosen(ids: Vec<String>, filter: Option<Filter>) -> Result<Chosen, Problem> {
    let Some(filter) = filter else { return Ok(Chosen { ids, filter: None }) };
    let sent = match filter.state.as_deref() {
        None => None,
        Some("open") => Some(false),
        Some("sent") => Some(true),
        Some(other) => return Err(Problem::bad_request(format!("`state` is open or sent, not `{other}`"))),
    };
    let filter = LetterFilter {
        ids: Vec::new(),
        topic: filter.topic,
        kind: filter.kind,
        code: filter.code,
        reason: filter.q,
        since: time("since", filter.since.as_deref())?,
        until: time("until", filter.until.as_deref())?,
        sent,
    };
    Ok(Chosen { ids, filter: Some(filter) })
}
