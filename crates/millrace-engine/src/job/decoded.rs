//! Records decoded before an epoch: once for all jobs of a process that read their topic.
//!
//! ```text
//!  records of a topic ─▶ TopicDecoder: every column any job needs ─▶ DecodedRecords ─┬▶ job: its columns ─▶ repeats out …
//!                                                                                    └▶ job: its columns ─▶ …
//! ```
//!
//! What is malformed is so for every job, for a contract is checked whole, whatever columns are needed.

use std::collections::BTreeSet;
use std::ops::Range;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use datafusion::common::{Result, internal_datafusion_err};
use millrace_codec::{Decoder, Malformed, Needed};
use millrace_model::{Contract, Timestamp};

use super::source::limits;
use super::{JobSettings, MalformedRecord, record_number};

/// Decodes the records of a topic for several jobs.
pub struct TopicDecoder(Decoder);

impl TopicDecoder {
    /// A decoder of these columns of a contract; `settings` bound a record.
    pub fn new(contract: &Contract, columns: &BTreeSet<String>, settings: &JobSettings) -> Self {
        let needed = Needed::Columns(columns.iter().cloned().collect());
        TopicDecoder(Decoder::new(contract, &needed, limits(contract, settings)))
    }

    /// Decodes records of one partition, in their order: value and Kafka time of each.
    pub fn decode<'a>(
        &mut self,
        records: impl Iterator<Item = (Option<&'a [u8]>, Option<Timestamp>)>,
    ) -> DecodedRecords {
        let (mut record_of, mut malformed) = (Vec::new(), Vec::new());
        for (at, (value, time)) in (0..).zip(records) {
            match self.0.push(value, time) {
                Ok(()) => record_of.push(at),
                Err(error) => malformed.push((at, error)),
            }
        }
        DecodedRecords { rows: self.0.finish(), record_of, malformed }
    }
}

/// Consecutive records of a partition, decoded.
#[derive(Debug)]
pub struct DecodedRecords {
    rows: RecordBatch,
    /// The record of each row, counted from the first; ascending.
    record_of: Vec<u32>,
    /// Records that are no rows, and why.
    malformed: Vec<(u32, Malformed)>,
}

impl DecodedRecords {
    /// Bytes of memory, estimated.
    pub fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.record_of.capacity() * size_of::<u32>()
    }
}

/// Some of the records of a [`SourceBatch`](super::SourceBatch): `len` of these, from the `from`th on.
#[derive(Clone, Copy, Debug)]
pub struct DecodedSpan<'a> {
    /// All that were decoded together.
    pub records: &'a DecodedRecords,
    /// The first of them.
    pub from: usize,
    /// How many.
    pub len: usize,
}

impl DecodedSpan<'_> {
    /// The rows of its records.
    fn rows(&self) -> Range<usize> {
        let of = &self.records.record_of;
        let before = |end: usize| of.partition_point(|record| (*record as usize) < end);
        before(self.from)..before(self.from + self.len)
    }
}

/// The columns of a schema out of spans of one partition, with the numbers of the rows' records; `first` is the place in the
/// batch of the first record. What is malformed is told.
///
/// # Errors
/// A column that was not decoded.
pub(super) fn rows_of(
    spans: &[DecodedSpan<'_>],
    schema: &SchemaRef,
    batch: usize,
    first: usize,
    malformed: &mut Vec<MalformedRecord>,
) -> Result<(RecordBatch, Vec<i64>)> {
    let mut numbers = Vec::new();
    let mut parts = Vec::with_capacity(spans.len());
    let mut first = first;
    for span in spans {
        let rows = span.rows();
        let all = &span.records.rows;
        let places: Vec<usize> = schema
            .fields()
            .iter()
            .map(|field| {
                let missing = || internal_datafusion_err!("column `{}` was not decoded", field.name());
                all.schema_ref().index_of(field.name()).map_err(|_| missing())
            })
            .collect::<Result<_>>()?;
        parts.push(all.project(&places)?.slice(rows.start, rows.len()));
        let place = |record: u32| first + record as usize - span.from;
        numbers.extend(span.records.record_of[rows].iter().map(|record| record_number(batch, place(*record))));
        let within = |record: u32| (span.from..span.from + span.len).contains(&(record as usize));
        let of_span = span.records.malformed.iter().filter(|(record, _)| within(*record));
        malformed.extend(of_span.map(|(record, why)| MalformedRecord {
            batch,
            record: place(*record),
            malformed: why.clone(),
        }));
        first += span.len;
    }
    let rows = match <[RecordBatch; 1]>::try_from(parts) {
        Ok([one]) => one,
        Err(parts) => concat_batches(schema, &parts)?,
    };
    Ok((rows, numbers))
}
