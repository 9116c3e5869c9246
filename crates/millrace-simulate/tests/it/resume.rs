//! A shop that is closed and opened again is the same shop: its stock goes on, its ids do not come again.

use std::collections::{HashMap, HashSet};

use millrace_model::Timestamp;
use millrace_simulate::{Delivery, Record, Shop, ShopState, Topic};

use crate::common::{minutes, of_kind, open, parsed, settings};

/// Three openings, of twelve minutes each, with a break of two.
fn openings() -> (Vec<Record>, Vec<ShopState>) {
    let (mut records, mut states) = (Vec::new(), Vec::new());
    let mut shop = open(settings(61, 250.0));
    for nth in 1..=3 {
        shop.advance(minutes(nth * 14 - 2), &mut records);
        shop.finish(&mut records);
        let text = serde_json::to_string(&shop.state()).expect("a state is JSON");
        assert!(text.len() < 200_000, "{} bytes", text.len());
        let state: ShopState = serde_json::from_str(&text).expect("a state goes round");
        assert_eq!(state.incarnation(), nth as u16);
        shop = Shop::resume(settings(61, 250.0), state.clone(), minutes(nth * 14)).expect("the same shop");
        states.push(state);
    }
    (records, states)
}

#[test]
fn ids_do_not_come_again() {
    let (records, _) = openings();
    let records = parsed(&records);
    for field in ["event_id", "payment_id", "refund_id", "shipment_id"] {
        let kinds = match field {
            "payment_id" => vec!["payment_authorized", "payment_declined"],
            "refund_id" => vec!["order_refunded"],
            "shipment_id" => vec!["shipment_received"],
            _ => vec![],
        };
        let mut seen = HashSet::new();
        for record in &records {
            let wanted = record.topic != Topic::AnswerKey && (kinds.is_empty() || kinds.contains(&record.kind()));
            assert!(!wanted || seen.insert(record.text(field)), "{field} {} again", record.text(field));
        }
    }
    // One answer a session, a payment and a campaign's phase.
    for kind in ["session", "payment", "campaign"] {
        let answers = of_kind(&records, kind);
        let ids: HashSet<&str> = answers.iter().map(|answer| answer.text("answer_id")).collect();
        assert_eq!(ids.len(), answers.len(), "{kind}");
    }
}

#[test]
fn stock_goes_on() {
    let (records, _) = openings();
    let records = parsed(&records);
    let mut levels = HashMap::<&str, (i64, i64)>::new();
    for movement in records.iter().filter(|record| record.topic == Topic::InventoryUpdates) {
        let level = levels.entry(movement.text("product_id")).or_default();
        level.0 += movement.number("on_hand_change");
        level.1 += movement.number("reserved_change");
    }
    let last: HashMap<&str, (i64, i64)> = of_kind(&records, "stock")
        .into_iter()
        .map(|answer| (answer.text("product_id"), (answer.number("on_hand"), answer.number("reserved"))))
        .collect();
    assert_eq!(levels, last);
    assert!(levels.values().all(|(on_hand, reserved)| *on_hand >= 0 && *reserved >= 0));
    assert_eq!(of_kind(&records, "stock_counted").iter().filter(|count| count.time < minutes(1)).count(), 400);
}

#[test]
fn minutes_and_totals_go_on() {
    let (records, _) = openings();
    let events = parsed(&records);
    let mut counted = HashMap::<Timestamp, i64>::new();
    for event in events.iter().filter(|event| event.topic == Topic::UserEvents && event.delivery != Delivery::Late) {
        *counted.entry(event.time.floor(60_000_000)).or_default() += 1;
    }
    // A later answer of the same id replaces the earlier one.
    let answers: HashMap<Timestamp, i64> =
        of_kind(&events, "minute").into_iter().map(|answer| (answer.time, answer.number("events"))).collect();
    assert_eq!(answers, counted);
    let duplicates = records.iter().filter(|record| record.delivery == Delivery::Duplicate).count() as i64;
    assert_eq!(of_kind(&events, "disorder").last().map(|totals| totals.number("duplicates")), Some(duplicates));
}

#[test]
fn open_orders_are_kept() {
    let (records, _) = openings();
    let records = parsed(&records);
    let placed_first: HashSet<&str> = of_kind(&records, "order_placed")
        .into_iter()
        .filter(|order| order.time < minutes(12))
        .map(|order| order.text("order_id"))
        .collect();
    let captured_later = of_kind(&records, "payment_captured")
        .into_iter()
        .filter(|payment| payment.time > minutes(14) && placed_first.contains(payment.text("order_id")))
        .count();
    assert!(captured_later > 50, "{captured_later} orders of the first opening are captured in the second");
}

#[test]
fn a_state_of_another_shop_is_refused() {
    let (_, states) = openings();
    let state = || states[0].clone();
    for (settings, at, start) in [
        (settings(62, 250.0), minutes(20), "the kept state has seed 61, the settings have 62;"),
        (settings(61, 3_000.0), minutes(20), "the kept state has products 400, the settings have 1264;"),
        (settings(61, 250.0), minutes(5), "the kept state goes up to 2026-11-22T08:12:00.000000Z,"),
    ] {
        let error = Shop::resume(settings, state(), at).err().expect(start).to_string();
        assert!(error.starts_with(start), "{error}");
    }
}
