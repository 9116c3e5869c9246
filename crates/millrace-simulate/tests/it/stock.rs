//! Levels are the sums of their changes, and what is not there is not sold.

use std::collections::{BTreeMap, HashMap, HashSet};

use millrace_model::Timestamp;
use millrace_simulate::{Campaign, CampaignSet, Topic};

use crate::common::{Parsed, of_kind, parsed, run_of, settings};

const TOPICS: &[Topic] = &[Topic::Transactions, Topic::InventoryUpdates, Topic::AnswerKey];

fn movements(records: &[Parsed]) -> Vec<&Parsed> {
    let mut movements: Vec<&Parsed> = records.iter().filter(|record| record.topic == Topic::InventoryUpdates).collect();
    // Stable: movements of the same instant stay as they came.
    movements.sort_by_key(|movement| movement.time);
    movements
}

#[test]
fn levels_are_sums() {
    let records = parsed(&run_of(settings(31, 200.0), 60, TOPICS));
    let movements = movements(&records);
    let answers = of_kind(&records, "stock");
    let mut by_time: BTreeMap<Timestamp, Vec<&Parsed>> = BTreeMap::new();
    for answer in &answers {
        by_time.entry(answer.time).or_default().push(answer);
    }
    let (mut levels, mut at) = (HashMap::<&str, (i64, i64)>::new(), 0);
    for (boundary, answers) in by_time {
        while at < movements.len() && movements[at].time < boundary {
            let level = levels.entry(movements[at].text("product_id")).or_default();
            level.0 += movements[at].number("on_hand_change");
            level.1 += movements[at].number("reserved_change");
            at += 1;
        }
        for answer in answers {
            let expected = (answer.number("on_hand"), answer.number("reserved"));
            assert_eq!(levels[answer.text("product_id")], expected, "{}", answer.value());
        }
    }
    assert_eq!(at, movements.len(), "the last answers are after the last movement");
    assert_eq!(levels.len(), 400);
}

#[test]
fn stated_levels_follow_from_the_movements() {
    let mut settings = settings(32, 200.0);
    // In order of arrival, each movement states the level after it.
    settings.disorder.out_of_order = 0.0;
    let records = parsed(&run_of(settings, 45, TOPICS));
    let mut levels = HashMap::<String, (i64, i64)>::new();
    for movement in records.iter().filter(|record| record.topic == Topic::InventoryUpdates) {
        let level = levels.entry(movement.text("product_id").to_owned()).or_default();
        level.0 += movement.number("on_hand_change");
        level.1 += movement.number("reserved_change");
        assert_eq!(*level, (movement.number("on_hand"), movement.number("reserved")), "{}", movement.value());
        assert!(movement.number("quantity") >= 0 && level.0 >= 0 && level.1 >= 0, "{}", movement.value());
    }
}

#[test]
fn nothing_is_sold_that_is_not_there() {
    let mut settings = settings(33, 300.0);
    settings.disorder.out_of_order = 0.0;
    settings.campaigns = CampaignSet::all().with(Campaign::Oversell, false);
    let records = parsed(&run_of(settings, 60, TOPICS));
    let mut sold_out = HashSet::new();
    for movement in movements(&records) {
        let available = movement.number("on_hand") - movement.number("reserved");
        assert!(available >= 0, "{}", movement.value());
        if available == 0 {
            sold_out.insert(movement.text("product_id"));
        }
    }
    assert!(!sold_out.is_empty(), "some product sells out");
    let received = of_kind(&records, "shipment_received").len();
    assert!(received > 10, "{received} shipments");
}

#[test]
fn returned_goods_come_back_to_the_shelf() {
    let records = parsed(&run_of(settings(34, 300.0), 60, TOPICS));
    let restocked: HashSet<&str> =
        of_kind(&records, "restocked").into_iter().map(|movement| movement.text("order_id")).collect();
    let refunds = of_kind(&records, "order_refunded");
    for refund in &refunds {
        let comes_back = !matches!(refund.text("reason"), "never_arrived" | "damaged");
        assert_eq!(restocked.contains(refund.text("order_id")), comes_back, "{}", refund.value());
    }
    let released: HashSet<&str> =
        of_kind(&records, "reservation_released").into_iter().map(|movement| movement.text("order_id")).collect();
    for cancelled in of_kind(&records, "order_cancelled") {
        assert!(released.contains(cancelled.text("order_id")));
    }
}
