//! The records in the lake as they were received: for who goes through the past again.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use millrace_model::{ErrorKind, Timestamp};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::layout::{FileName, Hour};
use super::reader::{LakeFile, LakeReader};
use crate::sink::SinkError;

/// A record as it was received.
#[derive(Clone, Copy, Debug)]
pub struct LakeRecord<'a> {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Kafka's time of the record.
    pub time: Option<Timestamp>,
    /// Its bytes; none for a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Shows every record of a topic that lies under an hour before `until`, in no order between files. The lake is a folder, or
/// `s3://BUCKET/PREFIX`.
///
/// # Errors
/// The lake, or a file of it that cannot be read, named in the text. `Unavailable`: a file was merged meanwhile; read again.
pub async fn read(
    place: &Path,
    topic: &str,
    until: Option<Timestamp>,
    show: &mut (dyn FnMut(LakeRecord<'_>) + Send),
) -> Result<(), SinkError> {
    let reader = LakeReader::open(place)?;
    let mut files: Vec<LakeFile> = reader.files(topic).await?;
    files.retain(|file| until.is_none_or(|until| begins_before(&file.path, until)));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    for file in files {
        let Some(bytes) = reader.read(&file.path, 0..file.bytes).await? else {
            let text = format!("lake: {} was merged while it was read; run it again", file.path);
            return Err(SinkError::new(ErrorKind::Unavailable, text));
        };
        read_file(&file.path, bytes, show)
            .map_err(|error| SinkError::new(ErrorKind::Invalid, format!("lake: {}: {error}", file.path)))?;
    }
    Ok(())
}

/// Whether the hour of a file, `TOPIC/HOUR/NAME`, begins before a time.
fn begins_before(path: &str, until: Timestamp) -> bool {
    let below = path.split_once('/').and_then(|(_, below)| below.rsplit_once('/'));
    below.is_none_or(|(hour, _)| hour <= Hour::of(until).folder().as_str())
}

fn read_file(
    path: &str,
    bytes: Bytes,
    show: &mut (dyn FnMut(LakeRecord<'_>) + Send),
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let name = path.rsplit('/').next().and_then(FileName::parse);
    let partition = name.ok_or("its name says no partition")?.partition;
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["_offset", "_timestamp", "_raw"]);
    for batch in builder.with_projection(columns).build()? {
        let batch: RecordBatch = batch?;
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("column {name} is missing"));
        let offsets = column("_offset")?.as_primitive_opt::<Int64Type>().ok_or("_offset is no number")?;
        let times =
            column("_timestamp")?.as_primitive_opt::<TimestampMicrosecondType>().ok_or("_timestamp is no time")?;
        let raw = column("_raw")?.as_binary_opt::<i32>().ok_or("_raw is no bytes")?;
        for row in 0..batch.num_rows() {
            show(LakeRecord {
                partition,
                offset: offsets.value(row),
                time: times.is_valid(row).then(|| Timestamp(times.value(row))),
                value: raw.is_valid(row).then(|| raw.value(row)),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Place;
    use crate::lake::buffer::{RawRecord, Records};
    use millrace_model::Contracts;

    #[tokio::test]
    async fn what_was_received_is_shown_up_to_an_hour() {
        let contract = Contracts::builtin().get("transactions").expect("it ships").clone();
        let mut records = Records::default();
        for (offset, hour) in [(5, "08"), (6, "09"), (7, "11")] {
            let value = format!(
                r#"{{"event_id":"{offset}","event_type":"order_placed","event_time":"2026-01-31T{hour}:10:00Z","order_id":"o"}}"#
            );
            let time = Timestamp::parse(b"2026-01-31T11:30:00Z");
            records.push(RawRecord { offset, time, key: None, value: Some(value.as_bytes()) });
        }
        let dir = tempfile::tempdir().expect("a folder");
        for file in crate::lake::encode::files(&contract, &Place::new("transactions", 2), &records).expect("files") {
            let path = dir.path().join(&file.path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, file.bytes).expect("written");
        }
        for (until, expected) in [(None, &[5, 6, 7][..]), (Some("2026-01-31T09:59:00Z"), &[5, 6])] {
            let mut offsets = Vec::new();
            let until = until.and_then(|until: &str| Timestamp::parse(until.as_bytes()));
            let mut show = |record: LakeRecord<'_>| {
                assert!(record.partition == 2 && record.time.is_some());
                assert!(record.value.is_some_and(|value| value.starts_with(b"{")));
                offsets.push(record.offset);
            };
            read(dir.path(), "transactions", until, &mut show).await.expect("read");
            assert_eq!(offsets, expected);
        }
        assert!(read(dir.path(), "user_events", None, &mut |_| panic!("none")).await.is_ok());
    }
}
