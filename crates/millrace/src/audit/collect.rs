//! Counts what is in topics, store and lake.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use anyhow::Context as _;
use millrace_connectors::kafka::ClientSettings;
use millrace_connectors::lake;
use millrace_connectors::store::Store;
use millrace_model::dead_letter::DeadLetter;
use millrace_model::progress::TableProgress;
use millrace_model::{Contract, Role};
use serde_json::Value;

use super::{Facts, StreamFacts};
use crate::topic_scan::scan;

/// The backend whose counts are not by partition.
const SPARK: &str = "spark";

/// Collects the facts. The product should be at rest: what is on its way shows as a difference.
///
/// # Errors
/// Kafka, the store or the lake cannot be read.
pub(crate) async fn collect(
    kafka: &ClientSettings,
    store: &Store,
    lake_dir: Option<&Path>,
    contracts: &[Contract],
) -> anyhow::Result<Facts> {
    let mut facts = Facts::default();
    let told = last_progress(kafka).await?;
    sources(kafka, contracts, &told, &mut facts).await?;
    results(kafka, store, contracts, &mut facts).await?;
    dead_letters(kafka, &mut facts).await?;
    progress(contracts, &told, &mut facts);
    if let Some(dir) = lake_dir {
        let found = lake::inspect(dir).await.context("cannot read the lake")?;
        for (stream, facts) in &mut facts.streams {
            facts.lake_rows = Some(found.get(stream).map_or(0, |topic| topic.rows));
        }
    }
    Ok(facts)
}

/// The last row of each table.
type Told = BTreeMap<String, TableProgress>;

async fn last_progress(kafka: &ClientSettings) -> anyhow::Result<Told> {
    let mut last = Told::new();
    scan(kafka, &["job_progress"], |record| {
        if let Some(row) = record.value.and_then(|value| serde_json::from_slice::<TableProgress>(value).ok()) {
            last.insert(row.table.clone(), row);
        }
    })
    .await?;
    Ok(last)
}

/// A partition a table on Spark reads.
struct SparkRead<'a> {
    table: &'a str,
    /// Next offset.
    offset: i64,
    /// Records before it.
    records: u64,
}

async fn sources(kafka: &ClientSettings, contracts: &[Contract], told: &Told, facts: &mut Facts) -> anyhow::Result<()> {
    let names: Vec<&str> =
        contracts.iter().filter(|c| c.role == Role::Source).map(|contract| contract.name.as_str()).collect();
    let mut counts: BTreeMap<String, u64> = names.iter().map(|name| ((*name).to_owned(), 0)).collect();
    let mut reads: BTreeMap<String, BTreeMap<i32, Vec<SparkRead<'_>>>> = BTreeMap::new();
    for row in told.values().filter(|row| row.backend == SPARK) {
        for source in &row.sources {
            let read = SparkRead { table: &row.table, offset: source.offset, records: 0 };
            reads.entry(source.topic.clone()).or_default().entry(source.partition).or_default().push(read);
        }
    }
    let extents = scan(kafka, &names, |record| {
        if let Some(count) = counts.get_mut(record.topic) {
            *count += 1;
        }
        let of_topic = reads.get_mut(record.topic);
        let of_place = of_topic.and_then(|places| places.get_mut(&record.partition)).into_iter().flatten();
        of_place.for_each(|read| read.records += u64::from(record.offset < read.offset));
    })
    .await?;
    // What retention has removed was there: its offsets say how much (transaction markers among them count as records).
    for (place, extent) in extents {
        let removed = extent.low.unsigned_abs();
        if let Some(count) = counts.get_mut(&*place.topic) {
            *count += removed;
        }
        let of_topic = reads.get_mut(&*place.topic);
        let of_place = of_topic.and_then(|places| places.get_mut(&place.partition)).into_iter().flatten();
        of_place.for_each(|read| read.records += removed);
    }
    for (stream, records) in counts {
        facts.streams.insert(stream, StreamFacts { records, ..StreamFacts::default() });
    }
    reads.retain(|topic, _| facts.streams.contains_key(topic));
    for (topic, places) in reads {
        for read in places.into_values().flatten() {
            let spark = facts.tables.entry(read.table.to_owned()).or_default().spark.get_or_insert_default();
            *spark.records_before.entry(topic.clone()).or_default() += read.records;
        }
    }
    Ok(())
}

/// What a result topic holds; keys and rows by their hashes.
#[derive(Default)]
struct TopicRows {
    records: u64,
    keys: HashSet<u64>,
    rows: HashSet<u64>,
}

async fn results(
    kafka: &ClientSettings,
    store: &Store,
    contracts: &[Contract],
    facts: &mut Facts,
) -> anyhow::Result<()> {
    let tables: Vec<&Contract> = contracts.iter().filter(|contract| contract.role == Role::Result).collect();
    let names: Vec<&str> = tables.iter().map(|contract| contract.name.as_str()).collect();
    let hasher = RandomState::new();
    let mut rows: BTreeMap<String, TopicRows> = BTreeMap::new();
    let mut ledger: BTreeMap<Vec<u8>, (String, u64)> = BTreeMap::new();
    scan(kafka, &names, |record| {
        let of_topic = rows.entry(record.topic.to_owned()).or_default();
        of_topic.records += 1;
        of_topic.keys.insert(hasher.hash_one(record.key));
        of_topic.rows.insert(hasher.hash_one((record.key, record.value)));
        if record.topic == "ledger"
            && let Some(row) = record.value.and_then(|value| serde_json::from_slice::<Value>(value).ok())
        {
            let stream = row["stream"].as_str().unwrap_or_default().to_owned();
            ledger.insert(record.key.to_vec(), (stream, row["records"].as_u64().unwrap_or(0)));
        }
    })
    .await?;
    for contract in tables {
        let found = rows.remove(&contract.name).unwrap_or_default();
        let answer = store.query(&format!("SELECT count(*) AS n FROM \"{}\"", contract.name), &[]).await?;
        let table = facts.tables.entry(contract.name.clone()).or_default();
        table.topic_rows = found.records;
        table.topic_keys = found.keys.len() as u64;
        table.topic_rows_different = found.rows.len() as u64;
        table.keyed = !contract.key.is_empty();
        table.store_rows = answer.first().and_then(|row| row.get("n")).and_then(Value::as_u64);
    }
    if facts.tables.contains_key("ledger") {
        let sql = "SELECT stream, sum(records) AS n FROM \"ledger\" GROUP BY stream";
        let stored: BTreeMap<String, u64> = store
            .query(sql, &[])
            .await?
            .iter()
            .filter_map(|row| Some((row.get("stream")?.as_str()?.to_owned(), whole(row.get("n")?)?)))
            .collect();
        for (stream, found) in &mut facts.streams {
            let in_topic = ledger.values().filter(|(name, _)| name == stream).map(|(_, records)| records).sum();
            found.ledger_topic = Some(in_topic);
            found.ledger_store = Some(stored.get(stream).copied().unwrap_or(0));
        }
    }
    Ok(())
}

/// A sum: PostgreSQL gives NUMERIC for a sum of BIGINT, which may come as text.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().map(|number| number as u64)).or_else(|| value.as_str()?.parse().ok())
}

async fn dead_letters(kafka: &ClientSettings, facts: &mut Facts) -> anyhow::Result<()> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut broken = 0_u64;
    scan(kafka, &["dead_letters"], |record| {
        let letter = record.value.and_then(|value| serde_json::from_slice::<DeadLetter>(value).ok());
        let Some(letter) = letter else {
            broken += 1;
            return;
        };
        if !seen.insert(letter.dead_letter_id) {
            return;
        }
        match (letter.kind.as_str(), letter.table) {
            ("malformed", _) => {
                if let Some(stream) = facts.streams.get_mut(&letter.topic) {
                    stream.dead_malformed += 1;
                }
            }
            ("late", Some(table)) => {
                *facts.tables.entry(table).or_default().dead_late.entry(letter.topic).or_default() += 1;
            }
            _ => {}
        }
    })
    .await?;
    anyhow::ensure!(broken == 0, "{broken} records of dead_letters cannot be read");
    Ok(())
}

fn progress(contracts: &[Contract], told: &Told, facts: &mut Facts) {
    let streams: BTreeSet<&str> =
        contracts.iter().filter(|c| c.role == Role::Source).map(|contract| contract.name.as_str()).collect();
    for (name, row) in told {
        let table = facts.tables.entry(name.clone()).or_default();
        table.append = row.output_mode.as_deref() == Some("append") && table.keyed && !upserts(row);
        if row.backend == SPARK {
            table.spark.get_or_insert_default().counts = row.counts;
            continue;
        }
        for source in &row.sources {
            if !streams.contains(source.topic.as_str()) {
                continue;
            }
            let sum = table.sources.entry(source.topic.clone()).or_default();
            sum.records_in += source.counts.records_in;
            sum.counted += source.counts.records_counted;
            sum.late += source.counts.records_late;
            sum.malformed += source.counts.records_malformed;
            sum.duplicate += source.counts.records_duplicate;
        }
    }
}

/// A table without state over another table in update mode passes on every correction of a key.
fn upserts(row: &TableProgress) -> bool {
    row.state_groups == 0 && row.watermark.is_none()
}
