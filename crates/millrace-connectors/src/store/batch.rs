//! What a sink writes at once: rows of several tables and how far that brings it. All of it or nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::table::Table;
use super::{Param, StoreError};

/// A step of a sink through one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetAdvance {
    /// Topic read.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Next offset as the sink knows it to be stored; `None` when it has stored none yet.
    pub from: Option<i64>,
    /// Next offset after this batch.
    pub to: i64,
}

/// Rows and offsets that are written in one transaction.
#[derive(Clone, Debug)]
pub struct WriteBatch {
    pub(super) sink: String,
    pub(super) tables: Vec<(Arc<Table>, Vec<Arc<Vec<Param>>>)>,
    pub(super) advances: Vec<OffsetAdvance>,
}

impl WriteBatch {
    /// An empty batch of this sink. The sink's name is what its offsets are stored under.
    pub fn new(sink: impl Into<String>) -> Self {
        WriteBatch { sink: sink.into(), tables: Vec::new(), advances: Vec::new() }
    }

    /// Adds a row, one value a column in the order of [`Table::columns`]. A later row of the same key replaces it.
    ///
    /// # Errors
    /// `Internal`: the row has another shape than the table.
    pub fn upsert(&mut self, table: &Arc<Table>, row: impl Into<Arc<Vec<Param>>>) -> Result<(), StoreError> {
        let row = row.into();
        table.check(&row)?;
        match self.tables.iter_mut().find(|(known, _)| known.name() == table.name()) {
            Some((_, rows)) => rows.push(row),
            None => self.tables.push((Arc::clone(table), vec![row])),
        }
        Ok(())
    }

    /// Adds a step of the sink. It fails as `Fenced` when another has moved the stored offset away from `from`.
    pub fn advance(&mut self, advance: OffsetAdvance) {
        self.advances.push(advance);
    }

    /// Rows added so far, repeats of a key included.
    pub fn rows(&self) -> usize {
        self.tables.iter().map(|(_, rows)| rows.len()).sum()
    }

    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.advances.is_empty()
    }
}

/// The last row of each key, in order of arrival: PostgreSQL refuses to touch a row twice in a statement.
pub(super) fn last_of_each_key<'a>(table: &Table, rows: &'a [Arc<Vec<Param>>]) -> Vec<&'a [Param]> {
    let mut last: HashMap<Vec<u8>, usize> = HashMap::with_capacity(rows.len());
    for (at, row) in rows.iter().enumerate() {
        last.insert(key_bytes(table.key(), row), at);
    }
    if last.len() == rows.len() {
        return rows.iter().map(|row| row.as_slice()).collect();
    }
    let mut kept: Vec<usize> = last.into_values().collect();
    kept.sort_unstable();
    kept.into_iter().map(|at| rows[at].as_slice()).collect()
}

/// Bytes that are equal exactly when two keys are: a tag and, for text, a length before each value.
fn key_bytes(key: &[usize], row: &[Param]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() * 16);
    for at in key {
        match &row[*at] {
            Param::Null => bytes.push(0),
            Param::Text(text) => {
                bytes.push(1);
                bytes.extend(text.len().to_le_bytes());
                bytes.extend(text.as_bytes());
            }
            Param::Integer(value) => {
                bytes.push(2);
                bytes.extend(value.to_le_bytes());
            }
            Param::Number(value) => {
                // -0.0 and 0.0 are one value to both databases.
                let value = if *value == 0.0 { 0.0_f64 } else { *value };
                bytes.push(3);
                bytes.extend(value.to_bits().to_le_bytes());
            }
            Param::Boolean(value) => bytes.extend([4, u8::from(*value)]),
            Param::Time(time) => {
                bytes.push(5);
                bytes.extend(time.0.to_le_bytes());
            }
        }
    }
    bytes
}

/// Sizes of the statements that upsert `rows` rows where one takes `rows_max`: few different sizes, so few texts.
pub(super) fn statement_sizes(rows: usize, rows_max: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut rest = rows;
    let mut size = rows_max.max(1);
    while rest > 0 {
        while size > rest {
            size = (size / 4).max(1);
        }
        sizes.push(size);
        rest -= size;
    }
    sizes
}

/// What a stored offset that is not the expected one means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Moved {
    /// This very batch is in the database: the answer to its commit was lost.
    AlreadyWritten,
    /// Another sink of the same name is at work, or the offsets were changed by hand.
    Fenced(String),
}

/// Decides from the stored next offsets.
pub(super) fn after_mismatch(advances: &[OffsetAdvance], stored: &[(String, i32, i64)]) -> Moved {
    let found = |advance: &OffsetAdvance| {
        stored
            .iter()
            .find(|(topic, partition, _)| *topic == advance.topic && *partition == advance.partition)
            .map(|(_, _, next)| *next)
    };
    if advances.iter().all(|advance| found(advance) == Some(advance.to)) {
        return Moved::AlreadyWritten;
    }
    let foreign = advances.iter().find(|advance| found(advance) != advance.from);
    let text = foreign.map_or_else(String::new, |advance| {
        let say = |offset: Option<i64>| offset.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
        format!(
            "topic `{}` partition {}: the stored offset is {}, not {} as this sink left it; another sink of the same \
             name writes to this store, stop one of them",
            advance.topic,
            advance.partition,
            say(found(advance)),
            say(advance.from)
        )
    });
    Moved::Fenced(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn text(value: &str) -> Param {
        Param::Text(value.into())
    }

    #[test]
    fn the_last_row_of_a_key_wins() {
        let table = Table::of(&samples::contract(&["store_id", "orders"])).expect("a table");
        let row = |store: Param, orders: Param, share: f64| {
            Arc::new(vec![Param::Null, store, orders, Param::Number(share), Param::Null, Param::Null])
        };
        let rows = [
            row(text("a"), Param::Integer(1), 1.0),
            row(text("b"), Param::Integer(1), 2.0),
            row(text("a"), Param::Integer(1), 3.0),
            row(Param::Null, Param::Integer(1), 4.0),
            row(Param::Null, Param::Integer(1), 5.0),
            row(text(""), Param::Null, 6.0),
        ];
        let kept: Vec<&Param> = last_of_each_key(&table, &rows).into_iter().map(|row| &row[3]).collect();
        assert_eq!(kept, [2.0, 3.0, 5.0, 6.0].map(Param::Number).iter().collect::<Vec<_>>());
    }

    #[test]
    fn sizes() {
        for (rows, rows_max, expected) in [
            (0, 256, vec![]),
            (1, 256, vec![1]),
            (256, 256, vec![256]),
            (341, 256, vec![256, 64, 16, 4, 1]),
            (600, 256, vec![256, 256, 64, 16, 4, 4]),
            (5, 2, vec![2, 2, 1]),
            (2, 0, vec![1, 1]),
        ] {
            assert_eq!(statement_sizes(rows, rows_max), expected, "{rows} {rows_max}");
        }
    }

    #[test]
    fn mismatches() {
        let advance = |partition, from, to| OffsetAdvance { topic: "t".into(), partition, from, to };
        let stored = |offsets: &[(i32, i64)]| offsets.iter().map(|(p, o)| ("t".to_owned(), *p, *o)).collect::<Vec<_>>();
        let batch = [advance(0, Some(5), 9), advance(1, None, 3)];
        assert_eq!(after_mismatch(&batch, &stored(&[(0, 9), (1, 3)])), Moved::AlreadyWritten);
        for (offsets, text) in [
            (vec![(0, 7), (1, 3)], "partition 0: the stored offset is 7, not 5"),
            (vec![(0, 5), (1, 4)], "partition 1: the stored offset is 4, not none"),
            (vec![], "partition 0: the stored offset is none, not 5"),
        ] {
            match after_mismatch(&batch, &stored(&offsets)) {
                Moved::Fenced(why) => assert!(why.contains(text), "{why}"),
                Moved::AlreadyWritten => panic!("{text}"),
            }
        }
    }
}
