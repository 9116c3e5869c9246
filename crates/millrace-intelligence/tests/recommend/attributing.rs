//! Which answer led to a click or an order, and whether one placement is better than another.

use millrace_intelligence::recommend::attribution::{Attribution, AttributionSettings, Comparison, Tally, uplift};
use millrace_intelligence::recommend::stored::Bytes;

use crate::support::{Dice, seconds};

#[test]
fn clicks_and_orders_count_once_for_the_newest_answer_that_showed_the_item_in_time() {
    let mut attribution = Attribution::new(AttributionSettings::default());
    attribution.shown("ann", "next", ["cup", "tea"], seconds(0));
    attribution.shown("ann", "similar", ["tea"], seconds(10));
    attribution.shown("bob", "next", ["cup"], seconds(0));
    for (visitor, item, at) in [
        ("ann", "tea", 20),    // of `similar`, which showed it last
        ("ann", "tea", 21),    // counted already
        ("ann", "cup", 22),    // of `next`
        ("ann", "spoon", 23),  // nobody showed it
        ("eve", "cup", 24),    // shown nothing
        ("bob", "cup", 4_000), // too late
    ] {
        attribution.clicked(visitor, item, seconds(at));
    }
    attribution.ordered("bob", "cup", seconds(4_000));
    attribution.ordered("bob", "cup", seconds(4_001));
    attribution.ordered("ann", "cup", seconds(200_000));
    let next = Tally { answers: 2, clicks: 1, orders: 1, visitors: 2, visitors_clicked: 1, visitors_ordered: 1 };
    assert_eq!(attribution.tally("next"), next);
    let similar = Tally { answers: 1, clicks: 1, visitors: 1, visitors_clicked: 1, ..Tally::default() };
    assert_eq!(attribution.tally("similar"), similar);
    let mut bytes = Vec::new();
    attribution.store(&mut bytes);
    let mut restored =
        Attribution::restore(AttributionSettings::default(), &mut Bytes::new(&bytes)).expect("restorable");
    attribution.clicked("bob", "cup", seconds(30));
    restored.clicked("bob", "cup", seconds(30));
    assert_eq!(restored.tally("next"), attribution.tally("next"));
    assert_eq!(restored.tally("next").visitors_clicked, 2);
}

#[test]
fn a_visitor_stays_on_one_side_and_the_sides_have_their_shares() {
    for share in [0.0, 0.1, 0.5, 1.0] {
        let comparison = Comparison { placement: "next".into(), against: "next_b".into(), share };
        let names: Vec<String> = (0..20_000).map(|visitor| format!("visitor-{visitor}")).collect();
        let against = names.iter().filter(|name| comparison.side(name) == "next_b").count() as f64 / 20_000.0;
        assert!((against - share).abs() < 0.015, "{share}: {against}");
        assert!(names.iter().all(|name| comparison.side(name) == comparison.side(name)));
    }
}

#[test]
fn the_interval_holds_the_truth_about_nineteen_times_of_twenty() {
    let mut dice = Dice(11);
    let mut draw = |all: u64, of_thousand: u64| (0..all).filter(|_| dice.below(1_000) < of_thousand).count() as u64;
    let truth: f64 = 0.125 / 0.1 - 1.0;
    let (mut held, trials) = (0, 400);
    for _ in 0..trials {
        let (first, second) = ((draw(2_000, 100), 2_000), (draw(2_000, 125), 2_000));
        let found = uplift(first, second).expect("both have some");
        assert!(found.interval.0 <= found.uplift && found.uplift <= found.interval.1);
        held += usize::from((found.interval.0..=found.interval.1).contains(&truth));
    }
    let share = held as f64 / trials as f64;
    assert!((0.92..=0.98).contains(&share), "{share}");
    assert_eq!(uplift((0, 10), (5, 10)), None);
}

#[test]
fn visitors_are_bounded() {
    let settings = AttributionSettings { visitors_max: 10, ..AttributionSettings::default() };
    let mut attribution = Attribution::new(settings);
    (0..1_000).for_each(|at| attribution.shown(&format!("v{at}"), "next", ["cup"], seconds(at)));
    attribution.clicked("v1", "cup", seconds(1_000));
    attribution.clicked("v999", "cup", seconds(1_000));
    assert_eq!(attribution.tally("next").clicks, 1, "only who is remembered");
    let mut bytes = Vec::new();
    attribution.store(&mut bytes);
    assert!(bytes.len() < 2_000, "{} bytes", bytes.len());
}
