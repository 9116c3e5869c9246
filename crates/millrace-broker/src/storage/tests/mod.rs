//! Partitions on a real directory: what is appended is read, found by time, recovered, retained and compacted.

mod compacting;
mod reading;
mod recovering;

use crate::storage::batch::{BatchHeader, ClientBatch, whole_batches};
use crate::storage::cache::SegmentCache;
use crate::storage::log::{Appended, Log};
use crate::storage::partition::{Partition, TopicPartition};
use crate::storage::read::Isolation;
use crate::storage::record::Records;
use crate::storage::testing::BatchBuilder;
use crate::topics::config::{LogSettings, Overrides};
use std::path::Path;
use std::sync::Arc;

const LIMIT: usize = 1 << 20;

/// A partition in a directory, and the time it goes by.
struct Place {
    dir: tempfile::TempDir,
    settings: Arc<LogSettings>,
    partition: Partition,
    now_ms: i64,
}

fn open(dir: &Path, settings: &Arc<LogSettings>) -> Partition {
    let log = Log::open(dir.to_owned(), settings.clone(), Arc::new(SegmentCache::new(2)), 0).unwrap();
    Partition::new(TopicPartition { topic: "t".into(), partition: 0 }, log)
}

impl Place {
    /// A new partition with some settings, at time 10,000.
    fn new(configs: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let overrides: Overrides = configs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let settings = Arc::new(LogSettings::of(&overrides));
        let partition = open(dir.path(), &settings);
        Self { dir, settings, partition, now_ms: 10_000 }
    }

    /// Opens the same files again, as after a crash: nothing was flushed but what was.
    fn reopen(self) -> Self {
        let Self { dir, settings, partition, now_ms } = self;
        drop(partition);
        let partition = open(dir.path(), &settings);
        Self { dir, settings, partition, now_ms }
    }

    fn append(&self, batch: BatchBuilder) -> Appended {
        let batch = ClientBatch::parse(batch.build().into()).unwrap();
        self.partition.append(&batch, LIMIT, self.now_ms).unwrap()
    }

    /// Everything from `offset` on, as (offset, key, value); a missing key or value is `-`.
    fn read_from(&self, offset: i64, isolation: Isolation) -> Vec<(i64, String, String)> {
        let mut next = offset;
        let mut all = Vec::new();
        loop {
            let outcome = self.partition.read(next, isolation, LIMIT, true).unwrap();
            assert!(!outcome.out_of_range, "{next} is out of range");
            let mut end = next;
            for (at, header) in whole_batches(&outcome.records) {
                end = header.next_offset();
                let batch = &outcome.records[at..at + header.total_bytes()];
                header.check_crc(batch).unwrap();
                let aborted = outcome.aborted.iter().any(|a| {
                    a.producer_id == header.producer_id
                        && (a.first_offset..=a.last_offset).contains(&header.base_offset)
                });
                if header.is_control() || aborted {
                    continue;
                }
                all.extend(records(&header, batch).into_iter().filter(|(offset, _, _)| *offset >= next));
            }
            if end == next {
                return all;
            }
            next = end;
        }
    }

    fn read(&self) -> Vec<(i64, String, String)> {
        self.read_from(self.partition.offsets().log_start, Isolation::Committed)
    }

    /// Offsets of all records that are left.
    fn offsets(&self) -> Vec<i64> {
        self.read().into_iter().map(|(offset, _, _)| offset).collect()
    }

    /// Segment files in the directory.
    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".log")).collect();
        names.sort();
        names
    }
}

fn records(header: &BatchHeader, batch: &[u8]) -> Vec<(i64, String, String)> {
    let text = |bytes: Option<&[u8]>| bytes.map_or("-".into(), |bytes| String::from_utf8_lossy(bytes).into_owned());
    let records = Records::unpack(header, batch, LIMIT).unwrap();
    records.iter().map(Result::unwrap).map(|r| (r.offset, text(r.key), text(r.value))).collect()
}
