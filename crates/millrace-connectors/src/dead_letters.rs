//! Dead letters as the store keeps them: the record as received, the repair that waits, and the times it was sent again.
//!
//! ```text
//!  table dead_letters ──▶ LetterFilter ──▶ lists and single letters: the command, the page, the API
//!        └──▶ Letters::keep ──▶ dead_letter_repairs ──▶ `redrive` sends what is there, and tells in dead_letter_redrives
//! ```
//!
//! A letter is never deleted or changed here: a repair is a row beside it.
//!
//! Reading order: `filter` (which letters) → here (what the store holds about them).

mod filter;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millrace_model::dead_letter::DeadLetter;
use millrace_model::{ErrorKind, Timestamp};
use serde_json::Value;

use crate::store::{JsonRow, Param, SqlType, Store, StoreError, Table, WriteBatch};

pub use filter::{Condition, LetterFilter, parse_time};

/// Letters read at once: each may hold 8 MiB.
const READ_AT_ONCE: usize = 20;
/// The header that says how long a value was of which only the beginning is kept.
const CUT: &str = "millrace.value_bytes";
/// Table of repaired values.
const REPAIRS: &str = "dead_letter_repairs";
/// How often a letter was sent again.
const SENT: &str =
    "SELECT count(*) FROM dead_letter_redrives AS s WHERE s.dead_letter_id = dead_letters.dead_letter_id";

/// A dead letter and the repair that waits.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The record as it was set aside.
    pub letter: DeadLetter,
    /// What is sent instead of the value received.
    pub repair: Option<Repair>,
}

/// A value that is sent instead of the one received.
#[derive(Clone, PartialEq, Debug)]
pub struct Repair {
    /// The value.
    pub value: Vec<u8>,
    /// What was done, in words.
    pub how: String,
    /// When, as the store has it.
    pub at: String,
    /// Who did it.
    pub by: String,
}

impl Letter {
    /// The bytes as received; `None` for a tombstone.
    ///
    /// # Errors
    /// The table holds something else.
    pub fn received(&self) -> Result<Option<Vec<u8>>, StoreError> {
        decoded(self.letter.value_base64.as_deref(), &self.letter.dead_letter_id)
    }

    /// The bytes that would be sent: the repaired ones, else those received.
    ///
    /// # Errors
    /// As [`Letter::received`].
    pub fn current(&self) -> Result<Option<Vec<u8>>, StoreError> {
        match &self.repair {
            Some(repair) => Ok(Some(repair.value.clone())),
            None => self.received(),
        }
    }

    /// Only the beginning of its value was kept, because the whole would not fit a record.
    pub fn is_cut(&self) -> bool {
        self.letter.headers.iter().flatten().any(|header| header.name == CUT)
    }
}

/// Base64 back to bytes.
///
/// # Errors
/// It is something else.
pub fn decoded(text: Option<&str>, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let bytes = text.map(|text| BASE64.decode(text)).transpose();
    bytes.map_err(|error| {
        StoreError::new(ErrorKind::Data, format!("dead letter {id} holds bytes that are not base64: {error}"))
    })
}

/// The letters of a store.
#[derive(Clone, Debug)]
pub struct Letters(Store);

/// Some letters of many, newest first: `dead_letter_id`, `kind`, `code`, `reason`, `topic`, `partition`, `offset`, `table`,
/// `first_seen`, `sent_again` (how often), `repaired_at`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Listed {
    /// The rows.
    pub rows: Vec<JsonRow>,
    /// How many match.
    pub matching: u64,
}

impl Letters {
    /// Of this store.
    pub fn new(store: Store) -> Self {
        Letters(store)
    }

    /// Ids of the letters the filter lets through, oldest first: they are sent again in the order they came.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub async fn ids(&self, filter: &LetterFilter) -> Result<Vec<String>, StoreError> {
        let Condition { sql, params } = filter.condition();
        let sql = format!("SELECT dead_letter_id FROM dead_letters WHERE {sql} ORDER BY first_seen, dead_letter_id");
        let rows = self.0.query(&sql, &params).await?;
        Ok(rows.iter().filter_map(|row| Some(row.get("dead_letter_id")?.as_str()?.to_owned())).collect())
    }

    /// The newest letters the filter lets through.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub async fn list(&self, filter: &LetterFilter, limit: u32) -> Result<Listed, StoreError> {
        let mut condition = filter.condition();
        let count = format!("SELECT count(*) AS n FROM dead_letters WHERE {}", condition.sql);
        let matching = self.0.query(&count, &condition.params).await?;
        let limit = condition.place(Param::Integer(limit.into()));
        let rows = format!(
            "SELECT dead_letter_id, kind, code, reason, topic, \"partition\", \"offset\", \"table\", first_seen, \
             ({SENT}) AS sent_again, (SELECT max(r.repaired_at) FROM {REPAIRS} AS r \
             WHERE r.dead_letter_id = dead_letters.dead_letter_id) AS repaired_at \
             FROM dead_letters WHERE {} ORDER BY first_seen DESC, dead_letter_id LIMIT {limit}",
            condition.sql,
        );
        Ok(Listed {
            rows: self.0.query(&rows, &condition.params).await?,
            matching: matching.first().and_then(|row| row.get("n")?.as_u64()).unwrap_or(0),
        })
    }

    /// How many letters the filter lets through, by `topic`, `kind`, `code` and `state` (open, repaired, sent): rows with `n`.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub async fn counts(&self, filter: &LetterFilter) -> Result<Vec<JsonRow>, StoreError> {
        let Condition { sql, params } = filter.condition();
        let sql = format!(
            "SELECT topic, kind, code, state, count(*) AS n FROM (SELECT topic, kind, code, \
             CASE WHEN ({SENT}) > 0 THEN 'sent' WHEN EXISTS (SELECT 1 FROM {REPAIRS} AS r \
             WHERE r.dead_letter_id = dead_letters.dead_letter_id) THEN 'repaired' ELSE 'open' END AS state \
             FROM dead_letters WHERE {sql}) AS letters GROUP BY topic, kind, code, state \
             ORDER BY n DESC, topic, kind, code, state"
        );
        self.0.query(&sql, &params).await
    }

    /// These letters, in the order of their ids here; those that are gone are left out.
    ///
    /// # Errors
    /// As [`Store::query`]; a row that is no dead letter.
    pub async fn read(&self, ids: &[String]) -> Result<Vec<Letter>, StoreError> {
        let mut letters = Vec::with_capacity(ids.len());
        for ids in ids.chunks(READ_AT_ONCE) {
            let Condition { sql, params } = LetterFilter::of_ids(ids).condition();
            let rows = self.0.query(&format!("SELECT * FROM dead_letters WHERE {sql}"), &params).await?;
            let repairs = self.0.query(&format!("SELECT * FROM {REPAIRS} WHERE {sql}"), &params).await?;
            let mut found = Vec::new();
            for row in rows {
                let letter: DeadLetter = serde_json::from_value(Value::Object(row))
                    .map_err(|error| StoreError::new(ErrorKind::Data, format!("a row of dead_letters: {error}")))?;
                let repair = repairs.iter().find(|row| text(row, "dead_letter_id") == letter.dead_letter_id);
                found.push(Letter { repair: repair.map(repair_of).transpose()?, letter });
            }
            for id in ids {
                letters.extend(found.iter().find(|letter| letter.letter.dead_letter_id == *id).cloned());
            }
        }
        Ok(letters)
    }

    /// When and by whom a letter was sent again: rows of `dead_letter_redrives`, the first first.
    ///
    /// # Errors
    /// As [`Store::query`].
    pub async fn redrives(&self, id: &str) -> Result<Vec<JsonRow>, StoreError> {
        let sql = "SELECT attempt, topic, repaired, value_bytes, redriven_at, redriven_by FROM dead_letter_redrives \
                   WHERE dead_letter_id = $1 ORDER BY attempt";
        self.0.query(sql, &[Param::Text(id.into())]).await
    }

    /// Keeps repaired values, all or none; an earlier repair of the same letter is replaced.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn keep(&self, repairs: &[(String, Repair)], at: Timestamp) -> Result<(), StoreError> {
        use SqlType::{Text, Time};
        let columns = [
            ("dead_letter_id", Text),
            ("value_base64", Text),
            ("how", Text),
            ("repaired_at", Time),
            ("repaired_by", Text),
        ];
        let table = Arc::new(Table::kept(REPAIRS, &columns, &["dead_letter_id"])?);
        let mut batch = WriteBatch::new(REPAIRS);
        for (id, repair) in repairs {
            let row = vec![
                Param::Text(id.clone()),
                Param::Text(BASE64.encode(&repair.value)),
                Param::Text(repair.how.clone()),
                Param::Time(at),
                Param::Text(repair.by.clone()),
            ];
            batch.upsert(&table, row)?;
        }
        self.0.write(&batch).await
    }
}

fn repair_of(row: &JsonRow) -> Result<Repair, StoreError> {
    let id = text(row, "dead_letter_id");
    let value = decoded(row.get("value_base64").and_then(Value::as_str), &id)?.unwrap_or_default();
    Ok(Repair { value, how: text(row, "how"), at: text(row, "repaired_at"), by: text(row, "repaired_by") })
}

fn text(row: &JsonRow, column: &str) -> String {
    row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned()
}
