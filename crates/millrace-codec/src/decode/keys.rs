//! Field names guessed by the one before: the records of one producer repeat their order, so a name is mostly recognised by
//! one comparison of bytes instead of being read, checked and looked up.
//!
//! A guess is never trusted further than the bytes it was compared with: what does not match is read as if nothing was known.

use crate::cursor::Cursor;

/// Most names remembered of one object; others are read the long way.
const NAMES_MAX: usize = 256;
/// Longest name remembered, bytes: with the one above it bounds the memory that hostile records can fill.
const NAME_BYTES_MAX: usize = 64;

/// What is guessed before the first name.
pub(super) const START: u16 = 0;

/// The names seen in objects of one shape, and which follow which.
pub(super) struct Keys {
    /// The first one stands for the beginning of an object.
    known: Vec<Known>,
}

struct Known {
    /// The name as it stands in a record, with the comma before it: `,"name":`.
    text: Box<[u8]>,
    field: Option<usize>,
    /// The names that came after it, the newest first; `START` is none.
    next: [u16; 2],
}

impl Keys {
    pub(super) fn new() -> Self {
        Keys { known: vec![Known { text: Box::default(), field: None, next: [START; 2] }] }
    }

    /// Moves past the next name if it is one that came after `after` before: the name, and the field it stands for.
    #[inline]
    pub(super) fn guess(&mut self, after: u16, cursor: &mut Cursor<'_>) -> Option<(u16, Option<usize>)> {
        self.guess_from(after, cursor, 1)
    }

    /// As [`guess`](Self::guess), and past the comma before the name.
    #[inline]
    pub(super) fn guess_behind_comma(&mut self, after: u16, cursor: &mut Cursor<'_>) -> Option<(u16, Option<usize>)> {
        self.guess_from(after, cursor, 0)
    }

    #[inline]
    fn guess_from(&mut self, after: u16, cursor: &mut Cursor<'_>, from: usize) -> Option<(u16, Option<usize>)> {
        let [first, second] = self.known[usize::from(after)].next;
        if first == START {
            return None;
        }
        let guessed = &self.known[usize::from(first)];
        if cursor.take(&guessed.text[from..]) {
            return Some((first, guessed.field));
        }
        let guessed = &self.known[usize::from(second)];
        if second == START || !cursor.take(&guessed.text[from..]) {
            return None;
        }
        let found = (second, guessed.field);
        self.known[usize::from(after)].next = [second, first];
        Some(found)
    }

    /// Remembers a name that was read and what it stands for. A name that finds no room is `START`, after which the guesses
    /// are merely wrong.
    pub(super) fn learn(&mut self, after: u16, name: &[u8], field: Option<usize>) -> u16 {
        let is = |known: &Known| known.text.get(2..known.text.len().saturating_sub(2)) == Some(name);
        let at = match self.known.iter().skip(1).position(is) {
            Some(at) => at + 1,
            None if self.known.len() <= NAMES_MAX && name.len() <= NAME_BYTES_MAX => {
                let text = [b",\"", name, b"\":"].concat().into();
                self.known.push(Known { text, field, next: [START; 2] });
                self.known.len() - 1
            }
            None => return START,
        };
        let at = u16::try_from(at).expect("few names are kept");
        let [first, _] = self.known[usize::from(after)].next;
        self.known[usize::from(after)].next = [at, first];
        at
    }
}
