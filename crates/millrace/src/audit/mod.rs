//! The books of a product: what went into its topics against what came out everywhere else.
//!
//! ```text
//!  records in the topic  =  counted in results + late + malformed + repeats dropped     for every table that reads it
//!                        =  rows in the lake
//!  the ledger's counts (store, and result topic)  =  records counted by the table `ledger`
//!  dead letters          =  late and malformed records
//!  rows in the store     =  keys in the result topic; append tables give no key twice
//! ```
//!
//! The left sides are counted from the topics themselves, record by record; the right sides from what the roles wrote.

mod collect;

use std::collections::BTreeMap;

use serde::Serialize;

pub(crate) use collect::collect;

/// What was found, everywhere.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Facts {
    /// By source stream.
    pub(crate) streams: BTreeMap<String, StreamFacts>,
    /// By streaming table (and intake).
    pub(crate) tables: BTreeMap<String, TableFacts>,
}

/// What was found about a source stream.
#[derive(Debug, Default, Serialize)]
pub(crate) struct StreamFacts {
    /// Records ever written to the topic: those that are there, and those retention has removed.
    pub(crate) records: u64,
    /// Rows of the lake; `None` when there is none.
    pub(crate) lake_rows: Option<u64>,
    /// Sum of the ledger in the result topic.
    pub(crate) ledger_topic: Option<u64>,
    /// Sum of the ledger in the store.
    pub(crate) ledger_store: Option<u64>,
    /// Dead letters of malformed records, each place counted once.
    pub(crate) dead_malformed: u64,
}

/// What was found about a table.
#[derive(Debug, Default, Serialize)]
pub(crate) struct TableFacts {
    /// By source topic, from its last progress row.
    pub(crate) sources: BTreeMap<String, SourceFacts>,
    /// Late records in the dead letters, by source topic.
    pub(crate) dead_late: BTreeMap<String, u64>,
    /// Rows in its result topic.
    pub(crate) topic_rows: u64,
    /// Different keys in its result topic.
    pub(crate) topic_keys: u64,
    /// Rows in the store.
    pub(crate) store_rows: Option<u64>,
    /// Its rows are final: no key may come twice.
    pub(crate) append: bool,
    /// Its rows have keys.
    pub(crate) keyed: bool,
}

/// Counts of a table's progress for one source.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct SourceFacts {
    pub(crate) records_in: u64,
    pub(crate) counted: u64,
    pub(crate) late: u64,
    pub(crate) malformed: u64,
    pub(crate) duplicate: u64,
}

/// A line of the balance.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// What is compared.
    pub(crate) what: String,
    /// What went in.
    pub(crate) expected: u64,
    /// What came out.
    pub(crate) found: u64,
}

impl Line {
    fn new(what: impl Into<String>, expected: u64, found: u64) -> Self {
        Line { what: what.into(), expected, found }
    }

    /// Both sides agree.
    pub(crate) fn balances(&self) -> bool {
        self.expected == self.found
    }
}

/// The whole balance, line by line.
pub(crate) fn balance(facts: &Facts) -> Vec<Line> {
    let mut lines = Vec::new();
    for (stream, found) in &facts.streams {
        if let Some(rows) = found.lake_rows {
            lines.push(Line::new(format!("{stream}: rows in the lake"), found.records, rows));
        }
        for (table, facts) in &facts.tables {
            let Some(source) = facts.sources.get(stream) else { continue };
            let accounted = source.counted + source.late + source.malformed + source.duplicate;
            let what = format!(
                "{stream} → {table}: {} counted + {} late + {} malformed + {} repeats",
                source.counted, source.late, source.malformed, source.duplicate
            );
            lines.push(Line::new(what, found.records, accounted));
            lines.push(Line::new(
                format!("{stream} → {table}: malformed records in dead_letters"),
                source.malformed,
                found.dead_malformed,
            ));
            let dead_late = facts.dead_late.get(stream).copied().unwrap_or(0);
            lines.push(Line::new(format!("{stream} → {table}: late records in dead_letters"), source.late, dead_late));
        }
        let counted = facts.tables.get("ledger").and_then(|ledger| ledger.sources.get(stream)).map(|s| s.counted);
        for (place, sum) in [("result topic", found.ledger_topic), ("store", found.ledger_store)] {
            if let (Some(counted), Some(sum)) = (counted, sum) {
                lines.push(Line::new(format!("{stream}: sum of the ledger in the {place}"), counted, sum));
            }
        }
    }
    for (table, found) in &facts.tables {
        if let Some(rows) = found.store_rows {
            let expected = if found.keyed { found.topic_keys } else { found.topic_rows };
            lines.push(Line::new(format!("{table}: rows in the store"), expected, rows));
        }
        if found.append && found.keyed {
            lines.push(Line::new(
                format!("{table}: rows of a key in the result topic, once each"),
                found.topic_keys,
                found.topic_rows,
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let source = SourceFacts { records_in: 10, counted: 6, late: 1, malformed: 2, duplicate: 1 };
        let table = TableFacts {
            sources: BTreeMap::from([("user_events".into(), source)]),
            dead_late: BTreeMap::from([("user_events".into(), 1)]),
            topic_rows: 5,
            topic_keys: 3,
            store_rows: Some(3),
            append: false,
            keyed: true,
        };
        let stream = StreamFacts {
            records: 10,
            lake_rows: Some(10),
            ledger_topic: Some(6),
            ledger_store: Some(6),
            dead_malformed: 2,
        };
        Facts {
            streams: BTreeMap::from([("user_events".into(), stream)]),
            tables: BTreeMap::from([("ledger".into(), table)]),
        }
    }

    #[test]
    fn good_books_balance() {
        assert!(balance(&facts()).iter().all(Line::balances), "{:#?}", balance(&facts()));
    }

    #[test]
    fn every_kind_of_loss_shows() {
        let broken: [(&str, fn(&mut Facts)); 7] = [
            ("a record was lost", |f| stream(f).records += 1),
            ("a lake file came twice", |f| stream(f).lake_rows = Some(11)),
            ("a result was lost", |f| stream(f).ledger_store = Some(5)),
            ("a dead letter was lost", |f| stream(f).dead_malformed = 1),
            ("a late record was lost", |f| table(f).dead_late.clear()),
            ("a row was not stored", |f| table(f).store_rows = Some(2)),
            ("a final row came twice", |f| table(f).append = true),
        ];
        for (case, breaks) in broken {
            let mut facts = facts();
            breaks(&mut facts);
            assert!(!balance(&facts).iter().all(Line::balances), "{case}");
        }
    }

    fn stream(facts: &mut Facts) -> &mut StreamFacts {
        facts.streams.get_mut("user_events").expect("it is there")
    }

    fn table(facts: &mut Facts) -> &mut TableFacts {
        facts.tables.get_mut("ledger").expect("it is there")
    }
}
