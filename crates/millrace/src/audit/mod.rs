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

use millrace_model::progress::RecordCounts;
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
    /// Different rows (key and value) in its result topic.
    pub(crate) topic_rows_different: u64,
    /// Where Spark runs it: what Spark told.
    pub(crate) spark: Option<SparkFacts>,
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

/// What was found about a table on Spark, which counts repeats and late records by table only.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SparkFacts {
    /// Records before the offsets it has processed, by source stream; counted in the topic.
    pub(crate) records_before: BTreeMap<String, u64>,
    /// What it told of its batches, over all it reads.
    pub(crate) counts: RecordCounts,
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
            if let Some(before) = facts.spark.as_ref().and_then(|spark| spark.records_before.get(stream)) {
                let what = format!("{stream} → {table}: records before the offsets Spark has processed");
                lines.push(Line::new(what, found.records, *before));
            }
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
    lines.extend(spark_ledger(facts));
    for (table, found) in &facts.tables {
        if let Some(rows) = found.store_rows {
            let expected = if found.keyed { found.topic_keys } else { found.topic_rows };
            lines.push(Line::new(format!("{table}: rows in the store"), expected, rows));
        }
        if found.append && found.keyed && found.spark.is_some() {
            // Spark writes a batch again that was cut short: the same row, so that reading it twice changes nothing.
            lines.push(Line::new(
                format!("{table}: rows of a key in the result topic, all the same"),
                found.topic_keys,
                found.topic_rows_different,
            ));
        } else if found.append && found.keyed {
            lines.push(Line::new(
                format!("{table}: rows of a key in the result topic, once each"),
                found.topic_keys,
                found.topic_rows,
            ));
        }
    }
    lines
}

/// The ledger, where Spark keeps it: over all streams, as Spark counts repeats and late records.
fn spark_ledger(facts: &Facts) -> Vec<Line> {
    let Some(spark) = facts.tables.get("ledger").and_then(|ledger| ledger.spark.as_ref()) else { return Vec::new() };
    let of_all = |count: fn(&StreamFacts) -> u64| facts.streams.values().map(count).sum::<u64>();
    let (read, malformed) = (spark.records_before.values().sum::<u64>(), of_all(|stream| stream.dead_malformed));
    let told = &spark.counts;
    let counted = read.saturating_sub(malformed + told.records_late + told.records_duplicate);
    // Counts of a batch that ended as its server died were never told: up to so many records may be late or repeats.
    let untold = read.saturating_sub(told.records_in);
    let sums = [
        ("result topic", of_all(|stream| stream.ledger_topic.unwrap_or(0))),
        ("store", of_all(|stream| stream.ledger_store.unwrap_or(0))),
    ];
    let line = |(place, sum): (&str, u64)| {
        let mut what = format!(
            "all streams: sum of the ledger in the {place}: {read} read - {malformed} malformed - {} late - {} repeats",
            told.records_late, told.records_duplicate
        );
        let mut expected = counted;
        if untold > 0 {
            what.push_str(&format!(" - what of {untold} records was late or a repeat, which Spark did not tell"));
            expected = sum.clamp(counted.saturating_sub(untold), counted);
        }
        Line::new(what, expected, sum)
    };
    sums.into_iter().map(line).collect()
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
            topic_rows_different: 5,
            spark: None,
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

    /// The same shop with its table on Spark.
    fn on_spark() -> Facts {
        let mut facts = facts();
        let records_before = BTreeMap::from([("user_events".into(), 10)]);
        let counts = RecordCounts {
            records_in: 10,
            records_counted: 6,
            records_late: 1,
            records_malformed: 2,
            records_duplicate: 1,
        };
        let table = table(&mut facts);
        table.sources.clear();
        table.dead_late.clear();
        table.topic_rows = 4;
        table.topic_rows_different = 3;
        table.append = true;
        table.spark = Some(SparkFacts { records_before, counts });
        facts
    }

    #[test]
    fn books_of_spark_balance() {
        assert!(balance(&on_spark()).iter().all(Line::balances), "{:#?}", balance(&on_spark()));
        let broken: [(&str, fn(&mut Facts)); 4] = [
            ("a record was not read", |f| stream(f).records += 1),
            ("a result was lost", |f| stream(f).ledger_store = Some(5)),
            ("a result was counted twice", |f| stream(f).ledger_topic = Some(7)),
            ("a final row was corrected", |f| table(f).topic_rows_different = 4),
        ];
        for (case, breaks) in broken {
            let mut facts = on_spark();
            breaks(&mut facts);
            assert!(!balance(&facts).iter().all(Line::balances), "{case}");
        }
    }

    #[test]
    fn untold_batches_widen_what_is_taken_for_right_by_their_records() {
        let sums = [(4, false), (5, true), (7, true), (8, false)];
        for (sum, right) in sums {
            let mut facts = on_spark();
            // The last batch, of two records: one was late, or counted.
            let counts = &mut table(&mut facts).spark.as_mut().expect("on Spark").counts;
            (counts.records_in, counts.records_late) = (8, 0);
            (stream(&mut facts).ledger_topic, stream(&mut facts).ledger_store) = (Some(sum), Some(sum));
            assert_eq!(balance(&facts).iter().all(Line::balances), right, "{sum}");
        }
    }

    fn stream(facts: &mut Facts) -> &mut StreamFacts {
        facts.streams.get_mut("user_events").expect("it is there")
    }

    fn table(facts: &mut Facts) -> &mut TableFacts {
        facts.tables.get_mut("ledger").expect("it is there")
    }
}
