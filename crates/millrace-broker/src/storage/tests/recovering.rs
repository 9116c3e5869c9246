//! What is there after a crash, whatever was torn.

use super::{LIMIT, Place};
use crate::storage::marker::Marker;
use crate::storage::testing::batch;
use std::fs;

fn filled() -> Place {
    let place = Place::new(&[("segment.bytes", "400")]);
    for n in 0..12 {
        place.append(batch().producer(5, 0, n * 2).record(1, Some("k"), Some("v")).record(2, Some("k"), Some("v")));
    }
    place
}

fn all(count: i64) -> Vec<i64> {
    (0..count).collect()
}

#[test]
fn nothing_is_lost_without_a_checkpoint_with_one_and_with_an_old_one() {
    assert_eq!(filled().reopen().offsets(), all(24), "no checkpoint was written yet");
    let place = filled();
    place.partition.flush_and_checkpoint().unwrap();
    let place = place.reopen();
    assert_eq!(place.offsets(), all(24), "a checkpoint of everything");
    // More segments after the checkpoint.
    for n in 12..20 {
        place.append(batch().producer(5, 0, n * 2).record(1, None, Some("v")).record(2, None, Some("v")));
    }
    let place = place.reopen();
    assert_eq!(place.offsets(), all(40), "a checkpoint of half of it");
    // Duplicates are still known, and the sequence goes on.
    let again = place.append(batch().producer(5, 0, 38).record(1, None, Some("v")).record(2, None, Some("v")));
    assert_eq!((again.duplicate, again.base_offset), (true, 38));
    let next = place.append(batch().producer(5, 0, 40).record(1, None, Some("v")));
    assert_eq!((next.duplicate, next.base_offset), (false, 40));
    assert_eq!(place.partition.first_at_or_after(2, LIMIT).unwrap().unwrap().offset, 1);
}

#[test]
fn a_torn_tail_is_cut_wherever_it_was_torn() {
    for with_checkpoint in [false, true] {
        let place = Place::new(&[]);
        place.append(batch().record(1, None, Some("whole")));
        if with_checkpoint {
            place.partition.flush_and_checkpoint().unwrap();
        }
        let path = place.dir.path().join(&place.files()[0]);
        let whole = fs::metadata(&path).unwrap().len();
        place.append(batch().record(1, None, Some("torn")).record(2, None, Some("torn")));
        let bytes = fs::read(&path).unwrap();
        let mut place = place;
        for cut in whole..bytes.len() as u64 {
            fs::write(&path, &bytes[..cut as usize]).unwrap();
            place = place.reopen();
            assert_eq!(place.offsets(), [0], "cut at {cut}");
            assert_eq!(fs::metadata(&path).unwrap().len(), whole);
        }
        // A flipped bit, zeros, and junk instead of a tail.
        for junk in
            [vec![0; 100], vec![0xff; 100], [&bytes[..bytes.len() - 1], &[0x55]].concat()[whole as usize..].to_vec()]
        {
            fs::write(&path, [&bytes[..whole as usize], &junk].concat()).unwrap();
            place = place.reopen();
            assert_eq!(place.offsets(), [0]);
        }
        assert_eq!(place.append(batch().record(1, None, Some("next"))).base_offset, 1);
        assert_eq!(place.reopen().offsets(), [0, 1]);
    }
}

#[test]
fn a_torn_checkpoint_costs_a_scan_and_nothing_else() {
    let place = filled();
    place.partition.flush_and_checkpoint().unwrap();
    let path = place.dir.path().join("checkpoint");
    let stored = fs::read(&path).unwrap();
    fs::write(&path, &stored[..stored.len() / 2]).unwrap();
    let place = place.reopen();
    assert_eq!(place.offsets(), all(24));
    let again =
        place.append(batch().producer(5, 0, 22).record(1, Some("k"), Some("v")).record(2, Some("k"), Some("v")));
    assert!(again.duplicate);
}

#[test]
fn a_missing_or_wrong_index_is_not_believed() {
    let place = Place::new(&[("segment.bytes", "200000")]);
    let value: &'static str = "x".repeat(1_000).leak();
    for _ in 0..300 {
        place.append(batch().record(1, None, Some(value)));
    }
    place.partition.flush_and_checkpoint().unwrap();
    let indexes: Vec<_> = fs::read_dir(place.dir.path())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "index"))
        .collect();
    assert!(!indexes.is_empty());
    let place = place.reopen();
    assert_eq!(place.offsets(), all(300));
    for index in &indexes {
        let mut bytes = fs::read(index).unwrap();
        // Plausible entries that point nowhere.
        bytes.iter_mut().skip(7).step_by(16).for_each(|byte| *byte = byte.wrapping_add(3));
        fs::write(index, bytes).unwrap();
    }
    let place = place.reopen();
    assert_eq!(place.offsets(), all(300));
    for index in &indexes {
        fs::remove_file(index).unwrap();
    }
    assert_eq!(place.reopen().offsets(), all(300));
}

#[test]
fn segments_that_are_not_in_the_checkpoint_are_left_overs() {
    let place = filled();
    place.partition.flush_and_checkpoint().unwrap();
    let source = place.dir.path().join(&place.files()[0]);
    let left_over = place.dir.path().join("00000000000000000000.7.log");
    fs::copy(source, &left_over).unwrap();
    fs::write(place.dir.path().join("00000000000000000004.9.log.new"), b"half").unwrap();
    let place = place.reopen();
    assert_eq!(place.offsets(), all(24));
    assert!(!left_over.exists() && place.files().iter().all(|name| !name.contains(".9.")));
}

#[test]
fn open_and_ended_transactions_are_known_again() {
    for checkpointed in [false, true] {
        let place = Place::new(&[]);
        for producer in [1, 2, 3] {
            place.partition.announce_transaction(producer, 0, 0);
            place.append(batch().producer(producer, 0, 0).transactional().record(1, None, Some("x")));
        }
        place.partition.end_transaction(1, 0, Marker::Abort, false, 0).unwrap();
        if checkpointed {
            place.partition.flush_and_checkpoint().unwrap();
        }
        place.partition.end_transaction(2, 0, Marker::Commit, false, 0).unwrap();
        let place = place.reopen();
        assert_eq!(place.partition.offsets().last_stable, 2, "the third is open");
        place.partition.end_transaction(3, 0, Marker::Abort, true, 0).unwrap();
        place.partition.end_transaction(3, 0, Marker::Abort, true, 0).unwrap();
        assert_eq!(place.partition.offsets().high_watermark, 6, "the second marker was not needed");
        assert_eq!(place.offsets(), [1]);
    }
}
