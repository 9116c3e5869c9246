//! `kill -9` at random moments under load, again and again: the books balance and no result is there twice.

use std::time::Duration;

use crate::support::{Up, audit};

/// A small generator of moments; the seed is printed.
fn moments(mut seed: u64) -> impl Iterator<Item = Duration> {
    std::iter::repeat_with(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(200 + (seed >> 33) % 2_300)
    })
}

#[test]
#[ignore = "slow suite: twenty kills under load"]
fn twenty_kills_lose_nothing_and_double_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let seed = std::env::var("MILLRACE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}: MILLRACE_TEST_SEED={seed} repeats the moments");
    for moment in moments(seed).take(20) {
        let up = Up::start(dir.path(), &["--rate", "20000", "--history", "10s"]);
        std::thread::sleep(moment);
        up.kill();
    }
    let audit = audit(dir.path());
    let records = audit["facts"]["streams"]["user_events"]["records"].as_u64().expect("a count");
    println!("after 20 kills: {records} user events, all accounted for");
    assert!(records > 200_000, "only {records} records: that was no load");
}
