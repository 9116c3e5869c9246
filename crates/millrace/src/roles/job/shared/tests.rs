//! Jobs at a window: each sees every record once, in order, whatever the pace of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_engine::JobSettings;
use millrace_engine::job::TopicDecoder;
use millrace_model::{Contracts, Timestamp};

use super::super::output::Received;
use super::chunk::Chunk;
use super::window::{STILL, WAITING_BYTES_MAX, Window};

const ALL: usize = usize::MAX;

fn decoder() -> TopicDecoder {
    let contracts = Contracts::builtin();
    let contract = contracts.get("user_events").expect("shipped");
    TopicDecoder::new(contract, &BTreeSet::from(["event_id".to_owned()]), &JobSettings::default())
}

/// Records of these offsets; a value of so many bytes.
fn chunk(partition: i32, offsets: std::ops::Range<i64>, value_bytes: usize) -> Arc<Chunk> {
    let value = vec![b'x'; value_bytes];
    let received = |offset: i64| Received {
        topic: "user_events",
        partition,
        offset,
        time: Some(Timestamp(offset)),
        key: Some(b"k"),
        value: Some(&value),
        headers: Vec::new(),
    };
    Arc::new(Chunk::of(offsets.map(received), &mut decoder()))
}

/// A job's next offsets.
fn at(offsets: &[i64]) -> BTreeMap<i32, i64> {
    (0..).zip(offsets.iter().copied()).collect()
}

/// Takes what is there, and goes on behind it.
fn taken(
    window: &mut Window,
    id: u64,
    next: &mut BTreeMap<i32, i64>,
    records_max: usize,
    now: Instant,
) -> Vec<(i32, i64)> {
    let mut all = Vec::new();
    while let Some(slice) = window.take(id, &*next, records_max, ALL, now) {
        assert!(slice.len() <= records_max, "no more than asked for");
        all.extend((slice.from..slice.to).map(|record| (slice.chunk.partition(), slice.chunk.offset(record))));
        next.insert(slice.chunk.partition(), slice.chunk.offset(slice.to - 1) + 1);
    }
    all
}

#[test]
fn every_job_sees_every_record_once_at_its_own_pace() {
    let now = Instant::now();
    let mut window = Window::new(at(&[0, 0]));
    let (mut fast, mut slow) = (at(&[0, 0]), at(&[0, 0]));
    assert!(window.join(1, &fast, now) && window.join(2, &slow, now));
    let mut of_fast = Vec::new();
    for round in 0..20 {
        let offsets = round * 5..(round + 1) * 5;
        window.add(vec![chunk(0, offsets.clone(), 10), chunk(1, offsets, 10)], None, now);
        of_fast.extend(taken(&mut window, 1, &mut fast, 3, now));
    }
    let of_slow = taken(&mut window, 2, &mut slow, ALL, now);
    assert_eq!(of_fast, of_slow);
    for partition in 0..2 {
        let offsets: Vec<i64> = of_fast.iter().filter(|at| at.0 == partition).map(|at| at.1).collect();
        assert_eq!(offsets, (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn a_job_that_is_ahead_of_the_reader_sees_nothing_again() {
    let now = Instant::now();
    let mut window = Window::new(at(&[0]));
    let mut ahead = at(&[7]);
    assert!(window.join(1, &ahead, now));
    window.add(vec![chunk(0, 0..5, 10), chunk(0, 5..10, 10)], None, now);
    assert_eq!(taken(&mut window, 1, &mut ahead, ALL, now), [(0, 7), (0, 8), (0, 9)]);
}

#[test]
fn a_bound_on_bytes_cuts_a_chunk_and_gives_one_record_at_least() {
    let now = Instant::now();
    let mut window = Window::new(at(&[0]));
    assert!(window.join(1, &at(&[0]), now));
    window.add(vec![chunk(0, 0..10, 99)], None, now);
    let mut take = |bytes_max| window.take(1, &at(&[0]), ALL, bytes_max, now).map(|slice| slice.from..slice.to);
    assert_eq!(take(350), Some(0..3));
    assert_eq!(take(1), Some(3..4));
    assert_eq!(take(ALL), Some(4..10));
    assert_eq!(take(ALL), None);
}

#[test]
fn a_job_joins_when_the_window_reaches_back_to_it_and_not_before() {
    let now = Instant::now();
    let mut window = Window::new(at(&[100]));
    let mut first = at(&[100]);
    assert!(window.join(1, &first, now));
    assert!(!window.join(2, &at(&[99]), now), "record 99 is not in the window");
    assert!(!window.join(2, &at(&[100, 0]), now), "partition 1 is not read here");
    window.add(vec![chunk(0, 100..110, 10)], None, now);
    taken(&mut window, 1, &mut first, ALL, now);
    let mut second = at(&[100]);
    assert!(window.join(2, &second, now), "what all have taken is kept for a while");
    assert_eq!(taken(&mut window, 2, &mut second, ALL, now).len(), 10);
}

#[test]
fn the_window_is_bounded_and_holds_for_a_job_that_has_just_come() {
    let began = Instant::now();
    let mut window = Window::new(at(&[0]));
    let mut first = at(&[0]);
    assert!(window.join(1, &first, began));
    let mut next = 0;
    let mut fill = |window: &mut Window, first: &mut BTreeMap<i32, i64>, now: Instant| {
        let mut chunks = 0;
        while !window.is_full(now) && chunks < 100 {
            window.add(vec![chunk(0, next..next + 10, 100_000)], None, now);
            taken(window, 1, first, ALL, now);
            (next, chunks) = (next + 10, chunks + 1);
        }
        chunks
    };
    assert_eq!(fill(&mut window, &mut first, began), 100, "what all have taken makes room");
    let late = at(&[900]);
    assert!(!window.join(2, &late, began));
    window.come(2, &late, began);
    let most = WAITING_BYTES_MAX / 1_000_000 + 2;
    assert!(fill(&mut window, &mut first, began) <= most, "the others wait for it");
    assert!(fill(&mut window, &mut first, began + Duration::from_secs(3)) == 100, "but not for ever");
}

#[test]
fn a_job_that_stands_still_is_let_go_and_the_others_go_on() {
    let began = Instant::now();
    let mut window = Window::new(at(&[0]));
    let (mut first, mut still) = (at(&[0]), at(&[0]));
    assert!(window.join(1, &first, began) && window.join(2, &still, began));
    let mut next = 0;
    while !window.is_full(began) {
        window.add(vec![chunk(0, next..next + 10, 100_000)], None, began);
        next += 10;
        taken(&mut window, 1, &mut first, ALL, began);
    }
    assert!(window.has_joined(2));
    let later = began + STILL + Duration::from_secs(1);
    assert!(!window.is_full(later) && !window.has_joined(2), "it reads for itself from now on");
    assert!(window.take(2, &still, ALL, ALL, later).is_none());
    // It reads for itself up to where the window begins, and joins again without a gap.
    while !window.join(2, &still, later) {
        still.insert(0, still[&0] + 1);
    }
    let from = still[&0];
    let again = taken(&mut window, 2, &mut still, ALL, later);
    assert_eq!(again.iter().map(|at| at.1).collect::<Vec<_>>(), (from..next).collect::<Vec<_>>());
}

#[test]
fn positions_behind_the_last_record_are_told_to_who_has_taken_all() {
    let now = Instant::now();
    let mut window = Window::new(at(&[0]));
    let mut next = at(&[0]);
    assert!(window.join(1, &next, now));
    window.add(vec![chunk(0, 0..5, 10)], Some(at(&[6])), now);
    assert_eq!(window.positions(1), None, "there are records before");
    taken(&mut window, 1, &mut next, ALL, now);
    assert_eq!(window.positions(1), Some(&at(&[6])));
}
