//! `/v1/fraud/reviews`, `/v1/fraud/lists`, `/v1/fraud/rules`, `/v1/fraud/backtest` and `/v1/fraud/scoreboard`: the analyst's side of the scorer, for programs and for the page.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Shop;
use crate::answer::Problem;
use crate::mask;
use crate::params::Params;
use crate::reviews;
use crate::service::{backtests, measure, told};
use crate::shared::{Shared, now};
use crate::view::lists::{ListParams, lists};
use crate::view::reviews::{Order, Queue, Standing};

/// Longest body, bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

type Answer = Result<Json<Value>, Problem>;

/// The routes.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/fraud/reviews", get(queue))
        .route("/v1/fraud/reviews/{payment_id}/verdict", post(verdict))
        .route("/v1/fraud/reviews/{payment_id}/assign", post(assign))
        .route("/v1/fraud/reviews/{payment_id}/comment", post(comment))
        .route("/v1/fraud/lists", get(listed).post(list))
        .route("/v1/fraud/rules", get(rules).post(rule))
        .route("/v1/fraud/backtest", get(backtest).post(begin_backtest))
        .route("/v1/fraud/backtest/stop", post(stop_backtest))
        .route("/v1/fraud/scoreboard", get(scoreboard))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn verdict(State(shared): Shop, Path(payment): Path<String>, headers: HeaderMap, body: Bytes) -> Answer {
    say(&shared, &payment, "verdict", &headers, &body).await
}

async fn assign(State(shared): Shop, Path(payment): Path<String>, headers: HeaderMap, body: Bytes) -> Answer {
    say(&shared, &payment, "assigned_to", &headers, &body).await
}

async fn comment(State(shared): Shop, Path(payment): Path<String>, headers: HeaderMap, body: Bytes) -> Answer {
    say(&shared, &payment, "comment", &headers, &body).await
}

async fn rules(State(shared): Shop) -> Json<Value> {
    // What those in the shadow would have done is in the scoreboard.
    Json(json!(crate::view::rules::rules(&shared.cache(), &[])))
}

async fn rule(State(shared): Shop, headers: HeaderMap, body: Bytes) -> Answer {
    reviews::rule(&shared, &told(&headers, &body)?).await.map(Json)
}

async fn backtest(State(shared): Shop) -> Answer {
    Ok(Json(backtests(shared.services.backtests.as_ref())?.backtest()))
}

async fn begin_backtest(State(shared): Shop, headers: HeaderMap, body: Bytes) -> Answer {
    let asked = told(&headers, &body)?;
    let begun = backtests(shared.services.backtests.as_ref())?.begin(&asked)?;
    shared.stir();
    Ok(Json(begun))
}

async fn stop_backtest(State(shared): Shop, headers: HeaderMap, body: Bytes) -> Answer {
    let told = told(&headers, &body)?;
    let by = told["by"].as_str().map(str::trim).filter(|by| !by.is_empty());
    let by = by.ok_or_else(|| Problem::bad_request("`by` is missing: who stops it"))?;
    let stopped = backtests(shared.services.backtests.as_ref())?.stop(by)?;
    shared.stir();
    Ok(Json(stopped))
}

async fn scoreboard(State(shared): Shop) -> Answer {
    measure(shared.services.measures.as_ref()).await.map(Json)
}

/// What is wrong with the query of a queue.
fn check(params: &Params) -> Result<(), Problem> {
    let states = Standing::ALL.map(|(_, name, _)| name);
    let orders = Order::ALL.map(|(_, name, _)| name);
    for (name, known) in [("state", states), ("order", orders)] {
        if let Some(text) = params.get(name).filter(|text| !known.contains(text)) {
            return Err(Problem::bad_request(format!("`{name}` is `{text}`; there are {}", known.join(", "))));
        }
    }
    Ok(())
}

async fn queue(State(shared): Shop, params: Params) -> Result<Json<Queue>, Problem> {
    let limit = params.count("limit", 100, shared.settings.limits.api_rows_max);
    check(&params)?;
    Ok(Json(reviews::look(&shared, &reviews::wanted(&params, limit)).await?))
}

async fn listed(State(shared): Shop, params: Params) -> Json<Value> {
    let wanted = ListParams {
        list: params.owned("list"),
        kind: params.owned("kind"),
        search: params.owned("q"),
        limit: params.count("limit", 100, shared.settings.limits.api_rows_max),
    };
    Json(json!(lists(&shared.cache(), &wanted, now())))
}

/// Takes one thing that is said of a payment; with a verdict a comment may come along, with an assignment nobody's name.
async fn say(shared: &Shared, payment: &str, what: &'static str, headers: &HeaderMap, body: &[u8]) -> Answer {
    let told = told(headers, body)?;
    let known: &[&'static str] = if what == "verdict" { &["verdict", "comment"] } else { &[what] };
    let object = told.as_object().ok_or_else(|| Problem::bad_request("the body is an object"))?;
    if let Some(unknown) = object.keys().find(|name| *name != "by" && !known.contains(&name.as_str())) {
        let known = known.join(", ");
        return Err(Problem::bad_request(format!("`{unknown}` is no field of it; there are {known} and by")));
    }
    if !object.contains_key(what) {
        return Err(Problem::bad_request(format!("`{what}` is missing")));
    }
    let by = object.get("by").filter(|by| by.as_str().is_some_and(|by| !by.trim().is_empty()));
    let by = by.ok_or_else(|| Problem::bad_request("`by` is missing: who says it"))?;
    let mut said: Vec<(&'static str, Value)> = Vec::new();
    for name in known {
        match object.get(*name) {
            Some(Value::String(text)) if text == "legitimate" && *name == "verdict" => {
                said.push((*name, "good".into()))
            }
            Some(Value::Null) if *name == "verdict" => {
                return Err(Problem::bad_request(
                    "`verdict` is fraud or legitimate: what was said cannot be taken back",
                ));
            }
            Some(value) => said.push((*name, value.clone())),
            None => {}
        }
    }
    reviews::say(shared, payment, &said, by).await.map(Json)
}

async fn list(State(shared): Shop, headers: HeaderMap, body: Bytes) -> Answer {
    let told = told(&headers, &body)?;
    let mut row = reviews::list(&shared, &told).await?;
    // Who named an entity by a payment does not learn it here.
    if let Some(fields) = row.as_object_mut() {
        let id = crate::view::lists::entry_id(
            fields.get("kind").and_then(Value::as_str).unwrap_or_default(),
            fields.get("entity").and_then(Value::as_str).unwrap_or_default(),
        );
        mask::row(fields);
        fields.insert("entry".into(), id.into());
    }
    Ok(Json(row))
}
