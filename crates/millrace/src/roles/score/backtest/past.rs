//! What there was: records of the lake, what the topics say of them, and in which order they were taken in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use anyhow::Context as _;
use millrace_connectors::kafka::{ClientSettings, Cluster};
use millrace_connectors::lake::{self, LakeRecord};
use millrace_intelligence::fraud::live::scoreboard::Answer;
use millrace_intelligence::fraud::live::{Rule, RuleChange};
use serde_json::Value;

use super::{Span, Step, Watch};
use crate::commands::Invalid;
use crate::roles::score::board::ANSWERS;
use crate::roles::score::records::{Batch, DECISIONS, LISTS, MODELS, RULES, Record, SAID, TOPICS, VERDICTS};
use crate::roles::score::{BatchRow, read_batches};
use crate::topic_scan::{Passing, scan_watched};

/// In whose name it asks.
const GROUP: &str = "millrace-backtest";
/// The event that says, late, that a payment was fraudulent.
const CHARGEBACK: &[u8] = b"chargeback_received";

/// A record with the place it lies in.
type Placed = (&'static str, i32, i64, Record);

/// The past of a scorer.
#[derive(Default)]
pub(super) struct Past {
    batches: Vec<BatchRow>,
    /// What happened.
    records: Vec<Placed>,
    records_max: usize,
    /// What people said: verdicts, changes of lists and rules.
    said: Vec<Record>,
    /// What each live row says, by decision: its hash, as a row is a kilobyte.
    decisions: HashMap<String, u64>,
    /// Rows of `fraud_decisions`: as many as decisions when each was written once.
    rows: usize,
    answers: Vec<Answer>,
    /// Payments said to be fraudulent, by verdict or chargeback.
    frauds: HashSet<String>,
    changed: BTreeMap<String, Rule>,
}

impl Past {
    /// What the topics say of it.
    pub(super) async fn of(kafka: &ClientSettings, records_max: usize, watch: &dyn Watch) -> anyhow::Result<Self> {
        let batches = read_batches(kafka, &Cluster::new(kafka, GROUP)?, 0).await?;
        let mut past = Past { batches, records_max, ..Past::default() };
        let topics = [VERDICTS, LISTS, RULES, MODELS, DECISIONS, ANSWERS, "transactions"];
        let show = |record: Passing<'_>| {
            watch.goes_on(1);
            past.passes(&record);
        };
        scan_watched(kafka, &topics, |total| watch.begins(Step::Topics, Some(total)), show).await?;
        Ok(past)
    }

    fn passes(&mut self, record: &Passing<'_>) {
        let value = record.value.unwrap_or_default();
        match record.topic {
            VERDICTS => {
                self.says(record);
                if let Ok(told) = serde_json::from_slice::<Value>(value)
                    && let Some(payment) = told["payment_id"].as_str()
                {
                    match told["verdict"].as_str() {
                        Some("fraud") => drop(self.frauds.insert(payment.into())),
                        Some("good") => drop(self.frauds.remove(payment)),
                        _ => {}
                    }
                }
            }
            RULES => {
                self.says(record);
                if let Ok(change) = serde_json::from_slice::<RuleChange>(value) {
                    match change.rule() {
                        Ok(Some(rule)) => drop(self.changed.insert(change.name, rule)),
                        Ok(None) => drop(self.changed.remove(&change.name)),
                        Err(_) => {}
                    }
                }
            }
            LISTS | MODELS => self.says(record),
            DECISIONS => {
                self.rows += 1;
                self.decisions.insert(String::from_utf8_lossy(record.key).into_owned(), hash(value));
            }
            ANSWERS => self.answers.extend(serde_json::from_slice::<Answer>(value)),
            _ => self.charged_back(value),
        }
    }

    fn says(&mut self, record: &Passing<'_>) {
        let value = record.value.unwrap_or_default();
        self.said.extend(Record::read(record.topic, record.partition, record.offset, value, None));
    }

    fn charged_back(&mut self, transaction: &[u8]) {
        if memchr::memmem::find(transaction, CHARGEBACK).is_some()
            && let Ok(told) = serde_json::from_slice::<Value>(transaction)
            && told["event_type"].as_str().is_some_and(|kind| kind.as_bytes() == CHARGEBACK)
            && let Some(payment) = told["payment_id"].as_str()
        {
            self.frauds.insert(payment.into());
        }
    }

    /// Reads what happened, as far as the span needs it.
    ///
    /// # Errors
    /// [`Invalid`]: it is more than may be held, or nothing; else the lake.
    pub(super) async fn read_lake(&mut self, folder: &Path, span: &Span, watch: &dyn Watch) -> anyhow::Result<()> {
        watch.begins(Step::Lake, None);
        let begins = span.begins();
        for topic in TOPICS.iter().filter(|topic| !SAID.contains(topic)) {
            let mut take = |record: LakeRecord<'_>| {
                watch.goes_on(1);
                let value = record.value.unwrap_or_default();
                if self.records.len() > self.records_max {
                    return;
                }
                self.charged_back(value);
                let read = Record::read(topic, record.partition, record.offset, value, record.time);
                if let Some(read) = read.filter(|read| begins.is_none_or(|begins| read.time() >= begins.0)) {
                    self.records.push((*topic, record.partition, record.offset, read));
                }
            };
            lake::read(folder, topic, begins, span.until, &mut take)
                .await
                .with_context(|| format!("cannot read the lake in {}", folder.display()))?;
            if self.records.len() > self.records_max {
                let max = self.records_max;
                let text = format!(
                    "the lake holds more than {max} records of that time; choose a shorter span with a shorter memory before it"
                );
                return Err(Invalid(text).into());
            }
        }
        if self.records.is_empty() {
            let text = format!(
                "the lake in {} holds no payments of that time; `millrace up` archives them once a minute",
                folder.display()
            );
            return Err(Invalid(text).into());
        }
        Ok(())
    }

    /// Records there are to take in.
    pub(super) fn len(&self) -> usize {
        self.records.len() + self.said.len()
    }

    /// It is known in which order they were taken in.
    pub(super) fn has_order(&self) -> bool {
        !self.batches.is_empty()
    }

    /// The records batch by batch: as live, or all at once. They are gone from here then.
    pub(super) fn ordered(&mut self, as_live: bool) -> Vec<Batch> {
        let (records, said) = (std::mem::take(&mut self.records), std::mem::take(&mut self.said));
        order(records, said, if as_live { &self.batches } else { &[] })
    }

    /// Rules that were changed while they ran, as they are now.
    pub(super) fn changed(&self) -> &BTreeMap<String, Rule> {
        &self.changed
    }

    /// The simulated shop's truth.
    pub(super) fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// Whether this is known to be fraud.
    pub(super) fn is_fraud(&self, decision: &str) -> bool {
        self.frauds.contains(decision)
    }

    /// Whether live wrote this row of this decision.
    pub(super) fn is_as_live(&self, decision: &str, row: &[u8]) -> bool {
        self.decisions.get(decision) == Some(&hash(row))
    }

    /// Decisions, and rows they were written in.
    pub(super) fn written(&self) -> (usize, usize) {
        (self.decisions.len(), self.rows)
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn order(records: Vec<Placed>, said: Vec<Record>, batches: &[BatchRow]) -> Vec<Batch> {
    if batches.is_empty() {
        let mut all = Batch::default();
        records.into_iter().map(|(_, _, _, record)| record).chain(said).for_each(|record| all.push(record));
        return vec![all];
    }
    let mut places: HashMap<(&str, i32), BTreeMap<i64, Record>> = HashMap::new();
    for (topic, partition, offset, record) in records {
        places.entry((topic, partition)).or_default().insert(offset, record);
    }
    for record in said {
        places.entry((record.topic(), record.partition())).or_default().insert(record.offset(), record);
    }
    let mut ordered = Vec::new();
    for row in batches {
        let mut batch = Batch::default();
        for range in &row.ranges {
            let Some(records) = places.get_mut(&(range.topic.as_str(), range.partition)) else { continue };
            while let Some(first) = records.first_entry().filter(|first| *first.key() < range.to) {
                batch.push(first.remove());
            }
        }
        if !batch.is_empty() {
            ordered.push(batch);
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::score::Range;
    use millrace_model::Timestamp;

    #[test]
    fn batches_hold_what_they_held_live() {
        let record = |offset: i64| {
            let value = format!(
                r#"{{"event_id":"e{offset}","event_type":"order_placed","event_time":"2026-01-01T00:00:00Z","order_id":"o"}}"#
            );
            let record = Record::read("transactions", 1, offset, value.as_bytes(), None).expect("a record");
            ("transactions", 1, offset, record)
        };
        let range = |from, to| Range { topic: "transactions".into(), partition: 1, from, to };
        let row = |batch, range| BatchRow { batch, time: Timestamp(0), ranges: vec![range] };
        let batches = [row(1, range(0, 2)), row(2, range(2, 5))];
        let offsets: Vec<Vec<i64>> = order([4, 0, 1, 2, 9].map(record).into(), Vec::new(), &batches)
            .into_iter()
            .map(|batch| batch.in_order().iter().map(Record::offset).collect())
            .collect();
        assert_eq!(offsets, [vec![0, 1], vec![2, 4]], "9 was not judged live");
    }

    #[test]
    fn fraud_is_what_was_charged_back_or_said_to_be_and_not_taken_back() {
        let mut past = Past::default();
        let passes = |past: &mut Past, topic: &str, value: &str| {
            past.passes(&Passing {
                topic,
                partition: 0,
                offset: 0,
                time: None,
                key: b"",
                value: Some(value.as_bytes()),
            });
        };
        passes(&mut past, "transactions", r#"{"event_type":"chargeback_received","payment_id":"p1"}"#);
        passes(
            &mut past,
            "transactions",
            r#"{"event_type":"order_placed","payment_id":"p2","note":"chargeback_received"}"#,
        );
        passes(&mut past, VERDICTS, r#"{"payment_id":"p3","verdict":"fraud"}"#);
        passes(&mut past, VERDICTS, r#"{"payment_id":"p4","verdict":"fraud"}"#);
        passes(&mut past, VERDICTS, r#"{"payment_id":"p4","verdict":"good"}"#);
        assert_eq!(["p1", "p2", "p3", "p4"].map(|payment| past.is_fraud(payment)), [true, false, true, false]);
        passes(&mut past, RULES, r#"{"name":"fast","state":"shadow","when":"amount > 5","points":8.0}"#);
        assert!(past.changed()["fast"].shadow);
        passes(&mut past, RULES, r#"{"name":"fast","state":null}"#);
        assert!(past.changed().is_empty());
    }
}
