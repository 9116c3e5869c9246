//! A restored state answers as the one it was taken from, and goes on as it does.

use millrace_intelligence::recommend::{
    Action, IndexSettings, Question, Recommender, RestoreError, Settings, StockChange,
};

use crate::support::{Dice, act, ask, seconds};

fn settings() -> Settings {
    let index = IndexSettings { sessions_max: 64, items_max: 80, sessions_of_item_max: 8, ..IndexSettings::default() };
    Settings { index, visitors_max: 50, ..Settings::default() }
}

fn event(to: &mut Recommender, dice: &mut Dice, at: i64) {
    let item = |dice: &mut Dice| format!("c{}/i{}", dice.below(4), dice.below(60));
    let session = format!("s{}", at / 40 + dice.below(5) as i64);
    match dice.below(10) {
        0 => {
            let change = StockChange { on_hand_change: dice.below(5) as i64 - 2, ..StockChange::default() };
            to.stock(&StockChange { item: &item(dice), ..change });
        }
        1 => {
            let (one, other) = (item(dice), item(dice));
            to.order(Some(&session), Some(&session), &[(&one, None), (&other, Some("c1"))], seconds(at));
        }
        2 => act(to, &session, &item(dice), Action::Cart, at),
        _ => act(to, &session, &item(dice), Action::View, at),
    }
}

#[test]
fn a_restart_at_any_moment_changes_no_answer() {
    for seed in 1..=20 {
        let mut dice = Dice(seed);
        let mut straight = Recommender::new(settings()).expect("good settings");
        for at in 0..(50 * seed as i64) {
            event(&mut straight, &mut dice, at);
        }
        let mut restarted = Recommender::restore(settings(), &straight.snapshot()).expect("restorable");
        let mut same_dice = Dice(dice.0);
        for at in 50 * seed as i64..50 * seed as i64 + 400 {
            event(&mut straight, &mut dice, at);
            event(&mut restarted, &mut same_dice, at);
            let session = format!("s{}", at / 40);
            for placement in ["next", "visitor", "cart_reminder", "trending", "bought_together"] {
                let (session, product) = (session.as_str(), Some("c1/i7"));
                let question = Question {
                    placement,
                    session: Some(session),
                    visitor: Some(session),
                    evidence: true,
                    product,
                    ..Question::default()
                };
                assert_eq!(ask(&straight, question), ask(&restarted, question), "seed {seed}, {placement} at {at}");
            }
        }
        assert!(straight.snapshot() == restarted.snapshot(), "seed {seed}: the states differ");
    }
}

#[test]
fn what_is_no_state_is_refused() {
    let mut recommender = Recommender::new(settings()).expect("good settings");
    let mut dice = Dice(1);
    (0..300).for_each(|at| event(&mut recommender, &mut dice, at));
    let bytes = recommender.snapshot();
    for end in (0..bytes.len()).step_by(7) {
        assert!(Recommender::restore(settings(), &bytes[..end]).is_err(), "cut off at {end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(Recommender::restore(settings(), &longer), Err(RestoreError::Unreadable(_))));
    let mut other = settings();
    other.index.sessions_max = 128;
    let error = Recommender::restore(other, &bytes).expect_err("another size").to_string();
    assert!(error.contains("index.sessions_max"), "{error}");
    for at in (0..bytes.len()).step_by(11) {
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x40;
        assert!(Recommender::restore(settings(), &wrong).is_err(), "byte {at} is wrong");
    }
}
