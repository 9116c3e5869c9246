//! Rows are written as arrow-json writes them, byte by byte, and read back as they were.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, Float64Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray};
use millrace_model::Contracts;
use proptest::prelude::*;

use super::*;
use crate::{DecodeLimits, Decoder, Needed};

#[test]
fn what_is_decoded_is_written_again() {
    let contract = Contracts::builtin().get("transactions").expect("shipped").clone();
    let needed =
        Needed::Columns(["event_id", "event_time", "amount_minor", "ip_latitude", "lines"].map(String::from).into());
    let mut decoder = Decoder::new(&contract, &needed, DecodeLimits::default());
    for text in [
        r#"{"event_id":"a\nb","event_type":"t","event_time":"2026-01-01T00:00:00Z","order_id":"o","amount_minor":5,"ip_latitude":1.5,"lines":[{"product_id":"p","quantity":1,"price_minor":2}]}"#,
        r#"{"event_id":"é","event_type":"t","event_time":"2026-01-01T00:00:00.000001Z","order_id":"o"}"#,
    ] {
        decoder.push(Some(text.as_bytes()), None).expect("good");
    }
    let rows = encode_rows(&decoder.finish()).expect("JSON types");
    let texts: Vec<_> = rows.iter().map(|row| std::str::from_utf8(row).expect("UTF-8")).collect();
    assert_eq!(
        texts,
        [
            r#"{"event_id":"a\nb","event_time":"2026-01-01T00:00:00.000000Z","ip_latitude":1.5,"amount_minor":5,"lines":[{"product_id":"p","category":null,"quantity":1,"price_minor":2}]}"#,
            r#"{"event_id":"é","event_time":"2026-01-01T00:00:00.000001Z","ip_latitude":null,"amount_minor":null,"lines":null}"#,
        ]
    );
    assert_eq!((rows.len(), rows.lines()), (2, format!("{}\n{}\n", texts[0], texts[1]).as_bytes()));
}

/// The same bytes, whoever writes.
fn check(columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    let batch = batch.expect("columns of one length");
    for batch in [batch.clone(), batch.slice(batch.num_rows() / 2, batch.num_rows() / 3)] {
        let (ours, theirs) = (encode_rows(&batch).expect("written"), encode_with(&batch, &options()).expect("written"));
        let text = |rows: &EncodedRows| String::from_utf8(rows.lines().to_vec()).expect("UTF-8");
        assert_eq!(text(&ours), text(&theirs));
        assert_eq!(ours.iter().collect::<Vec<_>>(), theirs.iter().collect::<Vec<_>>());
    }
}

#[test]
fn rows_without_columns_are_empty_objects() {
    let schema = Arc::new(arrow_schema::Schema::empty());
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(2));
    let batch = RecordBatch::try_new_with_options(schema, Vec::new(), &options).expect("a batch");
    let rows = encode_rows(&batch).expect("written");
    assert_eq!((rows.iter().collect::<Vec<_>>(), rows.lines()), (vec![&b"{}"[..]; 2], &b"{}\n{}\n"[..]));
}

#[test]
fn times_of_any_year_and_zone_are_written_as_before() {
    let times = [0, -1, 86_399_999_999, 86_400_000_000, -62_167_219_200_000_000, 253_402_300_799_999_999];
    for zone in [None, Some("+00:00"), Some("UTC"), Some("+02:00")] {
        let column = |times: &[i64]| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone_opt(zone))
        };
        check(vec![("t", column(&times))]);
        check(vec![("t", column(&[0, -62_167_219_200_000_001, 253_402_300_800_000_000]))]);
    }
}

proptest! {
    #[test]
    fn texts_and_times_are_written_as_arrow_json_does(
        rows in prop::collection::vec(
            (
                prop::option::of("\\PC{0,9}|[\\x00-\\x7f]{0,80}"),
                prop::option::of(-62_167_219_200_000_000_i64..253_402_300_800_000_000),
                prop::option::of(any::<i64>()),
                prop::option::of(any::<f64>()),
                prop::option::of(prop::collection::vec(prop::option::of(any::<i32>()), 0..3)),
            ),
            0..20,
        )
    ) {
        let texts: StringArray = rows.iter().map(|row| row.0.as_deref()).collect();
        let times: TimestampMicrosecondArray = rows.iter().map(|row| row.1).collect();
        let numbers: Int64Array = rows.iter().map(|row| row.2).collect();
        let floats: Float64Array = rows.iter().map(|row| row.3).collect();
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(rows.iter().map(|row| row.4.clone()));
        check(vec![
            ("text", Arc::new(texts)),
            ("time \"at\"", Arc::new(times.with_timezone("+00:00"))),
            ("number", Arc::new(numbers)),
            ("float", Arc::new(floats)),
            ("list", Arc::new(lists)),
        ]);
    }
}
