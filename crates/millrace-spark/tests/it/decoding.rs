//! Nasty records through both decoders: the same ones are refused, and the rest come out with the same bytes.

use std::collections::BTreeMap;

use millrace_codec::{DecodeLimits, Decoder, Needed, encode_rows};
use millrace_model::{Contract, Contracts, Role, Timestamp};
use millrace_spark::{SparkEvent, SparkTrigger, run};

use crate::glue;
use crate::servers::Spark;
use crate::support::{Kafka, Outgoing, settings};

const CONTRACT: &str = r#"{
  "$id": "nasty", "description": "A field of every type",
  "type": "object", "required": ["id", "at"],
  "properties": {
    "id": { "type": "string", "minLength": 1 },
    "at": { "type": "string", "format": "date-time" },
    "note": { "type": ["string", "null"] },
    "code": { "type": "string", "minLength": 1 },
    "count": { "type": ["integer", "null"] },
    "ratio": { "type": ["number", "null"] },
    "flag": { "type": ["boolean", "null"] },
    "tags": { "type": ["array", "null"], "items": { "type": "string" } },
    "seen": { "type": ["array", "null"], "items": { "type": "string", "format": "date-time" } },
    "place": { "type": ["object", "null"], "required": ["city"], "properties": {
      "city": { "type": "string", "minLength": 1 }, "lat": { "type": ["number", "null"] },
      "since": { "type": ["string", "null"], "format": "date-time" } } },
    "lines": { "type": ["array", "null"], "items": { "type": "object", "required": ["sku", "qty"], "properties": {
      "sku": { "type": "string" }, "qty": { "type": "integer" }, "note": { "type": ["string", "null"] } } } },
    "labels": { "type": ["object", "null"], "additionalProperties": { "type": "integer" } }
  },
  "x-millrace": { "role": "source", "key": ["id"], "event_time": "at", "topic": { "partitions": 1 } }
}"#;

const SQL: &str = "CREATE STREAMING TABLE kept TBLPROPERTIES ('output_mode' = 'append', 'key' = 'id')
AS SELECT id, at, note, code, count, ratio, flag, tags, seen, place, lines, labels FROM STREAM nasty";

/// When every record reached Kafka.
const RECORD_TIME: &[u8] = b"2026-01-01T00:30:00Z";

/// Fields behind a good `id` and `at`, with the comma before them.
const FIELDS: &[&str] = &[
    "",
    r#","note":null"#,
    r#","note":7"#,
    r#","note":true"#,
    r#","note":{"a":1}"#,
    r#","note":"tab \t, quote \" and \u00e9 \ud83d\ude00""#,
    r#","note":"lone \ud83d high""#,
    r#","note":"lone \ude00 low""#,
    r#","note":"wrong \ud83d\u0041 pair""#,
    r#","note":"backslash \\ud83d text""#,
    r#","note":"bad \x escape""#,
    r#","note":"short \u12 escape""#,
    ",\"note\":\"raw\ttab\"",
    ",\"note\":\"null \\u0000 inside\"",
    ",\"note\":\"é ü 漢字 😀 \u{feff} \u{2028}\"",
    r#","note":'single'"#,
    r#","code":"""#,
    r#","code":null"#,
    r#","code":"x""#,
    r#","code":12"#,
    r#","count":1"#,
    r#","count":-0"#,
    r#","count":1.0"#,
    r#","count":1e2"#,
    r#","count":"1""#,
    r#","count":""#,
    r#","count":9223372036854775807"#,
    r#","count":-9223372036854775808"#,
    r#","count":9223372036854775808"#,
    r#","count":99999999999999999999999"#,
    r#","count":01"#,
    r#","count":+1"#,
    r#","count":1."#,
    r#","count":[1]"#,
    r#","count":true"#,
    r#","ratio":1"#,
    r#","ratio":1.5"#,
    r#","ratio":0.1"#,
    r#","ratio":0.30000000000000004"#,
    r#","ratio":1234567.25"#,
    r#","ratio":1e400"#,
    r#","ratio":1e-400"#,
    r#","ratio":.5"#,
    r#","ratio":NaN"#,
    r#","ratio":Infinity"#,
    r#","ratio":"NaN""#,
    r#","ratio":"1.5""#,
    r#","flag":true"#,
    r#","flag":"true""#,
    r#","flag":1"#,
    r#","flag":True"#,
    r#","tags":[]"#,
    r#","tags":["a",null,""]"#,
    r#","tags":["a",1]"#,
    r#","tags":[["a"]]"#,
    r#","tags":{}"#,
    r#","tags":"a""#,
    r#","tags":["a",]"#,
    r#","seen":["2026-01-01T00:00:00Z",null]"#,
    r#","seen":["2026-01-01"]"#,
    r#","place":{"city":"Rome"}"#,
    r#","place":{"city":"Rome","lat":41,"since":"2026-01-01T00:00:00.5Z","new":[{}]}"#,
    r#","place":{"lat":41}"#,
    r#","place":{"city":null}"#,
    r#","place":{"city":""}"#,
    r#","place":{"city":"Rome","city":"Rom"}"#,
    r#","place":{"city":"Rome","since":"soon"}"#,
    r#","place":{"city":7}"#,
    r#","place":[]"#,
    r#","place":{}"#,
    r#","lines":[{"sku":"a","qty":1},{"qty":2,"sku":"b","note":null}]"#,
    r#","lines":[{"sku":"a","qty":1},null]"#,
    r#","lines":[{"sku":"a","qty":"1"}]"#,
    r#","lines":[{"sku":"a"}]"#,
    r#","lines":[{"sku":"a","qty":1,"qty":2}]"#,
    r#","lines":[7]"#,
    r#","lines":{"sku":"a","qty":1}"#,
    r#","labels":{}"#,
    r#","labels":{"a":1,"b":null}"#,
    r#","labels":{"a":1.5}"#,
    r#","labels":[]"#,
    r#","new":1,"newer":{"a":[1,{"b":null}]},"newest":"x""#,
    r#","new":1,"new":2"#,
    r#","count":1,"count":1"#,
    r#","id":"again""#,
    r#","note":"a","\u006eote":"b""#,
    r#","\u006eote":"escaped name""#,
    r#","Note":"other case","note":"n""#,
    r#","note":"a" x"#,
    r#","note""#,
    r#","note":"#,
    r#",note:"a""#,
    r#","#,
    r#","x":[[[[]]]],"y":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[""#,
    r#","y":"\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\""#,
    ",\n\r\t \"note\" : \"spaced\" ",
    ",/* comment */\"note\":\"a\"",
    ",\u{b}\"note\":\"vertical tab\"",
    ",\u{a0}\"note\":\"no-break space\"",
];

/// Texts for `at`.
const TIMES: &[&str] = &[
    "2026-01-01T00:00:00.000000Z",
    "2026-01-01T00:00:00.1Z",
    "2026-01-01T00:00:00.123456789Z",
    "2026-01-01T00:00:00.1234567890Z",
    "2026-01-01T00:00:00.Z",
    "2026-01-01 00:00:00Z",
    "2026-01-01t00:00:00z",
    "2026-01-01T01:00:00+01:00",
    "2025-12-31T19:00:00.25-05:00",
    "2026-01-01T23:59:00+23:59",
    "2026-01-01T00:00:00+24:00",
    "2026-01-01T00:00:00+0100",
    "2026-01-01T00:00:00+01",
    "2026-01-01T00:00:00-00:00",
    "2026-01-01T00:00:00 UTC",
    "2026-01-01T00:00:00",
    "2026-01-01",
    "2026-01-01T00:00Z",
    "2026-1-1T0:0:0Z",
    "2026-02-29T00:00:00Z",
    "2024-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-01-00T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:60:00Z",
    "2025-12-31T23:59:60Z",
    "2025-12-31T23:59:60.5+00:00",
    "2025-12-31T23:59:61Z",
    "0000-01-01T00:00:00Z",
    "0000-01-01T00:00:00+00:01",
    "0001-01-01T00:00:00Z",
    "1500-02-28T00:00:00Z",
    "-001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-01-01T01:30:00Z",
    "2026-01-01T01:30:00.000001Z",
    "2030-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z ",
    " 2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z\\n",
    "２026-01-01T00:00:00Z",
    "now",
    "today",
    "",
];

/// Whole values.
fn values() -> Vec<Option<Vec<u8>>> {
    let good = r#"{"id":"whole","at":"2026-01-01T00:00:00Z"}"#;
    let deep = |open: &str, close: &str, times: usize| {
        let (open, close) = (open.repeat(times), close.repeat(times));
        format!(r#"{{"id":"deep{times}","at":"2026-01-01T00:00:00Z","x":{open}{close}}}"#).into_bytes()
    };
    let long = |bytes: usize| {
        let start = format!(r#"{{"id":"long{bytes}","at":"2026-01-01T00:00:00Z","note":""#);
        let text = "x".repeat(bytes - start.len() - 2);
        format!("{start}{text}\"}}").into_bytes()
    };
    let mut values: Vec<Option<Vec<u8>>> = vec![None];
    for text in ["", " ", "\n\t\r ", "null", "7", "true", "\"text\"", "[]", "{}", "{", "}", "[{}]", "not json", "NaN"] {
        values.push(Some(text.into()));
    }
    for (number, tail) in
        [" x", "{}", ",", "]", "}", " \n ", "\u{0}", "// no", ",\"end\":true}"].into_iter().enumerate()
    {
        values.push(Some(format!("{}{tail}", good.replace("whole", &format!("tail{number}"))).into_bytes()));
    }
    values.push(Some(format!("\u{feff}{good}").into_bytes()));
    values.push(Some([good.as_bytes(), b"\xff"].concat()));
    for bytes in [&b"\xc3"[..], b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xf0\x9f\x98"] {
        let start = br#"{"id":"bytes","at":"2026-01-01T00:00:00Z","note":""#;
        values.push(Some([&start[..], bytes, b"\"}"].concat()));
    }
    values.push(Some(good.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    for times in [62, 63, 64, 65, 200] {
        values.push(Some(deep("[", "]", times)));
    }
    values.push(Some(deep("{\"a\":", "}", 63).into_iter().collect::<Vec<u8>>()));
    values.push(Some(String::from_utf8(deep("{\"a\":", "}", 62)).expect("text").replace(":}", ":1}").into_bytes()));
    values.push(Some(String::from_utf8(deep("{\"a\":", "}", 64)).expect("text").replace(":}", ":1}").into_bytes()));
    values.extend([Some(long(1 << 20)), Some(long((1 << 20) + 1))]);
    let digits = format!(r#"{{"id":"digits","at":"2026-01-01T00:00:00Z","ratio":0.{}}}"#, "1".repeat(900));
    values.push(Some(digits.into_bytes()));
    values
}

/// Numbers that come out as the same number in other digits (docs/spark-differences.md).
const OTHER_DIGITS: &[&str] = &[
    r#"{"id":"minus-zero","at":"2026-01-01T00:00:00Z","ratio":-0.0}"#,
    r#"{"id":"large","at":"2026-01-01T00:00:00Z","ratio":123456789012345678901234567890}"#,
    r#"{"id":"small","at":"2026-01-01T00:00:00Z","ratio":0.00001}"#,
];
/// Records that only the embedded backend takes (docs/spark-differences.md).
const ONLY_EMBEDDED: &[&str] = &[
    r#"{"id":"inner","at":"2026-01-01T00:00:00Z","new":{"a":1,"a":2}}"#,
    r#"{"id":"inner-place","at":"2026-01-01T00:00:00Z","place":{"city":"Rome","new":1,"new":2}}"#,
];
/// Records that only Spark takes (docs/spark-differences.md).
const ONLY_SPARK: &[&str] = &[r#"{"id":"escaped-time","at":"2026\u002d01-01T00:00:00Z"}"#];

fn corpus() -> Vec<Option<Vec<u8>>> {
    let mut corpus = values();
    for (number, fields) in FIELDS.iter().enumerate() {
        corpus.push(Some(format!(r#"{{"id":"f{number}","at":"2026-01-01T00:00:00Z"{fields}}}"#).into_bytes()));
    }
    for (number, time) in TIMES.iter().enumerate() {
        corpus.push(Some(format!(r#"{{"id":"t{number}","at":"{time}"}}"#).into_bytes()));
    }
    for at in ["7", "null", "[]", "{}", "1767225600000"] {
        corpus.push(Some(format!(r#"{{"id":"at{at}","at":{at}}}"#).into_bytes()));
    }
    for id in ["7", "null", "\"\"", "[]", "{}"] {
        corpus.push(Some(format!(r#"{{"id":{id},"at":"2026-01-01T00:00:00Z"}}"#).into_bytes()));
    }
    corpus.push(Some(br#"{"at":"2026-01-01T00:00:00Z"}"#.to_vec()));
    corpus.push(Some(br#"{"id":"x"}"#.to_vec()));
    let differing = OTHER_DIGITS.iter().chain(ONLY_EMBEDDED).chain(ONLY_SPARK);
    corpus.extend(differing.map(|text| Some(text.as_bytes().to_vec())));
    corpus
}

/// What the product's own decoder and encoder make of a value: a row, or why not.
fn own(contract: &Contract, value: Option<&[u8]>) -> Result<String, String> {
    let mut decoder = Decoder::new(contract, &Needed::All, DecodeLimits::default());
    decoder.push(value, Timestamp::parse(RECORD_TIME)).map_err(|malformed| malformed.to_string())?;
    let rows = encode_rows(&decoder.finish()).expect("JSON types");
    let row = rows.iter().next().expect("a row").to_vec();
    Ok(String::from_utf8(row).expect("text"))
}

pub(crate) fn both_refuse_the_same_records(spark: &Spark) {
    let contract = Contract::parse(CONTRACT).expect("a contract");
    let mut contracts = Contracts::default();
    contracts.insert(contract.clone());
    let mut result = contract.clone();
    (result.name, result.role) = ("kept".into(), Role::Result);
    contracts.insert(result);
    let job = glue::job("nasty", SQL, &contracts, "");
    let kafka = Kafka::at(&spark.bootstrap_servers());
    kafka.create([("nasty", 1), ("kept", 1)]);
    let corpus = corpus();
    assert!(corpus.len() > 200, "{}", corpus.len());
    let time = Timestamp::parse(RECORD_TIME);
    kafka
        .produce("nasty", corpus.iter().map(|value| Outgoing { value: value.as_deref(), time, ..Outgoing::default() }));

    let dir = tempfile::tempdir().expect("a folder");
    let mut settings = settings(spark, &kafka, dir.path());
    settings.trigger = SparkTrigger::AvailableNow;
    let (mut read, mut malformed) = (0, 0);
    run(&job, &settings, &|| false, &mut |event| {
        if let SparkEvent::Progress(progress) = event {
            let counts = progress.counts();
            (read, malformed) = (read + counts.records_in, malformed + counts.records_malformed);
            assert_eq!(progress.positions[0].offset, corpus.len() as i64);
        }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", spark.log()));

    let mut theirs: BTreeMap<String, u32> = BTreeMap::new();
    for (_, value) in kafka.read("kept") {
        *theirs.entry(String::from_utf8(value.expect("a value")).expect("text")).or_default() += 1;
    }
    let mut differences = Vec::new();
    let mut refused = 0;
    for value in &corpus {
        let text = value.as_deref().map_or("(null)".into(), String::from_utf8_lossy);
        let shown = text.chars().take(160).collect::<String>();
        let row = match own(&contract, value.as_deref()) {
            Err(_) => {
                refused += 1;
                assert!(!ONLY_EMBEDDED.contains(&&*text), "{shown} is refused by both: no difference any more");
                continue;
            }
            Ok(row) => row,
        };
        let same_number = |other: &String| json(other) == json(&row);
        let found = match OTHER_DIGITS.contains(&&*text) {
            true => theirs.keys().find(|other| *other != &row && same_number(other)).cloned(),
            false => theirs.contains_key(&row).then(|| row.clone()),
        };
        match found.and_then(|row| theirs.get_mut(&row)).filter(|count| **count > 0) {
            Some(count) => *count -= 1,
            None if ONLY_EMBEDDED.contains(&&*text) => {}
            None => {
                differences.push(format!("only embedded: {shown}\n    → {}", row.chars().take(300).collect::<String>()))
            }
        }
    }
    let only_spark: Vec<&String> = theirs.iter().filter(|(_, count)| **count > 0).map(|(row, _)| row).collect();
    let expected = only_spark.iter().filter(|row| row.contains("escaped-time")).count();
    assert_eq!(expected, ONLY_SPARK.len(), "no difference any more");
    differences
        .extend(only_spark.iter().filter(|row| !row.contains("escaped-time")).map(|row| format!("only Spark: {row}")));
    println!("{} records, {refused} refused by the embedded backend, {malformed} by Spark", corpus.len());
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    let refused_by_spark = refused + ONLY_EMBEDDED.len() - ONLY_SPARK.len();
    assert_eq!((read, malformed), (corpus.len() as u64, refused_by_spark as u64));
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}
