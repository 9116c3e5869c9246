//! Snapshot files: `MRSNAP1`, a JSON head, Arrow IPC streams, and a CRC-32C over all of it.
//!
//! Written under another name and renamed when whole and durable, so a file of the right name is complete or damaged, never
//! half written; the checksum tells damage.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};

use super::{io_error, sync_dir};
use crate::error::EngineError;
use crate::job::{SavedHead, SavedJob};
use crate::operator::saved::SavedBatch;

const MAGIC: &[u8; 8] = b"MRSNAP1\n";
/// What it begins with in every version; the version follows.
const MAGIC_OF_ALL: &[u8] = b"MRSNAP";
const VERSION: char = '1';

/// So much is written at a time and made durable: a gigabyte at once would hold up whoever else writes to the disk.
const SYNCED_BYTES: usize = 4 << 20;

#[derive(Serialize, Deserialize)]
struct Head {
    job: String,
    state: SavedHead,
    /// Name and length in bytes of each batch.
    batches: Vec<(String, usize)>,
}

fn file(folder: &Path, epoch: u64) -> PathBuf {
    folder.join(format!("snapshot-{epoch:016}.mrs"))
}

/// Epochs of the snapshots in a folder, readable or not, ascending. Half-written ones are removed.
pub(super) fn list(folder: &Path) -> Result<Vec<u64>, EngineError> {
    let mut epochs = Vec::new();
    let entries = fs::read_dir(folder).map_err(io_error(format!("cannot read {}", folder.display())))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".tmp") {
            super::log::remove(&entry.path())?;
        }
        let epoch: Option<u64> =
            name.strip_prefix("snapshot-").and_then(|n| n.strip_suffix(".mrs")).and_then(|n| n.parse().ok());
        epochs.extend(epoch);
    }
    epochs.sort_unstable();
    Ok(epochs)
}

pub(super) fn remove(folder: &Path, epoch: u64) -> Result<(), EngineError> {
    super::log::remove(&file(folder, epoch))
}

/// Makes and writes a snapshot; durable when this returns. Every batch is let go as soon as it is encoded: the state is in
/// memory twice, not three times.
pub(super) fn write(folder: &Path, job: &str, life: u64, saved: SavedJob) -> Result<(), EngineError> {
    let unencoded = |detail: String| EngineError::State {
        job: job.to_owned(),
        detail: format!("cannot encode a snapshot: {detail}"),
    };
    let SavedJob { head: state, batches } = saved;
    let (mut named, mut streams) = (Vec::new(), Vec::new());
    for (name, batch) in batches {
        let batch = batch.make().map_err(|error| unencoded(error.strip_backtrace()))?;
        let stream = encode(&batch).map_err(|error| unencoded(error.to_string()))?;
        named.push((name, stream.len()));
        streams.push(stream);
    }
    let head = HeadRef { job, state: &state, batches: named };
    let head = serde_json::to_vec(&head).map_err(|error| unencoded(error.to_string()))?;
    let length = (head.len() as u64).to_le_bytes();
    let path = file(folder, state.epoch);
    // An earlier life may be writing it, too.
    let unfinished = path.with_extension(format!("{life}.tmp"));
    let store = || -> io::Result<()> {
        let mut out = File::create(&unfinished)?;
        let mut sum = 0;
        for part in [MAGIC.as_slice(), &length, &head].into_iter().chain(streams.iter().map(Vec::as_slice)) {
            sum = crc32c::crc32c_append(sum, part);
            for piece in part.chunks(SYNCED_BYTES) {
                out.write_all(piece)?;
                if piece.len() == SYNCED_BYTES {
                    out.sync_data()?;
                }
            }
        }
        out.write_all(&sum.to_le_bytes())?;
        out.sync_all()?;
        fs::rename(&unfinished, &path)?;
        sync_dir(folder)
    };
    store().map_err(io_error(format!("cannot write {}", path.display())))
}

fn encode(batch: &RecordBatch) -> Result<Vec<u8>, arrow_schema::ArrowError> {
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, batch.schema_ref())?;
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(stream)
}

#[derive(Serialize)]
struct HeadRef<'a> {
    job: &'a str,
    state: &'a SavedHead,
    batches: Vec<(String, usize)>,
}

/// Is the snapshot whole?
pub(super) fn check(folder: &Path, epoch: u64) -> Result<(), EngineError> {
    body(&file(folder, epoch)).map(drop)
}

/// The bytes up to the checksum, which is right.
fn body(path: &Path) -> Result<Vec<u8>, EngineError> {
    let damaged = |detail: &str| EngineError::State { job: path.display().to_string(), detail: detail.to_owned() };
    let mut bytes = fs::read(path).map_err(io_error(format!("cannot read {}", path.display())))?;
    if !bytes.starts_with(MAGIC) {
        let version = bytes.strip_prefix(MAGIC_OF_ALL).and_then(|rest| rest.first()).copied().map_or(' ', char::from);
        return Err(damaged(&match version.is_ascii_digit() && version != VERSION {
            true => format!(
                "the snapshot is of version {version} of the format, this Millrace reads version {VERSION}; run the Millrace \
                 that wrote it, or delete the job's consumer group and its state directory to recompute from the \
                 earliest record"
            ),
            false => "the file is no snapshot: its first bytes are damaged".into(),
        }));
    }
    if bytes.len() < 20 {
        return Err(damaged("the snapshot is damaged: it is cut off"));
    }
    let sum = bytes.split_off(bytes.len() - 4);
    if crc32c::crc32c(&bytes).to_le_bytes() != sum[..] {
        return Err(damaged("the snapshot is damaged: its checksum does not match"));
    }
    Ok(bytes)
}

pub(super) fn read(folder: &Path, epoch: u64) -> Result<SavedJob, EngineError> {
    let path = file(folder, epoch);
    let bytes = body(&path)?;
    let damaged = |detail: String| EngineError::State { job: path.display().to_string(), detail };
    let (length, rest) = bytes[MAGIC.len()..].split_at(8);
    let length = u64::from_le_bytes(length.try_into().unwrap_or_default()) as usize;
    if length > rest.len() {
        return Err(damaged("the head is longer than the file".into()));
    }
    let (head, mut streams) = rest.split_at(length);
    let head: Head =
        serde_json::from_slice(head).map_err(|error| damaged(format!("its head cannot be read: {error}")))?;
    let mut batches = Vec::new();
    for (name, length) in head.batches {
        if length > streams.len() {
            return Err(damaged(format!("the state of {name} is cut off")));
        }
        let (stream, rest) = streams.split_at(length);
        streams = rest;
        let read = || -> Result<Option<RecordBatch>, arrow_schema::ArrowError> {
            StreamReader::try_new(stream, None)?.next().transpose()
        };
        let batch = read().map_err(|error| damaged(format!("the state of {name} cannot be read: {error}")))?;
        batches.extend(batch.map(|batch| (name, SavedBatch::of(&batch))));
    }
    Ok(SavedJob { head: head.state, batches })
}
