//! Dead letters as the store holds them, with the repair that waits and the times they were sent again.

use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use millrace_connectors::store::{JsonRow, Param, Store, Table, WriteBatch};
use millrace_model::contract::TopicSettings;
use millrace_model::dead_letter::DeadLetter;
use millrace_model::{Column, ColumnType, Contract, Role, Timestamp};
use serde_json::Value;

use super::filter::{Condition, Filter};

/// Letters read at once: each may hold 8 MiB.
const READ_AT_ONCE: usize = 20;
/// The header that says how long a value was of which only the beginning is kept.
const CUT: &str = "millrace.value_bytes";
/// Table of repaired values.
const REPAIRS: &str = "dead_letter_repairs";

/// A dead letter and what was done about it.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) letter: DeadLetter,
    pub(super) repair: Option<Repair>,
}

/// A value that is sent instead of the one received.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Repair {
    pub(super) value: Vec<u8>,
    pub(super) how: String,
    pub(super) at: String,
    pub(super) by: String,
}

impl Letter {
    /// The bytes as received; `None` for a tombstone.
    ///
    /// # Errors
    /// The table holds something else.
    pub(super) fn received(&self) -> anyhow::Result<Option<Vec<u8>>> {
        decoded(self.letter.value_base64.as_deref(), &self.letter.dead_letter_id)
    }

    /// The bytes that would be sent: the repaired ones, else those received.
    ///
    /// # Errors
    /// As [`Letter::received`].
    pub(super) fn current(&self) -> anyhow::Result<Option<Vec<u8>>> {
        match &self.repair {
            Some(repair) => Ok(Some(repair.value.clone())),
            None => self.received(),
        }
    }

    /// Only the beginning of its value was kept, because the whole would not fit a record.
    pub(super) fn is_cut(&self) -> bool {
        self.letter.headers.iter().flatten().any(|header| header.name == CUT)
    }
}

/// Base64 back to bytes.
pub(super) fn decoded(text: Option<&str>, id: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let bytes = text.map(|text| BASE64.decode(text)).transpose();
    bytes.with_context(|| format!("dead letter {id} holds bytes that are not base64"))
}

/// Ids of the letters the filter lets through, oldest first: they are sent again in the order they came.
pub(super) async fn ids(store: &Store, filter: &Filter) -> anyhow::Result<Vec<String>> {
    let Condition { sql, params } = filter.condition();
    let sql = format!("SELECT dead_letter_id FROM dead_letters WHERE {sql} ORDER BY first_seen, dead_letter_id");
    let rows = store.query(&sql, &params).await?;
    Ok(rows.iter().filter_map(|row| Some(row.get("dead_letter_id")?.as_str()?.to_owned())).collect())
}

/// These letters, in the order of their ids here; those that are gone are left out.
pub(super) async fn read(store: &Store, ids: &[String]) -> anyhow::Result<Vec<Letter>> {
    let mut letters = Vec::with_capacity(ids.len());
    for ids in ids.chunks(READ_AT_ONCE) {
        let Condition { sql, params } = Filter::of_ids(ids).condition();
        let rows = store.query(&format!("SELECT * FROM dead_letters WHERE {sql}"), &params).await?;
        let repairs = store.query(&format!("SELECT * FROM {REPAIRS} WHERE {sql}"), &params).await?;
        let mut found = Vec::new();
        for row in rows {
            let letter: DeadLetter = serde_json::from_value(Value::Object(row)).context("a row of dead_letters")?;
            let repair = repairs.iter().find(|row| text(row, "dead_letter_id") == letter.dead_letter_id);
            found.push(Letter { repair: repair.map(repair_of).transpose()?, letter });
        }
        for id in ids {
            letters.extend(found.iter().find(|letter| letter.letter.dead_letter_id == *id).cloned());
        }
    }
    Ok(letters)
}

fn repair_of(row: &JsonRow) -> anyhow::Result<Repair> {
    let id = text(row, "dead_letter_id");
    let value = decoded(row.get("value_base64").and_then(Value::as_str), &id)?.unwrap_or_default();
    Ok(Repair { value, how: text(row, "how"), at: text(row, "repaired_at"), by: text(row, "repaired_by") })
}

/// A text of a row; empty when it is null.
pub(super) fn text(row: &JsonRow, column: &str) -> String {
    row.get(column).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Keeps repaired values, all or none; an earlier repair of the same letter is replaced.
pub(super) async fn keep(store: &Store, repairs: &[(String, Repair)], at: Timestamp) -> anyhow::Result<()> {
    let table = repairs_table()?;
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
    Ok(store.write(&batch).await?)
}

/// The table, as migration 3 makes it.
fn repairs_table() -> anyhow::Result<Arc<Table>> {
    let column = |(name, column_type): (&str, ColumnType)| Column {
        name: name.into(),
        column_type,
        required: false,
        nullable: true,
        not_empty: false,
        description: String::new(),
    };
    let columns = [
        ("dead_letter_id", ColumnType::Text),
        ("value_base64", ColumnType::Text),
        ("how", ColumnType::Text),
        ("repaired_at", ColumnType::Timestamp),
        ("repaired_by", ColumnType::Text),
    ];
    let contract = Contract {
        name: REPAIRS.into(),
        description: String::new(),
        role: Role::System,
        columns: columns.map(column).to_vec(),
        key: vec!["dead_letter_id".into()],
        event_time: None,
        watermark_delay_micros: 0,
        deduplicate_by: Vec::new(),
        topic: TopicSettings { partitions: 1, config: std::collections::BTreeMap::new() },
    };
    Ok(Arc::new(Table::of(&contract)?))
}
