//! Tests of the overview: sums, comparisons and what is provisional.

use super::*;
use crate::row::Row;
use crate::view::fixture::{at, cache_of, json_rows};
use serde_json::Value;

/// A window of five minutes that starts at `minute`.
fn window(minute: i64, orders: i64) -> Value {
    json!({
        "window_start": at(minute * 60), "window_end": at(minute * 60 + 300), "store_id": "main", "currency": "EUR",
        "visitors": 50, "page_views": 100, "product_views": 40, "cart_adds": 20, "checkouts": 12, "orders": orders,
        "payments_authorized": 9, "payments_declined": 1, "gross_minor": orders * 1_000, "net_minor": orders * 900
    })
}

fn second(at_second: i64, orders: i64) -> Value {
    json!({
        "window_start": at(at_second), "window_end": at(at_second + 1), "store_id": "main", "currency": "EUR",
        "events": 7, "orders": orders, "payments_declined": 0, "gross_minor": orders * 1_000
    })
}

/// Ten hours of windows, ten minutes of seconds up to 10:02:00, and a watermark 10 seconds before.
fn tables() -> Vec<(&'static str, Vec<Row>)> {
    let now = 602 * 60;
    let windows = (0..602).map(|minute| window(minute, 4)).collect();
    let seconds = (now - 600..now).map(|s| second(s, i64::from(s >= now - 300) + 1)).collect();
    let day = json!({
        "window_start": at(0), "window_end": at(86_400), "store_id": "main", "currency": "EUR", "orders": 300,
        "gross_minor": 300_000, "net_minor": 270_000
    });
    let progress = |table: &str| json!({"table": table, "watermark": at(now - 10)});
    vec![
        ("store_metrics", json_rows(windows)),
        ("vitals", json_rows(seconds)),
        ("revenue_daily", json_rows(vec![day])),
        ("job_progress", json_rows(vec![progress("store_metrics"), progress("vitals"), progress("revenue_daily")])),
    ]
}

fn tile<'a>(overview: &'a Overview, name: &str) -> &'a Kpi {
    overview.kpis.iter().find(|kpi| kpi.name == name).expect("the tile")
}

#[test]
fn tiles() {
    let page = overview(&cache_of(tables()), &OverviewParams::default());
    assert_eq!(page.as_of.map(|t| t.to_string()), Some(at(602 * 60)));
    let value = |name: &str| tile(&page, name).value;
    assert_eq!(value("net_today"), Some(270_000.0));
    assert_eq!(value("gross_recent"), Some(600_000.0));
    assert_eq!(tile(&page, "gross_recent").change, Some(1.0));
    assert_eq!(value("orders_recent"), Some(600.0));
    assert_eq!(value("average_order"), Some(1_000.0));
    assert_eq!(value("conversion"), Some(0.08));
    assert_eq!(value("decline_rate"), Some(0.1));
    assert_eq!(tile(&page, "net_today").state, "provisional");
    assert_eq!(tile(&page, "net_today").change, None, "yesterday is not known");
}

#[test]
fn sums_over_the_range() {
    let page = overview(&cache_of(tables()), &OverviewParams::default());
    // 12 windows that do not overlap, the last of them open.
    assert_eq!((page.total.orders, page.total.gross_change), (48, Some(0.0)));
    assert_eq!(page.funnel.iter().map(|step| step.count).collect::<Vec<_>>(), [480, 240, 144, 48]);
    assert_eq!(page.funnel[1].of_previous, Some(0.5));
    // Each minute's window from 9:05 to the one that ends soonest, 9:58 to 10:03.
    assert_eq!(page.revenue.rows.len(), 54);
    let states: Vec<_> = page.revenue.rows.iter().rev().take(6).map(|row| row[5].as_str().unwrap_or("")).collect();
    assert_eq!(states, ["provisional", "provisional", "final", "final", "final", "final"]);
    assert_eq!(page.pulse.rows.len(), 150);
    let day = overview(&cache_of(tables()), &OverviewParams { range: Range::Day, store: None });
    assert_eq!(day.total.gross_change, None);
    assert_eq!(day.revenue.rows.len(), 121);
}

#[test]
fn nothing_yet() {
    let page = overview(&cache_of(vec![]), &OverviewParams::default());
    assert_eq!(page.as_of, None);
    assert!(page.kpis.iter().all(|kpi| kpi.value.is_none() || kpi.value == Some(0.0)));
    assert!(page.revenue.rows.is_empty() && page.pulse.rows.is_empty() && page.categories.is_empty());
}

#[test]
fn categories_add_up() {
    let row = |minute: i64, category: &str, gross: i64| {
        json!({"window_start": at(minute * 60), "window_end": at(minute * 60 + 300), "category": category,
               "product_views": 1, "cart_adds": 1, "units": 1, "gross_minor": gross})
    };
    let mut rows: Vec<Value> = (0..600).map(|minute| row(minute, "lamps", 10)).collect();
    rows.extend((0..600).map(|minute| row(minute, "chairs", 30)));
    let mut tables = tables();
    tables.push(("category_metrics", json_rows(rows)));
    let page = overview(&cache_of(tables), &OverviewParams::default());
    let told: Vec<_> = page.categories.iter().map(|c| (c.category.as_str(), c.gross_minor, c.share)).collect();
    assert_eq!(told, [("chairs", 330, Some(0.75)), ("lamps", 110, Some(0.25))]);
    assert_eq!(page.categories[0].change.map(|c| (c * 100.0).round()), Some(-8.0));
}
