//! Texts and times as JSON: most of what result rows hold, and most of what writing them costs.
//!
//! The bytes are those of arrow-json. What it would write otherwise (a time of another zone, or of a year that four digits
//! cannot say) is left to it, column by column.

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, StringArray};
use arrow_json::writer::NullableEncoder;
use arrow_json::{Encoder, EncoderFactory, EncoderOptions};
use arrow_schema::{ArrowError, DataType, FieldRef, TimeUnit};
use millrace_model::Timestamp;
use millrace_model::time::{DAY_MICROS, SECOND_MICROS};

/// Makes the encoders of this module for the columns they are for.
#[derive(Debug)]
pub(super) struct Cells;

impl EncoderFactory for Cells {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Utf8 => Box::new(Texts::new(array.as_string())),
            DataType::Timestamp(TimeUnit::Microsecond, zone) if zone.as_deref().is_none_or(is_utc) => {
                let times = array.as_primitive::<TimestampMicrosecondType>().values();
                if !times.iter().all(|time| Timestamp(*time).has_text()) {
                    return Ok(None);
                }
                Box::new(Times { times, day: 0..0, text: [0; TIME_BYTES] })
            }
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

fn is_utc(zone: &str) -> bool {
    ["+00:00", "UTC", "Z"].contains(&zone)
}

/// A column of texts.
struct Texts<'a> {
    texts: &'a StringArray,
    /// No text of the column has a byte to be escaped.
    plain: bool,
}

impl<'a> Texts<'a> {
    fn new(texts: &'a StringArray) -> Self {
        let offsets = texts.value_offsets();
        let all = match (offsets.first(), offsets.last()) {
            (Some(first), Some(last)) => &texts.value_data()[*first as usize..*last as usize],
            _ => &[],
        };
        Texts { texts, plain: is_plain(all) }
    }
}

/// The bytes JSON has escaped: quote, backslash and control characters. Without branches, so that it is done many bytes at
/// a time.
fn is_escaped(byte: u8) -> u8 {
    u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\')
}

fn is_plain(text: &[u8]) -> bool {
    let mut chunks = text.chunks_exact(64);
    chunks.by_ref().all(|chunk| chunk.iter().fold(0, |any, byte| any | is_escaped(*byte)) == 0)
        && chunks.remainder().iter().fold(0, |any, byte| any | is_escaped(*byte)) == 0
}

impl Encoder for Texts<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let text = self.texts.value(row).as_bytes();
        out.reserve(text.len() + 2);
        out.push(b'"');
        if self.plain || is_plain(text) {
            out.extend_from_slice(text);
        } else {
            escape(text, out);
        }
        out.push(b'"');
    }
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        let short = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..=0x1f => {
                let digits = b"0123456789abcdef";
                let (high, low) = (digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
                continue;
            }
            _ => {
                out.push(*byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
}

/// `"2026-01-31T09:05:00.000000Z"`
const TIME_BYTES: usize = 29;

/// A column of times. Neighbours are mostly of one day, whose text is made once.
struct Times<'a> {
    times: &'a [i64],
    /// The times the text's date is right for.
    day: std::ops::Range<i64>,
    text: [u8; TIME_BYTES],
}

impl Encoder for Times<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let time = self.times[row];
        if !self.day.contains(&time) {
            let start = time.div_euclid(DAY_MICROS) * DAY_MICROS;
            self.day = start..start + DAY_MICROS;
            let mut text = Vec::with_capacity(TIME_BYTES);
            text.push(b'"');
            Timestamp(time).write_to(&mut text);
            text.push(b'"');
            self.text.copy_from_slice(&text);
        }
        // Below 86,400,000,000, so that each part fits.
        let of_day = (time - self.day.start) as u64;
        let (second, micros) = (of_day / SECOND_MICROS as u64, of_day % SECOND_MICROS as u64);
        two(&mut self.text, 12, second / 3_600);
        two(&mut self.text, 15, second / 60 % 60);
        two(&mut self.text, 18, second % 60);
        two(&mut self.text, 21, micros / 10_000);
        two(&mut self.text, 23, micros / 100 % 100);
        two(&mut self.text, 25, micros % 100);
        out.extend_from_slice(&self.text);
    }
}

/// Writes a number below 100 in two digits.
fn two(text: &mut [u8; TIME_BYTES], at: usize, number: u64) {
    text[at] = b'0' + (number / 10) as u8;
    text[at + 1] = b'0' + (number % 10) as u8;
}
