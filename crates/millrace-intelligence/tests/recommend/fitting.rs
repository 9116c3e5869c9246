//! Weights fitted to a shop make its answers better, and leave them alone where there is nothing to learn.

use millrace_intelligence::recommend::evaluate::{FileClick, Protocol, Quality, evaluate, learn, settings_for};
use millrace_intelligence::recommend::{Fit, Placement, Recommender, Settings};

use crate::support::{Dice, seconds};

const PROTOCOL: Protocol = Protocol { count: 20, current_allowed: false, repeats_allowed: true, learn: false };

/// A shop whose visitors go through the shelves in one direction, from where they come in.
fn walks(dice: &mut Dice, sessions: i64, from: i64) -> Vec<FileClick> {
    let mut clicks = Vec::new();
    for session in from..from + sessions {
        let mut shelf = dice.below(100);
        for at in 0..4 + dice.below(3) as i64 {
            let click =
                FileClick { session: format!("{session}"), item: format!("{shelf}"), time: seconds(session * 60 + at) };
            clicks.push(click);
            shelf = (shelf + 1 + dice.below(3)) % 100;
        }
    }
    clicks
}

fn shop(clicks: &[FileClick]) -> Recommender {
    let mut shop = Recommender::new(settings_for(Settings::default(), PROTOCOL)).expect("good settings");
    clicks.iter().for_each(|click| learn(&mut shop, click));
    shop
}

fn predicted(shop: &Recommender, test: &[FileClick]) -> Quality {
    evaluate(&mut shop.clone(), test, PROTOCOL, || 0, || {}).expect("an evaluation")
}

#[test]
fn a_shop_where_order_matters_is_predicted_better_after_fitting() {
    let mut dice = Dice(5);
    let (train, test) = (walks(&mut dice, 1_500, 0), walks(&mut dice, 300, 1_500));
    let mut shop = shop(&train);
    let before = predicted(&shop, &test);
    let fit = shop.fit(&Placement { count: 20, ..Placement::default() }, 300, || {});
    let after = predicted(&shop, &test);
    assert!(fit.events > 1_000 && fit.reciprocal_rank.1 > fit.reciprocal_rank.0, "{fit:?}");
    assert!(
        after.reciprocal_rank > 1.04 * before.reciprocal_rank,
        "{} {}",
        before.reciprocal_rank,
        after.reciprocal_rank
    );
    assert!(after.hit_rate >= before.hit_rate - 0.01, "{} {}", before.hit_rate, after.hit_rate);
}

#[test]
fn the_same_sessions_give_the_same_weights_and_too_few_change_nothing() {
    let clicks = walks(&mut Dice(6), 400, 0);
    let fitted = || {
        let mut shop = shop(&clicks);
        shop.fit(&Placement::default(), 200, || {});
        shop.settings().next.clone()
    };
    assert_eq!(fitted(), fitted());
    let mut small = shop(&clicks[..100]);
    assert_eq!(small.fit(&Placement::default(), 200, || {}), Fit::default());
    assert_eq!(small.settings().next, Settings::default().next);
}
