//! One record made fit to be looked at: JSON in lines, other bytes as text and hexadecimal, personal data masked.

use millrace_connectors::kafka::browse::Found;
use millrace_model::{Contract, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::mask;
use crate::raw::{Raw, text};

/// Bytes of a value shown; a longer one is cut.
const VALUE_BYTES_MAX: usize = 32 * 1024;
/// Characters of a value in its line.
const LINE_CHARS_MAX: usize = 240;
/// Headers shown of a record.
const HEADERS_MAX: usize = 50;

/// A record as it may be shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Message {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Kafka's timestamp.
    pub(crate) time: Option<Timestamp>,
    /// None: the record has no key.
    pub(crate) key: Option<String>,
    pub(crate) value: Content,
    /// Names and values, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// Bytes of key and value.
    pub(crate) bytes: usize,
}

/// A value, by what it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Content {
    /// There is none: in a compacted topic, the end of its key.
    Tombstone,
    /// JSON.
    Json {
        /// In one line, cut.
        line: String,
        /// In many.
        text: String,
    },
    /// Text that is not JSON, or bytes.
    Bytes(Raw),
}

impl Content {
    /// The value in one line.
    pub(crate) fn line(&self) -> String {
        match self {
            Content::Tombstone => String::new(),
            Content::Json { line, .. } => line.clone(),
            Content::Bytes(raw) => cut(&raw.text.replace('\n', " ")),
        }
    }
}

impl Message {
    /// Masks a record of a topic that may have a contract.
    pub(crate) fn of(found: &Found, contract: Option<&Contract>) -> Self {
        let value = found.value.as_deref();
        let json: Option<Value> = value.and_then(|value| serde_json::from_slice(value).ok());
        let key = found.key.as_deref().map(|key| self::key(key, json.as_ref(), contract));
        let headers = found.headers.iter().take(HEADERS_MAX);
        Message {
            partition: found.place.partition,
            offset: found.offset,
            time: found.time,
            key,
            value: content(value, json),
            headers: headers.map(|(name, value)| (name.clone(), header(name, value.as_deref()))).collect(),
            bytes: found.key.as_deref().map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len),
        }
    }

    /// Whether what is shown has this text in it, in any case. What is masked cannot be searched for.
    pub(crate) fn has(&self, wanted: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(wanted);
        let in_value = match &self.value {
            Content::Tombstone => false,
            // Without the spaces between the lines, as it was sent.
            Content::Json { line, text } => has(line) || has(text) || has(&text.replace(['\n', ' '], "")),
            Content::Bytes(raw) => has(&raw.text),
        };
        in_value
            || self.key.as_deref().is_some_and(has)
            || self.headers.iter().any(|(name, value)| has(name) || has(value))
    }
}

fn content(value: Option<&[u8]>, json: Option<Value>) -> Content {
    let Some(value) = value else { return Content::Tombstone };
    match json {
        Some(mut json @ (Value::Object(_) | Value::Array(_))) => {
            mask_value(&mut json);
            let mut pretty = serde_json::to_string_pretty(&json).unwrap_or_default();
            if pretty.len() > VALUE_BYTES_MAX {
                pretty.truncate(pretty.floor_char_boundary(VALUE_BYTES_MAX));
                pretty.push_str("\n… cut here");
            }
            Content::Json { line: cut(&text(json.to_string().as_bytes())), text: text(pretty.as_bytes()) }
        }
        _ => Content::Bytes(Raw::of_bytes(value.to_vec())),
    }
}

fn mask_value(value: &mut Value) {
    match value {
        Value::Object(fields) => mask::row(fields),
        Value::Array(items) => items.iter_mut().for_each(mask_value),
        _ => {}
    }
}

/// A key names what the record is about, often a person: what the value calls personal is masked in the key too, and
/// where the value cannot tell, the contract's key columns decide.
fn key(key: &[u8], value: Option<&Value>, contract: Option<&Contract>) -> String {
    let Ok(plain) = std::str::from_utf8(key) else { return Raw::of_bytes(key.to_vec()).text };
    if let Ok(mut json @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str::<Value>(plain) {
        let names = contract.map(|contract| contract.key.as_slice()).unwrap_or_default();
        if let Value::Array(items) = &mut json {
            for (name, item) in names.iter().zip(items) {
                if let (true, Value::String(item)) = (mask::is_personal(name), item) {
                    *item = mask::shown(name, item);
                }
            }
        }
        mask_value(&mut json);
        return text(json.to_string().as_bytes());
    }
    let mut shown = plain.to_owned();
    let mut personal = Vec::new();
    value.into_iter().for_each(|value| collect(value, &mut personal));
    for (name, found) in personal {
        shown = shown.replace(found, &mask::shown(name, found));
    }
    let about_person = contract.is_some_and(|contract| contract.key.iter().any(|column| mask::is_personal(column)));
    if shown == plain && about_person {
        shown = mask::id(plain);
    }
    Raw::of_bytes(shown.into_bytes()).text
}

/// Personal values anywhere in a record.
fn collect<'a>(value: &'a Value, found: &mut Vec<(&'a str, &'a str)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if mask::is_personal(name) && !text.is_empty() => found.push((name, text)),
                    other => collect(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

fn header(name: &str, value: Option<&[u8]>) -> String {
    let Some(value) = value else { return String::new() };
    match std::str::from_utf8(value) {
        Ok(plain) if mask::is_personal(name) => mask::shown(name, plain),
        _ => Raw::of_bytes(value.to_vec()).text,
    }
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_connectors::kafka::Place;
    use millrace_model::Contracts;

    fn found(key: Option<&str>, value: Option<&[u8]>) -> Found {
        Found {
            place: Place::new("t", 1),
            offset: 7,
            time: None,
            key: key.map(|key| key.as_bytes().to_vec()),
            value: value.map(<[u8]>::to_vec),
            headers: vec![("user_id".into(), Some(b"u-123456789".to_vec())), ("trace".into(), None)],
        }
    }

    #[test]
    fn values_by_what_they_are() {
        let of = |value: Option<&[u8]>| Message::of(&found(None, value), None).value;
        assert_eq!(of(None), Content::Tombstone);
        let Content::Json { line, text } = of(Some(br#"{"user_id":"u-123456789","n":[1,{"ip":"203.0.113.77"}]}"#))
        else {
            panic!("JSON")
        };
        assert!(line.contains(r#""user_id":"u-…789""#) && line.contains("203.0.113.x"), "{line}");
        assert!(text.contains("\n  \"n\": [\n"), "{text}");
        let Content::Bytes(raw) = of(Some(b"\xff\x00abc")) else { panic!("bytes") };
        assert!(raw.text.starts_with("\\xff") && raw.hex.contains("ff 00 61"), "{raw:?}");
        let Content::Bytes(raw) = of(Some(b"{\"user_id\":\"u-123456789\", cut")) else { panic!("bytes") };
        assert!(!raw.text.contains("123456789"), "{raw:?}");
        assert!(matches!(of(Some(b"17")), Content::Bytes(_)));
        let long = format!("[\"{}\"]", "x".repeat(100_000));
        let Content::Json { line, text } = of(Some(long.as_bytes())) else { panic!("JSON") };
        assert!(line.chars().count() == LINE_CHARS_MAX + 1 && text.ends_with("… cut here"));
    }

    #[test]
    fn keys_are_masked_as_values_are() {
        let contracts = Contracts::builtin();
        let events = contracts.get("user_events");
        let value = br#"{"anonymous_id":"visitor-000001","user_id":null}"#;
        let key = |key: &str, value: Option<&[u8]>, contract| Message::of(&found(Some(key), value), contract).key;
        assert_eq!(key("visitor-000001", Some(value), events).as_deref(), Some("visi…0001"));
        // Also when the value does not parse, or belongs to another key, or is none.
        assert_eq!(key("visitor-000001", Some(b"{cut"), events).as_deref(), Some("visi…0001"));
        assert_eq!(key("visitor-000001", None, events).as_deref(), Some("visi…0001"));
        // Without a contract the value alone tells.
        assert_eq!(key("a|visitor-000001|b", Some(value), None).as_deref(), Some("a|visi…0001|b"));
        assert_eq!(key("order-17", Some(value), contracts.get("transactions")).as_deref(), Some("order-17"));
        assert_eq!(key(r#"{"user_id":"u-123456789"}"#, None, None).as_deref(), Some(r#"{"user_id":"u-…789"}"#));
        assert_eq!(Message::of(&found(None, None), None).headers[0].1, "u-…789");
    }

    #[test]
    fn what_is_masked_cannot_be_searched_for() {
        let message = Message::of(&found(Some("k"), Some(br#"{"user_id":"u-123456789","Path":"/A"}"#)), None);
        assert!(message.has("/a") && message.has(r#""path":"/a""#) && message.has("trace"));
        assert!(!message.has("u-123"));
    }
}
