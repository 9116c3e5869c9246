//! The account of records: where each went, by source and partition. It balances, always.

use std::collections::BTreeMap;

use millrace_model::progress::{RecordCounts, SourceProgress};

use super::source::Decoded;

/// Counts by source and partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account(BTreeMap<(String, i32), RecordCounts>);

impl Account {
    /// Enters the records of a batch; late ones are moved when they are known.
    pub(crate) fn add(&mut self, source: &str, decoded: &Decoded) {
        for part in &decoded.partitions {
            let counts = self.0.entry((source.to_owned(), part.partition)).or_default();
            counts.records_in += part.records;
            counts.records_malformed += part.malformed;
            counts.records_duplicate += part.duplicate;
            counts.records_counted += part.records - part.malformed - part.duplicate;
        }
    }

    /// Moves a record from counted to late.
    pub(crate) fn late(&mut self, source: &str, partition: i32) {
        let counts = self.0.entry((source.to_owned(), partition)).or_default();
        counts.records_late += 1;
        counts.records_counted -= 1;
    }

    pub(crate) fn total(&self) -> RecordCounts {
        let mut total = RecordCounts::default();
        self.0.values().for_each(|counts| total.add(counts));
        total
    }

    /// As progress rows tell it; offsets are the caller's to fill in.
    pub(crate) fn sources(&self) -> Vec<SourceProgress> {
        let row = |((topic, partition), counts): (&(String, i32), &RecordCounts)| SourceProgress {
            topic: topic.clone(),
            partition: *partition,
            offset: 0,
            end_offset: None,
            counts: *counts,
        };
        self.0.iter().map(row).collect()
    }

    pub(crate) fn save(&self) -> Vec<(String, i32, RecordCounts)> {
        self.0.iter().map(|((source, partition), counts)| (source.clone(), *partition, *counts)).collect()
    }

    pub(crate) fn load(saved: &[(String, i32, RecordCounts)]) -> Self {
        Account(saved.iter().map(|(source, partition, counts)| ((source.clone(), *partition), *counts)).collect())
    }
}
