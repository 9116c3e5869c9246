//! The HTTP API: tables with conditions, views, probes, metrics, description.

use serde_json::{Value, json};

use crate::http::{get, get_with, post, post_with};
use crate::support::{Stage, until};

#[tokio::test]
async fn tables_and_their_rows() {
    let stage = Stage::set().await;
    let tables = get(stage.address(), "/api/tables").await.json();
    let names: Vec<&str> =
        tables["tables"].as_array().expect("a list").iter().filter_map(|t| t["name"].as_str()).collect();
    for name in ["store_metrics", "vitals", "sessions", "fraud_signals", "job_progress", "dead_letters"] {
        assert!(names.contains(&name), "{name} is missing from {names:?}");
    }
    let rows = get(stage.address(), "/api/tables/vitals?store_id=berlin&limit=5&events.ge=1").await.json();
    let rows = rows["rows"].as_array().expect("rows").clone();
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row["store_id"] == "berlin" && row["events"].as_i64() >= Some(1)));
    let starts: Vec<&str> = rows.iter().filter_map(|row| row["window_start"].as_str()).collect();
    assert!(starts.is_sorted_by(|a, b| a >= b), "newest first: {starts:?}");
    let until = starts[2];
    let path = format!("/api/tables/vitals?store_id=berlin&until={until}&limit=1&order=desc");
    assert_eq!(get(stage.address(), &path).await.json()["rows"][0]["window_start"], json!(starts[3]));
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn bad_questions_are_explained() {
    let stage = Stage::set().await;
    for (path, status, detail) in [
        ("/api/tables/nowhere", 404, "no table `nowhere`"),
        ("/api/tables/vitals?colour=red", 400, "no column `colour`"),
        ("/api/tables/vitals?since=yesterday", 400, "a time such as"),
        ("/events", 400, "say which"),
        ("/events?tables=nowhere", 404, "no table"),
        ("/events?page=nowhere", 404, "no page"),
        ("/nowhere", 404, "no such page"),
    ] {
        let answer = get(stage.address(), path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        let told = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(told.contains(detail), "{path}: {told}");
    }
    let long = format!("/?store={}", "x".repeat(2_000));
    assert_eq!(get(stage.address(), &long).await.status, 400);
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn personal_data_is_masked_everywhere() {
    let stage = Stage::set().await;
    let card = "card_token_7f3e9a1c44b2";
    stage.push("fraud_signals", vec![signal(card, 9)]).await;
    until(async || {
        let signals = get(stage.address(), "/api/fraud/signals?limit=1000").await.text();
        signals.contains("\"card…44b2\"").then_some(())
    })
    .await;
    let raw = get(stage.address(), "/api/tables/sessions?limit=1").await.json();
    let visitor = raw["rows"][0]["visitor_id"].as_str().expect("a visitor").to_owned();
    assert!(visitor.contains('…'), "{visitor}");
    for path in
        ["/fraud", "/sessions", "/api/fraud/signals?limit=1000", "/api/sessions", "/api/tables/sessions.csv", "/health"]
    {
        let text = get(stage.address(), path).await.text();
        assert!(!text.contains(card) && !text.contains("user-000841") && !text.contains("203.0.113.77"), "{path}");
    }
    stage.dashboard.shutdown().await;
}

/// A velocity signal about a card, with so many payments.
pub(crate) fn signal(card: &str, payments: i64) -> Value {
    let now = crate::support::now();
    let ids: Vec<String> = (0..payments).map(|n| format!("pay-{n:04}")).collect();
    json!({
        "signal_id": format!("velocity:{card}:0"), "window_start": now.floor(600_000_000),
        "window_end": millrace_model::Timestamp(now.floor(600_000_000).0 + 600_000_000), "rule": "velocity",
        "entity_kind": "card_token", "entity": card, "severity": "critical", "payments": payments, "declines": 2,
        "cards": 1, "amount_minor": payments * 1_000, "currency": "EUR", "first_seen": now, "last_seen": now,
        "payment_ids": ids,
    })
}

#[tokio::test]
async fn views_answer() {
    let stage = Stage::set().await;
    let overview = get(stage.address(), "/api/overview?range=15m&store=berlin").await.json();
    assert_eq!((overview["store"].as_str(), overview["range"].as_str()), (Some("berlin"), Some("15m")));
    assert_eq!(overview["currency"], "EUR");
    assert_eq!(overview["kpis"].as_array().map(Vec::len), Some(8));
    assert!(overview["total"]["orders"].as_i64() > Some(10), "{overview}");
    let recommended = get(stage.address(), "/api/recommendations?product=p-1007&count=3").await.json();
    assert_eq!(recommended["product"]["product_name"], "Shell chair, black");
    assert_eq!(recommended["bought_together"].as_array().map(Vec::len), Some(3));
    let evidence = |at: usize| recommended["bought_together"][at]["evidence"].as_i64();
    assert!(evidence(0) >= evidence(1) && evidence(1) >= evidence(2));
    let stock = get(stage.address(), "/api/stock?limit=3").await.json();
    assert_eq!(stock["items"][0]["status"], "oversold");
    let health = get(stage.address(), "/api/health").await.json();
    assert_eq!(health["jobs"].as_array().map(Vec::len), Some(14));
    assert_eq!(health["live"], true);
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn probes_metrics_and_description() {
    let stage = Stage::set().await;
    assert_eq!(get(stage.address(), "/healthz").await.text(), "ok\n");
    assert_eq!(get(stage.address(), "/readyz").await.status, 200);
    let metrics = get(stage.address(), "/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    for line in [
        "millrace_table_lag_records{table=\"store_metrics\",job_name=\"metrics\"} ",
        "millrace_table_watermark_delay_seconds{table=\"vitals\"",
        "millrace_dashboard_sse_clients 0",
        "# TYPE millrace_table_records_late_total counter",
    ] {
        assert!(metrics.text().contains(line), "{line}");
    }
    // Every operation that is described is there.
    let description = get(stage.address(), "/api/openapi.json").await.json();
    assert_eq!(description["openapi"], "3.1.0");
    for (path, operations) in description["paths"].as_object().expect("paths") {
        if operations.get("post").is_some() {
            // Of something that is not there.
            let path = path.replace("{id}", "nothing");
            assert!([400, 404].contains(&post(stage.address(), &path, &json!({})).await.status), "{path}");
        }
        if operations.get("get").is_none() {
            continue;
        }
        let path = path.replace("{name}", "vitals");
        let status = match path.as_str() {
            "/events" => 400,
            // There is no cluster here, and no such letter.
            "/api/kafka/messages" | "/v1/dead-letters/{id}" => 404,
            // There is no recommender here.
            "/v1/recommendations" | "/v1/recommendations/comparison" => 503,
            _ => 200,
        };
        assert_eq!(get(stage.address(), &path).await.status, status, "{path}");
    }
    let address = stage.address();
    drop(stage.live);
    until(async || (get(address, "/readyz").await.status == 503).then_some(())).await;
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn csv_and_assets() {
    let stage = Stage::set().await;
    let csv = get(stage.address(), "/api/tables/stock_levels.csv?status=oversold").await;
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"stock_levels.csv\"");
    assert!(csv.text().starts_with("product_id,product_name,category,on_hand"));
    assert!(csv.text().lines().skip(1).all(|line| line.contains("oversold")));
    let script = get_with(stage.address(), "/assets/app.js", &[("accept-encoding", "gzip")]).await;
    assert_eq!((script.status, script.header("content-encoding")), (200, "gzip"));
    let again = get_with(stage.address(), "/assets/app.js", &[("if-none-match", script.header("etag"))]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let page = get(stage.address(), "/").await.text();
    let plotly = page.split("data-plotly=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("its address");
    let plotly = get_with(stage.address(), plotly, &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(plotly.header("cache-control"), "public, max-age=31536000, immutable");
    assert!((1_000_000..2_000_000).contains(&plotly.body.len()), "{}", plotly.body.len());
    assert_eq!(get(stage.address(), "/assets/../Cargo.toml").await.status, 404);
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn only_our_own_host_is_answered() {
    let stage = Stage::set().await;
    let answer = get_with(stage.address(), "/", &[("host", "rebound.example")]).await;
    assert_eq!(answer.status, 421);
    let answer = get_with(stage.address(), "/", &[("host", "localhost:1")]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-security-policy").contains("script-src 'self';"));
    assert!(!answer.header("content-security-policy").contains("unsafe"));
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn only_our_own_pages_and_programs_write() {
    let stage = Stage::set().await;
    let path = "/v1/payments/score";
    // There is no scorer here, and whoever may write is told so.
    assert_eq!(post(stage.address(), path, &json!({})).await.status, 503);
    let origin = format!("http://{}", stage.address());
    let json = ("content-type", "application/json");
    for (headers, status) in [
        (&[json, ("origin", origin.as_str()), ("sec-fetch-site", "same-origin")][..], 503),
        (&[json, ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")], 403),
        (&[json, ("origin", "http://127.0.0.1:1")], 403),
        (&[("content-type", "text/plain")], 415),
        (&[("content-type", "application/x-www-form-urlencoded"), ("origin", origin.as_str())], 415),
    ] {
        let answer = post_with(stage.address(), path, headers, "{}").await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    stage.dashboard.shutdown().await;
}
