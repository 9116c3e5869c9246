//! Thirteen ways to break a record. Each starts from a copy of a good one, under an event id of its own.

use millrace_model::Timestamp;
use millrace_model::dead_letter::MalformedCode;
use millrace_model::time::HOUR_MICROS;

use crate::dice::Dice;

/// How a record is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Break {
    Empty,
    NotUtf8,
    Garbage,
    Truncated,
    Array,
    Bomb,
    Missing,
    Null,
    EmptyText,
    WrongType,
    Twice,
    BadTime,
    Future,
}

const BREAKS: [Break; 13] = [
    Break::Empty,
    Break::NotUtf8,
    Break::Garbage,
    Break::Truncated,
    Break::Array,
    Break::Bomb,
    Break::Missing,
    Break::Null,
    Break::EmptyText,
    Break::WrongType,
    Break::Twice,
    Break::BadTime,
    Break::Future,
];

/// Nesting of the bomb.
const BOMB_DEPTH: usize = 4_000;

impl Break {
    /// What a decoder should call it.
    #[cfg_attr(not(test), expect(dead_code, reason = "says what each break is; tests hold it to that"))]
    fn code(self) -> MalformedCode {
        match self {
            Break::Empty => MalformedCode::Empty,
            Break::NotUtf8 => MalformedCode::NotUtf8,
            Break::Garbage | Break::Truncated => MalformedCode::NotJson,
            Break::Array => MalformedCode::NotAnObject,
            Break::Bomb => MalformedCode::TooDeep,
            Break::Missing => MalformedCode::MissingField,
            Break::Null | Break::EmptyText => MalformedCode::NullField,
            Break::WrongType => MalformedCode::WrongType,
            Break::Twice => MalformedCode::DuplicateField,
            Break::BadTime => MalformedCode::BadTime,
            Break::Future => MalformedCode::FutureTime,
        }
    }
}

/// Appends a broken copy of `original`, a record of one of the source topics.
pub(crate) fn write(out: &mut Vec<u8>, original: &[u8], event_time: Timestamp, dice: &mut Dice) {
    let kind = *dice.pick(&BREAKS);
    write_as(kind, out, original, event_time, dice);
}

fn write_as(kind: Break, out: &mut Vec<u8>, original: &[u8], event_time: Timestamp, dice: &mut Dice) {
    let mut copy = original.to_vec();
    // `{"event_id":"e…`: its own id, so that nobody takes it for a duplicate of the good one.
    if let Some(letter) = copy.get_mut(13) {
        *letter = b'm';
    }
    let type_value = value_of(&copy, b"\"event_type\":");
    let time_value = value_of(&copy, b"\"event_time\":");
    match kind {
        Break::Empty => copy.clear(),
        Break::NotUtf8 => copy[type_value.start + 1] = 0xff,
        Break::Garbage => copy = b"HTTP/1.1 502 Bad Gateway".to_vec(),
        Break::Truncated => copy.truncate(copy.len() * dice.between(30, 95) as usize / 100),
        Break::Array => copy = [b"[", copy.as_slice(), b"]"].concat(),
        Break::Bomb => {
            copy.pop();
            copy.extend_from_slice(b",\"extra\":");
            copy.resize(copy.len() + BOMB_DEPTH, b'[');
            copy.resize(copy.len() + BOMB_DEPTH, b']');
            copy.push(b'}');
        }
        // `"event_type":"…",` with its comma, or `"event_time":"…",`.
        Break::Missing => {
            let (name, value) = if dice.chance(0.5) { (13, type_value) } else { (13, time_value) };
            copy.drain(value.start - name..=value.end);
        }
        Break::Null => {
            copy.splice(type_value, *b"null");
        }
        Break::EmptyText => {
            copy.splice(type_value, *b"\"\"");
        }
        Break::WrongType => {
            copy.splice(type_value, *b"17");
        }
        Break::Twice => {
            copy.pop();
            copy.extend_from_slice(b",\"event_type\":\"page_viewed\"}");
        }
        Break::BadTime => {
            let bad = *dice.pick(&[b"\"2026-02-30T10:00:00Z\"".as_slice(), b"\"yesterday\"", b"\"22/11/2026 14:05\""]);
            copy.splice(time_value, bad.iter().copied());
        }
        Break::Future => {
            let mut text = vec![b'"'];
            Timestamp(event_time.0 + dice.between(3 * HOUR_MICROS, 48 * HOUR_MICROS)).write_to(&mut text);
            text.push(b'"');
            copy.splice(time_value, text);
        }
    }
    out.extend_from_slice(&copy);
}

/// Where the string value of a field lies, quotes included.
fn value_of(text: &[u8], field: &[u8]) -> std::ops::Range<usize> {
    let name = text.windows(field.len()).position(|window| window == field);
    let start = name.expect("every source record has an id, a type and a time") + field.len();
    let length = text[start + 1..].iter().position(|byte| *byte == b'"').expect("a string ends") + 2;
    start..start + length
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const GOOD: &[u8] =
        br#"{"event_id":"e01","event_type":"page_viewed","event_time":"1970-01-01T00:00:00.000000Z","anonymous_id":"a1"}"#;

    #[test]
    fn breaks_are_what_they_say() {
        let mut dice = Dice::new(1, 0);
        for kind in BREAKS {
            for _ in 0..20 {
                let mut out = Vec::new();
                write_as(kind, &mut out, GOOD, Timestamp(0), &mut dice);
                let parsed = serde_json::from_slice::<Value>(&out);
                let field = |name: &str| parsed.as_ref().ok().and_then(|value| value.get(name)).cloned();
                let time = field("event_time").and_then(|time| Timestamp::parse(time.as_str()?.as_bytes()));
                let held = match kind.code() {
                    MalformedCode::Empty => out.is_empty(),
                    MalformedCode::NotUtf8 => std::str::from_utf8(&out).is_err(),
                    MalformedCode::NotJson => parsed.is_err() && !out.is_empty(),
                    MalformedCode::NotAnObject => parsed.as_ref().is_ok_and(|value| !value.is_object()),
                    MalformedCode::TooDeep => out.len() > 2 * BOMB_DEPTH && out.ends_with(b"]}"),
                    MalformedCode::MissingField => {
                        parsed.is_ok() && (field("event_type").is_none() || field("event_time").is_none())
                    }
                    MalformedCode::NullField => field("event_type").is_some_and(|value| value.is_null() || value == ""),
                    MalformedCode::WrongType => field("event_type").is_some_and(|value| value.is_number()),
                    MalformedCode::DuplicateField => {
                        parsed.is_ok() && String::from_utf8_lossy(&out).matches("\"event_type\"").count() == 2
                    }
                    MalformedCode::BadTime => field("event_time").is_some() && time.is_none(),
                    MalformedCode::FutureTime => time.is_some_and(|time| time.0 > HOUR_MICROS),
                    other => panic!("{} is not made", other.name()),
                };
                assert!(held, "{kind:?}: {}", String::from_utf8_lossy(&out));
            }
        }
    }
}
