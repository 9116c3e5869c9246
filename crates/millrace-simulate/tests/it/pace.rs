//! The rate is what was asked for, a shop is a shop at any rate, and nothing piles up.

use std::collections::HashMap;

use millrace_model::time::MINUTE_MICROS;
use millrace_simulate::{Disorder, Ramp, Shop, ShopSettings, Topic};

use crate::common::{START, minutes, of_kind, open, parsed, run, run_of, settings};

/// Source records a second from one minute to another.
fn rate(shop: &mut Shop, from: i64, to: i64) -> f64 {
    let (mut records, mut sources) = (Vec::new(), 0);
    for minute in 1..=to {
        records.clear();
        shop.advance(minutes(minute), &mut records);
        sources += records.iter().filter(|record| record.topic != Topic::AnswerKey && minute > from).count();
    }
    sources as f64 / (60 * (to - from)) as f64
}

#[test]
fn the_rate_holds() {
    for wanted in [30.0, 300.0, 3_000.0] {
        let mut shop = open(settings(51, wanted));
        for (from, to) in [(0, 5), (5, 10), (10, 20), (20, 30)] {
            let found = rate(&mut shop, from, to);
            // The shelves are counted once at the start.
            let tolerance = if from == 0 || wanted < 100.0 { 0.1 } else { 0.05 };
            assert!((found / wanted - 1.0).abs() < tolerance, "{found} instead of {wanted} in minutes {from} to {to}");
        }
    }
}

#[test]
fn the_ramp_is_a_ramp() {
    let mut settings = settings(52, 400.0);
    settings.ramp = Some(Ramp::default());
    let mut shop = open(settings);
    let mut rates: Vec<f64> = (1..10).map(|nth| rate(&mut shop, nth * 5, nth * 5 + 5)).collect();
    assert!(rates[0] < 80.0, "{rates:?}");
    assert!(rates.is_sorted_by(|a, b| b > &(a * 0.97)), "{rates:?}");
    rates.push(rate(&mut shop, 55, 65));
    assert!((rates[9] / 400.0 - 1.0).abs() < 0.05, "{rates:?}");
}

#[test]
fn a_shop_is_a_shop() {
    let records = parsed(&run(settings(53, 300.0), 60));
    let sessions = of_kind(&records, "session");
    let count = |kind| of_kind(&records, kind).len() as f64;
    let conversion = count("order_placed") / sessions.len() as f64;
    assert!((0.02..0.045).contains(&conversion), "conversion {conversion}");
    let abandoned = sessions.iter().filter(|session| session.flag("cart_abandoned") == Some(true)).count() as f64;
    assert!(abandoned > count("order_placed"), "more carts are left than bought: {abandoned}");
    let minutes: Vec<f64> = sessions
        .iter()
        .filter(|session| session.number("events") > 3)
        .map(|session| {
            let at = |field: &str| crate::common::time(session.text(field)).0;
            (at("session_end") - at("session_start")) as f64 / MINUTE_MICROS as f64
        })
        .collect();
    let mean = minutes.iter().sum::<f64>() / minutes.len() as f64;
    assert!((1.0..6.0).contains(&mean), "sessions of {mean} minutes");
    // Why carts are left: sold out, declined, at shipping.
    let mut last: HashMap<&str, (&str, &str)> = HashMap::new();
    for event in records.iter().filter(|record| matches!(record.topic, Topic::UserEvents | Topic::Transactions)) {
        last.insert(event.text("session_id"), (event.kind(), event.text("path")));
    }
    for (end, least) in [
        (("page_viewed", "/checkout/shipping"), 100),
        (("payment_declined", ""), 15),
        (("page_viewed", "/checkout/sold-out"), 1),
    ] {
        let found = last.values().filter(|seen| **seen == end).count();
        assert!(found >= least, "{found} sessions end with {end:?}");
    }
}

#[test]
fn company_can_be_found_again() {
    let records = parsed(&run_of(settings(54, 300.0), 60, &[Topic::Transactions]));
    let mut baskets: HashMap<(u32, u32), f64> = HashMap::new();
    let mut bought: HashMap<u32, f64> = HashMap::new();
    let orders = of_kind(&records, "order_placed");
    for order in &orders {
        let number = |line: &serde_json::Value| line["product_id"].as_str()?.strip_prefix("sku-")?.parse::<u32>().ok();
        let mut products: Vec<u32> = order.lines().iter().filter_map(number).collect();
        products.sort_unstable();
        for (at, a) in products.iter().enumerate() {
            *bought.entry(*a).or_default() += 1.0;
            products[at + 1..].iter().for_each(|b| *baskets.entry((*a, *b)).or_default() += 1.0);
        }
    }
    // Lift: how much more often two products are bought together than chance would have it.
    let lifts = baskets.iter().filter(|(_, together)| **together >= 4.0);
    let strong =
        lifts.filter(|((a, b), together)| **together * orders.len() as f64 / (bought[a] * bought[b]) > 4.0).count();
    assert!(strong > 20, "{strong} pairs go together");
}

#[test]
fn nothing_piles_up() {
    let mut shop = open(settings(55, 500.0));
    let mut records = Vec::new();
    let mut at = |until| {
        for minute in 0..=until {
            shop.advance(minutes(minute), &mut records);
            records.clear();
        }
        shop.load()
    };
    let (early, late) = (at(60), at(180));
    for (name, early, late) in [
        ("visitors", early.visitors, late.visitors),
        ("orders", early.orders, late.orders),
        ("in transit", early.in_transit + 50, late.in_transit),
        ("agenda", early.agenda, late.agenda),
    ] {
        assert!(late < early * 3 / 2, "{name} grew from {early} to {late}");
    }
    assert!(late.guests <= 65_536);
    assert!(late.visitors < 500 * 14, "{late:?}");
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let good = ShopSettings::new(1, START, 300.0);
    for (settings, name) in [
        (ShopSettings { rate_per_second: 0.0, ..good.clone() }, "rate_per_second"),
        (ShopSettings { rate_per_second: f64::NAN, ..good.clone() }, "rate_per_second"),
        (ShopSettings { products: 3, ..good.clone() }, "products"),
        (ShopSettings { customers: 1, ..good.clone() }, "customers"),
        (ShopSettings { campaign_interval_scale: 0.0, ..good.clone() }, "campaign_interval_scale"),
        (ShopSettings { ramp: Some(Ramp { from_share: 2.0, duration: 1 }), ..good.clone() }, "ramp.from_share"),
        (ShopSettings { disorder: Disorder { late: 0.9, ..Disorder::none() }, ..good.clone() }, "disorder.late"),
        (
            ShopSettings { disorder: Disorder { out_of_order_max: 12_000_000, ..Disorder::none() }, ..good.clone() },
            "disorder.out_of_order_max",
        ),
    ] {
        let error = Shop::new(settings).err().expect(name).to_string();
        assert!(error.starts_with(&format!("setting `{name}` is ")) && error.contains("; use "), "{error}");
    }
}
