//! Tests of the sessions page: order, masking, flow, carts and channels.

use super::flow::page_kind;
use super::*;
use crate::view::fixture::{at, cache_of, json_rows};
use serde_json::json;

fn session_row(visitor: &str, start: i64, stage: &str, landing: &str) -> serde_json::Value {
    json!({
        "session_start": at(start), "visitor_id": visitor, "user_id": null, "channel": "ads", "stage": stage,
        "landing_path": landing, "exit_path": "/cart", "last_event_time": at(start + 90), "events": 3,
        "orders": i64::from(stage == "purchase"), "revenue_minor": 0, "cart_abandoned": stage == "cart",
        "journey": [{"event_time": at(start), "event_type": "page_viewed", "path": landing, "product_id": null}]
    })
}

#[test]
fn newest_first_and_masked() {
    let rows = vec![
        session_row("visitor-000001", 0, "visit", "/"),
        session_row("visitor-000002", 100, "purchase", "/product/7?ref=x"),
        session_row("visitor-000003", 50, "cart", "/product/8"),
    ];
    let cache = cache_of(vec![("sessions", json_rows(rows))]);
    let page = sessions(&cache, &SessionsParams { limit: 10, ..SessionsParams::default() });
    let visitors: Vec<_> = page.sessions.iter().map(|s| s.visitor.as_str()).collect();
    assert_eq!(visitors, ["visi…0002", "visi…0003", "visi…0001"]);
    assert_eq!(page.sessions[0].seconds, 90);
    assert_eq!(page.by_stage[5], ("purchase".to_owned(), 1));
    // Until one is chosen, a purchase is shown.
    assert_eq!(page.journey.as_ref().map(|j| j.session.stage.as_str()), Some("purchase"));
    let first = page.sessions[2].id.clone();
    let chosen = SessionsParams { session: Some(first.clone()), stage: Some("cart".into()), limit: 10 };
    let page = sessions(&cache, &chosen);
    assert_eq!(page.journey.map(|j| j.session.id), Some(first));
    assert_eq!(page.sessions.len(), 1);
}

#[test]
fn flow_balances() {
    let rows = vec![
        session_row("a", 0, "visit", "/"),
        session_row("b", 1, "purchase", "/product/7?ref=x"),
        session_row("c", 2, "cart", "/product/8"),
    ];
    let cache = cache_of(vec![("sessions", json_rows(rows))]);
    let flow = sessions(&cache, &SessionsParams::default()).flow;
    for layer in 0..4 {
        assert_eq!(flow.nodes.iter().filter(|node| node.layer == layer).map(|node| node.sessions).sum::<usize>(), 3);
    }
    assert_eq!(flow.links.iter().map(|link| link.sessions).sum::<usize>(), 9);
    let labels: Vec<_> = flow.nodes.iter().map(|node| node.label.as_str()).collect();
    assert!(labels.contains(&"Lands on product") && labels.contains(&"Left a cart") && labels.contains(&"Bought"));
}

#[test]
fn page_kinds() {
    for (path, kind) in [
        ("/", "Home"),
        ("", "Unknown page"),
        ("/product/17?x=1", "Product"),
        ("/gift-cards", "Gift cards"),
        ("/?utm=1", "Home"),
    ] {
        assert_eq!(page_kind(path), kind, "{path}");
    }
}

#[test]
fn carts_and_channels() {
    let cart = |visitor: &str, reason: &str, minor: i64| {
        json!({"session_start": at(0), "visitor_id": visitor, "store_id": "main", "reason": reason, "cart_minor": minor,
               "products_added": ["p1", "p2"], "products_removed": ["p2"], "last_event_time": at(9)})
    };
    let funnel = |channel: &str, stage: &str, sessions: i64| json!({"window_start": at(3600), "window_end": at(7200), "channel": channel, "stage": stage, "sessions": sessions});
    let cache = cache_of(vec![
        ("abandoned_carts", json_rows(vec![cart("a", "left at payment", 500), cart("b", "left at payment", 700)])),
        ("session_funnel", json_rows(vec![funnel("ads", "visit", 5), funnel("ads", "purchase", 2)])),
        (
            "revenue_daily",
            json_rows(vec![
                json!({"window_start": at(0), "window_end": at(86_400), "store_id": "main", "currency": "EUR"}),
            ]),
        ),
    ]);
    let page = sessions(&cache, &SessionsParams { limit: 10, ..SessionsParams::default() });
    assert_eq!(page.carts[0].products, ["p1"]);
    assert_eq!(page.carts[0].currency, "EUR");
    assert_eq!((page.reasons[0].carts, page.reasons[0].cart_minor), (2, 1_200));
    assert_eq!(page.channels[0].reached, [7, 2, 2, 2, 2, 2]);
}
