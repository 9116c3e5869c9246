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

/// Shows every record of a topic that lies under an hour from that of `since` on and before `until`, in no order between files. The
/// lake is a folder, or `s3://BUCKET/PREFIX`.
///
/// # Errors
/// The lake, or a file of it that cannot be read, named in the text. `Unavailable`: a file was merged meanwhile; read again.
pub async fn read(
    place: &Path,
    topic: &str,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    show: &mut (dyn FnMut(LakeRecord<'_>) + Send),
) -> Result<(), SinkError> {
    let reader = LakeReader::open(place)?;
    let mut files: Vec<LakeFile> = reader.files(topic).await?;
    let (first, last) = (since.map(folder), until.map(folder));
    files.retain(|file| {
        hour_of(&file.path).is_none_or(|hour| {
            first.as_deref().is_none_or(|first| first <= hour) && last.as_deref().is_none_or(|last| hour <= last)
        })
    });
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

/// The hour of a file, `TOPIC/HOUR/NAME`, as its folder has it: as a text it sorts by time.
fn hour_of(path: &str) -> Option<&str> {
    let (_, below) = path.split_once('/')?;
    below.rsplit_once('/').map(|(hour, _)| hour)
}

fn folder(time: Timestamp) -> String {
    Hour::of(time).folder()
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
    async fn what_was_received_is_shown_from_one_hour_to_another() {
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
        let time = |text: Option<&str>| text.and_then(|text| Timestamp::parse(text.as_bytes()));
        for (since, until, expected) in [
            (None, None, &[5, 6, 7][..]),
            (None, Some("2026-01-31T09:59:00Z"), &[5, 6]),
            (Some("2026-01-31T09:59:00Z"), None, &[6, 7]),
            (Some("2026-01-31T09:00:00Z"), Some("2026-01-31T10:00:00Z"), &[6]),
        ] {
            let mut offsets = Vec::new();
            let (since, until) = (time(since), time(until));
            let mut show = |record: LakeRecord<'_>| {
                assert!(record.partition == 2 && record.time.is_some());
                assert!(record.value.is_some_and(|value| value.starts_with(b"{")));
                offsets.push(record.offset);
            };
            read(dir.path(), "transactions", since, until, &mut show).await.expect("read");
            assert_eq!(offsets, expected);
        }
        assert!(read(dir.path(), "user_events", None, None, &mut |_| panic!("none")).await.is_ok());
    }
}
