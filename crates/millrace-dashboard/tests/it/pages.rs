//! The pages as the server writes them: whole without JavaScript, escaped, and honest when there is nothing yet.

use millrace_dashboard::Limits;
use serde_json::json;

use crate::http::get;
use crate::support::{Stage, now, until};

const PAGES: [&str; 13] = [
    "/",
    "/fraud",
    "/fraud/review",
    "/fraud/lists",
    "/fraud/rules",
    "/fraud/scoreboard",
    "/alerts",
    "/stock",
    "/sessions",
    "/recommendations",
    "/health",
    "/kafka",
    "/dead-letters",
];

#[tokio::test]
async fn every_page_reads_without_scripts() {
    let stage = Stage::set().await;
    for (path, texts) in [
        (
            "/",
            &["Net revenue today", "Conversion", "Funnel", "Checkouts", "Lighting", "vienna", "provisional", "final"][..],
        ),
        ("/fraud", &["Attacks", "behind it", "pay-", "of 6 payments declined"]),
        (
            "/fraud/review",
            &["Held payments", "late", "Card testing", "card on the block list", "the bank is asked", "Right"],
        ),
        ("/fraud/lists", &["skimmed in Linz", "tok_…0001", "203.0.113.0/24", "buys for a school"]),
        (
            "/fraud/rules",
            &[
                "bursts at night",
                "Would have held more",
                "31 of 31 were fraud",
                "fast fired",
                "since 6h with 24h before it",
            ],
        ),
        ("/fraud/scoreboard", &["Found at the budget", "Card testing", "worst 3, after", "0.9 – 1.0"]),
        (
            "/alerts",
            &["Acknowledge", "velocity: card…44b2", "refused", "out of stock", "acknowledged", "snoozed until"],
        ),
        ("/stock", &["Oversold", "Shell chair", "no sales"]),
        ("/sessions", &["Journey", "placed the order", "Abandoned carts", "left at checkout", "Lands on home"]),
        ("/recommendations", &["Bought together", "orders", "Trending", "views"]),
        ("/dead-letters", &["not_json", "Most frequent cause", "Sent again"]),
        ("/health", &["store_metrics", "Dead letters", "not_json", "As bytes", "Delivery of these pages"]),
    ] {
        let answer = get(stage.address(), path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        let html = answer.text();
        for text in texts {
            let found = html.contains(text) || html.contains(&text.replace('_', " "));
            // The number of declined payments depends on the moment.
            assert!(found || text.starts_with("of 6"), "{path}: {text}");
        }
    }
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn hostile_texts_are_only_text() {
    let stage = Stage::set().await;
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let now = now();
    stage
        .push(
            "stock_levels",
            vec![json!({"product_id": hostile, "product_name": hostile, "category": hostile, "status": "oversold",
                        "on_hand": 0, "reserved": 9, "available": -9, "reorder_point": 1, "last_change": now})],
        )
        .await;
    stage
        .push(
            "dead_letters",
            vec![json!({"dead_letter_id": hostile, "kind": hostile, "code": hostile, "reason": hostile, "topic": hostile,
                        "partition": 0, "offset": 1, "first_seen": now, "value_base64": "PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=="})],
        )
        .await;
    until(async || get(stage.address(), "/stock").await.text().contains("&lt;img").then_some(())).await;
    for path in PAGES.iter().copied().chain(["/stock?q=%3Cscript%3E", "/fraud?rule=%22%3E%3Cscript%3E"]) {
        let html = get(stage.address(), path).await.text();
        assert!(!html.contains("<script>alert") && !html.contains("<img"), "{path}");
        // The page's own two scripts are all there are.
        assert_eq!(html.matches("<script").count(), 2, "{path}");
        assert!(!html.contains(" style="), "{path}: the policy forbids inline styles");
    }
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn an_empty_store_says_what_is_awaited() {
    let stage = Stage::with(0, Limits::default()).await;
    for (path, text) in PAGES.iter().zip([
        "Waiting for the first window…",
        "No signals here",
        "Nothing waits here",
        "Nobody is listed here",
        "Every rule is as the settings have it",
        "Nothing to hold the decisions against",
        "No alerts here",
        "No products here",
        "No closed sessions yet",
        "No product chosen",
        "Waiting for the first epoch…",
        "No cluster to show",
        "No dead letters here",
    ]) {
        let answer = get(stage.address(), path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text().contains(text), "{path}: {text}");
    }
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn the_query_is_the_state() {
    let stage = Stage::set().await;
    let html = get(stage.address(), "/?store=berlin&range=6h").await.text();
    assert!(html.contains("last 6 hours") && html.contains(r#"<option value="berlin" selected"#), "{html}");
    assert!(html.contains(r#"data-query="?range=6h&amp;store=berlin""#));
    let html = get(stage.address(), "/stock?status=oversold").await.text();
    let rows = html.split("<tbody").nth(1).and_then(|rest| rest.split("</tbody>").next()).expect("rows");
    assert!(rows.contains("Oversold") && !rows.contains("In stock"));
    let html = get(stage.address(), "/stock?q=shell+oak").await.text();
    assert!(html.contains("1 product<") && html.contains("Shell chair, oak"));
    stage.dashboard.shutdown().await;
}

#[tokio::test]
async fn a_product_that_is_gone_is_marked() {
    let stage = Stage::set().await;
    let html = get(stage.address(), "/recommendations?product=p-1007").await.text();
    assert!(html.contains("Out of stock") && html.contains("Shell chair, black"));
    stage.dashboard.shutdown().await;
}
