//! The shipped pipelines against what the simulated shop knows to be true: minutes, sessions, stock and campaigns.

use std::collections::BTreeMap;
use std::time::SystemTime;

use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::kafka::producer::{Outgoing, Producer};
use millrace_model::Timestamp;
use millrace_simulate::{Shop, ShopSettings};
use serde_json::Value;

use crate::support::{PATIENCE, Up, audit, query};

const HOUR: i64 = 3_600_000_000;

/// A shop of three hours that ended now: its records sent, its answers by kind.
fn run_shop(up: &Up) -> BTreeMap<String, Vec<Value>> {
    let now = Timestamp::from_system_time(SystemTime::now());
    let start = Timestamp(now.0 - 3 * HOUR).floor(60_000_000);
    let mut shop = Shop::new(ShopSettings::new(7, start, 40.0)).expect("a shop");
    let producer = Producer::new(&ClientSettings::new(up.kafka.clone()), None).expect("a producer");
    let (mut records, mut answers) = (Vec::new(), BTreeMap::<String, Vec<Value>>::new());
    let mut cursor = start;
    while cursor < now {
        cursor = Timestamp(now.0.min(cursor.0 + 10_000_000));
        shop.advance(cursor, &mut records);
        for record in records.drain(..) {
            if record.topic.name() == "answer_key" {
                let answer: Value = serde_json::from_slice(&record.value).expect("JSON");
                answers.entry(answer["kind"].as_str().expect("a kind").to_owned()).or_default().push(answer);
                continue;
            }
            let outgoing = Outgoing {
                topic: record.topic.name(),
                partition: None,
                key: Some(&record.key),
                value: Some(&record.value),
                time: Some(record.arrival),
            };
            producer.send(outgoing, PATIENCE).expect("room");
        }
    }
    producer.flush(PATIENCE).expect("acknowledged");
    answers
}

fn number(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn the_pipelines_find_what_the_shop_knows() {
    let dir = tempfile::tempdir().expect("a folder");
    let up = Up::start(dir.path(), &["--no-simulate"]);
    let answers = run_shop(&up);
    drop(up.stop());
    audit(dir.path());
    let disorder = answers["disorder"].last().expect("an answer");
    minutes(dir.path(), &answers["minute"], number(&disorder["late"]));
    sessions(dir.path(), &answers["session"]);
    stock(dir.path(), &answers["stock"]);
    campaigns(dir.path(), &answers["campaign"]);
}

/// Orders, revenue, declines and user events of every minute. A late record is in no answer; one that is half an hour late
/// is still counted when the job was that far behind, so each excess must be a record that was not set aside.
fn minutes(dir: &std::path::Path, answers: &[Value], late: i64) {
    let sql =
        "SELECT date_trunc('minute', window_start) AS minute, sum(orders) AS orders, sum(gross_minor) AS gross_minor,
                 sum(payments_declined) AS declines FROM vitals GROUP BY 1";
    let found: BTreeMap<String, Value> =
        query(dir, sql).into_iter().map(|row| (text(&row["minute"]).to_owned(), row)).collect();
    let sql = "SELECT window_start AS minute, records FROM ledger WHERE stream = 'user_events'";
    let events: BTreeMap<String, i64> =
        query(dir, sql).into_iter().map(|row| (text(&row["minute"]).to_owned(), number(&row["records"]))).collect();
    let (mut orders, mut excess) = (0, 0);
    for answer in answers {
        let minute = text(&answer["event_time"]);
        let row = &found[minute];
        for field in ["orders", "gross_minor", "declines"] {
            assert_eq!(number(&row[field]), number(&answer[field]), "{field} of {minute}");
        }
        let more = events[minute] - number(&answer["events"]);
        assert!(more >= 0, "user events of {minute}: {} of {}", events[minute], answer["events"]);
        excess += more;
        orders += number(&answer["orders"]);
    }
    let sql =
        "SELECT count(*) AS n FROM dead_letters WHERE kind = 'late' AND `table` = 'ledger' AND topic = 'user_events'";
    let set_aside = number(&query(dir, sql)[0]["n"]);
    println!("{} minutes equal, {orders} orders in them; late: {set_aside} set aside, {excess} counted", answers.len());
    assert!(excess + set_aside <= late, "{excess} + {set_aside} of {late} late records");
    assert!(answers.len() > 100 && orders > 500);
}

/// Every session that is closed, event by event.
fn sessions(dir: &std::path::Path, answers: &[Value]) {
    let sql = "SELECT visitor_id, session_start, events, orders, revenue_minor, cart_abandoned FROM sessions";
    let found: BTreeMap<(String, String), Value> = query(dir, sql)
        .into_iter()
        .map(|row| ((text(&row["visitor_id"]).to_owned(), text(&row["session_start"]).to_owned()), row))
        .collect();
    let (mut equal, mut open) = (0, 0);
    for answer in answers {
        let key = (text(&answer["visitor_id"]).to_owned(), text(&answer["session_start"]).to_owned());
        // The shop may say that a visitor has gone before half an hour of silence has proven it.
        let Some(row) = found.get(&key) else {
            open += 1;
            continue;
        };
        for (field, of_answer) in [("orders", "orders"), ("revenue_minor", "gross_minor")] {
            assert_eq!(number(&row[field]), number(&answer[of_answer]), "{field} of {key:?}");
        }
        assert_eq!(row["cart_abandoned"], answer["cart_abandoned"], "the cart of {key:?}");
        equal += 1;
    }
    println!("{equal} sessions equal, {open} still open");
    assert!(equal > 1_000 && open * 4 < equal);
}

/// What is on every shelf.
fn stock(dir: &std::path::Path, answers: &[Value]) {
    let last: BTreeMap<&str, &Value> = answers.iter().map(|answer| (text(&answer["product_id"]), answer)).collect();
    let found = query(dir, "SELECT product_id, on_hand, reserved FROM stock_levels");
    let mut equal = 0;
    for row in &found {
        if let Some(answer) = last.get(text(&row["product_id"])) {
            equal += usize::from(number(&row["on_hand"]) == number(&answer["on_hand"]));
        }
    }
    // An answer is as old as its product's last count: few may have sold since.
    println!("{equal} of {} shelves equal, {} answered", found.len(), last.len());
    assert!(equal * 10 >= last.len() * 9, "{equal} of {}", last.len());
}

/// Campaigns whose rule ships are found, by whom they are about; and of the rules that are about one campaign alone, nobody else is.
fn campaigns(dir: &std::path::Path, answers: &[Value]) {
    let signals = query(dir, "SELECT DISTINCT rule, entity FROM fraud_signals");
    let found = |rule: &str, entity: &str| signals.iter().any(|row| row["rule"] == rule && row["entity"] == entity);
    let rule_of = |campaign: &str| match campaign {
        "card_testing" => Some("card_testing"),
        "stolen_card" => Some("velocity"),
        "promo_abuse" => Some("promo_abuse"),
        "impossible_travel" => Some("impossible_travel"),
        "account_takeover" => Some("account_takeover"),
        "refund_abuse" => Some("refund_without_return"),
        _ => None,
    };
    let mut caught = BTreeMap::<&str, (u32, u32)>::new();
    for answer in answers.iter().filter(|answer| answer["phase"] == "ended") {
        let Some(rule) = rule_of(text(&answer["campaign"])) else { continue };
        let (hits, all) = caught.entry(rule).or_default();
        *all += 1;
        *hits += u32::from(found(rule, text(&answer["entity"])));
    }
    println!("caught of all, by rule: {caught:?}");
    for rule in ["card_testing", "account_takeover", "promo_abuse", "impossible_travel"] {
        let (hits, all) = caught[rule];
        assert!(all > 0 && hits == all, "{rule}: {caught:?}");
    }
    // Of the last ones the goods may still come back.
    let (hits, all) = caught["refund_without_return"];
    assert!(hits > 0 && hits * 2 >= all, "{caught:?}");
    let about = |rule: &str, entity: &str| {
        answers.iter().any(|answer| rule_of(text(&answer["campaign"])) == Some(rule) && answer["entity"] == entity)
    };
    let exact = ["account_takeover", "promo_abuse", "refund_without_return"];
    let honest = signals.iter().filter(|row| exact.contains(&text(&row["rule"])));
    let honest: Vec<_> = honest.filter(|row| !about(text(&row["rule"]), text(&row["entity"]))).collect();
    println!("signals about nobody's campaign: {honest:?}");
    assert!(honest.len() * 20 <= signals.len(), "{honest:?}");
}
