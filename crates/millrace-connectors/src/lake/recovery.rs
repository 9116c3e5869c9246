//! Where a partition goes on after a start, and which files an interrupted batch left: facts in, a decision out.
//!
//! ```text
//!  files        [0 … 999] [1000 … 1999] [2000 … 2400]            committed offset 2000
//!  decision     keep       keep          delete, read 2000 … again
//! ```
//!
//! A batch commits its offsets after its files. So every file from the committed offset on is of a batch that never
//! finished, and its records are still in the topic. Where that cannot be true, nothing is deleted and a person decides.

use super::layout::FileName;
use crate::kafka::Extent;

/// What is found at start, of one partition.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    /// Offset the group has committed.
    pub(super) committed: Option<i64>,
    /// What the partition holds.
    pub(super) extent: Extent,
    /// Its files.
    pub(super) files: &'a [FileName],
    /// Records of one batch, at most.
    pub(super) batch_rows_max: usize,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Recovery {
    /// Commit this offset before anything is written, then read from it.
    Begin {
        /// First offset of the partition.
        at: i64,
    },
    /// Delete the left-over files, then read from the committed offset.
    Resume {
        /// Where to read on.
        at: i64,
        /// Files to delete.
        left_over: Vec<FileName>,
        /// Records that retention deleted before they were archived.
        missed: i64,
    },
    /// A person has to decide: why, and what to do.
    Refuse(String),
}

/// How many times the rows of a batch its offsets may span: aborted records and markers take offsets too.
const SPAN_FACTOR: i64 = 10;

/// Decides.
pub(super) fn decide(facts: &Facts<'_>) -> Recovery {
    let Extent { low, end } = facts.extent;
    let newest = facts.files.iter().map(|file| file.last).max();
    let Some(committed) = facts.committed else {
        return match newest {
            None => Recovery::Begin { at: low },
            Some(newest) => Recovery::Refuse(format!(
                "the lake holds records up to offset {newest}, but its consumer group has no committed offset (it expired, \
                 or this is another cluster); commit offset {} to the group, or move the topic's folder away",
                newest + 1
            )),
        };
    };
    if committed > end {
        return Recovery::Refuse(format!(
            "it ends at offset {end}, but was archived up to {committed}: the topic is not the one that was archived; \
             move its folder away and delete the group's offsets, or restore the topic"
        ));
    }
    let left_over: Vec<FileName> = facts.files.iter().filter(|file| file.first >= committed).cloned().collect();
    let Some(newest) = left_over.iter().map(|file| file.last).max() else {
        let at = committed.max(low);
        return Recovery::Resume { at, left_over, missed: at - committed };
    };
    if low > committed {
        return Recovery::Refuse(format!(
            "an interrupted batch left {} files from offset {committed} on, which cannot be read again: the topic begins \
             at {low} by now; commit offset {} to the group to keep them, or move them away",
            left_over.len(),
            newest + 1
        ));
    }
    let span_max = i64::try_from(facts.batch_rows_max).unwrap_or(i64::MAX).saturating_mul(SPAN_FACTOR);
    if newest - committed > span_max {
        return Recovery::Refuse(format!(
            "{} files hold offsets {committed} to {newest}, more than one interrupted batch can: was the group's offset \
             moved back? Commit offset {} again, or move these files away to archive them anew",
            left_over.len(),
            newest + 1
        ));
    }
    Recovery::Resume { at: committed, left_over, missed: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(first: i64, last: i64) -> FileName {
        FileName { partition: 0, first, last }
    }

    #[test]
    fn decisions() {
        let extent = |low, end| Extent { low, end };
        let resume =
            |at, left_over: &[FileName], missed| Recovery::Resume { at, left_over: left_over.to_vec(), missed };
        let files = [file(0, 9), file(3, 8), file(10, 19), file(12, 18)];
        for (case, committed, extent, files, expected) in [
            ("first start", None, extent(5, 20), &files[..0], Recovery::Begin { at: 5 }),
            ("clean stop", Some(20), extent(0, 30), &files[..], resume(20, &[], 0)),
            ("crash before the commit", Some(10), extent(0, 30), &files[..], resume(10, &files[2..], 0)),
            ("crash in the very first batch", Some(0), extent(0, 30), &files[..2], resume(0, &files[..2], 0)),
            ("away longer than retention", Some(20), extent(25, 30), &files[..], resume(25, &[], 5)),
            ("nothing new", Some(20), extent(0, 20), &files[..], resume(20, &[], 0)),
        ] {
            assert_eq!(decide(&Facts { committed, extent, files, batch_rows_max: 10 }), expected, "{case}");
        }
        for (case, committed, extent, text) in [
            ("offsets expired", None, extent(0, 30), "up to offset 19, but its consumer group has no"),
            ("another topic", Some(40), extent(0, 30), "ends at offset 30, but was archived up to 40"),
            ("cannot be read again", Some(10), extent(15, 30), "the topic begins at 15 by now; commit offset 20"),
        ] {
            match decide(&Facts { committed, extent, files: &files, batch_rows_max: 10 }) {
                Recovery::Refuse(why) => assert!(why.contains(text), "{case}: {why}"),
                other => panic!("{case}: {other:?}"),
            }
        }
        let many = [file(0, 999)];
        let moved_back = Facts { committed: Some(0), extent: extent(0, 2000), files: &many, batch_rows_max: 10 };
        assert!(matches!(decide(&moved_back), Recovery::Refuse(why) if why.contains("moved back")));
    }
}
