//! Visitors, carts, fraud and broken records of the moving shop.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::goods::{PRODUCTS, product_id};
use super::{CURRENCY, STORES, at, batch, hash, row};
use crate::LiveBatch;

/// A session ends every so many seconds.
const SESSION_EVERY_SECONDS: i64 = 4;
/// An attack begins every so many seconds, and grows for a while.
const ATTACK_EVERY_SECONDS: i64 = 45;
const ATTACK_GROWS_SECONDS: i64 = 60;
const STAGES: [&str; 6] = ["visit", "product", "cart", "checkout", "payment", "purchase"];
/// A record is set aside every so many seconds.
const LETTER_EVERY_SECONDS: i64 = 20;

pub(super) fn history(second: i64) -> Vec<LiveBatch> {
    let sessions: Vec<_> = (1..=420).map(|back| session(second / SESSION_EVERY_SECONDS - back)).collect();
    let attacks = (0..140).map(|back| second / ATTACK_EVERY_SECONDS - back * back / 6 - back);
    let letters = (0..30).map(|back| second / LETTER_EVERY_SECONDS - back * 7);
    vec![
        batch("abandoned_carts", sessions.iter().filter_map(cart).collect()),
        batch("sessions", sessions),
        batch("session_funnel", funnel(second)),
        batch("fraud_signals", attacks.map(|attack| signal(attack, second)).collect()),
        batch("dead_letters", letters.map(dead_letter).collect()),
    ]
}

pub(super) fn tick(second: i64, tick: u64) -> Vec<LiveBatch> {
    let mut batches = Vec::new();
    if tick.is_multiple_of(4) {
        let session = session(second / SESSION_EVERY_SECONDS);
        batches.push(batch("abandoned_carts", cart(&session).into_iter().collect()));
        batches.push(batch("sessions", vec![session]));
        batches.push(batch("session_funnel", funnel(second)));
        let newest = second / ATTACK_EVERY_SECONDS;
        batches.push(batch("fraud_signals", vec![signal(newest - 1, second), signal(newest, second)]));
        batches.push(batch("dead_letters", vec![dead_letter(second / LETTER_EVERY_SECONDS)]));
    }
    batches
}

/// One of several, drawn.
fn one_of<'a>(what: u64, number: i64, options: &[&'a str]) -> &'a str {
    options[(hash(what, number) % options.len() as u64) as usize]
}

fn session(number: i64) -> Map<String, Value> {
    let ended = number * SESSION_EVERY_SECONDS;
    let depth = [0_usize, 0, 1, 1, 1, 2, 2, 3, 4, 5, 5][(hash(31, number) % 11) as usize];
    let product = |at: u64| product_id((hash(32 + at, number) % PRODUCTS.len() as u64) as usize);
    let (views, pages) = (1 + hash(33, number) % 4, 1 + hash(34, number) % 5);
    let landing =
        one_of(35, number, &["/", "/", "/category/lighting", "/product/p-1007", "/search", "/campaign/autumn"]);
    let mut steps: Vec<(String, String, Option<String>)> = vec![("page_viewed".into(), landing.into(), None)];
    for page in 0..pages {
        let path = one_of(36 + page, number, &["/search", "/category/chairs", "/category/desks", "/about"]);
        let event = if path == "/search" { "products_searched" } else { "page_viewed" };
        steps.push((event.into(), path.into(), None));
    }
    let names = ["product_viewed", "product_added", "checkout_started", "payment_info_entered", "order_placed"];
    for view in 0..if depth > 0 { views } else { 0 } {
        steps.push(("product_viewed".into(), format!("/product/{}", product(view)), Some(product(view))));
    }
    for (reached, name) in names.iter().enumerate().skip(1).take(depth.saturating_sub(1)) {
        let path = ["", "/cart", "/checkout", "/checkout/payment", "/checkout/done"][reached];
        steps.push(((*name).into(), path.into(), (reached == 1).then(|| product(0))));
        if reached == 3 && hash(37, number).is_multiple_of(3) {
            steps.push(("payment_declined".into(), String::new(), None));
        }
    }
    let mut second = ended - steps.len() as i64 * 34;
    let start = second;
    let journey: Vec<Value> = steps
        .iter()
        .enumerate()
        .map(|(at_step, (event, path, product))| {
            second += 5 + (hash(40 + at_step as u64, number) % 60) as i64;
            let path = Some(path).filter(|path| !path.is_empty());
            json!({"event_time": at(second), "event_type": event, "path": path, "product_id": product})
        })
        .collect();
    let count = |name: &str| steps.iter().filter(|(event, ..)| event == name).count();
    let viewed: Vec<&String> = steps.iter().filter(|s| s.0 == "product_viewed").filter_map(|s| s.2.as_ref()).collect();
    let added: Vec<&String> = steps.iter().filter(|s| s.0 == "product_added").filter_map(|s| s.2.as_ref()).collect();
    let orders = count("order_placed") as i64;
    let worth = 2_900 + (hash(38, number) % 24_000) as i64;
    row(json!({
        "session_start": at(start), "session_end": at(second + 1_800),
        "visitor_id": format!("visitor-{:012x}", hash(39, number) >> 16), "user_id": (orders > 0).then_some("user-000841"),
        "store_id": STORES[usize::from(hash(41, number).is_multiple_of(3))].0,
        "channel": one_of(42, number, &["organic", "organic", "ads", "direct", "email", "social"]),
        "country": one_of(43, number, &["DE", "DE", "AT", "CH", "NL"]),
        "device_type": one_of(44, number, &["mobile", "mobile", "desktop", "tablet"]),
        "landing_path": landing,
        "exit_path": steps.iter().rev().map(|step| &step.1).find(|path| !path.is_empty()),
        "last_event_time": at(second), "events": steps.len(), "page_views": count("page_viewed"),
        "searches": count("products_searched"), "product_views": count("product_viewed"),
        "cart_adds": count("product_added"), "cart_removes": 0, "checkouts": count("checkout_started"),
        "payment_entries": count("payment_info_entered"), "payments_declined": count("payment_declined"),
        "orders": orders, "revenue_minor": orders * worth, "currency": CURRENCY,
        "stage": STAGES[depth],
        "products_viewed": viewed, "products_added": added, "products_removed": [],
        "cart_minor": if added.is_empty() { 0 } else { worth }, "cart_abandoned": !added.is_empty() && orders == 0,
        "journey": journey,
    }))
}

fn cart(session: &Map<String, Value>) -> Option<Map<String, Value>> {
    let reason = match session["stage"].as_str()? {
        _ if session["cart_abandoned"] != true => return None,
        _ if session["payments_declined"] != 0 => "payment declined",
        "payment" => "left at payment",
        "checkout" => "left at checkout",
        _ => "left in the shop",
    };
    let columns = [
        "session_start",
        "session_end",
        "visitor_id",
        "user_id",
        "store_id",
        "channel",
        "device_type",
        "last_event_time",
        "products_added",
        "products_removed",
        "cart_minor",
        "stage",
    ];
    let mut cart: Map<String, Value> = columns.iter().map(|c| ((*c).to_owned(), session[*c].clone())).collect();
    cart.insert("reason".to_owned(), json!(reason));
    Some(cart)
}

fn funnel(second: i64) -> Vec<Map<String, Value>> {
    let hour = second / 3_600 * 3_600;
    let mut rows = Vec::new();
    for (at_channel, channel) in ["organic", "ads", "direct", "email", "social"].iter().enumerate() {
        for (at_stage, stage) in STAGES.iter().enumerate() {
            let elapsed = second - hour;
            let sessions =
                elapsed / (14 + 9 * at_channel as i64) / (1 + at_stage as i64 * 2) + 12 / (at_stage as i64 + 1);
            rows.push(row(json!({
                "window_start": at(hour), "window_end": at(hour + 3_600), "channel": channel, "stage": stage,
                "sessions": sessions, "events": sessions * 6,
                "revenue_minor": if *stage == "purchase" { sessions * 11_300 } else { 0 },
            })));
        }
    }
    rows
}

/// The attack of this number as it is at `now`.
fn signal(number: i64, now: i64) -> Map<String, Value> {
    let begun = number * ATTACK_EVERY_SECONDS;
    let grown = (now - begun).clamp(1, ATTACK_GROWS_SECONDS / 4 + (hash(60, number) % 50) as i64);
    let rules =
        ["card_testing", "velocity", "declines_then_success", "velocity", "refund_abuse", "amount_out_of_habit"];
    let rule = one_of(61, number, &rules);
    let payments = match rule {
        "card_testing" => 4 + grown / 4,
        "refund_abuse" => 3 + grown / 20,
        _ => 5 + grown / 8,
    };
    let (kind, severity) = match rule {
        "card_testing" if payments >= 14 => ("device_id", "critical"),
        "card_testing" => ("device_id", "high"),
        "velocity" if payments >= 10 => ("card_token", "high"),
        "velocity" => ("card_token", "medium"),
        "declines_then_success" => ("card_token", "high"),
        "refund_abuse" => ("user_id", "medium"),
        _ => ("user_id", if hash(62, number).is_multiple_of(3) { "high" } else { "medium" }),
    };
    let (declines, cards) = match rule {
        "card_testing" => (payments * 4 / 5, payments * 3 / 4),
        "velocity" => (payments / 3, 1),
        "declines_then_success" => (payments - 1, 1),
        _ => (0, i64::from(rule == "amount_out_of_habit")),
    };
    let entity = format!("{}_{:012x}", kind.split('_').next().unwrap_or(kind), hash(63, number) >> 16);
    let width = if kind == "user_id" { 7 * 86_400 } else { 600 };
    let start = begun - begun % width;
    let ids: Vec<String> = (0..payments).map(|n| format!("pay-{:08x}", hash(64 + n as u64, number) >> 32)).collect();
    row(json!({
        "signal_id": format!("{rule}:{entity}:{start}"), "window_start": at(start), "window_end": at(start + width),
        "rule": rule, "entity_kind": kind, "entity": entity, "severity": severity, "payments": payments,
        "declines": declines, "cards": cards, "amount_minor": payments * (1_900 + (hash(65, number) % 9_000) as i64),
        "currency": CURRENCY, "first_seen": at(begun), "last_seen": at(begun + grown), "payment_ids": ids,
    }))
}

fn dead_letter(number: i64) -> Map<String, Value> {
    let (kind, code, reason, field, value): (&str, &str, &str, Option<&str>, &[u8]) = match number.rem_euclid(5) {
        0 => ("malformed", "not_json", "expected `,` or `}` at byte 41", None, b"{\"event_id\":\"e-1\",\"event_type\":\"page_viewed\" \"path\":\"/\"}"),
        1 => ("malformed", "missing_field", "field `event_time` is required", Some("event_time"), b"{\"event_id\":\"e-2\",\"event_type\":\"product_viewed\",\"anonymous_id\":\"visitor-0c1f22a9\",\"ip\":\"203.0.113.77\"}"),
        2 => ("malformed", "not_utf8", "byte 0xff at 12 is not UTF-8", None, b"{\"event_id\":\"\xff\xfe\x00broken\",\"path\":\"<script>alert(1)</script>\"}"),
        3 => ("malformed", "wrong_type", "`quantity` is text, the contract says integer", Some("quantity"), b"{\"event_id\":\"e-4\",\"quantity\":\"two\",\"user_id\":\"user-000841\"}"),
        _ => ("late", "late", "its window closed 42 s before it came", None, b"{\"event_id\":\"e-5\",\"event_type\":\"page_viewed\",\"event_time\":\"2026-01-01T00:00:00Z\"}"),
    };
    let seen = number * LETTER_EVERY_SECONDS;
    let topic = one_of(72, number, &["user_events", "user_events", "transactions", "inventory_updates"]);
    let offset = number % 1_000_000;
    row(json!({
        "dead_letter_id": format!("{topic}/1/{offset}"), "kind": kind, "code": code, "reason": reason, "field": field,
        "topic": topic, "partition": 1, "offset": offset, "record_time": at(seen - 1),
        "event_time": (kind == "late").then(|| at(seen - 60)), "watermark": (kind == "late").then(|| at(seen - 18)),
        "table": (kind == "late").then_some("store_metrics"), "job": "metrics", "first_seen": at(seen),
        "key_base64": null, "value_base64": STANDARD.encode(value), "headers": null,
    }))
}
