//! Every campaign leaves the traces it is named for.

use std::collections::{BTreeMap, HashMap, HashSet};

use millrace_model::Timestamp;
use millrace_model::time::{MINUTE_MICROS, SECOND_MICROS};
use millrace_simulate::{Campaign, CampaignSet, Topic};

use crate::common::{Parsed, minutes, of_kind, parsed, run, run_of, settings};

/// One campaign alone, in a shop large enough for it.
fn alone(campaign: Campaign, until: i64) -> Vec<Parsed> {
    alone_of(campaign, until, &Topic::ALL)
}

fn alone_of(campaign: Campaign, until: i64, topics: &[Topic]) -> Vec<Parsed> {
    let mut settings = settings(71, 300.0);
    settings.campaigns = CampaignSet::none().with(campaign, true);
    settings.disorder = millrace_simulate::Disorder::none();
    let mut records = parsed(&run_of(settings, until, topics));
    // A run that the closing of the shop cut short shows nothing.
    records.retain(|record| {
        record.topic != Topic::AnswerKey || record.kind() != "campaign" || record.time < minutes(until)
    });
    records
}

/// Entities of the runs that ended, with start and end.
fn runs(records: &[Parsed], campaign: Campaign) -> Vec<(&str, Timestamp, Timestamp)> {
    let mut started = HashMap::new();
    let mut runs = Vec::new();
    for answer in of_kind(records, "campaign") {
        assert_eq!(answer.text("campaign"), campaign.name());
        let id = answer.text("answer_id").rsplit_once('/').map(|(run, _)| run).unwrap_or_default();
        if answer.text("phase") == "started" {
            started.insert(id, answer.time);
        } else {
            runs.push((answer.text("entity"), started[id], answer.time));
        }
    }
    assert!(!runs.is_empty(), "{} ran", campaign.name());
    runs
}

/// Records of a topic with this value in a field, in the order of event time.
fn with<'a>(records: &'a [Parsed], topic: Topic, field: &str, value: &str) -> Vec<&'a Parsed> {
    records.iter().filter(|record| record.topic == topic && record.text(field) == value).collect()
}

fn kinds<'a>(records: &[&'a Parsed], kind: &str) -> Vec<&'a Parsed> {
    records.iter().copied().filter(|record| record.kind() == kind).collect()
}

fn labels(records: &[Parsed]) -> HashMap<&str, (bool, &str)> {
    let fraud = |answer: &Parsed| answer.flag("fraud").unwrap_or_default();
    of_kind(records, "payment")
        .into_iter()
        .map(|answer| (answer.text("payment_id"), (fraud(answer), answer.text("campaign"))))
        .collect()
}

#[test]
fn card_testing() {
    let records = alone(Campaign::CardTesting, 15);
    let labels = labels(&records);
    for (device, start, end) in runs(&records, Campaign::CardTesting) {
        let payments = with(&records, Topic::Transactions, "device_id", device);
        let declined = kinds(&payments, "payment_declined");
        let authorised = kinds(&payments, "payment_authorized");
        let attempts: Vec<&Parsed> = declined.iter().chain(&authorised).copied().collect();
        let cards: HashSet<&str> = attempts.iter().map(|payment| payment.text("card_token")).collect();
        assert!(cards.len() >= 30 && cards.len() == attempts.len(), "{} cards", cards.len());
        assert!(declined.len() > authorised.len() * 2);
        assert!(attempts.iter().all(|payment| payment.number("amount_minor") < 2_500));
        assert!(attempts.iter().all(|payment| labels[payment.text("payment_id")] == (true, "card_testing")));
        assert!(end.0 - start.0 < 3 * MINUTE_MICROS);
    }
}

#[test]
fn stolen_card() {
    let records = alone(Campaign::StolenCard, 20);
    for (card, start, end) in runs(&records, Campaign::StolenCard) {
        let payments = with(&records, Topic::Transactions, "card_token", card);
        let authorised: Vec<&Parsed> =
            kinds(&payments, "payment_authorized").into_iter().filter(|payment| payment.time >= start).collect();
        assert!(authorised.len() >= 5, "{} payments", authorised.len());
        let (first, last) = (&authorised[0], &authorised[authorised.len() - 1]);
        assert!(last.number("amount_minor") > 5 * first.number("amount_minor"));
        assert!(last.time.0 - first.time.0 < 5 * MINUTE_MICROS && end.0 - start.0 < 8 * MINUTE_MICROS);
        assert!(!kinds(&payments, "payment_declined").is_empty());
        assert!(authorised.iter().all(|payment| payment.text("shipping_country") != payment.text("ip_country")));
    }
}

#[test]
fn fraud_comes_back_as_chargebacks() {
    let records = alone_of(Campaign::StolenCard, 60, &Topic::ALL[1..]);
    let labels = labels(&records);
    let chargebacks = of_kind(&records, "chargeback_received");
    let placed: HashMap<&str, &Parsed> =
        of_kind(&records, "order_placed").into_iter().map(|order| (order.text("order_id"), order)).collect();
    assert!(chargebacks.len() > 8, "{}", chargebacks.len());
    for chargeback in chargebacks {
        assert_eq!(labels[chargeback.text("payment_id")], (true, "stolen_card"));
        let delay = chargeback.time.0 - placed[chargeback.text("order_id")].time.0;
        assert!((14 * MINUTE_MICROS..26 * MINUTE_MICROS).contains(&delay), "{delay}");
    }
}

#[test]
fn account_takeover() {
    let records = alone(Campaign::AccountTakeover, 20);
    for (user, start, end) in runs(&records, Campaign::AccountTakeover) {
        let device = with(&records, Topic::UserEvents, "user_id", user)
            .into_iter()
            .find(|event| event.kind() == "password_changed" && event.time >= start && event.time <= end)
            .expect("a password changed")
            .text("device_id")
            .to_owned();
        let events = with(&records, Topic::UserEvents, "device_id", &device);
        let order: Vec<&str> = events.iter().map(|event| event.kind()).collect();
        let at = |kind: &str| order.iter().position(|found| *found == kind);
        assert!(order.iter().filter(|kind| **kind == "sign_in_failed").count() >= 5);
        assert!(at("sign_in_failed") < at("signed_in") && at("signed_in") < at("password_changed"));
        assert!(at("password_changed") < at("address_changed") && at("address_changed") < at("product_added"));
        let payments = with(&records, Topic::Transactions, "device_id", &device);
        let orders = kinds(&payments, "order_placed");
        assert_eq!(orders.len(), 1);
        assert_eq!(orders[0].text("user_id"), user);
        assert!(orders[0].number("amount_minor") > 20_000);
    }
}

#[test]
fn impossible_travel() {
    let records = alone(Campaign::ImpossibleTravel, 25);
    let labels = labels(&records);
    for (card, start, _) in runs(&records, Campaign::ImpossibleTravel) {
        let payments = with(&records, Topic::Transactions, "card_token", card);
        let paid: Vec<&Parsed> =
            kinds(&payments, "payment_authorized").into_iter().filter(|payment| payment.time >= start).collect();
        let (home, away) = (paid[0], paid[1]);
        assert_eq!(labels[home.text("payment_id")], (false, ""));
        assert_eq!(labels[away.text("payment_id")], (true, "impossible_travel"));
        assert_eq!(home.text("user_id"), away.text("user_id"));
        let hours = (away.time.0 - home.time.0) as f64 / (60.0 * MINUTE_MICROS as f64);
        assert!(kilometres(home, away) / hours > 5_000.0);
    }
}

fn kilometres(a: &Parsed, b: &Parsed) -> f64 {
    let radians = |record: &Parsed, field: &str| record.value()[field].as_f64().expect("degrees").to_radians();
    let (latitude_a, latitude_b) = (radians(a, "ip_latitude"), radians(b, "ip_latitude"));
    let across = ((radians(a, "ip_longitude") - radians(b, "ip_longitude")) / 2.0).sin().powi(2);
    let along = ((latitude_a - latitude_b) / 2.0).sin().powi(2);
    2.0 * 6_371.0 * (along + latitude_a.cos() * latitude_b.cos() * across).sqrt().asin()
}

#[test]
fn declines_then_success() {
    let records = alone(Campaign::DeclinesThenSuccess, 14);
    for (device, ..) in runs(&records, Campaign::DeclinesThenSuccess) {
        let payments = with(&records, Topic::Transactions, "device_id", device);
        let declined = kinds(&payments, "payment_declined");
        let orders: HashSet<&str> = payments.iter().map(|payment| payment.text("order_id")).collect();
        assert!(declined.len() >= 5 && orders.len() == 1, "{} declines, {} orders", declined.len(), orders.len());
        assert_eq!(kinds(&payments, "payment_authorized").len(), 1);
        assert_eq!(kinds(&payments, "order_placed").len(), 1);
    }
}

#[test]
fn amount_out_of_habit() {
    let records = alone_of(Campaign::AmountOutOfHabit, 60, &Topic::ALL[1..]);
    let labels = labels(&records);
    for (user, start, _) in runs(&records, Campaign::AmountOutOfHabit) {
        let payments = with(&records, Topic::Transactions, "user_id", user);
        let paid = kinds(&payments, "payment_authorized");
        let (odd, usual): (Vec<&Parsed>, Vec<&Parsed>) =
            paid.into_iter().partition(|payment| labels[payment.text("payment_id")].0);
        let before: Vec<i64> =
            usual.iter().filter(|payment| payment.time < start).map(|payment| payment.number("amount_minor")).collect();
        assert!(before.len() >= 3, "{before:?}");
        let mean = before.iter().sum::<i64>() / before.len() as i64;
        assert!(odd.len() == 1 && odd[0].number("amount_minor") > 5 * mean, "{} after {before:?}", odd[0].value());
    }
}

#[test]
fn refund_abuse() {
    let records = alone_of(Campaign::RefundAbuse, 45, &Topic::ALL[1..]);
    for (user, ..) in runs(&records, Campaign::RefundAbuse) {
        let payments = with(&records, Topic::Transactions, "user_id", user);
        let refunds = kinds(&payments, "order_refunded");
        assert!(refunds.len() >= 3, "{} refunds", refunds.len());
        let restocked: HashSet<&str> =
            of_kind(&records, "restocked").into_iter().map(|movement| movement.text("order_id")).collect();
        assert!(refunds.iter().all(|refund| !restocked.contains(refund.text("order_id"))));
    }
}

#[test]
fn promo_abuse() {
    let records = alone(Campaign::PromoAbuse, 20);
    for (device, ..) in runs(&records, Campaign::PromoAbuse) {
        let events = with(&records, Topic::UserEvents, "device_id", device);
        assert!(kinds(&events, "signed_up").len() >= 6);
        let payments = with(&records, Topic::Transactions, "device_id", device);
        let orders = kinds(&payments, "order_placed");
        let distinct = |field: &str| orders.iter().map(|order| order.text(field)).collect::<HashSet<_>>().len();
        assert!(orders.len() >= 5 && distinct("user_id") == orders.len() && distinct("email_hash") == orders.len());
        assert_eq!((distinct("shipping_address_hash"), distinct("promo_code")), (1, 1));
        assert!(
            orders.iter().all(|order| order.text("promo_code") == "WELCOME15" && order.number("discount_minor") > 0)
        );
    }
}

#[test]
fn bot_scraping() {
    let records = alone(Campaign::BotScraping, 6);
    for (device, start, end) in runs(&records, Campaign::BotScraping) {
        let events = with(&records, Topic::UserEvents, "device_id", device);
        let views = kinds(&events, "product_viewed").len();
        assert!(views > 1_500, "{views} views");
        assert!(kinds(&events, "product_added").is_empty());
        assert!(end.0 - start.0 < 4 * MINUTE_MICROS);
    }
}

#[test]
fn stock_out() {
    let records = alone(Campaign::StockOut, 20);
    for (product, start, end) in runs(&records, Campaign::StockOut) {
        let movements = with(&records, Topic::InventoryUpdates, "product_id", product);
        let within = |record: &&&Parsed| record.time >= start && record.time.0 <= end.0 + 2 * MINUTE_MICROS;
        let left =
            movements.iter().filter(within).map(|movement| movement.number("on_hand") - movement.number("reserved"));
        assert_eq!(left.min(), Some(0), "{product} sells out");
        let views = with(&records, Topic::UserEvents, "product_id", product);
        assert!(
            kinds(&views, "product_viewed").iter().filter(|view| view.time >= start && view.time <= end).count() > 500
        );
    }
}

#[test]
fn oversell() {
    let records = alone(Campaign::Oversell, 20);
    for (product, start, end) in runs(&records, Campaign::Oversell) {
        let movements = with(&records, Topic::InventoryUpdates, "product_id", product);
        let within = |record: &&&Parsed| record.time >= start && record.time.0 <= end.0 + 2 * MINUTE_MICROS;
        let left =
            movements.iter().filter(within).map(|movement| movement.number("on_hand") - movement.number("reserved"));
        assert!(left.min() < Some(0), "{product} is sold too often");
        assert!(movements.iter().all(|movement| movement.number("on_hand") >= 0));
    }
}

#[test]
fn something_is_to_be_seen_soon() {
    for rate in [20.0, 300.0, 3_000.0] {
        let records = parsed(&run_of(settings(72, rate), 3, &[Topic::AnswerKey]));
        let mut fraud = BTreeMap::new();
        for answer in of_kind(&records, "payment").into_iter().filter(|answer| answer.flag("fraud") == Some(true)) {
            *fraud.entry(answer.text("campaign")).or_insert(0) += 1;
        }
        assert!(fraud.get("card_testing").is_some_and(|payments| *payments > 20), "{fraud:?} at {rate}");
        assert!(fraud.get("stolen_card").is_some_and(|payments| *payments > 3), "{fraud:?} at {rate}");
    }
}

#[test]
fn campaigns_can_be_left_out_or_made_frequent() {
    let mut quiet = settings(73, 100.0);
    quiet.campaigns = CampaignSet::none();
    let records = parsed(&run(quiet, 30));
    assert!(of_kind(&records, "campaign").is_empty());
    assert!(of_kind(&records, "payment").iter().all(|answer| answer.flag("fraud") == Some(false)));

    let mut busy = settings(73, 100.0);
    busy.campaigns = CampaignSet::from_names(["card_testing"]).expect("a name");
    busy.campaign_interval_scale = 0.5;
    let records = parsed(&run(busy, 20));
    let starts: Vec<Timestamp> = of_kind(&records, "campaign")
        .iter()
        .filter(|answer| answer.text("phase") == "started")
        .map(|answer| answer.time)
        .collect();
    let first = minutes(0).0 + 20 * SECOND_MICROS;
    // Half a minute passes before anything may begin.
    let expected: Vec<Timestamp> = (1..4).map(|nth| Timestamp(first + nth * 5 * MINUTE_MICROS)).collect();
    assert_eq!(starts, expected);
}
