//! `GET /v1/alerts`, and what people say about one: `POST /v1/alerts/{id}/ack`, `unack`, `snooze`, `unsnooze`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use millrace_connectors::alerts::Standing;
use millrace_connectors::notify::Severity;
use millrace_model::time::parse_duration;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::alerts::{Said, look, say};
use crate::answer::Problem;
use crate::params::Params;
use crate::shared::{Shared, now};
use crate::view::alerts::{AlertsParams, Since};

/// Longest body, bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Longest snooze.
const SNOOZE_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Snooze when a request does not say how long.
const SNOOZE_USUAL: &str = "1h";
/// Entities of an answer when the request does not say.
const GROUPS_USUAL: usize = 100;
/// Entities of an answer, whatever the request asks for.
const GROUPS_MAX: usize = 1_000;
/// Longest name of who says something, characters.
const NAME_CHARS_MAX: usize = 64;
/// Who said it, when nobody says.
const NOBODY: &str = "page";

/// The routes.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/alerts", get(list))
        .route("/v1/alerts/{id}/ack", post(ack))
        .route("/v1/alerts/{id}/unack", post(unack))
        .route("/v1/alerts/{id}/snooze", post(snooze))
        .route("/v1/alerts/{id}/unsnooze", post(unsnooze))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn list(State(shared): super::Shop, params: Params) -> Result<Json<Value>, Problem> {
    let wanted = AlertsParams {
        standing: one_of(&params, "state", Standing::named, "open, snoozed, acknowledged or over")?,
        severity: one_of(&params, "severity", Severity::named, "critical, high, medium, low or info")?,
        route: params.owned("route"),
        search: params.owned("q"),
        since: one_of(&params, "since", Since::named, "1h, 24h, 7d or all")?.unwrap_or_default(),
        limit: params.count("limit", GROUPS_USUAL, GROUPS_MAX),
    };
    let centre = look(&shared, &wanted).await?;
    let mut answer = json!(centre);
    answer["now"] = json!(now());
    Ok(Json(answer))
}

fn one_of<T>(params: &Params, name: &str, named: fn(&str) -> Option<T>, known: &str) -> Result<Option<T>, Problem> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let wrong = || Problem::bad_request(format!("`{name}` is {known}, not `{text}`"));
    named(text).map(Some).ok_or_else(wrong)
}

/// Who looks after it.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Answerer {
    by: Option<String>,
    /// Everything about its entity that waits, not this occurrence alone.
    entity: bool,
}

/// How long nothing is to be told.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Snooze {
    by: Option<String>,
    #[serde(rename = "for")]
    length: Option<String>,
}

async fn ack(State(shared): super::Shop, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Problem> {
    let told: Answerer = read(&body)?;
    let by = name(told.by)?;
    let done = say(&shared, &id, Said::Acknowledge, told.entity, &by).await?;
    Ok(Json(json!({ "acknowledged": done.alerts, "by": by })))
}

async fn unack(State(shared): super::Shop, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Problem> {
    let told: Answerer = read(&body)?;
    let by = name(told.by)?;
    let done = say(&shared, &id, Said::TakeBack, told.entity, &by).await?;
    Ok(Json(json!({ "no_longer_acknowledged": done.alerts, "by": by })))
}

async fn snooze(State(shared): super::Shop, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Problem> {
    let told: Snooze = read(&body)?;
    let by = name(told.by)?;
    let text = told.length.unwrap_or_else(|| SNOOZE_USUAL.to_owned());
    let length = parse_duration(&text).ok().filter(|length| !length.is_zero() && *length <= SNOOZE_MAX);
    let wrong = || Problem::bad_request(format!("`for` is a time such as 1h or 30m, at most 30d, not `{text}`"));
    let done = say(&shared, &id, Said::Snooze(length.ok_or_else(wrong)?), false, &by).await?;
    Ok(Json(json!({ "snoozed_until": done.until, "by": by })))
}

async fn unsnooze(State(shared): super::Shop, Path(id): Path<String>, body: Bytes) -> Result<Json<Value>, Problem> {
    let told: Snooze = read(&body)?;
    let by = name(told.by)?;
    say(&shared, &id, Said::Snooze(Duration::ZERO), false, &by).await?;
    Ok(Json(json!({ "snoozed_until": null, "by": by })))
}

/// A body of JSON; none is an empty object.
pub(super) fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    // A list would fill the fields by their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Problem::bad_request("the body: it is no JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("the body: {error}")))
}

/// Who says it, for the record.
pub(super) fn name(said: Option<String>) -> Result<String, Problem> {
    let name = said.as_deref().map(str::trim).filter(|name| !name.is_empty()).unwrap_or(NOBODY);
    if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let detail = format!("`by` is a name of at most {NAME_CHARS_MAX} characters");
        return Err(Problem::bad_request(detail));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_and_names_are_checked() {
        assert_eq!(name(None).expect("a name"), "page");
        assert_eq!(name(Some("  Ada ".into())).expect("a name"), "Ada");
        assert!(name(Some("a\u{7}b".into())).is_err() && name(Some("x".repeat(65))).is_err());
        let told: Answerer = read(br#"{"by":"ada","entity":true}"#).expect("a body");
        assert!(told.entity && told.by.as_deref() == Some("ada"));
        assert!(read::<Answerer>(b"").is_ok_and(|told| told.by.is_none()));
        for wrong in [&b"[]"[..], b"{\"bye\":1}", b"{\"by\":1}", b"{"] {
            let told = read::<Answerer>(wrong).err().map(|problem| problem.detail().to_owned());
            assert!(told.is_some_and(|detail| detail.starts_with("the body: ")));
        }
    }
}
