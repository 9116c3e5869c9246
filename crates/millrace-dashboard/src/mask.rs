//! Personal data is masked before it leaves the server: in pages, answers, pushes and downloads alike.
//!
//! Ids of visitors, accounts, cards and devices keep their first and last characters, enough to tell two apart on a
//! screen and to find one in the store for who may read there. Addresses lose their host part.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::row::{Read, Row};

/// Columns that name a person or what belongs to one.
const PERSONAL: [&str; 11] = [
    "visitor_id",
    "anonymous_id",
    "user_id",
    "session_id",
    "card_token",
    "card_bin",
    "device_id",
    "email",
    "email_hash",
    "entity",
    "shipping_address_hash",
];

/// Columns that hold network addresses.
const ADDRESSES: [&str; 3] = ["ip", "client_ip", "remote_addr"];

/// Whether values of this column must not be shown in full.
pub(crate) fn is_personal(column: &str) -> bool {
    PERSONAL.contains(&column) || ADDRESSES.contains(&column) || column == "signal_id"
}

/// The value of a column as it may be shown.
pub(crate) fn shown(column: &str, value: &str) -> String {
    if ADDRESSES.contains(&column) {
        address(value)
    } else if column == "signal_id" {
        // rule:entity:seconds
        match (value.split_once(':'), value.rsplit_once(':')) {
            (Some((rule, _)), Some((head, seconds))) if head.len() > rule.len() => {
                format!("{rule}:{}:{seconds}", id(&head[rule.len() + 1..]))
            }
            _ => id(value),
        }
    } else if PERSONAL.contains(&column) {
        id(value)
    } else {
        value.to_owned()
    }
}

/// Masks the personal columns of a row, nested ones too.
pub(crate) fn row(row: &mut Row) {
    let address_entity = row.text("entity_kind") == "ip" || row.text("kind") == "ip";
    for (column, value) in row.iter_mut() {
        match value {
            Value::String(text) if column == "entity" && address_entity => *text = address(text),
            Value::String(text) if is_personal(column) => *text = shown(column, text),
            Value::String(text) if column == "key_base64" => {
                *text = base64(text, |raw| *raw = id(&lossy(raw)).into_bytes())
            }
            Value::String(text) if column.ends_with("_base64") => *text = base64(text, |raw| bytes(raw)),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(self::row),
            Value::Object(fields) => self::row(fields),
            _ => {}
        }
    }
}

/// The bytes of a record inside a row (a dead letter's key and value), masked: a key may be somebody's id as a whole.
fn base64(text: &str, mask: impl FnOnce(&mut Vec<u8>)) -> String {
    // The cache may have cut the text: whole groups of four still decode.
    let whole = &text.as_bytes()[..text.len() / 4 * 4];
    let mut raw = STANDARD.decode(whole).unwrap_or_default();
    mask(&mut raw);
    STANDARD.encode(raw)
}

fn lossy(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).into_owned()
}

/// `card_7f3e9a1c44b2` → `card…44b2`; short ids keep less.
pub(crate) fn id(value: &str) -> String {
    let length = value.chars().count();
    let (head, tail) = match length {
        0..=3 => return "…".repeat(usize::from(length > 0)),
        4..=8 => (1, 2),
        9..=11 => (2, 3),
        _ => (4, 4),
    };
    let head: String = value.chars().take(head).collect();
    let tail: String = value.chars().skip(length - tail).collect();
    format!("{head}…{tail}")
}

/// `203.0.113.77` → `203.0.113.x`; of an IPv6 address the first two groups are kept.
pub(crate) fn address(value: &str) -> String {
    match value.parse() {
        Ok(std::net::IpAddr::V4(v4)) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.x")
        }
        Ok(std::net::IpAddr::V6(v6)) => {
            let groups = v6.segments();
            format!("{:x}:{:x}:…", groups[0], groups[1])
        }
        Err(_) => id(value),
    }
}

/// Blots personal values out of the raw bytes of a record that may not even parse: the text after a personal field's
/// name, and anything that looks like an IPv4 address. The length stays the same, so offsets stay true.
pub(crate) fn bytes(raw: &mut [u8]) {
    for field in PERSONAL.iter().chain(&ADDRESSES) {
        let quoted = format!("\"{field}\"");
        let mut at = 0;
        while let Some(found) = find(&raw[at..], quoted.as_bytes()) {
            at += found + quoted.len();
            blot_value(&mut raw[at..]);
        }
    }
    blot_addresses(raw);
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// After a field's name: `: "value"`. All but the first and last two characters become `*`.
fn blot_value(rest: &mut [u8]) {
    let start = rest.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b':').count();
    if rest.get(start) != Some(&b'"') {
        return;
    }
    let value = &mut rest[start + 1..];
    let end = value.iter().position(|byte| *byte == b'"').unwrap_or(value.len());
    let keep = if end > 8 { 2 } else { 1 };
    if end > 2 * keep {
        value[keep..end - keep].fill(b'*');
    } else {
        value[..end].fill(b'*');
    }
}

/// Digits and dots with three dots between numbers: the last number becomes `*`.
fn blot_addresses(raw: &mut [u8]) {
    let mut at = 0;
    while at < raw.len() {
        let length = raw[at..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
        let run = &mut raw[at..at + length];
        let is_address = std::str::from_utf8(run).is_ok_and(|text| text.parse::<std::net::Ipv4Addr>().is_ok());
        if is_address && let Some(dot) = run.iter().rposition(|byte| *byte == b'.') {
            run[dot + 1..].fill(b'*');
        }
        at += length.max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_and_addresses() {
        for (value, shown) in [
            ("", ""),
            ("ab", "…"),
            ("abcd", "a…cd"),
            ("visitor-12", "vi…-12"),
            ("card_7f3e9a1c44b2", "card…44b2"),
            ("ünïcödé-visitor", "ünïc…itor"),
        ] {
            assert_eq!(id(value), shown);
        }
        assert_eq!(address("203.0.113.77"), "203.0.113.x");
        assert_eq!(address("2001:db8::1"), "2001:db8:…");
        assert_eq!(address("not an address"), "not …ress");
    }

    #[test]
    fn rows_are_masked_at_any_depth() {
        let mut value = json!({
            "signal_id": "velocity:card_7f3e9a1c44b2:1700000000", "entity_kind": "ip", "entity": "203.0.113.77",
            "payment_ids": ["pay_1"], "journey": [{"visitor_id": "visitor-000001", "path": "/"}], "user_id": null
        });
        let fields = value.as_object_mut().expect("an object");
        row(fields);
        assert_eq!(
            value,
            json!({
                "signal_id": "velocity:card…44b2:1700000000", "entity_kind": "ip", "entity": "203.0.113.x",
                "payment_ids": ["pay_1"], "journey": [{"visitor_id": "visi…0001", "path": "/"}], "user_id": null
            })
        );
    }

    #[test]
    fn records_inside_rows_are_blotted() {
        let inside = |key: &str, value: &str| json!({"key_base64": STANDARD.encode(key), "value_base64": STANDARD.encode(value), "headers": null});
        let mut value = inside("visitor-000001", r#"{"user_id":"u-123456789","ip":"203.0.113.77"}"#);
        row(value.as_object_mut().expect("an object"));
        assert_eq!(value, inside("visi…0001", r#"{"user_id":"u-*******89","ip":"20********77"}"#));
    }

    #[test]
    fn raw_bytes_keep_their_length() {
        for (raw, shown) in [
            (r#"{"user_id" : "u-123456789","n":1}"#, r#"{"user_id" : "u-*******89","n":1}"#),
            (r#"{"ip":"203.0.113.77","path":"/a"}"#, r#"{"ip":"20********77","path":"/a"}"#),
            (r#"{"anonymous_id":"cut off in the mid"#, r#"{"anonymous_id":"cu**************id"#),
            ("from 203.0.113.77 v1.2.3", "from 203.0.113.** v1.2.3"),
            (r#"{"user_id":null}"#, r#"{"user_id":null}"#),
        ] {
            let mut bytes = raw.as_bytes().to_vec();
            super::bytes(&mut bytes);
            assert_eq!(String::from_utf8_lossy(&bytes), shown);
        }
    }
}
