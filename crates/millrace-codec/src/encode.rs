//! Result rows to record values: one JSON text a row, every column present, null or not.
//!
//! Times are RFC 3339 UTC with microseconds; the text of a row depends on its values alone, so both backends and every
//! retry write the same bytes.
//!
//! Numbers, lists and structs are written by arrow-json, texts and times by [`cells`], which gives the same bytes sooner.

mod cells;

use std::sync::Arc;

use arrow_array::{RecordBatch, StructArray};
use arrow_json::EncoderOptions;
use arrow_json::writer::make_encoder;
use arrow_schema::Field;

/// A column whose type has no JSON form.
#[derive(Debug, thiserror::Error)]
#[error("cannot write rows as JSON: {0}")]
pub struct EncodeError(String);

/// One JSON text a row.
#[derive(Debug, Default)]
pub struct EncodedRows {
    /// The texts one after the other, each with a newline behind it.
    lines: Vec<u8>,
    /// Where each text ends: the place of its newline.
    ends: Vec<usize>,
}

impl EncodedRows {
    /// The texts, in row order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let text = &self.lines[start..*end];
            start = end + 1;
            text
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// There are no rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The texts as they stand in a file of one row a line.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }
}

const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// How arrow-json writes what it writes.
fn options() -> EncoderOptions {
    EncoderOptions::default()
        .with_explicit_nulls(true)
        .with_timestamp_format(TIME_FORMAT.into())
        .with_timestamp_tz_format(TIME_FORMAT.into())
}

/// Bytes of a text that are made room for, a column.
const COLUMN_BYTES: usize = 24;

/// Encodes every row of the batch.
///
/// # Errors
/// When a column's type has no JSON form.
pub fn encode_rows(batch: &RecordBatch) -> Result<EncodedRows, EncodeError> {
    encode_with(batch, &options().with_encoder_factory(Arc::new(cells::Cells)))
}

fn encode_with(batch: &RecordBatch, options: &EncoderOptions) -> Result<EncodedRows, EncodeError> {
    let rows = batch.num_rows();
    let mut lines = Vec::with_capacity(rows * (batch.num_columns() + 1) * COLUMN_BYTES);
    let mut ends = Vec::with_capacity(rows);
    if batch.num_columns() == 0 {
        for _ in 0..rows {
            lines.extend_from_slice(b"{}");
            ends.push(lines.len());
            lines.push(b'\n');
        }
        return Ok(EncodedRows { lines, ends });
    }
    let field = Arc::new(Field::new_struct("", batch.schema().fields().clone(), false));
    let columns = StructArray::from(batch.clone());
    let mut encoder = make_encoder(&field, &columns, options).map_err(|error| EncodeError(error.to_string()))?;
    for row in 0..rows {
        encoder.encode(row, &mut lines);
        ends.push(lines.len());
        lines.push(b'\n');
    }
    Ok(EncodedRows { lines, ends })
}

#[cfg(test)]
mod tests;
