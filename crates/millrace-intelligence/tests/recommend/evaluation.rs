//! The figures of an evaluation against ones worked out by hand.

use millrace_intelligence::recommend::evaluate::{FileClick, Protocol, Quality, evaluate, learn, settings_for};
use millrace_intelligence::recommend::{Recommender, Settings};

use crate::support::seconds;

fn clicks(text: &str) -> Vec<FileClick> {
    let line = |(at, line): (usize, &str)| {
        let (session, item) = line.trim().split_once(' ')?;
        Some(FileClick { session: session.into(), item: item.into(), time: seconds(at as i64) })
    };
    text.trim().lines().enumerate().filter_map(line).collect()
}

const TRAIN: &str = "
    1 a
    1 b
    2 a
    2 b
    3 a
    3 c
";

const PROTOCOL: Protocol = Protocol { count: 2, current_allowed: false, repeats_allowed: true, learn: false };

fn run(test: &str, protocol: Protocol) -> Quality {
    let mut recommender = Recommender::new(settings_for(Settings::default(), protocol)).expect("good settings");
    clicks(TRAIN).iter().for_each(|click| learn(&mut recommender, click));
    let mut ticks = 0;
    let clock = || {
        ticks += 10;
        ticks
    };
    let mut seen = 0;
    let test = clicks(test);
    let quality = evaluate(&mut recommender, &test, protocol, clock, || seen += 1).expect("an evaluation");
    assert_eq!(seen, test.len());
    quality
}

#[test]
fn the_figures_are_those_worked_out_by_hand() {
    // After a: b, then c.
    let quality = run("7 a\n7 b\n8 a\n8 c\n9 a\n9 unheard_of", PROTOCOL);
    assert_eq!((quality.events, quality.sessions, quality.unknown), (3, 3, 1));
    assert!((quality.hit_rate - 2.0 / 3.0).abs() < 1e-9, "{quality:?}");
    assert!((quality.reciprocal_rank - (1.0 + 0.5) / 3.0).abs() < 1e-9, "{quality:?}");
    assert!((quality.gain - (1.0 + 1.0 / 3f64.log2()) / 3.0).abs() < 1e-9, "{quality:?}");
    assert!((quality.coverage - 2.0 / 3.0).abs() < 1e-9, "b and c of a, b, c: {quality:?}");
    assert_eq!((quality.percentile(0.0), quality.percentile(1.0)), (Some(10), Some(10)));
}

#[test]
fn what_may_not_be_answered_is_a_miss() {
    let test = "7 a\n7 a\n7 b\n7 a";
    let quality = run(test, PROTOCOL);
    assert_eq!((quality.events, quality.current, quality.repeats), (3, 1, 1));
    assert!((quality.hit_rate - 2.0 / 3.0).abs() < 1e-9, "a after a is a miss: {quality:?}");
    let quality = run(test, Protocol { repeats_allowed: false, ..PROTOCOL });
    assert!((quality.hit_rate - 1.0 / 3.0).abs() < 1e-9, "only b after a a: {quality:?}");
    let quality = run(test, Protocol { current_allowed: true, count: 3, ..PROTOCOL });
    assert!((quality.hit_rate - 1.0).abs() < 1e-9, "{quality:?}");
}

#[test]
fn learning_as_it_goes_knows_the_first_visitor_when_the_second_comes() {
    let test = "7 new\n7 newer\n8 new\n8 newer\n9 new\n9 newer";
    let still = run(test, PROTOCOL);
    assert_eq!((still.hit_rate, still.unknown), (0.0, 3));
    let learning = run(test, Protocol { learn: true, ..PROTOCOL });
    assert!((learning.hit_rate - 2.0 / 3.0).abs() < 1e-9, "{learning:?}");
}
