//! What the lake holds of each partition's past: from which offset, up to which, and what is missing between.
//!
//! ```text
//!  offsets   0 ············ first ═══════════╗ hole ╔══════════════ archived end ──── Kafka ────▶
//!            removed by retention            ╚══════╝  everything before it is in files
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use millrace_model::Timestamp;
use millrace_model::time::HOUR_MICROS;

use super::catalog::{self, Stored};
use super::claims;
use super::layout::Hour;
use super::reader::LakeReader;
use super::settings::LAKE_GROUP;
use crate::kafka::{ClientSettings, Cluster, Place};
use crate::sink::SinkError;

/// Times from (inclusive) and to (exclusive); files are chosen by their hours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LakeSpan {
    /// The beginning; `None`: of all there is.
    pub since: Option<Timestamp>,
    /// The end; `None`: of all there is.
    pub until: Option<Timestamp>,
}

impl LakeSpan {
    /// Whether a time lies in it.
    pub fn contains(self, time: i64) -> bool {
        self.since.is_none_or(|since| time >= since.0) && self.until.is_none_or(|until| time < until.0)
    }

    /// Whether a file of this folder may hold such times.
    fn touches(self, folder: &str) -> bool {
        let Some(hour) = Hour::of_folder(folder) else { return true };
        let start = hour.start().0;
        let after = self.since.is_none_or(|since| start.saturating_add(HOUR_MICROS) > since.0);
        after && self.until.is_none_or(|until| start < until.0)
    }
}

/// The files of one partition, by their first offsets.
#[derive(Clone, Debug, Default)]
pub struct LakePart {
    pub(super) files: Vec<Stored>,
}

impl LakePart {
    /// First offset in it.
    pub fn first(&self) -> Option<i64> {
        self.files.first().map(|file| file.name.first)
    }

    /// Offset after the last one in it.
    pub fn next(&self) -> Option<i64> {
        self.files.iter().map(|file| file.name.last + 1).max()
    }

    /// Records in it at most: what the files' names span.
    pub fn records_most(&self) -> u64 {
        let spanned: i64 = self.files.iter().map(|file| file.name.last - file.name.first + 1).sum();
        let all = self.next().unwrap_or(0) - self.first().unwrap_or(0);
        spanned.min(all).unsigned_abs()
    }

    /// Offsets from `from` to `end` (exclusive) that no file spans, where at least `least` follow each other.
    pub fn holes(&self, from: i64, end: i64, least: i64) -> Vec<(i64, i64)> {
        let mut holes = Vec::new();
        let mut next = from;
        for file in &self.files {
            if file.name.first >= end {
                break;
            }
            if file.name.first - next >= least {
                holes.push((next, file.name.first));
            }
            next = next.max(file.name.last + 1);
        }
        if end - next >= least {
            holes.push((next, end));
        }
        holes
    }
}

impl LakeReader {
    /// The files that count, partition by partition, of the hours that touch the span.
    ///
    /// # Errors
    /// The lake cannot be read.
    pub async fn parts(&self, topic: &str, span: LakeSpan) -> Result<BTreeMap<i32, LakePart>, SinkError> {
        let mut parts: BTreeMap<i32, LakePart> = BTreeMap::new();
        for file in catalog::current(&self.storage, topic).await? {
            if span.touches(file.folder()) {
                parts.entry(file.name.partition).or_default().files.push(file);
            }
        }
        for part in parts.values_mut() {
            part.files.sort_by_key(|file| (file.name.first, file.name.last));
        }
        Ok(parts)
    }

    /// Offset before which all records of a partition are in files; none for partitions of which nothing is known. Ask before
    /// listing files: what is archived by now is listed then.
    ///
    /// # Errors
    /// Kafka, or claims that cannot be read.
    pub async fn archived(&self, client: &ClientSettings, places: &[Place]) -> Result<HashMap<Place, i64>, SinkError> {
        let mut ends = Cluster::new(client, LAKE_GROUP)?.committed(places).await?;
        let topics: BTreeSet<Arc<str>> = places.iter().map(|place| Arc::clone(&place.topic)).collect();
        for topic in topics {
            for (partition, claim) in claims::last(&self.storage, &topic).await? {
                let place = Place { topic: Arc::clone(&topic), partition };
                if places.contains(&place) {
                    // The batch of the last claim may be half written; those before it are not.
                    let end = ends.entry(place).or_insert(claim.from);
                    *end = (*end).max(claim.from);
                }
            }
        }
        Ok(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::layout::FileName;

    #[test]
    fn holes_are_what_no_file_spans() {
        let stored = |(first, last)| {
            let name = FileName { merged: false, partition: 0, first, last };
            Stored { path: name.path("t", Hour::of(Timestamp(0))), name, bytes: 1 }
        };
        let part = LakePart { files: [(10, 19), (12, 40), (41, 41), (50, 60)].map(stored).to_vec() };
        assert_eq!((part.first(), part.next(), part.records_most()), (Some(10), Some(61), 51));
        for (from, end, least, expected) in [
            (10, 61, 1, vec![(42, 50)]),
            (10, 61, 9, vec![]),
            (0, 100, 1, vec![(0, 10), (42, 50), (61, 100)]),
            (45, 48, 1, vec![(45, 48)]),
            (20, 42, 1, vec![]),
        ] {
            assert_eq!(part.holes(from, end, least), expected, "{from} to {end}, {least}");
        }
    }

    #[test]
    fn hours_of_a_span() {
        let time = |text: &str| Timestamp::parse(text.as_bytes());
        let (since, until) = (time("2026-01-31T09:30:00Z"), time("2026-01-31T11:00:00Z"));
        for (hour, span, expected) in [
            ("08", LakeSpan { since, until }, false),
            ("09", LakeSpan { since, until }, true),
            ("10", LakeSpan { since, until }, true),
            ("11", LakeSpan { since, until }, false),
            ("11", LakeSpan { since, until: None }, true),
            ("08", LakeSpan { since: None, until }, true),
        ] {
            assert_eq!(span.touches(&format!("t/date=2026-01-31/hour={hour}")), expected, "{hour} {span:?}");
        }
    }
}
