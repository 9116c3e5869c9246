//! Compaction on a real directory: what stays, what goes, and that offsets and crashes do not mind.

use super::{LIMIT, Place};
use crate::storage::cleaner::CompactionLimits;
use crate::storage::codec::Codec;
use crate::storage::marker::Marker;
use crate::storage::read::Isolation;
use crate::storage::testing::batch;
use std::fs;

const LIMITS: CompactionLimits = CompactionLimits { keys_max: 1_000, decompressed_bytes_max: LIMIT };

fn compacted(extra: &[(&str, &str)]) -> Place {
    Place::new(
        &[&[("cleanup.policy", "compact"), ("segment.bytes", "300"), ("delete.retention.ms", "1000")], extra].concat(),
    )
}

fn kept(place: &Place) -> Vec<(i64, String, String)> {
    place.read()
}

/// Keys a, b, c in turn, ten rounds, every codec; `end` seals what matters.
fn filled(extra: &[(&str, &str)]) -> Place {
    let place = compacted(extra);
    for n in 0..10 {
        let codec = [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Gzip, Codec::Snappy][n % 5];
        let values: Vec<&'static str> = ["a", "b", "c"].iter().map(|key| &*format!("{key}{n}").leak()).collect();
        place.append(
            batch()
                .codec(codec)
                .record(9_000, Some("a"), Some(values[0]))
                .record(9_001, Some("b"), Some(values[1]))
                .record(9_002, Some("c"), Some(values[2])),
        );
    }
    for _ in 0..3 {
        place.append(batch().record(
            9_003,
            Some("end"),
            Some("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ));
    }
    place
}

#[test]
fn only_the_latest_value_of_each_key_stays_at_its_offset() {
    let place = filled(&[]);
    let before = place.files().len();
    let done = place.partition.compact(LIMITS, place.now_ms).unwrap().unwrap();
    assert!(done.bytes_after < done.bytes_before / 2, "{done:?}");
    assert!(place.files().len() < before, "small segments were joined: {:?}", place.files());
    let expect = |place: &Place| {
        let kept = kept(place);
        let firsts: Vec<_> = kept.iter().take(3).map(|(offset, _, value)| (*offset, value.as_str())).collect();
        assert_eq!(firsts, [(27, "a9"), (28, "b9"), (29, "c9")]);
        assert_eq!(kept.last().unwrap().0, 32);
        // Reading from an offset that is gone gives what comes next.
        assert_eq!(place.read_from(5, Isolation::Uncommitted)[0].0, 27);
    };
    expect(&place);
    assert_eq!(place.partition.compact(LIMITS, place.now_ms).unwrap(), None, "nothing is dirty");
    let place = place.reopen();
    expect(&place);
    assert_eq!(place.append(batch().record(9_000, Some("a"), Some("new"))).base_offset, 33);
    // Without its manifest the log is built from the rewritten files.
    fs::remove_file(place.dir.path().join("checkpoint")).unwrap();
    let place = place.reopen();
    assert_eq!(kept(&place)[0].0, 27);
}

#[test]
fn a_crash_between_the_new_files_and_the_manifest_loses_nothing() {
    let place = filled(&[]);
    place.partition.flush_and_checkpoint().unwrap();
    let all = kept(&place);
    let manifest = fs::read(place.dir.path().join("checkpoint")).unwrap();
    let files: Vec<_> =
        place.files().into_iter().map(|name| (name.clone(), fs::read(place.dir.path().join(name)).unwrap())).collect();
    place.partition.compact(LIMITS, place.now_ms).unwrap().unwrap();
    // As if the machine had stopped right before the manifest was replaced: old files and old manifest, new files too.
    for (name, bytes) in files {
        fs::write(place.dir.path().join(name), bytes).unwrap();
    }
    fs::write(place.dir.path().join("checkpoint"), manifest).unwrap();
    assert_eq!(kept(&place.reopen()), all);
}

#[test]
fn tombstones_stay_for_a_while_and_then_go() {
    let mut place = filled(&[]);
    place.append(batch().record(9_100, Some("a"), None).record(9_101, Some("b"), None));
    for _ in 0..3 {
        place.append(batch().record(
            9_102,
            Some("end"),
            Some("yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"),
        ));
    }
    place.partition.compact(LIMITS, place.now_ms).unwrap().unwrap();
    let keys = |place: &Place| {
        kept(place).into_iter().map(|(_, key, value)| format!("{key}={}", &value[..1])).collect::<Vec<_>>()
    };
    assert_eq!(keys(&place)[..3], ["c=c", "a=-", "b=-"]);
    let times = place.partition.first_at_or_after(9_100, LIMIT).unwrap().unwrap();
    assert_eq!((times.offset, times.timestamp_ms), (33, 9_100), "times survive the delete horizon");
    place.now_ms += 999;
    assert_eq!(place.partition.compact(LIMITS, place.now_ms).unwrap(), None);
    place.now_ms += 1;
    place.partition.compact(LIMITS, place.now_ms).unwrap().unwrap();
    assert_eq!(keys(&place)[0], "c=c");
    assert!(keys(&place).iter().all(|key| !key.ends_with("=-")), "{:?}", keys(&place));
}

#[test]
fn aborted_records_go_and_committed_ones_stay() {
    let mut place = compacted(&[("min.cleanable.dirty.ratio", "0")]);
    let in_transaction = |place: &Place, producer, value: &'static str, marker| {
        place.partition.announce_transaction(producer, 0, 0);
        place.append(batch().producer(producer, 0, 0).transactional().record(9_000, Some("k"), Some(value)));
        place.partition.end_transaction(producer, 0, marker, false, place.now_ms).unwrap();
    };
    in_transaction(&place, 1, "old", Marker::Commit);
    in_transaction(&place, 2, "good", Marker::Commit);
    in_transaction(&place, 3, "aborted", Marker::Abort);
    for _ in 0..4 {
        place.append(batch().record(
            9_003,
            Some("end"),
            Some("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ));
    }
    place.partition.compact(LIMITS, place.now_ms).unwrap().unwrap();
    let value = |place: &Place| kept(place).into_iter().find(|(_, key, _)| key == "k").map(|(_, _, value)| value);
    assert_eq!(value(&place).as_deref(), Some("good"), "the aborted record did not supersede it");
    let uncommitted = place.read_from(0, Isolation::Uncommitted);
    assert!(uncommitted.iter().all(|(_, _, value)| value != "aborted" && value != "old"));
    // The markers whose data is gone leave later; the one whose data is there stays, so a scan knows how it ended.
    place.now_ms += 1_000;
    place.partition.compact(LIMITS, place.now_ms).unwrap().unwrap();
    fs::remove_file(place.dir.path().join("checkpoint")).unwrap();
    let place = place.reopen();
    assert_eq!(value(&place).as_deref(), Some("good"));
    let offsets = place.partition.offsets();
    assert_eq!(offsets.last_stable, offsets.high_watermark, "no transaction seems open");
}

#[test]
fn an_open_transaction_holds_compaction_back() {
    let place = compacted(&[]);
    place.append(batch().record(9_000, Some("k"), Some("first")));
    place.partition.announce_transaction(1, 0, 0);
    place.append(batch().producer(1, 0, 0).transactional().record(9_000, Some("k"), Some("open")));
    for _ in 0..6 {
        place.append(batch().record(
            9_003,
            Some("k"),
            Some("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ));
    }
    assert_eq!(place.partition.compact(LIMITS, place.now_ms).unwrap(), None);
    place.partition.end_transaction(1, 0, Marker::Commit, false, 0).unwrap();
    assert!(place.partition.compact(LIMITS, place.now_ms).unwrap().is_some());
}

#[test]
fn more_keys_than_there_is_room_for_take_several_rounds() {
    let place = compacted(&[("min.cleanable.dirty.ratio", "0")]);
    for round in 0..2 {
        for key in 0..40 {
            let (key, value): (&'static str, &'static str) = (format!("key-{key}").leak(), format!("{round}").leak());
            place.append(batch().record(9_000, Some(key), Some(value)));
        }
    }
    place.append(batch().record(9_003, Some("end"), Some("x")));
    place.append(batch().record(
        9_003,
        Some("end"),
        Some("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ));
    place.append(batch().record(
        9_003,
        Some("end"),
        Some("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ));
    let few = CompactionLimits { keys_max: 15, ..LIMITS };
    let mut rounds = 0;
    while place.partition.compact(few, place.now_ms).unwrap().is_some() {
        rounds += 1;
        assert!(rounds < 20, "it never comes to an end");
    }
    assert!(rounds > 2, "{rounds}");
    let values: Vec<_> =
        kept(&place).into_iter().filter(|(_, key, _)| key.starts_with("key-")).map(|(_, _, value)| value).collect();
    assert!(values.len() < 50 && values.iter().filter(|value| *value == "1").count() == 40, "{values:?}");
}

#[test]
fn a_reader_gets_past_the_end_even_if_nothing_is_left_there() {
    let mut place = compacted(&[("segment.ms", "10"), ("min.cleanable.dirty.ratio", "0")]);
    place.append(batch().record(9_000, Some("a"), Some("1")).record(9_000, Some("b"), Some("2")));
    place.append(batch().record(9_000, Some("b"), None));
    for _ in 0..3 {
        place.now_ms += 2_000;
        place.partition.compact(LIMITS, place.now_ms).unwrap();
    }
    assert_eq!(kept(&place), [(0, "a".into(), "1".into())]);
    let place = place.reopen();
    for offset in 0..3 {
        let outcome = place.partition.read(offset, Isolation::Uncommitted, LIMIT, true).unwrap();
        let end = crate::storage::batch::whole_batches(&outcome.records).last().unwrap().1.next_offset();
        assert_eq!(end, 3, "from {offset}");
    }
    assert_eq!(place.partition.latest_time(LIMIT).unwrap().unwrap().offset, 0);
    // Later it is no longer the end, and goes.
    let mut place = place;
    place.append(batch().record(9_000, Some("c"), Some("3")));
    place.now_ms += 2_000;
    place.partition.compact(LIMITS, place.now_ms).unwrap();
    let outcome = place.partition.read(2, Isolation::Uncommitted, LIMIT, true).unwrap();
    assert_eq!(crate::storage::batch::BatchHeader::parse(&outcome.records).unwrap().base_offset, 3);
}

#[test]
fn records_without_a_key_are_refused() {
    let place = compacted(&[]);
    for codec in [Codec::None, Codec::Zstd] {
        let keyless = batch().codec(codec).record(9_000, None, Some("v")).build();
        let keyless = crate::storage::batch::ClientBatch::parse(keyless.into()).unwrap();
        assert!(place.partition.append(&keyless, LIMIT, place.now_ms).is_err());
    }
}
