//! The contracts of the shipped result tables, by hand, as the pipelines' SQL makes them.

use std::collections::BTreeMap;

use millrace_model::contract::TopicSettings;
use millrace_model::{Column, ColumnType, Contract, Contracts, Role};

const TEXT: ColumnType = ColumnType::Text;
const INT: ColumnType = ColumnType::Integer;
const NUMBER: ColumnType = ColumnType::Number;
const BOOLEAN: ColumnType = ColumnType::Boolean;
const TIME: ColumnType = ColumnType::Timestamp;

/// All result tables, and the product's own that the dashboard shows.
pub fn all() -> Vec<Contract> {
    let mut tables = metrics();
    tables.extend(sessions());
    tables.extend(fraud());
    tables.extend(goods());
    let builtin = Contracts::builtin();
    let system = ["dead_letters", "fraud_alerts", "fraud_lists", "fraud_rules", "fraud_verdicts", "job_progress"];
    tables.extend(system.iter().filter_map(|name| builtin.get(name)).cloned());
    tables
}

fn metrics() -> Vec<Contract> {
    vec![
        windowed(
            "store_metrics",
            "Traffic, funnel, orders and revenue by store",
            &["store_id"],
            &[
                ("currency", TEXT),
                ("visitors", INT),
                ("page_views", INT),
                ("searches", INT),
                ("product_views", INT),
                ("cart_adds", INT),
                ("checkouts", INT),
                ("orders", INT),
                ("payments_authorized", INT),
                ("payments_declined", INT),
                ("refunds", INT),
                ("gross_minor", INT),
                ("refunded_minor", INT),
                ("net_minor", INT),
            ],
        ),
        windowed(
            "vitals",
            "The pulse of the shop, by second",
            &["store_id"],
            &[
                ("currency", TEXT),
                ("events", INT),
                ("page_views", INT),
                ("cart_adds", INT),
                ("orders", INT),
                ("payments_declined", INT),
                ("gross_minor", INT),
            ],
        ),
        windowed(
            "revenue_daily",
            "Orders, refunds and revenue by store and day",
            &["store_id", "currency"],
            &[("orders", INT), ("refunds", INT), ("gross_minor", INT), ("refunded_minor", INT), ("net_minor", INT)],
        ),
        windowed(
            "category_metrics",
            "Views, cart adds, units and revenue by category",
            &["category"],
            &[("product_views", INT), ("cart_adds", INT), ("order_lines", INT), ("units", INT), ("gross_minor", INT)],
        ),
        windowed("ledger", "Records counted by source stream and minute", &["stream"], &[("records", INT)]),
    ]
}

fn sessions() -> Vec<Contract> {
    let step = ColumnType::Struct(columns(&[
        ("event_time", TIME),
        ("event_type", TEXT),
        ("path", TEXT),
        ("product_id", TEXT),
    ]));
    let texts = || ColumnType::List(Box::new(TEXT));
    vec![
        table(
            "sessions",
            "One row a visitor session",
            &["visitor_id", "session_start"],
            Some("session_start"),
            &[
                ("session_start", TIME),
                ("session_end", TIME),
                ("visitor_id", TEXT),
                ("user_id", TEXT),
                ("store_id", TEXT),
                ("channel", TEXT),
                ("country", TEXT),
                ("device_type", TEXT),
                ("landing_path", TEXT),
                ("exit_path", TEXT),
                ("last_event_time", TIME),
                ("events", INT),
                ("page_views", INT),
                ("searches", INT),
                ("product_views", INT),
                ("cart_adds", INT),
                ("cart_removes", INT),
                ("checkouts", INT),
                ("payment_entries", INT),
                ("payments_declined", INT),
                ("orders", INT),
                ("revenue_minor", INT),
                ("currency", TEXT),
                ("stage", TEXT),
                ("products_viewed", texts()),
                ("products_added", texts()),
                ("products_removed", texts()),
                ("cart_minor", INT),
                ("cart_abandoned", BOOLEAN),
                ("journey", ColumnType::List(Box::new(step))),
            ],
        ),
        table(
            "abandoned_carts",
            "Carts without an order",
            &["visitor_id", "session_start"],
            Some("session_start"),
            &[
                ("session_start", TIME),
                ("session_end", TIME),
                ("visitor_id", TEXT),
                ("user_id", TEXT),
                ("store_id", TEXT),
                ("channel", TEXT),
                ("device_type", TEXT),
                ("last_event_time", TIME),
                ("products_added", texts()),
                ("products_removed", texts()),
                ("cart_minor", INT),
                ("stage", TEXT),
                ("reason", TEXT),
            ],
        ),
        windowed(
            "session_funnel",
            "Closed sessions by hour, channel and stage",
            &["channel", "stage"],
            &[("sessions", INT), ("events", INT), ("revenue_minor", INT)],
        ),
    ]
}

fn fraud() -> Vec<Contract> {
    let mut columns = vec![("signal_id", TEXT), ("window_start", TIME), ("window_end", TIME)];
    columns.extend([("rule", TEXT), ("entity_kind", TEXT), ("entity", TEXT), ("severity", TEXT)]);
    columns.extend([("payments", INT), ("declines", INT), ("cards", INT), ("amount_minor", INT), ("currency", TEXT)]);
    columns.extend([("first_seen", TIME), ("last_seen", TIME), ("payment_ids", ColumnType::List(Box::new(TEXT)))]);
    vec![table("fraud_signals", "Signals of all fraud rules", &["signal_id"], Some("window_start"), &columns)]
}

fn goods() -> Vec<Contract> {
    let pair = ["product_id", "other_id"];
    vec![
        table(
            "stock_levels",
            "Units on hand, reserved and available",
            &["product_id"],
            Some("last_change"),
            &[
                ("product_id", TEXT),
                ("product_name", TEXT),
                ("category", TEXT),
                ("on_hand", INT),
                ("reserved", INT),
                ("available", INT),
                ("reorder_point", INT),
                ("status", TEXT),
                ("adjustments", INT),
                ("last_change", TIME),
            ],
        ),
        windowed(
            "stock_cover",
            "Speed of sale and hours of cover",
            &["product_id"],
            &[("category", TEXT), ("units_sold", INT), ("available", INT), ("hours_of_cover", NUMBER)],
        ),
        table(
            "seen_together",
            "Sessions that viewed both",
            &pair,
            Some("last_session"),
            &[("product_id", TEXT), ("other_id", TEXT), ("sessions", INT), ("last_session", TIME)],
        ),
        table(
            "bought_together",
            "Orders that hold both",
            &pair,
            Some("last_order"),
            &[("product_id", TEXT), ("other_id", TEXT), ("orders", INT), ("last_order", TIME)],
        ),
        windowed(
            "trending",
            "Interest in each product over half an hour",
            &["product_id"],
            &[("category", TEXT), ("views", INT), ("cart_adds", INT), ("units", INT), ("score", INT)],
        ),
    ]
}

/// A table of windows: their bounds and the rest of the key come first.
fn windowed(name: &str, comment: &str, key: &[&str], rest: &[(&str, ColumnType)]) -> Contract {
    let mut columns = vec![("window_start", TIME), ("window_end", TIME)];
    columns.extend(key.iter().map(|name| (*name, TEXT)));
    columns.extend(rest.iter().cloned());
    let key: Vec<&str> = ["window_start"].iter().chain(key).copied().collect();
    table(name, comment, &key, Some("window_start"), &columns)
}

fn table(name: &str, comment: &str, key: &[&str], time: Option<&str>, rest: &[(&str, ColumnType)]) -> Contract {
    Contract {
        name: name.to_owned(),
        description: comment.to_owned(),
        role: Role::Result,
        columns: columns(rest),
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        event_time: time.map(str::to_owned),
        watermark_delay_micros: 0,
        deduplicate_by: Vec::new(),
        topic: TopicSettings { partitions: 1, config: BTreeMap::new() },
    }
}

fn columns(of: &[(&str, ColumnType)]) -> Vec<Column> {
    of.iter()
        .map(|(name, column_type)| Column {
            name: (*name).to_owned(),
            column_type: column_type.clone(),
            required: true,
            nullable: true,
            not_empty: false,
            description: String::new(),
        })
        .collect()
}
