//! Reading by offset and time, retention, deleting records.

use super::{LIMIT, Place};
use crate::storage::codec::Codec;
use crate::storage::marker::Marker;
use crate::storage::read::Isolation;
use crate::storage::testing::batch;
use crate::storage::time::Found;

/// Ten batches of two records, offsets 0–19, times 1000–1019, several segments.
fn twenty(configs: &[(&str, &str)]) -> Place {
    let place = Place::new(
        &[&[("segment.bytes", "300"), ("message.timestamp.before.max.ms", "9223372036854775807")], configs].concat(),
    );
    for n in 0..10 {
        let codec = [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Gzip, Codec::Snappy][n as usize % 5];
        place.append(batch().codec(codec).record(1_000 + 2 * n, Some("k"), Some("v")).record(
            1_001 + 2 * n,
            Some("k"),
            Some("v"),
        ));
    }
    assert!(place.files().len() > 3, "{:?}", place.files());
    place
}

#[test]
fn every_offset_can_be_read_from() {
    let place = twenty(&[]).reopen();
    for offset in 0..=20 {
        let read: Vec<i64> = place.read_from(offset, Isolation::Uncommitted).into_iter().map(|r| r.0).collect();
        assert_eq!(read, (offset..20).collect::<Vec<_>>());
    }
    for offset in [-1, 21, i64::MAX] {
        assert!(place.partition.read(offset, Isolation::Uncommitted, LIMIT, true).unwrap().out_of_range);
    }
}

#[test]
fn limits_are_kept_but_for_one_batch() {
    let place = twenty(&[]);
    let bytes =
        |max, at_least_one| place.partition.read(0, Isolation::Uncommitted, max, at_least_one).unwrap().records.len();
    assert_eq!(bytes(1, false), 0);
    let first = bytes(1, true);
    assert!(first > 1);
    assert_eq!(bytes(first + 1, false), first, "whole batches only");
}

#[test]
fn records_are_found_by_time_inside_batches() {
    let place = twenty(&[]).reopen();
    let at = |time| place.partition.first_at_or_after(time, LIMIT).unwrap();
    for n in 0..20 {
        assert_eq!(at(1_000 + n), Some(Found { offset: n, timestamp_ms: 1_000 + n }));
    }
    assert_eq!(at(0), Some(Found { offset: 0, timestamp_ms: 1_000 }));
    assert_eq!(at(1_020), None);
    assert_eq!(place.partition.latest_time(LIMIT).unwrap(), Some(Found { offset: 19, timestamp_ms: 1_019 }));
    // A late record: the latest time is not at the end.
    place.append(batch().record(500, None, Some("late")).record(1_018, None, Some("later")));
    assert_eq!(at(600), Some(Found { offset: 0, timestamp_ms: 1_000 }));
    assert_eq!(place.partition.latest_time(LIMIT).unwrap(), Some(Found { offset: 19, timestamp_ms: 1_019 }));
}

#[test]
fn deleted_records_stay_deleted() {
    let place = twenty(&[]);
    assert_eq!(place.partition.delete_records(21).unwrap(), None, "past the end");
    assert_eq!(place.partition.delete_records(7).unwrap(), Some(7));
    assert_eq!(place.partition.delete_records(3).unwrap(), Some(7), "it never moves back");
    let place = place.reopen();
    assert_eq!(place.offsets(), (7..20).collect::<Vec<_>>());
    assert!(place.partition.read(6, Isolation::Uncommitted, LIMIT, true).unwrap().out_of_range);
    let before = place.files().len();
    assert!(place.partition.retain(place.now_ms).unwrap().segments_dropped > 0);
    assert!(place.files().len() < before, "the space came back");
    assert_eq!(place.offsets(), (7..20).collect::<Vec<_>>());
    assert_eq!(place.partition.first_at_or_after(0, LIMIT).unwrap().map(|found| found.offset), Some(7));
}

#[test]
fn old_and_surplus_segments_go() {
    let mut place = twenty(&[("retention.ms", "5000")]);
    place.now_ms = 6_010;
    assert!(place.partition.retain(place.now_ms).unwrap().segments_dropped > 0);
    let left = place.offsets();
    assert!(left[0] > 0 && *left.last().unwrap() == 19, "{left:?}");
    // Everything is too old: even the active segment goes, and offsets go on from where they were.
    place.now_ms = 60_000;
    place.partition.retain(place.now_ms).unwrap();
    let place = place.reopen();
    assert_eq!(place.offsets(), [] as [i64; 0]);
    assert_eq!(place.append(batch().record(60_000, None, Some("next"))).base_offset, 20);

    let place = twenty(&[("retention.bytes", "700"), ("retention.ms", "-1")]);
    place.partition.retain(place.now_ms).unwrap();
    let bytes = crate::sync::lock(&place.partition.log).bytes();
    assert!((700..1_300).contains(&bytes), "{bytes}");
}

#[test]
fn a_reader_of_committed_records_waits_for_the_first_open_transaction() {
    let place = Place::new(&[]);
    place.append(batch().record(1, None, Some("plain")));
    for producer in [7, 8] {
        place.partition.announce_transaction(producer, 0, 0);
        place.append(batch().producer(producer, 0, 0).transactional().record(1, None, Some("open")));
    }
    let values = |place: &Place| place.read().into_iter().map(|(_, _, value)| value).collect::<Vec<_>>();
    assert_eq!((values(&place), place.partition.offsets().last_stable), (vec!["plain".into()], 1));
    place.partition.end_transaction(8, 0, Marker::Commit, false, 0).unwrap();
    assert_eq!(place.partition.offsets().last_stable, 1, "the first is still open");
    place.partition.end_transaction(7, 0, Marker::Abort, false, 0).unwrap();
    let place = place.reopen();
    assert_eq!((values(&place), place.partition.offsets().last_stable), (vec!["plain".into(), "open".into()], 5));
}

#[test]
fn the_broker_stamps_records_if_the_topic_wants_it() {
    let place = Place::new(&[("message.timestamp.type", "LogAppendTime")]);
    let appended = place.append(batch().record(1, None, Some("a")).record(2, None, Some("b")));
    assert_eq!(appended.log_append_time_ms, Some(10_000));
    let outcome = place.partition.read(0, Isolation::Uncommitted, LIMIT, true).unwrap();
    let header = crate::storage::batch::BatchHeader::parse(&outcome.records).unwrap();
    header.check_crc(&outcome.records).unwrap();
    assert_eq!((header.max_timestamp_ms, header.has_log_append_time()), (10_000, true));
    let found = place.partition.first_at_or_after(5_000, LIMIT).unwrap();
    assert_eq!(found, Some(Found { offset: 0, timestamp_ms: 10_000 }));
}
