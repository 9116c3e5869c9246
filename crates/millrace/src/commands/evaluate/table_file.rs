//! A file of rows to evaluate by: CSV in any delimiter, or Parquet; its columns by name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use indicatif::ProgressBar;
use millrace_engine::batch::read_file;
use millrace_model::Timestamp;

/// Numbers from here on are milliseconds, microseconds, nanoseconds; below, seconds. Seconds of this size come in the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;
const MICROSECONDS_FROM: f64 = 1e14;
const NANOSECONDS_FROM: f64 = 1e17;

/// Reads a file whole.
///
/// # Errors
/// The file, and a row that does not fit its header.
pub(super) async fn read(path: &Path) -> anyhow::Result<Vec<RecordBatch>> {
    if !is_parquet(path)? {
        return read_text(path);
    }
    let options = BTreeMap::from([("path".to_owned(), path.display().to_string())]);
    Ok(read_file("parquet", &options).await.map_err(|error| anyhow!(error))?.1)
}

fn is_parquet(path: &Path) -> anyhow::Result<bool> {
    let mut magic = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(4).read_to_end(&mut magic).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(magic == b"PAR1")
}

fn read_text(path: &Path) -> anyhow::Result<Vec<RecordBatch>> {
    let mut file = BufReader::new(File::open(path)?);
    let bytes = file.get_ref().metadata()?.len();
    let mut header = String::new();
    file.read_line(&mut header).with_context(|| format!("{} is no text", path.display()))?;
    let header = header.trim_start_matches('\u{feff}').trim_end();
    let delimiter = delimiter(header);
    let fields: Vec<Field> =
        header.split(delimiter).map(|name| Field::new(name.trim().trim_matches('"'), DataType::Utf8, true)).collect();
    file.seek(SeekFrom::Start(0))?;
    let bar = crate::progress::bar(bytes, "reading");
    let reader = arrow_csv::ReaderBuilder::new(Arc::new(Schema::new(fields)))
        .with_header(true)
        .with_delimiter(delimiter as u8)
        .build(Counted { file: file.into_inner(), bar: bar.clone() })?;
    let batches = reader.collect::<Result<Vec<_>, _>>().with_context(|| format!("cannot read {}", path.display()))?;
    bar.finish_and_clear();
    Ok(batches)
}

/// The one of the usual delimiters that the header has most of.
fn delimiter(header: &str) -> char {
    let count = |delimiter: &char| header.matches(*delimiter).count();
    [',', '\t', ';', '|'].into_iter().max_by_key(count).unwrap_or(',')
}

/// Shows how far a file has been read.
struct Counted {
    file: File,
    bar: ProgressBar,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bar.inc(read as u64);
        Ok(read)
    }
}

/// The column of this name, or else of one of the usual names.
pub(super) fn column(
    batch: &RecordBatch,
    named: Option<&str>,
    usual: &[&str],
    option: &str,
) -> anyhow::Result<ArrayRef> {
    let schema = batch.schema();
    let find = |wanted: &str| schema.fields().iter().position(|field| field.name().eq_ignore_ascii_case(wanted));
    let found = match named {
        Some(name) => find(name),
        None => usual.iter().find_map(|name| find(name)),
    };
    let Some(at) = found else {
        let there: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let wanted = named.map_or_else(|| format!("{} …", usual[0]), str::to_owned);
        bail!("there is no column {wanted}; name one of {} with {option}", there.join(", "));
    };
    Ok(batch.column(at).clone())
}

/// Names are text; a number keeps the digits it has in a text file.
pub(super) fn text(column: &ArrayRef) -> anyhow::Result<ArrayRef> {
    let whole = match column.data_type() {
        DataType::Float32 | DataType::Float64 => cast(column, &DataType::Int64)?,
        _ => column.clone(),
    };
    Ok(cast(&whole, &DataType::Utf8)?)
}

/// Epoch seconds, milliseconds and so on, RFC 3339, or a date.
pub(super) fn times(column: &ArrayRef) -> anyhow::Result<Vec<Timestamp>> {
    if matches!(column.data_type(), DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) {
        let micros = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        let micros = cast(&micros, &DataType::Int64)?;
        let micros = micros.as_primitive::<arrow_array::types::Int64Type>();
        ensure!(micros.null_count() == 0, "a row has no time");
        return Ok(micros.values().iter().map(|micros| Timestamp(*micros)).collect());
    }
    let text = cast(column, &DataType::Utf8)?;
    let text = text.as_string::<i32>();
    let read = |row: usize| {
        let told = if text.is_valid(row) { text.value(row).trim() } else { "" };
        time(told).with_context(|| format!("`{told}` is no time: epoch seconds or milliseconds, RFC 3339, or a date"))
    };
    (0..text.len()).map(read).collect()
}

fn time(text: &str) -> Option<Timestamp> {
    if let Ok(number) = text.parse::<f64>() {
        let micros = match number.abs() {
            size if size < MILLISECONDS_FROM => number * 1e6,
            size if size < MICROSECONDS_FROM => number * 1e3,
            size if size < NANOSECONDS_FROM => number,
            _ => number / 1e3,
        };
        return number.is_finite().then_some(Timestamp(micros.round() as i64));
    }
    let spaced = text.replacen(' ', "T", 1);
    let forms = [spaced.clone(), format!("{spaced}Z"), format!("{spaced}T00:00:00Z")];
    forms.iter().find_map(|form| Timestamp::parse(form.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_many_forms() {
        let expected = Timestamp(1_592_337_718_000_000);
        for text in [
            "1592337718",
            "1592337718.0",
            "1592337718000",
            "1592337718000000",
            "1592337718000000000",
            "2020-06-16T20:01:58Z",
            "2020-06-16T20:01:58.000Z",
            "2020-06-16 20:01:58",
        ] {
            assert_eq!(time(text), Some(expected), "{text}");
        }
        assert_eq!(time("2020-06-16"), Some(Timestamp(1_592_265_600_000_000)));
        assert_eq!((time("soon"), time("nan"), time("")), (None, None, None));
    }
}
