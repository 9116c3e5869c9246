//! The fraud model as a shop would judge it: what it finds, when, and that a restart changes nothing.

use millrace_intelligence::fraud::evaluate::{Labelled, Protocol, run};
use millrace_intelligence::fraud::metrics::{Scored, auc, average_precision, card_precision, recall_at};
use millrace_intelligence::fraud::{FEATURES, Features, Limits, Payment, Scorer, TreeSettings, Trees, Vector};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// Numbers that look like chance, the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Ninety days of 300 customers at 200 terminals. From day 40 on, for four weeks each: terminals whose payments are fraud, and
/// cards whose thieves spend five times as much in one payment of three.
fn stream() -> Vec<Labelled> {
    let mut dice = Dice(7);
    let mut payments = Vec::new();
    for day in 0..90_i64 {
        for customer in 0..300_u32 {
            for _ in 0..dice.roll(4) {
                let terminal = ((u64::from(customer) * 7 + dice.roll(8)) % 200) as u32;
                let usual = 10.0 + (customer % 50) as f32;
                let mut amount = usual * (0.5 + dice.roll(100) as f32 / 100.0);
                let bad_terminal = (40..90).contains(&day) && terminal % 40 == (day / 28 % 5) as u32;
                let stolen = day >= 40 && customer % 60 == (day / 14 % 6) as u32 && dice.roll(3) == 0;
                amount *= if stolen { 5.0 } else { 1.0 };
                let time = day * DAY + dice.roll(24) as i64 * HOUR;
                payments.push(Labelled {
                    payment: Payment { time, customer, terminal, amount },
                    fraud: bad_terminal || stolen,
                });
            }
        }
    }
    payments.sort_by_key(|one| one.payment.time);
    payments
}

#[test]
fn terminals_and_cards_of_fraud_are_found_though_labels_are_a_week_late() {
    let protocol = Protocol { delay_days: 7, train: 63..=69, test: 77..=83, known_customers: true };
    let mut passed = 0;
    let payments = stream();
    let result = run(&payments, &protocol, &mut |scorer, id, payment| scorer.take(id, payment), &mut || passed += 1);
    assert_eq!(passed, payments.iter().filter(|one| one.payment.time < 84 * DAY).count());
    let share = result.blended.iter().filter(|one| one.fraud).count() as f64 / result.blended.len() as f64;
    for (name, scored) in [("online", &result.online), ("trees", &result.trees), ("blended", &result.blended)] {
        let found = (auc(scored), average_precision(scored));
        assert!(found.0 > 0.8 && found.1 > 10.0 * share, "{name}: {found:?}, fraud is {share}");
    }
}

#[test]
fn a_thief_is_told_by_the_amount() {
    let mut scorer = Scorer::new(7, Limits::default());
    let payments = stream();
    for (at, one) in payments.iter().enumerate() {
        scorer.pass(at as u64, &one.payment);
        scorer.label(at as u64, one.fraud);
    }
    let last = payments.last().expect("payments").payment.time + HOUR;
    let payment = |amount: f32| Payment { time: last, customer: 31, terminal: 19, amount };
    let (usual, stolen) = (scorer.score(&payment(41.0)), scorer.score(&payment(260.0)));
    assert!(stolen.probability() > 3.0 * usual.probability(), "{} and {}", usual.probability(), stolen.probability());
    let reasons: Vec<&str> = stolen.reasons.iter().take(5).map(|reason| reason.feature).collect();
    assert!(reasons.iter().any(|reason| reason.contains("amount")), "{reasons:?}");
}

#[test]
fn a_label_is_seen_when_it_comes_and_not_before() {
    let known = FEATURES.iter().position(|name| *name == "terminal: known fraud in 30 days").expect("a feature");
    let mut features = Features::new(7, 100);
    let payment = |day: i64| Payment { time: day * DAY, customer: 1, terminal: 2, amount: 3.0 };
    features.add(&payment(0));
    assert_eq!(features.of(&payment(10))[known], 0.0);
    features.label(&payment(0), true);
    assert_eq!(features.of(&payment(10))[known], 1.0);
    assert_eq!(features.of(&payment(60))[known], 0.0, "what is a month old counts no more");
}

#[test]
fn a_restart_changes_no_bit_of_any_score() {
    let payments = stream();
    let (before, after) = payments.split_at(payments.len() / 2);
    let mut scorer = Scorer::new(7, Limits::default());
    for (at, one) in before.iter().enumerate() {
        scorer.pass(at as u64, &one.payment);
        if at % 3 == 0 {
            scorer.label(at as u64, one.fraud);
        }
    }
    scorer.grow(TreeSettings { trees: 5, ..TreeSettings::default() });
    let text = serde_json::to_string(&scorer).expect("written");
    let mut restored: Scorer = serde_json::from_str(&text).expect("read");
    for (at, one) in after.iter().enumerate() {
        let id = (before.len() + at) as u64;
        let (a, b) = (scorer.take(id, &one.payment), restored.take(id, &one.payment));
        assert_eq!(a.blended().to_bits(), b.blended().to_bits(), "payment {id}");
        assert_eq!(scorer.label(id, one.fraud), restored.label(id, one.fraud));
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let limits = Limits { entities_max: 10, waiting_max: 20, kept_max: 5 };
    let mut scorer = Scorer::new(7, limits);
    for id in 0..1_000_u32 {
        scorer.pass(u64::from(id), &Payment { time: i64::from(id) * HOUR, customer: id, terminal: id, amount: 1.0 });
    }
    assert!(!scorer.label(10, true), "the oldest are waited for no longer");
    assert!((980..1_000).all(|id| scorer.label(id, id % 2 == 0)));
    assert_eq!(scorer.grow(TreeSettings::default()), 5);
    let size = serde_json::to_string(&scorer).expect("written").len();
    assert!(size < 500_000, "{size} bytes");
}

#[test]
fn trees_learn_what_no_sum_can() {
    let mut dice = Dice(3);
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..4_000 {
        let (a, b) = (dice.roll(2), dice.roll(2));
        let mut row: Vector = [f32::NAN; FEATURES.len()];
        (row[0], row[1]) = (a as f32, b as f32);
        rows.push(row);
        labels.push(a != b);
    }
    let settings = TreeSettings { features: 1.0, ..TreeSettings::default() };
    let trees = Trees::train(&rows, &labels, settings).expect("trees");
    assert!(rows.iter().zip(&labels).all(|(row, label)| (trees.logit(row) > 1.0) == *label));
    assert_eq!(Trees::train(&rows, &labels, settings), Some(trees), "the same rows give the same trees");
    assert_eq!(Trees::train(&rows, &vec![false; rows.len()], settings), None);
}

#[test]
fn figures_by_hand() {
    let scored = |day: i64, customer: u32, score: f32, fraud: bool| Scored { day, customer, score, fraud };
    let all = [
        scored(0, 1, 0.9, true),
        scored(0, 2, 0.8, false),
        scored(0, 3, 0.7, true),
        scored(0, 4, 0.1, false),
        scored(0, 5, 0.1, false),
    ];
    assert!((auc(&all) - 5.0 / 6.0).abs() < 1e-12);
    assert!((average_precision(&all) - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
    assert!((recall_at(&all, 0.0) - 0.5).abs() < 1e-12 && (recall_at(&all, 0.34) - 1.0).abs() < 1e-12);
    // Customer 1 is found on the first day, and no longer looked at on the second.
    let days = [scored(0, 1, 0.9, true), scored(0, 2, 0.5, false), scored(1, 1, 0.9, true), scored(1, 3, 0.8, true)];
    assert_eq!(card_precision(&days, 1), (1.0, vec![(0, 1.0), (1, 1.0)]));
    assert_eq!(card_precision(&days, 2), (0.5, vec![(0, 0.5), (1, 0.5)]));
}
