//! Same seed, same bytes, however the time is cut.

use millrace_model::Timestamp;

use crate::common::{minutes, open, run, settings};

#[test]
fn same_seed_same_bytes() {
    assert!(run(settings(3, 200.0), 12) == run(settings(3, 200.0), 12));
    assert!(run(settings(3, 200.0), 2) != run(settings(4, 200.0), 2));
}

#[test]
fn the_cut_of_time_makes_no_difference() {
    let whole = run(settings(3, 150.0), 8);
    let mut shop = open(settings(3, 150.0));
    let (mut pieces, mut at, mut step) = (Vec::new(), minutes(0), 1);
    while at < minutes(8) {
        // From one microsecond to half a minute.
        step = if step > 30_000_000 { 1 } else { step * 3 + 7 };
        at = Timestamp(at.0 + step).min(minutes(8));
        let before = pieces.len();
        shop.advance(at, &mut pieces);
        assert!(pieces[before..].iter().all(|record| record.arrival < at));
    }
    shop.finish(&mut pieces);
    assert_eq!(whole.len(), pieces.len());
    assert!(whole == pieces);
}

#[test]
fn records_come_in_order_of_arrival() {
    let records = run(settings(5, 300.0), 10);
    assert!(records.is_sorted_by_key(|record| record.arrival));
    assert!(records.iter().all(|record| record.event_time <= record.arrival));
}

#[test]
fn a_closed_shop_is_silent() {
    let mut shop = open(settings(5, 50.0));
    let mut records = Vec::new();
    shop.advance(minutes(1), &mut records);
    shop.finish(&mut records);
    let before = records.len();
    shop.advance(minutes(9), &mut records);
    shop.finish(&mut records);
    assert_eq!(records.len(), before);
}
