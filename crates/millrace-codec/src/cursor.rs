//! A validating cursor over one JSON text (RFC 8259): what it passes over is known to be JSON.
//!
//! It allocates nothing. Strings are found eight bytes at a time; their escapes are checked as they are passed, decoded
//! only when the string is wanted.

use millrace_model::dead_letter::MalformedCode;

/// Where and why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonError {
    pub(crate) code: MalformedCode,
    pub(crate) reason: String,
}

impl JsonError {
    pub(crate) fn new(code: MalformedCode, reason: impl Into<String>) -> Self {
        JsonError { code, reason: reason.into() }
    }
}

type Result<T> = std::result::Result<T, JsonError>;

/// A string as it stands in the text, between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawStr<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) escaped: bool,
}

/// A number as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawNumber<'a> {
    pub(crate) bytes: &'a [u8],
    /// No fraction and no exponent.
    pub(crate) integer: bool,
}

/// What kind of value comes next, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    String,
    Number,
    Boolean,
    Null,
    Object,
    Array,
}

impl Next {
    /// "a string", for messages.
    pub(crate) fn article(self) -> &'static str {
        match self {
            Next::String => "a string",
            Next::Number => "a number",
            Next::Boolean => "a boolean",
            Next::Null => "null",
            Next::Object => "an object",
            Next::Array => "an array",
        }
    }
}

/// Reads one JSON text from front to back. The text must be UTF-8.
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    depth_left: u32,
    /// Nothing but printable ASCII without a backslash: a string ends at the next quote.
    plain: bool,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Whether all bytes are printable ASCII and none is a backslash. Without branches, so that it is done many bytes at a time.
fn is_plain(text: &[u8]) -> bool {
    let odd = |byte: &u8| u8::from(byte.wrapping_sub(0x20) >= 0x60) | u8::from(*byte == b'\\');
    let mut chunks = text.chunks_exact(64);
    chunks.by_ref().all(|chunk| chunk.iter().fold(0, |all, byte| all | odd(byte)) == 0)
        && chunks.remainder().iter().fold(0, |all, byte| all | odd(byte)) == 0
}

/// The high bit of every quote in `word`; above the lowest one marks may be wrong.
fn quotes(word: u64) -> u64 {
    let quote = word ^ (ONES * u64::from(b'"'));
    quote.wrapping_sub(ONES) & !quote & HIGHS
}

/// The high bit of every byte of `word` that ends the plain part of a string: `"`, `\` or a control character.
/// Source: the "has zero byte" and "has less" tricks of S. E. Anderson's "Bit Twiddling Hacks". Bytes above a marked one
/// may be marked wrongly, the lowest mark is always right.
fn string_stops(word: u64) -> u64 {
    let quote = word ^ (ONES * u64::from(b'"'));
    let backslash = word ^ (ONES * u64::from(b'\\'));
    let zero_quote = quote.wrapping_sub(ONES) & !quote;
    let zero_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (zero_quote | zero_backslash | control) & HIGHS
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a [u8], depth_max: u32) -> Self {
        Cursor { text, at: 0, depth_left: depth_max, plain: is_plain(text) }
    }

    /// Nothing but printable ASCII without a backslash.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Moves past these bytes if they come next.
    #[inline]
    pub(crate) fn take(&mut self, bytes: &[u8]) -> bool {
        let comes = self.text[self.at..].starts_with(bytes);
        self.at += if comes { bytes.len() } else { 0 };
        comes
    }

    fn broken(&self, what: &str) -> JsonError {
        JsonError::new(MalformedCode::NotJson, format!("{what} at byte {}", self.at))
    }

    fn unexpected(&self, wanted: &str) -> JsonError {
        match self.text.get(self.at) {
            Some(byte) => self.broken(&format!("expected {wanted}, found `{}`", byte.escape_ascii())),
            None => self.broken(&format!("expected {wanted}, but the text ends")),
        }
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    /// The kind of the next value; does not move past it.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<Next> {
        self.skip_space();
        match self.text.get(self.at) {
            Some(b'"') => Ok(Next::String),
            Some(b'-' | b'0'..=b'9') => Ok(Next::Number),
            Some(b't' | b'f') => Ok(Next::Boolean),
            Some(b'n') => Ok(Next::Null),
            Some(b'{') => Ok(Next::Object),
            Some(b'[') => Ok(Next::Array),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// The text is used up, but for white space.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.broken("something follows the value")) }
    }

    fn open(&mut self) -> Result<()> {
        self.at += 1;
        self.depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| JsonError::new(MalformedCode::TooDeep, format!("nested too deeply at byte {}", self.at)))?;
        Ok(())
    }

    /// Enters an object or array (`peek` said so). False: it is empty and already left.
    pub(crate) fn enter(&mut self) -> Result<bool> {
        let close = if self.text[self.at] == b'{' { b'}' } else { b']' };
        self.open()?;
        self.skip_space();
        if self.text.get(self.at) == Some(&close) {
            self.at += 1;
            self.depth_left += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// After an item: true when another one follows, false when the object or array is closed and left.
    #[inline]
    pub(crate) fn another(&mut self, close: u8) -> Result<bool> {
        self.skip_space();
        match self.text.get(self.at) {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            Some(byte) if *byte == close => {
                self.at += 1;
                self.depth_left += 1;
                Ok(false)
            }
            _ => Err(self.unexpected(if close == b'}' { "`,` or `}`" } else { "`,` or `]`" })),
        }
    }

    /// A field name and its colon.
    pub(crate) fn key(&mut self) -> Result<RawStr<'a>> {
        if self.text.get(self.at) != Some(&b'"') {
            return Err(self.unexpected("a field name"));
        }
        let key = self.string()?;
        self.skip_space();
        if self.text.get(self.at) != Some(&b':') {
            return Err(self.unexpected("`:`"));
        }
        self.at += 1;
        Ok(key)
    }

    /// A string (`peek` said so).
    #[inline]
    pub(crate) fn string(&mut self) -> Result<RawStr<'a>> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        while self.plain
            && let Some(chunk) = self.text[self.at..].first_chunk::<8>()
        {
            let stops = quotes(u64::from_le_bytes(*chunk));
            if stops != 0 {
                self.at += (stops.trailing_zeros() / 8) as usize;
                break;
            }
            self.at += 8;
        }
        loop {
            while !self.plain
                && let Some(chunk) = self.text[self.at..].first_chunk::<8>()
            {
                let stops = string_stops(u64::from_le_bytes(*chunk));
                if stops != 0 {
                    self.at += (stops.trailing_zeros() / 8) as usize;
                    break;
                }
                self.at += 8;
            }
            match self.text.get(self.at) {
                Some(b'"') => {
                    let bytes = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(RawStr { bytes, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..=0x1f) => return Err(self.broken("a control character inside a string")),
                Some(_) => self.at += 1,
                None => return Err(self.broken("a string that does not end")),
            }
        }
    }

    /// Passes one escape, checked as `unescape` will read it.
    fn escape(&mut self) -> Result<()> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let first = self.hex4(self.at + 2)?;
                self.at += 6;
                match first {
                    0xd800..=0xdbff => {
                        let low = self.text.get(self.at..self.at + 2) == Some(b"\\u");
                        let second = if low { self.hex4(self.at + 2)? } else { 0 };
                        if !(0xdc00..=0xdfff).contains(&second) {
                            return Err(self.broken("half of a surrogate pair"));
                        }
                        self.at += 6;
                        Ok(())
                    }
                    0xdc00..=0xdfff => Err(self.broken("half of a surrogate pair")),
                    _ => Ok(()),
                }
            }
            _ => Err(self.broken("an unknown escape")),
        }
    }

    fn hex4(&self, at: usize) -> Result<u32> {
        self.text.get(at..at + 4).and_then(hex).ok_or_else(|| self.broken("an unfinished \\u escape"))
    }

    /// A number (`peek` said so).
    pub(crate) fn number(&mut self) -> Result<RawNumber<'a>> {
        let start = self.at;
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.unexpected("a digit")),
        }
        let mut integer = true;
        if self.text.get(self.at) == Some(&b'.') {
            integer = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(RawNumber { bytes: &self.text[start..self.at], integer })
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        if self.at == start { Err(self.unexpected("a digit")) } else { Ok(()) }
    }

    /// true or false (`peek` said so).
    pub(crate) fn boolean(&mut self) -> Result<bool> {
        let value = self.text[self.at] == b't';
        self.literal(if value { b"true" } else { b"false" })?;
        Ok(value)
    }

    /// null (`peek` said so).
    pub(crate) fn null(&mut self) -> Result<()> {
        self.literal(b"null")
    }

    fn literal(&mut self, word: &[u8]) -> Result<()> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.unexpected("true, false or null"))
        }
    }

    /// Passes over one value of any kind, checking it. Depth is bounded, so recursion is.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.peek()? {
            Next::String => self.string().map(drop),
            Next::Number => self.number().map(drop),
            Next::Boolean => self.boolean().map(drop),
            Next::Null => self.null(),
            Next::Array => {
                let mut more = self.enter()?;
                while more {
                    self.skip()?;
                    more = self.another(b']')?;
                }
                Ok(())
            }
            Next::Object => {
                let mut more = self.enter()?;
                while more {
                    self.key()?;
                    self.skip()?;
                    more = self.another(b'}')?;
                }
                Ok(())
            }
        }
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    let mut value = 0;
    for digit in digits {
        value = value * 16 + char::from(*digit).to_digit(16)?;
    }
    Some(value)
}

/// Appends the string's characters to `out`, escapes decoded. The cursor has checked them.
pub(crate) fn unescape(raw: RawStr<'_>, out: &mut Vec<u8>) {
    if !raw.escaped {
        out.extend_from_slice(raw.bytes);
        return;
    }
    let mut rest = raw.bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        let (plain, used) = match rest[at + 1] {
            b'b' => (0x08, 2),
            b'f' => (0x0c, 2),
            b'n' => (b'\n'.into(), 2),
            b'r' => (b'\r'.into(), 2),
            b't' => (b'\t'.into(), 2),
            b'u' => unicode(&rest[at + 2..]),
            other => (u32::from(other), 2),
        };
        let character = char::from_u32(plain).expect("the cursor refuses half surrogate pairs");
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[at + used..];
    }
    out.extend_from_slice(rest);
}

/// The code point of the `\u` escape whose digits begin `digits`, and the length of the whole escape.
fn unicode(digits: &[u8]) -> (u32, usize) {
    let first = hex(&digits[..4]).expect("the cursor has checked the digits");
    if !(0xd800..0xdc00).contains(&first) {
        return (first, 6);
    }
    let second = hex(&digits[6..10]).expect("the cursor has checked the digits");
    (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn valid(text: &str) -> bool {
        let mut cursor = Cursor::new(text.as_bytes(), 64);
        cursor.skip().and_then(|()| cursor.end()).is_ok()
    }

    #[test]
    fn judges_as_a_strict_parser_does() {
        for text in [
            "0",
            "-0",
            "1.5e+10",
            "01",
            "1.",
            ".5",
            "-",
            "1e",
            "+1",
            "nul",
            "null",
            "true",
            "truex",
            "\"\"",
            "\"a\\u00e9\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\x\"",
            "\"\u{1}\"",
            "\"tab\t\"",
            "[]",
            "[1,]",
            "[1 2]",
            "{}",
            "{\"a\":1,}",
            "{\"a\" : [ {} , [ ] , null ] }",
            "{a:1}",
            "{\"a\"}",
            "",
            " ",
            "[",
            "{\"a\":",
            "1 2",
            "NaN",
            "Infinity",
            "\"unfinished",
            "\"1234567\\",
            "[\"12345678901234567890\", \"é\", \"quote\\\"\"]",
        ] {
            let expected = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(valid(text), expected, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let bomb = "[".repeat(100_000);
        let error = Cursor::new(bomb.as_bytes(), 64).skip().expect_err("too deep");
        assert_eq!(error.code, MalformedCode::TooDeep);
        assert!(valid(&format!("{}{}", "[".repeat(64), "]".repeat(64))));
    }

    proptest! {
        #[test]
        fn strings_go_round(text in "\\PC*|[\\x00-\\x7f]*") {
            let json = serde_json::to_string(&text).expect("a string");
            let mut cursor = Cursor::new(json.as_bytes(), 1);
            let raw = cursor.string().expect("valid");
            let mut out = Vec::new();
            unescape(raw, &mut out);
            prop_assert_eq!(out, text.into_bytes());
        }

        #[test]
        fn any_bytes_are_judged_as_serde_judges(text in "[\\[\\]{}\",:\\\\untrefals0-9.eE+\\- ]{0,24}") {
            // Numbers beyond f64 are the one thing serde_json refuses by value, not by grammar.
            prop_assume!(!text.contains(['e', 'E']));
            prop_assert_eq!(valid(&text), serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }
}
