//! Dead letters of an epoch: records that came too late, and records that break their contract.

use millrace_engine::job::{EpochOutput, LateRecord, MalformedRecord};
use millrace_model::Timestamp;
use millrace_model::dead_letter::DeadLetter;

use super::output::dead_letter;
use super::taken::Taken;

/// The letters of records that came too late for a table.
pub(super) fn late(taken: &Taken<'_>, output: &EpochOutput, job: &str, now: Timestamp) -> Vec<DeadLetter> {
    let letter = |late: &LateRecord| {
        let received = taken.received(late.batch, late.record)?;
        Some(as_late(dead_letter(received, job, Some(&late.table), now), late))
    };
    output.late.iter().filter_map(letter).collect()
}

/// The letters of malformed records.
pub(super) fn malformed(taken: &Taken<'_>, output: &EpochOutput, job: &str, now: Timestamp) -> Vec<DeadLetter> {
    let letter = |found: &MalformedRecord| {
        let mut letter = dead_letter(taken.received(found.batch, found.record)?, job, None, now);
        letter.kind = "malformed".into();
        letter.code = found.malformed.code.name().into();
        letter.reason = found.malformed.in_words();
        letter.field = found.malformed.field.clone();
        letter.event_time = found.malformed.event_time;
        Some(letter)
    };
    output.malformed.iter().filter_map(letter).collect()
}

/// A dead letter of a late record.
pub(super) fn as_late(mut letter: DeadLetter, late: &LateRecord) -> DeadLetter {
    letter.kind = "late".into();
    letter.code = "late".into();
    letter.reason = format!("every window it belongs to in {} had closed by {}", late.table, late.watermark);
    letter.watermark = Some(late.watermark);
    letter
}
