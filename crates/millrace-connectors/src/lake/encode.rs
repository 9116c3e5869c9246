//! Records of a partition as Parquet files, one an hour of event time.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_select::take::take;
use millrace_codec::{DecodeLimits, Decoder, Malformed, Needed};
use millrace_model::dead_letter::MalformedCode;
use millrace_model::{Contract, ErrorKind, Timestamp};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::buffer::Records;
use super::layout::{FileName, Hour};
use crate::kafka::Place;
use crate::sink::SinkError;

/// Columns beside the contract's.
const OWN: [&str; 6] = ["_partition", "_offset", "_timestamp", "_key", "_raw", "_error"];
/// Level of zstd: the lake is written once a minute and read for years.
const ZSTD_LEVEL: i32 = 3;
/// Rows of one group of a merged file: what a reader skips or reads as a whole.
const GROUP_ROWS: usize = 128 * 1024;
/// How often a bloom filter says that an id may be there which is not.
const BLOOM_FALSE: f64 = 0.01;

/// A file that is to be written.
pub(super) struct DataFile {
    /// Path below the lake.
    pub(super) path: String,
    /// Records in it.
    pub(super) rows: usize,
    /// The Parquet file.
    pub(super) bytes: Vec<u8>,
}

/// Makes the files of one partition's records. Every record is in exactly one of them.
///
/// # Errors
/// `Internal`: Arrow or Parquet refuse what was decoded.
pub(super) fn files(contract: &Contract, place: &Place, records: &Records) -> Result<Vec<DataFile>, SinkError> {
    let decoded = Decoded::of(contract, records);
    let mut hours: BTreeMap<Hour, Vec<usize>> = BTreeMap::new();
    for at in 0..records.len() {
        hours.entry(decoded.hours[at]).or_default().push(at);
    }
    let mut files = Vec::with_capacity(hours.len());
    for (hour, rows) in hours {
        let failed = |e: &dyn std::fmt::Display| {
            let text = format!("topic `{}` partition {}: write Parquet: {e}", place.topic, place.partition);
            SinkError::new(ErrorKind::Internal, text)
        };
        let batch = decoded.batch(place.partition, records, &rows).map_err(|e| failed(&e))?;
        let bytes = parquet(&batch).map_err(|e| failed(&e))?;
        // Offsets rise within a partition.
        let offset = |at: Option<&usize>| at.map_or(0, |at| records.get(*at).offset);
        let (first, last) = (offset(rows.first()), offset(rows.last()));
        let name = FileName { merged: false, partition: place.partition, first, last };
        files.push(DataFile { path: name.path(&place.topic, hour), rows: rows.len(), bytes });
    }
    Ok(files)
}

/// Records as the contract reads them.
struct Decoded {
    schema: SchemaRef,
    /// The rows of the records that keep the contract.
    good: RecordBatch,
    /// For each record its row among them.
    row: Vec<Option<u64>>,
    /// For each record why it has none.
    error: Vec<Option<String>>,
    /// For each record the hour it lies under.
    hours: Vec<Hour>,
}

impl Decoded {
    fn of(contract: &Contract, records: &Records) -> Self {
        let mut decoder = Decoder::new(contract, &Needed::All, DecodeLimits::default());
        let mut row = Vec::with_capacity(records.len());
        let mut error = Vec::with_capacity(records.len());
        let mut times: Vec<Option<Timestamp>> = Vec::with_capacity(records.len());
        let mut next = 0;
        for record in records.iter() {
            match decoder.push(record.value, record.time) {
                Ok(()) => {
                    row.push(Some(next));
                    error.push(None);
                    times.push(None);
                    next += 1;
                }
                Err(malformed) => {
                    row.push(None);
                    // A time far after the record's own is no time to file it under.
                    let credible = malformed.code != MalformedCode::FutureTime;
                    times.push(malformed.event_time.filter(|_| credible));
                    error.push(Some(describe(&malformed)));
                }
            }
        }
        let good = decoder.finish();
        let event_times = contract.event_time.as_ref().and_then(|name| good.column_by_name(name));
        let event_times = event_times.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let event_time = |row: u64| {
            let (times, row) = (event_times?, usize::try_from(row).ok()?);
            times.is_valid(row).then(|| Timestamp(times.value(row)))
        };
        let hours = records.iter().zip(&row).zip(&times).map(|((record, row), time)| {
            let time = time.or_else(|| row.and_then(event_time)).or(record.time);
            Hour::of(time.unwrap_or_default())
        });
        let hours = hours.collect();
        Decoded { schema: schema(contract), good, row, error, hours }
    }

    /// The records at these places as rows of a file.
    fn batch(&self, partition: i32, records: &Records, at: &[usize]) -> Result<RecordBatch, arrow_schema::ArrowError> {
        let rows: UInt64Array = at.iter().map(|at| self.row[*at]).collect();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for column in self.good.columns() {
            columns.push(take(column, &rows, None)?);
        }
        let mut keys = BinaryBuilder::new();
        let mut raws = BinaryBuilder::new();
        let mut errors = StringBuilder::new();
        let mut offsets = Vec::with_capacity(at.len());
        let mut times = Vec::with_capacity(at.len());
        for at in at {
            let record = records.get(*at);
            keys.append_option(record.key);
            raws.append_option(record.value);
            errors.append_option(self.error[*at].as_deref());
            offsets.push(record.offset);
            times.push(record.time.map(|time| time.0));
        }
        columns.push(Arc::new(Int32Array::from_value(partition, at.len())));
        columns.push(Arc::new(Int64Array::from(offsets)));
        columns.push(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")));
        columns.push(Arc::new(keys.finish()));
        columns.push(Arc::new(raws.finish()));
        columns.push(Arc::new(errors.finish()));
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

/// `code: reason`, with the field where there is one.
fn describe(malformed: &Malformed) -> String {
    match &malformed.field {
        Some(field) => format!("{}: {field}: {}", malformed.code.name(), malformed.reason),
        None => format!("{}: {}", malformed.code.name(), malformed.reason),
    }
}

/// The columns of the lake's files of a topic.
fn schema(contract: &Contract) -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let types = [DataType::Int32, DataType::Int64, utc, DataType::Binary, DataType::Binary, DataType::Utf8];
    let own = OWN
        .iter()
        .zip(types)
        .map(|(name, data_type)| Arc::new(Field::new(*name, data_type, !matches!(*name, "_partition" | "_offset"))));
    let fields: Vec<_> = contract.arrow_schema().fields().iter().cloned().chain(own).collect();
    Arc::new(Schema::new(fields))
}

fn parquet(batch: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties()?.build()))?;
    writer.write(batch)?;
    writer.into_inner()
}

/// Rows as one Parquet file, compressed as the lake's are.
///
/// # Errors
/// `Internal`: a column that Parquet has no form for.
pub fn to_parquet(columns: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, SinkError> {
    let write = || -> Result<Vec<u8>, ParquetError> {
        let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(columns), Some(properties()?.build()))?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.into_inner()
    };
    write().map_err(|e| SinkError::new(ErrorKind::Internal, format!("write Parquet: {e}")))
}

/// Every column has the least and the greatest value of each page; long ones are cut.
fn properties() -> Result<WriterPropertiesBuilder, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_created_by(concat!("millrace ", env!("CARGO_PKG_VERSION")).into());
    // No two records have the same bytes or offset: a dictionary of them is wasted.
    for column in ["_raw", "_offset"] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    Ok(properties)
}

/// Writes a file of many batches, with a bloom filter for each column of ids.
pub(super) struct Merging {
    writer: ArrowWriter<Vec<u8>>,
}

impl Merging {
    /// For so many rows of these columns.
    pub(super) fn new(schema: &SchemaRef, rows: u64) -> Result<Self, ParquetError> {
        let mut properties = properties()?.set_max_row_group_row_count(Some(GROUP_ROWS));
        for field in schema.fields() {
            if field.name().ends_with("_id") && matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8) {
                let column = ColumnPath::from(field.name().as_str());
                properties = properties
                    .set_column_bloom_filter_enabled(column.clone(), true)
                    .set_column_bloom_filter_fpp(column.clone(), BLOOM_FALSE)
                    .set_column_bloom_filter_max_ndv(column, rows.clamp(1, GROUP_ROWS as u64));
            }
        }
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties.build()))?;
        Ok(Merging { writer })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        self.writer.write(batch)
    }

    /// The file, and how many rows it has by its own count.
    pub(super) fn end(mut self) -> Result<(Vec<u8>, i64), ParquetError> {
        self.writer.flush()?;
        let rows = self.writer.flushed_row_groups().iter().map(|group| group.num_rows()).sum();
        Ok((self.writer.into_inner()?, rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::buffer::RawRecord;
    use millrace_model::Contracts;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn event(id: &str, time: &str) -> String {
        format!(
            r#"{{"event_id":"{id}","event_type":"restocked","event_time":"{time}","product_id":"p","on_hand_change":1,"reserved_change":0,"new_field":7}}"#
        )
    }

    #[test]
    fn every_record_is_in_one_file_with_its_bytes() {
        let contract = Contracts::builtin().get("inventory_updates").expect("it ships").clone();
        let time = Timestamp::parse(b"2026-01-31T09:30:00Z");
        let values = [
            Some(event("a", "2026-01-31T09:05:00Z")),
            Some(event("b", "2026-01-31T08:59:59Z")),
            Some("{".into()),
            None,
            Some(event("late fault", "2026-01-31T08:00:00Z").replace("\"product_id\":\"p\"", "\"product_id\":5")),
            Some(event("far", "2099-01-01T00:00:00Z")),
            Some(event("c", "2026-01-31T09:06:00Z")),
        ];
        let mut records = Records::default();
        for (at, value) in values.iter().enumerate() {
            let value = value.as_ref().map(String::as_bytes);
            records.push(RawRecord { offset: 100 + at as i64, time, key: Some(b"p"), value });
        }
        let files = files(&contract, &Place::new("inventory_updates", 1), &records).expect("files");
        let paths: Vec<(&str, usize)> = files.iter().map(|file| (file.path.as_str(), file.rows)).collect();
        assert_eq!(
            paths,
            [
                ("inventory_updates/date=2026-01-31/hour=08/p00001-000000000101-000000000104.parquet", 2),
                ("inventory_updates/date=2026-01-31/hour=09/p00001-000000000100-000000000106.parquet", 5),
            ]
        );
        let bytes = bytes::Bytes::from(files[1].bytes.clone());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("Parquet").build().expect("a reader");
        let batch = reader.map(|batch| batch.expect("rows")).next().expect("one batch");
        let text = |name: &str| batch.column_by_name(name).expect(name).as_string::<i32>().clone();
        let ids: Vec<Option<String>> = text("event_id").iter().map(|id| id.map(str::to_owned)).collect();
        assert_eq!(ids, [Some("a".into()), None, None, None, Some("c".into())]);
        let errors: Vec<Option<String>> =
            text("_error").iter().map(|e| e.map(|e| e.split(':').next().unwrap_or("").into())).collect();
        let error = |code: &str| Some(code.to_owned());
        assert_eq!(errors, [None, error("not_json"), error("empty"), error("future_time"), None]);
        let raw = batch.column_by_name("_raw").expect("_raw").as_binary::<i32>();
        assert_eq!(raw.value(0), values[0].as_ref().expect("a value").as_bytes());
        assert!(raw.is_null(2));
        let offsets = batch.column_by_name("_offset").expect("_offset");
        assert_eq!(offsets.as_primitive::<arrow_array::types::Int64Type>().values(), &[100, 102, 103, 105, 106]);
    }
}
