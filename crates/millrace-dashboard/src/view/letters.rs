//! Dead letters: which there are and why, and one of them with its bytes, its place and what was done about it. Masked.

use std::collections::BTreeMap;

use millrace_connectors::dead_letters::{Letter, LetterFilter};
use millrace_model::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::alerts::Since;
use crate::editor::{concealed, editable};
use crate::mask;
use crate::raw::{Raw, text};
use crate::row::{Read, Row};

/// How far a letter has come, as it is worked through.
pub(crate) const STATES: [&str; 3] = ["open", "repaired", "sent"];

/// What the request asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LettersParams {
    /// Only of this topic.
    pub(crate) topic: Option<String>,
    /// Only of this kind.
    pub(crate) kind: Option<String>,
    /// Only with this cause.
    pub(crate) code: Option<String>,
    /// A part of the reason.
    pub(crate) reason: Option<String>,
    /// Only sent again (true) or not yet (false).
    pub(crate) sent: Option<bool>,
    /// How far back, on the page.
    pub(crate) within: Since,
    /// Set aside at this time or later, in the API.
    pub(crate) since: Option<Timestamp>,
    /// Set aside before this time.
    pub(crate) until: Option<Timestamp>,
    /// Longest list.
    pub(crate) limit: usize,
}

impl LettersParams {
    /// As the store is asked for letters.
    pub(crate) fn filter(&self, now: Timestamp) -> LetterFilter {
        LetterFilter {
            ids: Vec::new(),
            topic: self.topic.clone(),
            kind: self.kind.clone(),
            code: self.code.clone(),
            reason: self.reason.clone(),
            since: self.since.or_else(|| self.within.start(now)),
            until: self.until,
            sent: self.sent,
        }
    }

    /// As the store is asked for the numbers beside the filters: only within time and search.
    pub(crate) fn wide_filter(&self, now: Timestamp) -> LetterFilter {
        LetterFilter { topic: None, kind: None, code: None, sent: None, ..self.filter(now) }
    }
}

/// The list.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Listing {
    /// Letters, newest first.
    pub(crate) letters: Vec<LetterLine>,
    /// Letters that match, beyond the limit too.
    pub(crate) matching: u64,
    /// Letters by state, before filtering by it.
    pub(crate) by_state: Vec<(&'static str, i64)>,
    /// Letters by source topic, before filtering by it.
    pub(crate) by_topic: Vec<(String, i64)>,
    /// Letters by kind, before filtering by it.
    pub(crate) by_kind: Vec<(String, i64)>,
    /// Letters by cause, most first, before filtering by it.
    pub(crate) by_code: Vec<(String, i64)>,
}

/// A letter on a line.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct LetterLine {
    /// `topic/partition/offset`, and `/table` when it was late for one.
    pub(crate) id: String,
    /// malformed, late, sink.
    pub(crate) kind: String,
    /// Machine-readable cause.
    pub(crate) code: String,
    /// In words.
    pub(crate) reason: String,
    /// Source topic.
    pub(crate) topic: String,
    /// The table it was too late for.
    pub(crate) table: String,
    /// When it was set aside.
    pub(crate) first_seen: Option<Timestamp>,
    /// How often it was sent again.
    pub(crate) sent_again: i64,
    /// When it was last repaired.
    pub(crate) repaired_at: Option<Timestamp>,
    /// `open`, `repaired` or `sent`.
    pub(crate) state: &'static str,
}

/// Computes the list.
pub(crate) fn listing(rows: &[Row], matching: u64, counts: &[Row], params: &LettersParams) -> Listing {
    let wants =
        |wanted: &Option<String>, row: &Row, column: &str| wanted.as_deref().is_none_or(|w| row.text(column) == w);
    let in_state = |row: &Row| params.sent.is_none_or(|sent| (row.text("state") == "sent") == sent);
    let conditions = |row: &Row, but: &str| {
        (but == "topic" || wants(&params.topic, row, "topic"))
            && (but == "kind" || wants(&params.kind, row, "kind"))
            && (but == "code" || wants(&params.code, row, "code"))
            && (but == "state" || in_state(row))
    };
    let by = |column: &str| {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for row in counts {
            *sums.entry(row.text(column).to_owned()).or_default() +=
                if conditions(row, column) { row.int("n") } else { 0 };
        }
        let mut sums: Vec<(String, i64)> = sums.into_iter().collect();
        sums.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        sums
    };
    let states = by("state");
    let of_state =
        |state: &'static str| (state, states.iter().find(|(known, _)| known == state).map_or(0, |(_, n)| *n));
    Listing {
        letters: rows.iter().map(line).collect(),
        matching,
        by_state: STATES.map(of_state).to_vec(),
        by_topic: by("topic"),
        by_kind: by("kind"),
        by_code: by("code"),
    }
}

fn line(row: &Row) -> LetterLine {
    let (sent_again, repaired_at) = (row.int("sent_again"), row.time("repaired_at"));
    LetterLine {
        id: row.text("dead_letter_id").to_owned(),
        kind: row.text("kind").to_owned(),
        code: row.text("code").to_owned(),
        reason: row.text("reason").to_owned(),
        topic: row.text("topic").to_owned(),
        table: row.text("table").to_owned(),
        first_seen: row.time("first_seen"),
        sent_again,
        repaired_at,
        state: state(sent_again > 0, repaired_at.is_some()),
    }
}

fn state(sent: bool, repaired: bool) -> &'static str {
    match (sent, repaired) {
        (true, _) => "sent",
        (false, true) => "repaired",
        (false, false) => "open",
    }
}

/// What the store knows of one letter.
pub(crate) struct Seen {
    pub(crate) letter: Letter,
    /// Its bytes as received.
    pub(crate) received: Option<Vec<u8>>,
    /// Rows of `dead_letter_redrives`.
    pub(crate) redrives: Vec<Row>,
}

/// One letter.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct LetterView {
    /// `topic/partition/offset`, and `/table` when it was late for one.
    pub(crate) id: String,
    /// malformed, late, sink.
    pub(crate) kind: String,
    /// Machine-readable cause.
    pub(crate) code: String,
    /// In words.
    pub(crate) reason: String,
    /// Field it is about.
    pub(crate) field: String,
    /// Source topic.
    pub(crate) topic: String,
    /// Source partition.
    pub(crate) partition: i32,
    /// Source offset.
    pub(crate) offset: i64,
    /// The table it was too late for.
    pub(crate) table: String,
    /// Job that set it aside.
    pub(crate) job: String,
    /// Kafka's time of the record.
    pub(crate) record_time: Option<Timestamp>,
    /// Event time, if it could be read.
    pub(crate) event_time: Option<Timestamp>,
    /// The watermark it came after.
    pub(crate) watermark: Option<Timestamp>,
    /// When it was set aside.
    pub(crate) first_seen: Timestamp,
    /// `open`, `repaired` or `sent`.
    pub(crate) state: &'static str,
    /// Key, masked.
    pub(crate) key: String,
    /// Names and values of headers, masked.
    pub(crate) headers: Vec<(String, String)>,
    /// The value as received, masked.
    pub(crate) value: Raw,
    /// Only the beginning of the value was kept.
    pub(crate) is_cut: bool,
    /// The repair that waits.
    pub(crate) repair: Option<RepairView>,
    /// What would be sent, as a text to edit, personal values as ⟦1⟧; none when it is no text.
    pub(crate) editable: Option<String>,
    /// When and by whom it was sent again.
    pub(crate) redrives: Vec<RedriveView>,
}

/// What is sent instead of the value received.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct RepairView {
    /// The value, masked.
    pub(crate) text: String,
    /// What was done.
    pub(crate) how: String,
    /// When.
    pub(crate) at: Option<Timestamp>,
    /// Who did it.
    pub(crate) by: String,
}

/// Once that it was sent again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct RedriveView {
    /// 1 for the first time.
    pub(crate) attempt: i64,
    /// When.
    pub(crate) at: Option<Timestamp>,
    /// Who sent it.
    pub(crate) by: String,
    /// With another value.
    pub(crate) repaired: bool,
}

/// Computes one letter's view.
pub(crate) fn seen(seen: Seen) -> LetterView {
    let Seen { letter: Letter { letter, repair }, received, redrives } = seen;
    let is_cut = Letter { letter: letter.clone(), repair: None }.is_cut();
    let bytes = |base64: Option<&str>| millrace_connectors::dead_letters::decoded(base64, "").ok().flatten();
    let headers = letter.headers.iter().flatten().map(|header| {
        let mut value = bytes(header.value_base64.as_deref()).unwrap_or_default();
        mask::bytes(&mut value);
        (header.name.clone(), text(&value))
    });
    let original = received.clone().unwrap_or_default();
    let current = repair.as_ref().map_or_else(|| received.clone(), |repair| Some(repair.value.clone()));
    // A place stands for what the mask hides; a repair can have carried that elsewhere.
    let editable = if is_cut && repair.is_none() { None } else { current.as_deref().and_then(editable) };
    let editable = editable.filter(|text| concealed(&original, text) == *text);
    LetterView {
        id: letter.dead_letter_id.clone(),
        headers: headers.collect(),
        key: bytes(letter.key_base64.as_deref()).map(|key| mask::id(&text(&key))).unwrap_or_default(),
        kind: letter.kind,
        code: letter.code,
        reason: letter.reason,
        field: letter.field.unwrap_or_default(),
        topic: letter.topic,
        partition: letter.partition,
        offset: letter.offset,
        table: letter.table.unwrap_or_default(),
        job: letter.job,
        record_time: letter.record_time,
        event_time: letter.event_time,
        watermark: letter.watermark,
        first_seen: letter.first_seen,
        state: state(!redrives.is_empty(), repair.is_some()),
        value: Raw::of_bytes(original.clone()),
        is_cut,
        editable,
        repair: repair.map(|repair| RepairView {
            text: concealed(&original, &Raw::of_bytes(repair.value).text),
            how: repair.how,
            at: Timestamp::parse(repair.at.as_bytes()),
            by: repair.by,
        }),
        redrives: redrives.iter().map(redrive).collect(),
    }
}

fn redrive(row: &Row) -> RedriveView {
    RedriveView {
        attempt: row.int("attempt"),
        at: row.time("redriven_at"),
        by: row.text("redriven_by").to_owned(),
        repaired: row.get("repaired").and_then(Value::as_bool).unwrap_or(false),
    }
}
