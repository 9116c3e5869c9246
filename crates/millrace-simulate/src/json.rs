//! Appends JSON by hand: the shape is known, so a record is a handful of copies into one buffer.

use millrace_model::Timestamp;
use millrace_model::time::{MINUTE_MICROS, SECOND_MICROS};

/// `,"name":"text"`; the text must need no escape.
pub(crate) fn text(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.push(b'"');
}

/// `name` followed by the digits of `value`.
pub(crate) fn integer(out: &mut Vec<u8>, name: &[u8], value: i64) {
    out.extend_from_slice(name);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `name` followed by `true` or `false`.
pub(crate) fn word(out: &mut Vec<u8>, name: &[u8], value: bool) {
    out.extend_from_slice(name);
    out.extend_from_slice(if value { b"true".as_slice() } else { b"false" });
}

/// `name` followed by ten-thousandths as a decimal number: `-123456` → `-12.3456`.
pub(crate) fn decimal4(out: &mut Vec<u8>, name: &[u8], value: i32) {
    out.extend_from_slice(name);
    if value < 0 {
        out.push(b'-');
    }
    let value = value.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(value / 10_000).as_bytes());
    out.push(b'.');
    digits(out, u64::from(value % 10_000), 4);
}

/// An IPv4 address.
pub(crate) fn ip(out: &mut Vec<u8>, address: u32) {
    for (at, byte) in address.to_be_bytes().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(itoa::Buffer::new().format(byte).as_bytes());
    }
}

/// `width` digits with leading zeros.
pub(crate) fn digits(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut text = [b'0'; 20];
    for digit in text[20 - width..].iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text[20 - width..]);
}

/// `bytes` as lower-case hexadecimal.
pub(crate) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(b"0123456789abcdef"[usize::from(byte >> 4)]);
        out.push(b"0123456789abcdef"[usize::from(byte & 15)]);
    }
}

/// The text of a JSON string for any input; for texts made at start.
pub(crate) fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// Writes times; remembers the minute, whose digits are the costly ones.
#[derive(Clone, Debug)]
pub(crate) struct Clockface {
    minute: i64,
    head: Vec<u8>,
}

impl Clockface {
    pub(crate) fn new() -> Self {
        Clockface { minute: i64::MIN, head: Vec::new() }
    }

    /// Appends the time, 27 bytes.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, time: Timestamp) {
        let minute = time.0.div_euclid(MINUTE_MICROS);
        if minute != self.minute {
            self.head.clear();
            time.write_to(&mut self.head);
            self.head.truncate(17);
            self.minute = minute;
        }
        out.extend_from_slice(&self.head);
        let of_minute = time.0 - minute * MINUTE_MICROS;
        let (second, mut micros) = ((of_minute / SECOND_MICROS) as u8, (of_minute % SECOND_MICROS) as u32);
        let mut tail = *b"00.000000Z";
        tail[0] += second / 10;
        tail[1] += second % 10;
        for digit in tail[3..9].iter_mut().rev() {
            *digit += (micros % 10) as u8;
            micros /= 10;
        }
        out.extend_from_slice(&tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn numbers() {
        for (value, text) in [(0, "0.0000"), (-1, "-0.0001"), (515_074, "51.5074"), (-1_180_051, "-118.0051")] {
            assert_eq!(written(|out| decimal4(out, b"", value)), text);
        }
        assert_eq!(written(|out| ip(out, 0xC000_0201)), "192.0.2.1");
        assert_eq!(written(|out| digits(out, 42, 5)), "00042");
        assert_eq!(written(|out| hex(out, &[0x0f, 0xa0])), "0fa0");
        assert_eq!(escaped("a \"b\\c\"\n"), r#"a \"b\\c\" "#);
    }

    #[test]
    fn times_are_the_models() {
        let mut clock = Clockface::new();
        for micros in [0, 1, 59_999_999, 60_000_000, 1_795_355_760_123_456, -1, -60_000_001, 1_795_355_819_999_999] {
            let time = Timestamp(micros);
            assert_eq!(written(|out| clock.write(out, time)), time.to_string());
        }
    }
}
