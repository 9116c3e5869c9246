//! Where a partition goes on after a start or a takeover: facts in, a decision out.
//!
//! ```text
//!  claims       … [1000 … 2000)  [2000 … 2750)              committed offset 2000
//!  files        [1000 … 1999] [2000 … 2400]                 some of the last claim's, perhaps
//!  decision     keep          write the files of [2000 … 2750) again, commit 2750, read on from there
//! ```
//!
//! A batch is claimed, then written, then committed. So only the last claim can be unfinished, and its records are still in
//! the topic: written again, they give the same files. A lake from before there were claims has none: there, files from the
//! committed offset on are of a batch that never finished, and are deleted. Where neither can be true, nothing is touched and
//! a person decides.

use super::layout::FileName;
use crate::kafka::Extent;

/// What is found, of one partition.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    /// Offset the group has committed.
    pub(super) committed: Option<i64>,
    /// What the partition holds.
    pub(super) extent: Extent,
    /// Its files, listed before the claim was read.
    pub(super) files: &'a [FileName],
    /// First and next offset of the last claim.
    pub(super) claim: Option<(i64, i64)>,
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
    /// Write the unfinished batch again, delete the left-over files, then read on.
    Resume {
        /// Where to read on.
        at: i64,
        /// First and next offset of the batch to write again.
        again: Option<(i64, i64)>,
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
    let claimed = facts.claim.map(|(_, next)| next);
    let newest = facts.files.iter().map(|file| file.last).chain(claimed.map(|next| next - 1)).max();
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
    let done = committed.max(claimed.unwrap_or(committed));
    if done > end {
        return Recovery::Refuse(format!(
            "it ends at offset {end}, but was archived up to {done}: the topic is not the one that was archived; \
             move its folder away (also below _claims) and delete the group's offsets, or restore the topic"
        ));
    }
    let again = facts.claim.filter(|(_, next)| *next > committed);
    if let Some((from, next)) = again.filter(|(from, _)| low > *from)
        && facts.files.iter().any(|file| file.first >= from && file.first < next)
    {
        return cannot_be_read_again(from, low, next);
    }
    let left_over: Vec<FileName> = facts.files.iter().filter(|file| file.first >= done).cloned().collect();
    if let Some(newest) = left_over.iter().map(|file| file.last).max() {
        if low > done {
            return cannot_be_read_again(done, low, newest + 1);
        }
        let span_max = i64::try_from(facts.batch_rows_max).unwrap_or(i64::MAX).saturating_mul(SPAN_FACTOR);
        if newest - done > span_max {
            return Recovery::Refuse(format!(
                "{} files hold offsets {done} to {newest}, more than one interrupted batch can: was the group's offset \
                 moved back? Commit offset {} again, or move these files away to archive them anew",
                left_over.len(),
                newest + 1
            ));
        }
    }
    let again = again.map(|(from, next)| (from.max(low), next)).filter(|(from, next)| from < next);
    // What is missed lies before the batch that is written again, when there is one.
    let first = facts.claim.filter(|(_, next)| *next > committed).map_or(done, |(from, _)| from);
    Recovery::Resume { at: done.max(low), again, left_over, missed: (low - first).max(0) }
}

fn cannot_be_read_again(from: i64, low: i64, next: i64) -> Recovery {
    Recovery::Refuse(format!(
        "an interrupted batch left files from offset {from} on, which cannot be read again: the topic begins at {low} by \
         now; commit offset {next} to the group to keep them, or move them away"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(first: i64, last: i64) -> FileName {
        FileName { merged: false, partition: 0, first, last }
    }

    #[test]
    fn decisions() {
        let extent = |low, end| Extent { low, end };
        let resume = |at, again, left_over: &[FileName], missed| {
            let left_over = left_over.to_vec();
            Recovery::Resume { at, again, left_over, missed }
        };
        let files = [file(0, 9), file(3, 8), file(10, 19), file(12, 18)];
        for (case, committed, claim, extent, files, expected) in [
            ("first start", None, None, extent(5, 20), &files[..0], Recovery::Begin { at: 5 }),
            ("clean stop", Some(20), Some((10, 20)), extent(0, 30), &files[..], resume(20, None, &[], 0)),
            ("older lake, clean stop", Some(20), None, extent(0, 30), &files[..], resume(20, None, &[], 0)),
            ("older lake, crash", Some(10), None, extent(0, 30), &files[..], resume(10, None, &files[2..], 0)),
            ("older lake, first batch", Some(0), None, extent(0, 30), &files[..2], resume(0, None, &files[..2], 0)),
            (
                "crash before the commit",
                Some(10),
                Some((10, 20)),
                extent(0, 30),
                &files[..],
                resume(20, Some((10, 20)), &[], 0),
            ),
            (
                "crash before the files",
                Some(10),
                Some((10, 20)),
                extent(0, 30),
                &files[..2],
                resume(20, Some((10, 20)), &[], 0),
            ),
            (
                "a slow owner committed an older offset",
                Some(3),
                Some((10, 20)),
                extent(0, 30),
                &files[..],
                resume(20, Some((10, 20)), &[], 0),
            ),
            (
                "a file beyond the claims",
                Some(10),
                Some((0, 10)),
                extent(0, 30),
                &files[..],
                resume(10, None, &files[2..], 0),
            ),
            (
                "away longer than retention",
                Some(20),
                Some((10, 20)),
                extent(25, 30),
                &files[..],
                resume(25, None, &[], 5),
            ),
            (
                "half of a batch that was never written is gone",
                Some(10),
                Some((10, 20)),
                extent(15, 30),
                &files[..2],
                resume(20, Some((15, 20)), &[], 5),
            ),
            (
                "all of a batch that was never written is gone",
                Some(10),
                Some((10, 20)),
                extent(25, 30),
                &files[..2],
                resume(25, None, &[], 15),
            ),
            ("nothing new", Some(20), Some((10, 20)), extent(0, 20), &files[..], resume(20, None, &[], 0)),
            ("a person skipped some", Some(25), Some((10, 20)), extent(0, 30), &files[..], resume(25, None, &[], 0)),
        ] {
            assert_eq!(decide(&Facts { committed, extent, files, claim, batch_rows_max: 10 }), expected, "{case}");
        }
        for (case, committed, claim, extent, text) in [
            ("offsets expired", None, None, extent(0, 30), "up to offset 19, but its consumer group has no"),
            ("offsets expired", None, Some((20, 25)), extent(0, 30), "commit offset 25 to the group"),
            ("another topic", Some(40), None, extent(0, 30), "ends at offset 30, but was archived up to 40"),
            ("another topic", Some(20), Some((20, 40)), extent(0, 30), "ends at offset 30, but was archived up to 40"),
            ("older lake, gone", Some(10), None, extent(15, 30), "the topic begins at 15 by now; commit offset 20"),
            ("gone", Some(10), Some((10, 20)), extent(15, 30), "the topic begins at 15 by now; commit offset 20"),
        ] {
            match decide(&Facts { committed, extent, files: &files, claim, batch_rows_max: 10 }) {
                Recovery::Refuse(why) => assert!(why.contains(text), "{case}: {why}"),
                other => panic!("{case}: {other:?}"),
            }
        }
        let many = [file(0, 999)];
        let moved_back =
            Facts { committed: Some(0), extent: extent(0, 2000), files: &many, claim: None, batch_rows_max: 10 };
        assert!(matches!(decide(&moved_back), Recovery::Refuse(why) if why.contains("moved back")));
    }
}
