//! A source of a job: decodes its records once for all statements, and drops repeats.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Schema};
use arrow_select::filter::filter_record_batch;
use datafusion::common::Result;
use millrace_codec::{DecodeLimits, Decoder, Needed};
use millrace_model::{Contract, Role};

use super::decoded::rows_of;
use super::profile::{Meter, OperatorProfile};
use super::watermark::EventTimes;
use super::{JobSettings, MalformedRecord, SourceBatch, record_number};
use crate::error::EngineError;
use crate::operator::NO_WATERMARK;
use crate::operator::dedup::{Deduplicator, event_times};
use crate::operator::saved::SavedBatch;
use crate::plan::SourcePlan;
use crate::plan::record_number_field;
use crate::plan::slot::Slot;
use crate::sql::Origin;

/// A source of a job.
pub(crate) struct Source {
    contract: Contract,
    pub(crate) origin: Origin,
    decoder: Decoder,
    dedup: Option<Deduplicator>,
    slots: Vec<Slot>,
    pub(crate) delay: i64,
    pub(crate) watermark: i64,
    batches: Vec<RecordBatch>,
    event_time_at: Option<usize>,
    id_columns: Vec<usize>,
    meter: Meter,
}

/// What became of the records of a batch, partition by partition.
#[derive(Default)]
pub(crate) struct Decoded {
    /// Partition, records malformed, repeats dropped.
    pub(crate) partitions: Vec<PartitionCounts>,
}

/// Counts of one partition in one batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PartitionCounts {
    pub(crate) partition: i32,
    pub(crate) records: u64,
    pub(crate) malformed: u64,
    pub(crate) duplicate: u64,
}

/// What a record may be. A row of another table is of a window, and that may end days after the row was written: no clock is wrong.
pub(super) fn limits(contract: &Contract, settings: &JobSettings) -> DecodeLimits {
    match contract.role {
        Role::Result => DecodeLimits { future_micros_max: i64::MAX, ..settings.decode },
        _ => settings.decode,
    }
}

impl Source {
    pub(crate) fn new(plan: SourcePlan, settings: &JobSettings) -> Result<Self> {
        let decoder =
            Decoder::new(&plan.contract, &Needed::Columns(plan.columns.clone()), limits(&plan.contract, settings));
        let at = |name: &str| decoder.schema().index_of(name).ok();
        let id_columns: Vec<usize> = plan.contract.deduplicate_by.iter().filter_map(|name| at(name)).collect();
        let event_time_at = plan.contract.event_time.as_deref().and_then(at);
        let dedup = if id_columns.is_empty() || event_time_at.is_none() {
            None
        } else {
            let types: Vec<DataType> =
                id_columns.iter().map(|at| decoder.schema().field(*at).data_type().clone()).collect();
            Some(Deduplicator::new(&types, plan.delay_micros, settings.secret)?)
        };
        Ok(Source {
            contract: plan.contract,
            origin: plan.origin,
            decoder,
            dedup,
            slots: plan.slots,
            delay: plan.delay_micros,
            watermark: NO_WATERMARK,
            batches: Vec::new(),
            event_time_at,
            id_columns,
            meter: Meter::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.contract.name
    }

    /// The column its repeats are forgotten by, when it drops repeats.
    pub(crate) fn dedup_time(&self) -> Option<&str> {
        self.dedup.as_ref().and(self.contract.event_time.as_deref())
    }

    /// Begins to count.
    pub(crate) fn start_profile(&mut self) {
        self.meter.on = true;
    }

    /// What decoding has taken.
    pub(crate) fn profile(&self) -> OperatorProfile {
        let what = if self.dedup.is_some() { "decode, drop repeats" } else { "decode" };
        self.meter.profile(self.name(), what)
    }

    pub(crate) fn clear(&mut self) {
        self.batches.clear();
    }

    /// Decodes a batch, partition by partition, or takes what was decoded before.
    pub(crate) fn decode(
        &mut self,
        at: usize,
        batch: &SourceBatch<'_>,
        times: &mut EventTimes,
        malformed: &mut Vec<MalformedRecord>,
    ) -> std::result::Result<Decoded, EngineError> {
        let started = self.meter.start();
        let mut decoded = Decoded::default();
        let mut spans = batch.decoded.as_slice();
        let mut from = 0;
        while from < batch.records.len() {
            let partition = batch.records[from].partition;
            let same = batch.records[from..].iter().take_while(|record| record.partition == partition).count();
            let mut counts = PartitionCounts { partition, records: same as u64, ..PartitionCounts::default() };
            let before = malformed.len();
            let rows = match spans.is_empty() {
                true => Ok(self.rows_here(at, batch, from..from + same, malformed)),
                false => {
                    let mut covered = 0;
                    let of_partition = spans.iter().take_while(|span| {
                        covered += span.len;
                        covered <= same
                    });
                    let (these, others) = spans.split_at(of_partition.count());
                    spans = others;
                    rows_of(these, self.decoder.schema(), at, from, malformed)
                }
            };
            counts.malformed = (malformed.len() - before) as u64;
            from += same;
            let rows =
                rows.and_then(|(rows, numbers)| self.partition_rows(partition, rows, numbers, times, &mut counts));
            self.batches.extend(rows.map_err(|error| EngineError::Expression {
                table: self.name().to_owned(),
                message: error.strip_backtrace(),
            })?);
            decoded.partitions.push(counts);
        }
        if self.meter.on {
            self.meter.rows_in(batch.records.len());
            self.meter.bytes(batch.records.iter().map(|record| record.value.map_or(0, <[u8]>::len)).sum());
        }
        self.meter.stop(started);
        Ok(decoded)
    }

    /// Decodes records of one partition; gives the rows and the numbers of their records.
    fn rows_here(
        &mut self,
        at: usize,
        batch: &SourceBatch<'_>,
        records: Range<usize>,
        malformed: &mut Vec<MalformedRecord>,
    ) -> (RecordBatch, Vec<i64>) {
        let mut numbers = Vec::with_capacity(records.len());
        for record in records {
            let received = &batch.records[record];
            match self.decoder.push(received.value, received.time) {
                Ok(()) => numbers.push(record_number(at, record)),
                Err(error) => malformed.push(MalformedRecord { batch: at, record, malformed: error }),
            }
        }
        (self.decoder.finish(), numbers)
    }

    /// The decoded rows of one partition: numbered, without repeats.
    fn partition_rows(
        &mut self,
        partition: i32,
        rows: RecordBatch,
        numbers: Vec<i64>,
        times: &mut EventTimes,
        counts: &mut PartitionCounts,
    ) -> Result<Option<RecordBatch>> {
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        for column in times.watched(self.name()) {
            if let Some(values) =
                rows.column_by_name(&column).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
            {
                times.observe(&self.contract.name, &column, partition, values);
            }
        }
        let mut fields = rows.schema().fields().to_vec();
        fields.push(record_number_field());
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(Int64Array::from(numbers)));
        let numbered = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let (Some(dedup), Some(event_time)) = (&mut self.dedup, self.event_time_at) else { return Ok(Some(numbered)) };
        let ids: Vec<ArrayRef> = self.id_columns.iter().map(|at| rows.column(*at).clone()).collect();
        let first = dedup.first(&ids, event_times(&rows, event_time))?;
        let repeats = first.len() - first.true_count();
        if repeats == 0 {
            return Ok(Some(numbered));
        }
        counts.duplicate = repeats as u64;
        Ok(Some(filter_record_batch(&numbered, &first)?))
    }

    /// Hands the decoded rows to every statement that reads this source.
    pub(crate) fn fill_slots(&mut self) {
        self.meter.rows_out(self.batches.iter().map(RecordBatch::num_rows).sum());
        for slot in &self.slots {
            slot.put(self.batches.clone());
        }
        self.batches.clear();
    }

    pub(crate) fn advance(&mut self, watermark: i64) {
        self.watermark = watermark;
        if let Some(dedup) = &mut self.dedup {
            dedup.advance(watermark);
        }
        if self.meter.on {
            let bytes = self.bytes();
            self.meter.state(0, bytes);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.dedup.as_ref().map_or(0, Deduplicator::bytes)
    }

    pub(crate) fn save(&self) -> Option<SavedBatch> {
        self.dedup.as_ref().map(Deduplicator::save)
    }

    pub(crate) fn load(&mut self, saved: &RecordBatch, secret: (u64, u64)) -> Result<()> {
        let types: Vec<DataType> =
            self.id_columns.iter().map(|at| self.decoder.schema().field(*at).data_type().clone()).collect();
        if self.dedup.is_some() {
            let mut dedup = Deduplicator::new(&types, self.delay, secret)?;
            dedup.load(saved)?;
            self.dedup = Some(dedup);
        }
        Ok(())
    }
}
