//! Raw bytes of a record, made safe to look at: decoded, masked, with what is not text written out.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::mask;

/// Bytes shown.
const SHOWN_BYTES_MAX: usize = 2_048;
/// Bytes in a line of hexadecimal.
const LINE_BYTES: usize = 16;

/// A record's value as it may be shown.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Raw {
    /// Length in bytes, as far as it is held.
    pub(crate) bytes: usize,
    /// As text: control characters and bytes that are not UTF-8 are written as `\x00`.
    pub(crate) text: String,
    /// As offsets, hexadecimal and ASCII.
    pub(crate) hex: String,
    /// Only the beginning is shown.
    pub(crate) cut: bool,
}

impl Raw {
    /// Decodes base64 text; none is a tombstone.
    pub(crate) fn of(base64: Option<&str>) -> Self {
        let Some(base64) = base64 else { return Raw::default() };
        // The cache may have cut the text: whole groups of four still decode.
        let whole = &base64.as_bytes()[..base64.len() / 4 * 4];
        Raw::of_bytes(STANDARD.decode(whole).unwrap_or_default())
    }

    /// Masks bytes as they are.
    pub(crate) fn of_bytes(mut bytes: Vec<u8>) -> Self {
        mask::bytes(&mut bytes);
        let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
        Raw { bytes: bytes.len(), text: text(shown), hex: hex(shown), cut: shown.len() < bytes.len() }
    }
}

/// Bytes as text that cannot mislead: what is not text is written as `\x00`.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            // Bidirectional controls could make the text read as something else.
            let misleading =
                matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if character == '\n' || (!character.is_control() && !misleading) {
                text.push(character);
            } else {
                text.extend(character.escape_default());
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (line, chunk) in bytes.chunks(LINE_BYTES).enumerate() {
        let _ = write!(out, "{:04x} ", line * LINE_BYTES);
        for at in 0..LINE_BYTES {
            let _ = match chunk.get(at) {
                Some(byte) => write!(out, " {byte:02x}"),
                None => write!(out, "   "),
            };
        }
        out.push_str("  ");
        out.extend(chunk.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(bytes: &[u8]) -> Raw {
        Raw::of(Some(&STANDARD.encode(bytes)))
    }

    #[test]
    fn text_is_safe() {
        assert_eq!(raw(b"{\"a\":1}").text, "{\"a\":1}");
        assert_eq!(raw(b"\xff\xfeab\x00\x1b[31m").text, "\\xff\\xfeab\\u{0}\\u{1b}[31m");
        assert_eq!(raw("a\u{202e}b".as_bytes()).text, "a\\u{202e}b");
        assert_eq!(raw(br#"{"ip":"203.0.113.77"}"#).text, r#"{"ip":"20********77"}"#);
        assert_eq!(Raw::of(None), Raw::default());
        assert_eq!(Raw::of(Some("not base64!")).bytes, 0);
    }

    #[test]
    fn hexadecimal() {
        let expect = "0000  41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f 50  ABCDEFGHIJKLMNOP\n\
                      0010  51                                               Q\n";
        assert_eq!(raw(b"ABCDEFGHIJKLMNOPQ").hex, expect);
        let long = raw(&[0; SHOWN_BYTES_MAX + 1]);
        assert!(long.cut && long.hex.lines().count() == SHOWN_BYTES_MAX / LINE_BYTES);
    }
}
