//! Records travel as badly as asked for, and no worse.

use std::collections::{HashMap, HashSet};

use millrace_model::time::{MINUTE_MICROS, SECOND_MICROS};
use millrace_simulate::{Delivery, Disorder, Record, Topic};

use crate::common::{minutes, of_kind, parsed, run, settings};

fn shares(records: &[Record]) -> HashMap<Delivery, f64> {
    let sources: Vec<&Record> = records.iter().filter(|record| record.topic != Topic::AnswerKey).collect();
    let mut shares = HashMap::new();
    for record in &sources {
        *shares.entry(record.delivery).or_insert(0.0) += 1.0 / sources.len() as f64;
    }
    shares
}

#[test]
fn shares_are_kept() {
    let mut settings = settings(41, 1_000.0);
    settings.disorder = Disorder { late: 0.01, duplicates: 0.02, malformed: 0.01, ..settings.disorder };
    let shares = shares(&run(settings, 10));
    for (delivery, share) in
        [(Delivery::OutOfOrder, 0.02), (Delivery::Late, 0.01), (Delivery::Duplicate, 0.02), (Delivery::Malformed, 0.01)]
    {
        let found = shares[&delivery];
        assert!((found / share - 1.0).abs() < 0.15, "{delivery:?}: {found} instead of {share}");
    }
}

#[test]
fn lateness_has_its_bounds() {
    let mut settings = settings(42, 500.0);
    settings.disorder = Disorder { late: 0.01, duplicates: 0.01, ..settings.disorder };
    for record in run(settings, 10) {
        let age = record.arrival.0 - record.event_time.0;
        let bounds = match record.delivery {
            Delivery::Regular | Delivery::Malformed if record.topic == Topic::AnswerKey => continue,
            Delivery::Regular | Delivery::Malformed => 0..=0,
            Delivery::OutOfOrder => 1..=8 * SECOND_MICROS,
            Delivery::Duplicate => 1..=5 * SECOND_MICROS,
            Delivery::Late => 31 * MINUTE_MICROS..=60 * MINUTE_MICROS,
        };
        assert!(bounds.contains(&age), "{:?} by {age}", record.delivery);
        if record.delivery == Delivery::Late {
            assert_ne!(record.topic, Topic::InventoryUpdates);
            assert!(record.arrival >= minutes(1), "nothing is late in the first minute");
        }
    }
}

#[test]
fn second_copies_are_copies_and_ids_are_ids() {
    let mut settings = settings(43, 500.0);
    settings.disorder.duplicates = 0.01;
    let records = run(settings, 5);
    let mut first = HashMap::new();
    let mut malformed = 0;
    for record in records.iter().filter(|record| record.topic != Topic::AnswerKey) {
        let id = |value: &[u8]| value[13..30].to_vec();
        match record.delivery {
            Delivery::Malformed => malformed += 1,
            Delivery::Duplicate => assert_eq!(Some(&&record.value), first.get(&id(&record.value)), "same bytes"),
            _ => assert!(first.insert(id(&record.value), &record.value).is_none(), "an id given twice"),
        }
    }
    assert!(malformed > 5);
}

#[test]
fn totals_are_answered() {
    let records = run(settings(44, 500.0), 12);
    let answers = parsed(&records);
    let totals = of_kind(&answers, "disorder");
    let last = totals.last().expect("totals at the end");
    let count = |delivery| records.iter().filter(|record| record.delivery == delivery).count() as i64;
    assert_eq!(last.number("late"), count(Delivery::Late));
    assert_eq!(last.number("duplicates"), count(Delivery::Duplicate));
    assert_eq!(last.number("malformed"), count(Delivery::Malformed));
    let ids: HashSet<&str> = totals.iter().map(|answer| answer.text("answer_id")).collect();
    assert_eq!(ids.len(), 1, "a later answer replaces the earlier");
}

#[test]
fn a_good_network_is_possible() {
    let mut settings = settings(45, 300.0);
    settings.disorder = Disorder::none();
    assert!(run(settings, 5).iter().all(|record| record.delivery == Delivery::Regular));
}
