//! The answers are what the records add up to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use millrace_model::Timestamp;
use millrace_model::time::MINUTE_MICROS;
use millrace_simulate::{Delivery, Topic};

use crate::common::{Parsed, of_kind, parsed, run, settings, time};

const SEEDS: [u64; 2] = [21, 22];

fn records(seed: u64) -> Vec<Parsed> {
    parsed(&run(settings(seed, 100.0), 75))
}

/// What windows and sessions count.
fn counted(records: &[Parsed]) -> impl Iterator<Item = &Parsed> {
    records.iter().filter(|record| record.delivery != Delivery::Late)
}

#[test]
fn minutes_add_up() {
    for seed in SEEDS {
        let records = records(seed);
        let mut sums: BTreeMap<Timestamp, [i64; 6]> = BTreeMap::new();
        for record in counted(&records) {
            let amount = record.number("amount_minor");
            let add = match (record.topic, record.kind()) {
                (Topic::UserEvents, _) => [1, 0, 0, 0, 0, 0],
                (_, "order_placed") => [0, 1, amount, 0, 0, 0],
                (_, "order_refunded") => [0, 0, 0, 1, amount, 0],
                (_, "payment_declined") => [0, 0, 0, 0, 0, 1],
                _ => continue,
            };
            let sum = sums.entry(record.time.floor(MINUTE_MICROS)).or_default();
            sum.iter_mut().zip(add).for_each(|(sum, add)| *sum += add);
        }
        let fields = ["events", "orders", "gross_minor", "refunds", "refunded_minor", "declines"];
        let answers: BTreeMap<Timestamp, [i64; 6]> = of_kind(&records, "minute")
            .into_iter()
            .map(|answer| (answer.time, fields.map(|field| answer.number(field))))
            .collect();
        assert_eq!(answers, sums);
        assert_eq!(of_kind(&records, "minute").len(), answers.len(), "one answer a minute");
    }
}

#[derive(Default, PartialEq, Eq, Debug)]
struct Session {
    end: Timestamp,
    events: i64,
    orders: i64,
    gross_minor: i64,
    in_cart: i64,
    viewed: BTreeSet<String>,
    bought: BTreeSet<String>,
}

#[test]
fn sessions_are_those_of_a_gap_of_30_minutes() {
    for seed in SEEDS {
        let records = records(seed);
        let mut events: Vec<&Parsed> = counted(&records).filter(|record| record.topic != Topic::AnswerKey).collect();
        events.sort_by_key(|event| event.time);
        let mut sessions: BTreeMap<(String, Timestamp), Session> = BTreeMap::new();
        let mut open: HashMap<String, (Timestamp, Timestamp)> = HashMap::new();
        for event in events {
            let visitor = event.text("anonymous_id").to_owned();
            if event.topic == Topic::UserEvents {
                let (start, last) = open.entry(visitor.clone()).or_insert((event.time, event.time));
                let gap = event.time.0 - last.0;
                assert!(
                    !(14 * MINUTE_MICROS..35 * MINUTE_MICROS).contains(&gap),
                    "a gap too close to 30 minutes: {gap}"
                );
                if gap > 30 * MINUTE_MICROS {
                    *start = event.time;
                }
                *last = event.time;
                let session = sessions.entry((visitor, *start)).or_default();
                session.end = event.time;
                session.events += 1;
                let product = event.text("product_id").to_owned();
                match event.kind() {
                    "product_viewed" => _ = session.viewed.insert(product),
                    "product_added" => session.in_cart += event.number("quantity"),
                    "product_removed" => session.in_cart = (session.in_cart - event.number("quantity")).max(0),
                    _ => {}
                }
            } else if event.kind() == "order_placed" {
                let (start, _) = open[&visitor];
                let session = sessions.get_mut(&(visitor, start)).expect("an order within a session");
                session.orders += 1;
                session.gross_minor += event.number("amount_minor");
                session.in_cart = 0;
                session
                    .bought
                    .extend(event.lines().iter().filter_map(|line| Some(line["product_id"].as_str()?.to_owned())));
            }
        }
        let answers = of_kind(&records, "session");
        assert_eq!(answers.len(), sessions.len());
        for answer in answers {
            let start = time(answer.text("session_start"));
            let session = &sessions[&(answer.text("visitor_id").to_owned(), start)];
            let products = |field: &str| -> Vec<String> {
                let value = answer.value();
                let products = value[field].as_array().expect("a list");
                products.iter().map(|product| product.as_str().expect("an id").to_owned()).collect()
            };
            assert_eq!(products("products_viewed"), Vec::from_iter(session.viewed.iter().cloned()));
            assert_eq!(products("products_bought"), Vec::from_iter(session.bought.iter().cloned()));
            assert_eq!(time(answer.text("session_end")), session.end);
            assert_eq!(answer.number("events"), session.events);
            assert_eq!(answer.number("orders"), session.orders);
            assert_eq!(answer.number("gross_minor"), session.gross_minor);
            let abandoned = session.orders == 0 && session.in_cart > 0;
            assert_eq!(answer.flag("cart_abandoned"), Some(abandoned), "{}", answer.value());
        }
    }
}

#[test]
fn every_payment_is_answered_and_every_order_is_paid() {
    let records = records(SEEDS[0]);
    let answers: HashMap<&str, &Parsed> =
        of_kind(&records, "payment").into_iter().map(|answer| (answer.text("payment_id"), answer)).collect();
    let mut attempts: Vec<&Parsed> = of_kind(&records, "payment_authorized");
    let authorised: HashMap<&str, &Parsed> =
        attempts.iter().map(|payment| (payment.text("payment_id"), *payment)).collect();
    attempts.extend(of_kind(&records, "payment_declined"));
    assert_eq!(answers.len(), attempts.len());
    for attempt in attempts {
        let answer = answers[attempt.text("payment_id")];
        assert_eq!(answer.text("order_id"), attempt.text("order_id"));
        assert!(answer.flag("fraud").is_some());
        assert_eq!(attempt.kind() == "payment_declined", !attempt.text("decline_code").is_empty());
    }
    let orders = of_kind(&records, "order_placed");
    // Every authorised payment becomes an order (the last ones when the shop closes).
    assert_eq!(orders.len(), authorised.len());
    for order in orders {
        let payment = authorised[order.text("payment_id")];
        assert_eq!(payment.text("order_id"), order.text("order_id"));
        assert_eq!(payment.number("amount_minor"), order.number("amount_minor"));
        let goods: i64 = order
            .lines()
            .iter()
            .map(|line| line["quantity"].as_i64().unwrap_or(0) * line["price_minor"].as_i64().unwrap_or(0))
            .sum();
        let amount = goods - order.number("discount_minor") + order.number("shipping_minor");
        assert_eq!(amount, order.number("amount_minor"), "{}", order.value());
        assert!(goods > 0);
    }
}

#[test]
fn nobody_gets_back_more_than_they_paid() {
    let records = records(SEEDS[1]);
    let paid: HashMap<&str, i64> = of_kind(&records, "order_placed")
        .into_iter()
        .map(|order| (order.text("order_id"), order.number("amount_minor")))
        .collect();
    let captured: BTreeSet<&str> =
        of_kind(&records, "payment_captured").into_iter().map(|payment| payment.text("order_id")).collect();
    let (mut full, mut partial) = (0, 0);
    for refund in of_kind(&records, "order_refunded") {
        let (order, amount) = (refund.text("order_id"), refund.number("amount_minor"));
        assert!(captured.contains(order));
        assert!(amount > 0 && amount <= paid[order], "{}", refund.value());
        assert!(!refund.lines().is_empty());
        if amount == paid[order] { full += 1 } else { partial += 1 }
    }
    assert!(full > 5 && partial > 5, "{full} full, {partial} partial");
    for cancelled in of_kind(&records, "order_cancelled") {
        assert!(!captured.contains(cancelled.text("order_id")));
    }
}
