//! The shape of a request: a frame is walked by it before the codec decodes it, since the codec allocates as much as a
//! length field says.
//!
//! Grammar, one token a field, in wire order:
//!
//! | token | field |
//! |---|---|
//! | `b` `h` `i` `l` `u` | 1, 2, 4, 8, 16 bytes |
//! | `s` `y` | string, bytes (maybe null) |
//! | `[ … ]` | array of structures |
//! | `( … )` | array of plain values |
//! | `?{ … }` | structure or null |
//!
//! A token may be followed by the versions that have it: `i9+`, `s0-12`.

use thiserror::Error;

/// A frame that is not what its head says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ShapeError {
    #[error("the frame is cut short")]
    Short,
    #[error("a length of {0} goes past the end of the frame")]
    Length(i64),
}

/// A field and the versions that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) kind: Kind,
    pub(crate) from: i16,
    pub(crate) to: i16,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Fixed(usize),
    Text,
    Bytes,
    Structures(Vec<Field>),
    Values(Box<Field>),
    Nullable(Vec<Field>),
}

impl Field {
    pub(crate) fn is_in(&self, version: i16) -> bool {
        (self.from..=self.to).contains(&version)
    }
}

/// Reads a shape as written in the table of requests.
pub(crate) fn parse(text: &str) -> Vec<Field> {
    let mut tokens = text.split_whitespace();
    let fields = parse_fields(&mut tokens);
    debug_assert!(tokens.next().is_none(), "the shapes are constants, and a test parses all of them");
    fields
}

fn parse_fields<'a>(tokens: &mut impl Iterator<Item = &'a str>) -> Vec<Field> {
    let mut fields = Vec::new();
    while let Some(token) = tokens.next() {
        let (head, versions) = match token {
            "]" | ")" | "}" => return fields,
            _ => token.split_at(if token.starts_with("?{") { 2 } else { 1 }),
        };
        let kind = match head {
            "b" => Kind::Fixed(1),
            "h" => Kind::Fixed(2),
            "i" => Kind::Fixed(4),
            "l" => Kind::Fixed(8),
            "u" => Kind::Fixed(16),
            "s" => Kind::Text,
            "y" => Kind::Bytes,
            "[" => Kind::Structures(parse_fields(tokens)),
            "(" => Kind::Values(Box::new(parse_fields(tokens).remove(0))),
            _ => Kind::Nullable(parse_fields(tokens)),
        };
        let number = |text: &str| text.parse().unwrap_or(0);
        let (from, to) = match versions.split_once('-') {
            Some((from, to)) => (number(from), number(to)),
            None => (number(versions.trim_end_matches('+')), i16::MAX),
        };
        fields.push(Field { kind, from, to });
    }
    fields
}

/// Checks that `body` (what follows the request head) has the shape, so that no length in it exceeds the frame. Gives
/// the bytes left over, which Kafka lets pass.
pub(crate) fn check(shape: &[Field], version: i16, flexible: bool, body: &[u8]) -> Result<usize, ShapeError> {
    let mut walk = Walk { rest: body, version, flexible };
    walk.structure(shape)?;
    Ok(walk.rest.len())
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
}

impl Walk<'_> {
    fn structure(&mut self, fields: &[Field]) -> Result<(), ShapeError> {
        let version = self.version;
        for field in fields.iter().filter(|field| field.is_in(version)) {
            self.value(&field.kind)?;
        }
        if self.flexible { self.tagged_fields() } else { Ok(()) }
    }

    fn value(&mut self, kind: &Kind) -> Result<(), ShapeError> {
        match kind {
            Kind::Fixed(bytes) => self.skip(*bytes),
            Kind::Text => {
                let length = if self.flexible { self.compact()? } else { i64::from(i16::from_be_bytes(self.array()?)) };
                self.skip_length(length)
            }
            Kind::Bytes => {
                let length = self.length()?;
                self.skip_length(length)
            }
            Kind::Structures(fields) => self.each(|walk| walk.structure(fields)),
            Kind::Values(field) => self.each(|walk| walk.value(&field.kind)),
            Kind::Nullable(fields) => match self.array::<1>()? {
                [1] => self.structure(fields),
                _ => Ok(()),
            },
        }
    }

    fn each(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), ShapeError>) -> Result<(), ShapeError> {
        let count = self.length()?;
        // Every element takes at least a byte.
        if count > self.rest.len() as i64 {
            return Err(ShapeError::Length(count));
        }
        (0..count).try_for_each(|_| element(self))
    }

    fn tagged_fields(&mut self) -> Result<(), ShapeError> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()?;
            self.skip_length(i64::from(length))?;
        }
        Ok(())
    }

    /// Length of bytes or an array; -1 is null.
    fn length(&mut self) -> Result<i64, ShapeError> {
        if self.flexible { self.compact() } else { Ok(i64::from(i32::from_be_bytes(self.array()?))) }
    }

    fn compact(&mut self) -> Result<i64, ShapeError> {
        Ok(i64::from(self.varint()?) - 1)
    }

    fn varint(&mut self) -> Result<u32, ShapeError> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7f).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    fn skip_length(&mut self, length: i64) -> Result<(), ShapeError> {
        match length {
            -1 => Ok(()),
            _ => self.skip(usize::try_from(length).map_err(|_| ShapeError::Length(length))?),
        }
    }

    fn skip(&mut self, bytes: usize) -> Result<(), ShapeError> {
        self.rest = self.rest.get(bytes..).ok_or(ShapeError::Length(bytes as i64))?;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ShapeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ShapeError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }
}
