//! Where a job goes on after a stop or a crash: facts in, a decision out.
//!
//! ```text
//!  snapshots on disk      S3          S7                      (state after epoch 3, after epoch 7)
//!  epoch log on disk      4 5 6 7 8 9 10 11                   (what each epoch read, and its watermarks)
//!  consumer group         committed up to epoch 10            (in the transaction of epoch 10's rows)
//!                         ───────────────────────▶
//!  decision               load S7, replay 8 9 10 without writing, forget 11 (its transaction was aborted)
//! ```
//!
//! The log is durable before the transaction commits, so every committed epoch is in it. Snapshots may lag: Kafka still
//! has the records of the epochs since. Source: the offset log and commit log of Spark's structured streaming, with the
//! commit log kept in Kafka itself (the metadata string of the committed offsets).

/// What is found at start.
#[derive(Clone, Debug, Default)]
pub struct RecoveryFacts {
    /// Epoch named by the consumer group's committed offsets; `None` when it has none.
    pub committed_epoch: Option<u64>,
    /// Mark of that epoch's log entry, which is committed with it; `None` when it was committed without one.
    pub committed_mark: Option<u32>,
    /// The group has offsets, but not ours (moved by a tool, or another program's).
    pub foreign_offsets: bool,
    /// Epochs of the readable snapshots, any order.
    pub snapshots: Vec<u64>,
    /// First and last epoch of the readable log, when there is one without gaps.
    pub log: Option<(u64, u64)>,
    /// Marks of the entries of that log, in their order.
    pub marks: Vec<u32>,
}

impl RecoveryFacts {
    /// The mark of an epoch's entry, if the log has it.
    fn mark(&self, epoch: u64) -> Option<u32> {
        let at = epoch.checked_sub(self.log?.0)?;
        self.marks.get(usize::try_from(at).ok()?).copied()
    }
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecoveryDecision {
    /// Nothing was ever committed: start with empty state; what lies on disk is from an aborted first epoch.
    StartFresh,
    /// Load this snapshot (`None` = empty state), replay the logged epochs after it up to `replay_to`, go on.
    Resume {
        /// Snapshot to load.
        snapshot: Option<u64>,
        /// Last committed epoch.
        replay_to: u64,
    },
    /// It cannot go on without a person: why, and what to do.
    Refuse(String),
}

/// Decides. Never resumes from state that is ahead of the committed epoch or that has a gap behind it, nor from a copy of the state
/// whose owner was replaced: its log may have an entry for the committed epoch, but one that was never committed.
pub fn decide(facts: &RecoveryFacts) -> RecoveryDecision {
    if facts.foreign_offsets {
        return RecoveryDecision::Refuse(
            "the committed offsets of its consumer group were moved by someone else; restore them, or delete the \
             consumer group and the job's state directory to recompute from the earliest record"
                .into(),
        );
    }
    let Some(committed) = facts.committed_epoch else {
        return RecoveryDecision::StartFresh;
    };
    if let (Some(mark), Some(found)) = (facts.committed_mark, facts.mark(committed))
        && mark != found
    {
        return RecoveryDecision::Refuse(format!(
            "epoch {committed} was committed by a process with another copy of the state directory: the log of this one has \
             another epoch {committed}; start the job where it ran last or restore that directory, or delete the job's consumer \
             group to recompute from the earliest record"
        ));
    }
    let reaches = |snapshot: u64| {
        snapshot == committed || facts.log.is_some_and(|(first, last)| first <= snapshot + 1 && last >= committed)
    };
    // Epochs count from 1: a log that starts there needs no snapshot (0 stands for the empty state).
    let best = facts.snapshots.iter().copied().filter(|s| *s <= committed).chain([0]).filter(|s| reaches(*s)).max();
    match best {
        Some(0) => RecoveryDecision::Resume { snapshot: None, replay_to: committed },
        Some(snapshot) => RecoveryDecision::Resume { snapshot: Some(snapshot), replay_to: committed },
        None => RecoveryDecision::Refuse(format!(
            "epoch {committed} is committed, but the state directory holds {}; restore the directory, or delete the \
             job's consumer group to recompute from the earliest record",
            held(facts)
        )),
    }
}

fn held(facts: &RecoveryFacts) -> String {
    let snapshots = match facts.snapshots.iter().max() {
        Some(newest) => format!("snapshots up to epoch {newest}"),
        None => "no snapshot".into(),
    };
    match facts.log {
        Some((first, last)) => format!("{snapshots} and a log of epochs {first} to {last}"),
        None => format!("{snapshots} and no log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(committed: Option<u64>, snapshots: &[u64], log: Option<(u64, u64)>) -> RecoveryFacts {
        RecoveryFacts { committed_epoch: committed, snapshots: snapshots.to_vec(), log, ..RecoveryFacts::default() }
    }

    /// The entries of epochs 8 and 9 are marked 80 and 90.
    fn marked(committed_mark: Option<u32>, facts: RecoveryFacts) -> RecoveryFacts {
        RecoveryFacts { committed_mark, marks: vec![80, 90], ..facts }
    }

    #[test]
    fn decisions() {
        let resume = |snapshot, replay_to| RecoveryDecision::Resume { snapshot, replay_to };
        for (case, facts, expected) in [
            ("first start", facts(None, &[], None), RecoveryDecision::StartFresh),
            ("crash before the first commit", facts(None, &[1], Some((1, 1))), RecoveryDecision::StartFresh),
            ("clean stop", facts(Some(7), &[3, 7], Some((8, 8))), resume(Some(7), 7)),
            ("snapshot behind", facts(Some(10), &[3, 7], Some((4, 11))), resume(Some(7), 10)),
            ("snapshot ahead of an aborted epoch", facts(Some(10), &[7, 11], Some((8, 11))), resume(Some(7), 10)),
            ("newest snapshot torn", facts(Some(10), &[3], Some((4, 10))), resume(Some(3), 10)),
            ("no snapshot yet", facts(Some(2), &[], Some((1, 3))), resume(None, 2)),
            ("committed before there were marks", marked(None, facts(Some(9), &[7], Some((8, 9)))), resume(Some(7), 9)),
            ("committed by this copy", marked(Some(90), facts(Some(9), &[7], Some((8, 9)))), resume(Some(7), 9)),
            ("its entry is dropped", marked(Some(70), facts(Some(7), &[7], Some((8, 9)))), resume(Some(7), 7)),
        ] {
            assert_eq!(decide(&facts), expected, "{case}");
        }
    }

    #[test]
    fn refusals() {
        for (case, facts, text) in [
            ("state lost", facts(Some(10), &[], None), "no snapshot and no log"),
            ("gap", facts(Some(10), &[3], Some((6, 10))), "a log of epochs 6 to 10"),
            ("log behind", facts(Some(10), &[3], Some((4, 9))), "epochs 4 to 9"),
            ("another copy", marked(Some(91), facts(Some(9), &[7], Some((8, 9)))), "with another copy"),
            ("moved", RecoveryFacts { foreign_offsets: true, ..facts(None, &[], None) }, "moved by someone else"),
        ] {
            match decide(&facts) {
                RecoveryDecision::Refuse(why) => assert!(why.contains(text), "{case}: {why}"),
                other => panic!("{case}: {other:?}"),
            }
        }
    }
}
