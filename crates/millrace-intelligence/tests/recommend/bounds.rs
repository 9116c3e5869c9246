//! Memory stays within its bounds, and what is left is still right.

use millrace_intelligence::recommend::{IndexSettings, Question, Recommender, Settings, StockChange};

use crate::support::{Dice, after, click, items};

#[test]
fn a_flood_of_names_stays_within_the_bounds() {
    let index = IndexSettings { sessions_max: 100, items_max: 200, ..IndexSettings::default() };
    let settings = Settings { index, visitors_max: 70, ..Settings::default() };
    let mut recommender = Recommender::new(settings).expect("good settings");
    let mut largest = 0;
    for at in 0..20_000 {
        click(&mut recommender, &format!("robot {at}"), &format!("page {at}"), at);
        let size = recommender.size();
        assert!(size.sessions <= 128 && size.items <= 200 && size.visitors <= 70, "{size:?}");
        if at % 1_000 == 999 {
            largest = largest.max(recommender.snapshot().len());
        }
    }
    assert!(largest < 100_000, "{largest} bytes");
}

#[test]
fn one_endless_session_stays_small() {
    let mut recommender = Recommender::new(Settings::default()).expect("good settings");
    for at in 0..50_000 {
        click(&mut recommender, "robot", &format!("page {}", at % 300), at);
    }
    assert!(recommender.snapshot().len() < 400_000, "{} bytes", recommender.snapshot().len());
}

#[test]
fn items_that_are_forgotten_leave_the_answers_and_the_others_stay_right() {
    let index = IndexSettings { items_max: 100, ..IndexSettings::default() };
    let mut recommender = Recommender::new(Settings { index, ..Settings::default() }).expect("good settings");
    let mut dice = Dice(3);
    for at in 0..3_000 {
        let session = format!("s{at}");
        for item in ["tea", "cup"] {
            click(&mut recommender, &session, item, at * 10);
        }
        click(&mut recommender, &format!("other {at}"), &format!("once {}", dice.below(1 << 40)), at * 10);
    }
    assert_eq!(items(&recommender, Question { count: 1, ..after(&["tea"]) }), ["cup"]);
    assert_eq!(items(&recommender, Question { count: 1, ..after(&["cup"]) }), ["tea"]);
}

#[test]
fn an_item_without_stock_is_not_forgotten_for_new_ones() {
    let index = IndexSettings { items_max: 50, ..IndexSettings::default() };
    let mut recommender = Recommender::new(Settings { index, ..Settings::default() }).expect("good settings");
    recommender.stock(&StockChange { item: "sold out", on_hand_change: 0, ..StockChange::default() });
    for at in 0..500 {
        click(&mut recommender, &format!("s{at}"), &format!("page {at}"), at);
    }
    click(&mut recommender, "visit", "sold out", 600);
    click(&mut recommender, "visit", "page 499", 601);
    let found = items(&recommender, after(&["page 499"]));
    assert!(!found.is_empty() && !found.contains(&"sold out".to_owned()), "{found:?}");
}

#[test]
fn sessions_beyond_the_horizon_no_longer_vote() {
    let index = IndexSettings { horizon_micros: 3_600_000_000, ..IndexSettings::default() };
    let mut settings = Settings { index, ..Settings::default() };
    settings.next.rules_share = 0.0;
    settings.placements.entry("next".into()).and_modify(|next| next.fallback = false);
    let mut recommender = Recommender::new(settings).expect("good settings");
    click(&mut recommender, "old", "tea", 0);
    click(&mut recommender, "old", "cup", 1);
    assert_eq!(items(&recommender, after(&["tea"])), ["cup"]);
    recommender.advance(crate::support::seconds(3_602));
    assert!(items(&recommender, after(&["tea"])).is_empty());
    assert_eq!(recommender.size().sessions, 0);
}
