//! The HTTP API: the same views as the pages, as JSON; tables as JSON and CSV; metrics and probes.

mod alerts;
mod csv;
pub(crate) mod letters;
mod metrics;
mod openapi;
mod reviews;
mod tables;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::answer::Problem;
use crate::page::{messages as page_messages, recommended};
use crate::params::Params;
use crate::shared::{Shared, now};
use crate::store::ask;
use crate::view;

type Shop = State<Arc<Shared>>;

/// All routes of the API.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/tables", get(tables::list))
        .route("/api/tables/{name}", get(tables::rows))
        .route("/api/overview", get(overview))
        .route("/api/fraud/signals", get(signals))
        .route("/api/stock", get(stock))
        .route("/api/sessions", get(sessions))
        .route("/api/recommendations", get(recommendations))
        .route("/api/health", get(health))
        .route("/api/kafka", get(kafka))
        .route("/api/kafka/messages", get(messages))
        .merge(reviews::routes())
        .route("/api/openapi.json", get(|| async { Json(openapi::description()) }))
        .merge(alerts::routes())
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
}

async fn overview(State(shared): Shop, params: Params) -> Json<view::overview::Overview> {
    let wanted =
        view::overview::OverviewParams { store: params.owned("store"), range: params.range(Default::default()) };
    Json(view::overview::overview(&shared.cache(), &wanted))
}

async fn signals(State(shared): Shop, params: Params) -> Json<view::fraud::Fraud> {
    let wanted = view::fraud::FraudParams {
        rule: params.owned("rule"),
        severity: params.owned("severity"),
        range: params.range(view::overview::Range::SixHours),
        limit: params.count("limit", 100, shared.settings.limits.api_rows_max),
    };
    Json(view::fraud::fraud(&shared.cache(), &wanted))
}

async fn stock(State(shared): Shop, params: Params) -> Json<view::stock::Stock> {
    let wanted = view::stock::StockParams {
        status: params.owned("status"),
        search: params.owned("q"),
        limit: params.count("limit", 100, shared.settings.limits.api_rows_max),
    };
    Json(view::stock::stock(&shared.cache(), &wanted))
}

async fn sessions(State(shared): Shop, params: Params) -> Json<view::sessions::Sessions> {
    let wanted = view::sessions::SessionsParams {
        stage: params.owned("stage"),
        session: params.owned("session"),
        limit: params.count("limit", 100, shared.settings.limits.api_rows_max),
    };
    Json(view::sessions::sessions(&shared.cache(), &wanted))
}

async fn recommendations(State(shared): Shop, params: Params) -> Json<view::recommend::Recommend> {
    let wanted = view::recommend::RecommendParams {
        product: params.owned("product"),
        search: params.owned("q"),
        count: params.count("count", 10, 100),
    };
    Json(recommended(&shared, &wanted).await)
}

async fn health(State(shared): Shop, params: Params) -> Json<Value> {
    let wanted = view::health::HealthParams {
        topic: params.owned("topic"),
        code: params.owned("code"),
        limit: params.count("limit", 50, shared.settings.limits.api_rows_max),
    };
    let promises = crate::promises::look(&shared).await;
    let now = now();
    let view = view::health::health(&shared.cache(), &shared.history(), &wanted, now);
    let mut answer = json!(view);
    answer["now"] = json!(now);
    answer["started"] = json!(shared.started);
    answer["live"] = json!(shared.is_live());
    answer["sinks"] = json!(promises);
    answer["delivery"] = json!(shared.clients.counts());
    Json(answer)
}

/// The newest look at the cluster; null when there is none to look at.
async fn kafka(State(shared): Shop) -> Json<Value> {
    match &shared.kafka {
        Some(cluster) => Json(json!(*cluster.look().await)),
        None => Json(Value::Null),
    }
}

async fn messages(State(shared): Shop, params: Params) -> Response {
    let Some(cluster) = &shared.kafka else {
        return Problem::not_found("this dashboard was started without a cluster").into_response();
    };
    match page_messages(&shared, cluster, &params).await {
        Ok(answer) => Json(json!(*answer)).into_response(),
        Err(why) => Problem::bad_request(why).into_response(),
    }
}

/// Ready when live rows come and the store answers.
async fn ready(State(shared): Shop) -> Response {
    if !shared.is_live() {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the live feed has ended").into_response();
    }
    match ask(&shared.store, "SELECT 1 AS one", &[], shared.settings.limits.store_ms_max).await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
