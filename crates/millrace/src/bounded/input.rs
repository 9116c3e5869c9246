//! Lines of a file in large chunks, without a copy a line.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use millrace_engine::job::SourceRecord;

/// Reads a file of one record a line.
pub(crate) struct Lines {
    file: File,
    bytes: u64,
    /// The beginning of a line whose end has not been read yet.
    rest: Vec<u8>,
    line: i64,
    over: bool,
}

/// Whole lines.
pub(crate) struct Chunk {
    text: Vec<u8>,
    /// Where each line ends: the place of its newline, or the end of the text.
    ends: Vec<usize>,
    first_line: i64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Lines { file, bytes, rest: Vec::new(), line: 0, over: false })
    }

    /// Length of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// About `size` bytes of whole lines (a longer line comes whole); `None` at the end.
    pub(crate) fn next_chunk(&mut self, size: usize) -> io::Result<Option<Chunk>> {
        let mut text = std::mem::take(&mut self.rest);
        while !self.over {
            let before = text.len();
            text.reserve(size);
            let read = self.file.by_ref().take(size as u64).read_to_end(&mut text)?;
            self.over = read == 0;
            if let Some(end) = memchr::memrchr(b'\n', &text[before..]) {
                self.rest = text.split_off(before + end + 1);
                break;
            }
        }
        if text.is_empty() {
            return Ok(None);
        }
        let mut ends: Vec<usize> = memchr::memchr_iter(b'\n', &text).collect();
        if !text.ends_with(b"\n") {
            ends.push(text.len());
        }
        let first_line = self.line;
        self.line += ends.len() as i64;
        Ok(Some(Chunk { text, ends, first_line }))
    }
}

impl Chunk {
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The lines as records: partition 0, the offset is the number of the line from 0.
    pub(crate) fn records(&self) -> Vec<SourceRecord<'_>> {
        let mut start = 0;
        let record = |(at, end): (usize, &usize)| {
            let value = Some(&self.text[start..*end]);
            start = end + 1;
            SourceRecord { partition: 0, offset: self.first_line + at as i64, time: None, value }
        };
        self.ends.iter().enumerate().map(record).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_comes_once_whatever_the_chunk() {
        let folder = std::env::temp_dir().join(format!("millrace-lines-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("lines");
        for (text, expected) in
            [("", vec![]), ("a", vec!["a"]), ("a\n", vec!["a"]), ("a\n\nbcdefgh\nij", vec!["a", "", "bcdefgh", "ij"])]
        {
            std::fs::write(&path, text).expect("a file");
            for size in 1..10 {
                let mut lines = Lines::open(&path).expect("the file");
                let (mut found, mut offsets) = (Vec::new(), Vec::new());
                while let Some(chunk) = lines.next_chunk(size).expect("readable") {
                    for record in chunk.records() {
                        found.push(String::from_utf8_lossy(record.value.expect("a line")).into_owned());
                        offsets.push(record.offset);
                    }
                }
                assert_eq!(found, expected, "chunks of {size}");
                assert_eq!(offsets, (0..expected.len() as i64).collect::<Vec<_>>());
            }
        }
        std::fs::remove_dir_all(&folder).expect("removable");
    }
}
