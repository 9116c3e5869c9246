//! What the lake holds, from the footers of its files: for the audit, which holds it against the topics.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::layout::FileName;

/// What the lake holds of one topic.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct LakeTopic {
    /// Data files.
    pub files: u64,
    /// Records in them.
    pub rows: u64,
    /// Their size on disk, bytes.
    pub bytes: u64,
    /// Next offset of each partition, by the names of its files; the group's committed offset is the truth.
    pub next_offsets: BTreeMap<i32, i64>,
}

/// Reads the footers of all data files below the folder, by topic. It blocks: call it from a thread that may.
///
/// # Errors
/// A file that cannot be read, named in the text.
pub fn inspect(folder: &Path) -> io::Result<BTreeMap<String, LakeTopic>> {
    let mut topics: BTreeMap<String, LakeTopic> = BTreeMap::new();
    for path in data_files(folder)? {
        let (Some(topic), Some(name)) = (topic(folder, &path), file_name(&path)) else {
            continue;
        };
        let named = |e: &dyn std::fmt::Display| io::Error::other(format!("{}: {e}", path.display()));
        let file = File::open(&path).map_err(|e| named(&e))?;
        let bytes = file.metadata().map_err(|e| named(&e))?.len();
        let reader = SerializedFileReader::new(file).map_err(|e| named(&e))?;
        let rows = reader.metadata().file_metadata().num_rows();
        let entry = topics.entry(topic).or_default();
        entry.files += 1;
        entry.rows += u64::try_from(rows).unwrap_or(0);
        entry.bytes += bytes;
        let next = entry.next_offsets.entry(name.partition).or_default();
        *next = (*next).max(name.last + 1);
    }
    Ok(topics)
}

fn data_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if file_name(&path).is_some() {
                files.push(path);
            }
        }
    }
    Ok(files)
}

fn file_name(path: &Path) -> Option<FileName> {
    FileName::parse(path.file_name()?.to_str()?)
}

fn topic(folder: &Path, path: &Path) -> Option<String> {
    let first = path.strip_prefix(folder).ok()?.components().next()?;
    Some(first.as_os_str().to_str()?.to_owned())
}
