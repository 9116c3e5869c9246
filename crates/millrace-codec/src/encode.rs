//! Result rows to record values: one JSON text a row, every column present, null or not.
//!
//! Times are RFC 3339 UTC with microseconds; the text of a row depends on its values alone, so both backends and every
//! retry write the same bytes.

use std::ops::Range;

use arrow_array::RecordBatch;
use arrow_json::writer::{LineDelimited, WriterBuilder};

/// A column whose type has no JSON form.
#[derive(Debug, thiserror::Error)]
#[error("cannot write rows as JSON: {0}")]
pub struct EncodeError(String);

/// One JSON text a row, back to back.
#[derive(Debug, Default)]
pub struct EncodedRows {
    bytes: Vec<u8>,
    rows: Vec<Range<usize>>,
}

impl EncodedRows {
    /// The texts, in row order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.rows.iter().map(|range| &self.bytes[range.clone()])
    }
}

const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// Encodes every row of the batch.
///
/// # Errors
/// When a column's type has no JSON form.
pub fn encode_rows(batch: &RecordBatch) -> Result<EncodedRows, EncodeError> {
    if batch.num_columns() == 0 {
        let rows = vec![0..2; batch.num_rows()];
        return Ok(EncodedRows { bytes: b"{}".to_vec(), rows });
    }
    let builder = WriterBuilder::new()
        .with_explicit_nulls(true)
        .with_timestamp_format(TIME_FORMAT.into())
        .with_timestamp_tz_format(TIME_FORMAT.into());
    let mut writer = builder.build::<_, LineDelimited>(Vec::new());
    writer.write(batch).and_then(|()| writer.finish()).map_err(|error| EncodeError(error.to_string()))?;
    let bytes = writer.into_inner();
    let mut rows = Vec::with_capacity(batch.num_rows());
    let mut start = 0;
    // Inside JSON texts a newline is always escaped.
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' {
            rows.push(start..at);
            start = at + 1;
        }
    }
    Ok(EncodedRows { bytes, rows })
}

#[cfg(test)]
mod tests {
    use millrace_model::Contracts;

    use super::*;
    use crate::{DecodeLimits, Decoder, Needed};

    #[test]
    fn what_is_decoded_is_written_again() {
        let contract = Contracts::builtin().get("transactions").expect("shipped").clone();
        let needed = Needed::Columns(
            ["event_id", "event_time", "amount_minor", "ip_latitude", "lines"].map(String::from).into(),
        );
        let mut decoder = Decoder::new(&contract, &needed, DecodeLimits::default());
        for text in [
            r#"{"event_id":"a\nb","event_type":"t","event_time":"2026-01-01T00:00:00Z","order_id":"o","amount_minor":5,"ip_latitude":1.5,"lines":[{"product_id":"p","quantity":1,"price_minor":2}]}"#,
            r#"{"event_id":"é","event_type":"t","event_time":"2026-01-01T00:00:00.000001Z","order_id":"o"}"#,
        ] {
            decoder.push(Some(text.as_bytes()), None).expect("good");
        }
        let rows = encode_rows(&decoder.finish()).expect("JSON types");
        let texts: Vec<_> = rows.iter().map(|row| std::str::from_utf8(row).expect("UTF-8")).collect();
        assert_eq!(
            texts,
            [
                r#"{"event_id":"a\nb","event_time":"2026-01-01T00:00:00.000000Z","ip_latitude":1.5,"amount_minor":5,"lines":[{"product_id":"p","category":null,"quantity":1,"price_minor":2}]}"#,
                r#"{"event_id":"é","event_time":"2026-01-01T00:00:00.000001Z","ip_latitude":null,"amount_minor":null,"lines":null}"#,
            ]
        );
    }
}
