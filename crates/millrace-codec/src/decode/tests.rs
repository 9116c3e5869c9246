//! What the decoder takes and what it refuses.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use millrace_model::Contracts;
use millrace_model::dead_letter::MalformedCode as Code;
use proptest::prelude::*;

use super::*;

fn contract(name: &str) -> Contract {
    Contracts::builtin().get(name).expect("shipped").clone()
}

fn decoder(name: &str, needed: &Needed) -> Decoder {
    Decoder::new(&contract(name), needed, DecodeLimits::default())
}

const GOOD: &str =
    r#"{"event_id":"e1","event_type":"page_viewed","event_time":"2026-01-01T00:00:00Z","anonymous_id":"a"}"#;

fn push(text: &str) -> Result<(), Malformed> {
    let at = Timestamp::parse(b"2026-01-01T00:00:01Z");
    decoder("user_events", &Needed::All).push(Some(text.as_bytes()), at)
}

#[test]
fn refuses_with_code_and_place() {
    let event = |rest: &str| GOOD.replace('}', &format!(",{rest}}}"));
    let bomb = event(&format!("\"x\":{}{}", "[".repeat(5_000), "]".repeat(5_000)));
    let huge = event(&format!("\"path\":\"{}\"", "x".repeat(2 << 20)));
    for (text, code, field) in [
        ("", Code::Empty, None),
        (" \n", Code::Empty, None),
        ("not json", Code::NotJson, None),
        ("{\"event_id\":", Code::NotJson, None),
        ("[1,2]", Code::NotAnObject, None),
        ("\"text\"", Code::NotAnObject, None),
        ("null", Code::NotAnObject, None),
        ("{}", Code::MissingField, Some("event_id")),
        (&GOOD.replace("\"a\"", "null"), Code::NullField, Some("anonymous_id")),
        (&GOOD.replace("\"a\"", "\"\""), Code::NullField, Some("anonymous_id")),
        (&GOOD.replace("\"a\"", "7"), Code::WrongType, Some("anonymous_id")),
        (&event("\"quantity\":\"two\""), Code::WrongType, Some("quantity")),
        (&event("\"quantity\":2.0"), Code::WrongType, Some("quantity")),
        (&event("\"quantity\":99999999999999999999"), Code::WrongType, Some("quantity")),
        (&event("\"event_id\":\"e2\""), Code::DuplicateField, Some("event_id")),
        (&GOOD.replace("2026-01-01T00:00:00Z", "yesterday"), Code::BadTime, Some("event_time")),
        (&GOOD.replace("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), Code::FutureTime, Some("event_time")),
        (&bomb, Code::TooDeep, None),
        (&huge, Code::TooLarge, None),
        (&format!("{GOOD} x"), Code::NotJson, None),
    ] {
        let shown = &text[..text.len().min(120)];
        let error = push(text).expect_err(shown);
        assert_eq!((error.code, error.field.as_deref()), (code, field), "{shown}: {error}");
    }
    let error = decoder("user_events", &Needed::All).push(Some(b"{\"event_id\":\"\xff\"}"), None).expect_err("bytes");
    assert_eq!(error.code, Code::NotUtf8);
}

#[test]
fn takes_unknown_fields_any_order_and_escapes() {
    for text in [
        GOOD.to_owned(),
        r#"{"anonymous_id":"a","new":{"deep":[1,{"x":null}]},"event_time":"2026-01-01T00:00:00Z","event_type":"t","event_id":"e"}"#.to_owned(),
        GOOD.replace("event_type", "\\u0065vent_type"),
        GOOD.replace('}', ",\"user_id\":null}"),
    ] {
        push(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn a_malformed_record_leaves_no_trace() {
    let mut decoder = decoder("transactions", &Needed::All);
    let order = |lines: &str| {
        format!(
            r#"{{"event_id":"e","event_type":"order_placed","event_time":"2026-01-01T00:00:00Z","order_id":"o","lines":{lines}}}"#
        )
    };
    let good =
        order(r#"[{"product_id":"p1","quantity":1,"price_minor":5},{"product_id":"p2","quantity":2,"price_minor":7}]"#);
    let bad = order(
        r#"[{"product_id":"p3","quantity":1,"price_minor":5},{"product_id":"p4","quantity":"2","price_minor":7}]"#,
    );
    decoder.push(Some(good.as_bytes()), None).expect("good");
    let error = decoder.push(Some(bad.as_bytes()), None).expect_err("bad");
    assert_eq!(error.field.as_deref(), Some("lines[1].quantity"));
    assert_eq!(error.event_time, Timestamp::parse(b"2026-01-01T00:00:00Z"));
    decoder.push(Some(good.as_bytes()), None).expect("good");
    decoder.push(Some(order("null").as_bytes()), None).expect("good");
    let batch = decoder.finish();
    assert_eq!(batch.num_rows(), 3);
    let lines = batch.column_by_name("lines").expect("column").as_list::<i32>();
    assert_eq!((lines.value_length(0), lines.value_length(1), lines.is_null(2)), (2, 2, true));
    let products = lines.values().as_struct().column(0).as_string::<i32>();
    assert_eq!(products.iter().flatten().collect::<Vec<_>>(), ["p1", "p2", "p1", "p2"]);
}

fn columns_of(batch: &RecordBatch) -> Vec<&str> {
    batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect()
}

#[test]
fn only_needed_columns_are_built() {
    let needed = Needed::Columns(vec!["quantity".into(), "event_time".into(), "no_such".into()]);
    let mut decoder = decoder("user_events", &needed);
    decoder.push(Some(GOOD.replace('}', ",\"quantity\":3}").as_bytes()), None).expect("good");
    let batch = decoder.finish();
    assert_eq!(columns_of(&batch), ["event_time", "quantity"]);
    assert_eq!(batch.column(0).as_primitive::<TimestampMicrosecondType>().value(0), 1_767_225_600_000_000);
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 3);
}

proptest! {
    /// What is malformed does not depend on the columns asked for.
    #[test]
    fn the_verdict_does_not_depend_on_the_columns(cut in 0..GOOD.len(), byte in any::<u8>()) {
        let mut text = GOOD.as_bytes().to_vec();
        text[cut] = byte;
        let all = decoder("user_events", &Needed::All).push(Some(&text), None);
        let none = decoder("user_events", &Needed::Columns(vec![])).push(Some(&text), None);
        prop_assert_eq!(all, none);
    }

    /// What was learnt from other records changes neither the verdict on a record nor its values.
    #[test]
    fn guesses_change_nothing(
        orders in proptest::collection::vec(proptest::sample::subsequence((0..8_usize).collect::<Vec<_>>(), 0..8).prop_shuffle(), 1..12),
        cut in 0..400_usize, byte in any::<u8>(),
    ) {
        const FIELDS: [&str; 8] = [
            r#""event_id":"e1""#, r#""event_type":"t""#, r#""event_time":"2026-01-01T00:00:00Z""#, r#""anonymous_id":"a""#,
            r#""quantity":3"#, r#""unknown":[{"event_id":1}]"#, r#""path" : "/\u00e9""#, r#""event_id":"again""#,
        ];
        let mut practised = decoder("user_events", &Needed::All);
        for (at, order) in orders.iter().enumerate() {
            let fields = order.iter().map(|field| FIELDS[*field]).collect::<Vec<_>>();
            let mut text = format!("{{{}}}", fields.join(",")).into_bytes();
            if at + 1 == orders.len() && cut < text.len() {
                text[cut] = byte;
            }
            let mut fresh = decoder("user_events", &Needed::All);
            prop_assert_eq!(practised.push(Some(&text), None), fresh.push(Some(&text), None));
            prop_assert_eq!(practised.finish(), fresh.finish());
        }
    }

    /// arrow-json, an independent decoder, reads the same values from what we accept.
    #[test]
    fn agrees_with_arrow_json(
        id in "\\PC{1,12}", path in proptest::option::of("\\PC*"), quantity in proptest::option::of(any::<i64>()),
    ) {
        let mut event = serde_json::json!({
            "event_id": id, "event_type": "t", "event_time": "2026-01-01T00:00:00.25Z", "anonymous_id": "a",
        });
        if let Some(path) = path { event["path"] = path.into(); }
        if let Some(quantity) = quantity { event["quantity"] = quantity.into(); }
        let text = event.to_string();
        let mut ours = decoder("user_events", &Needed::All);
        ours.push(Some(text.as_bytes()), None).expect("good");
        let mut theirs = arrow_json::ReaderBuilder::new(ours.schema().clone()).build_decoder().expect("schema");
        theirs.decode(text.as_bytes()).expect("good");
        let theirs = theirs.flush().expect("good").expect("a row");
        prop_assert_eq!(ours.finish(), theirs);
    }
}
