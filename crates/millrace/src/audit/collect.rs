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

use super::{Facts, SourceFacts, StreamFacts, TableFacts};
use crate::topic_scan::scan;

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
    sources(kafka, contracts, &mut facts).await?;
    results(kafka, store, contracts, &mut facts).await?;
    dead_letters(kafka, &mut facts).await?;
    progress(kafka, contracts, &mut facts).await?;
    if let Some(dir) = lake_dir {
        let found = lake::inspect(dir).context("cannot read the lake")?;
        for (stream, facts) in &mut facts.streams {
            facts.lake_rows = Some(found.get(stream).map_or(0, |topic| topic.rows));
        }
    }
    Ok(facts)
}

async fn sources(kafka: &ClientSettings, contracts: &[Contract], facts: &mut Facts) -> anyhow::Result<()> {
    let names: Vec<&str> =
        contracts.iter().filter(|c| c.role == Role::Source).map(|contract| contract.name.as_str()).collect();
    let mut counts: BTreeMap<String, u64> = names.iter().map(|name| ((*name).to_owned(), 0)).collect();
    let extents = scan(kafka, &names, |record| {
        if let Some(count) = counts.get_mut(record.topic) {
            *count += 1;
        }
    })
    .await?;
    // What retention has removed was there: its offsets say how much (transaction markers among them count as records).
    for (place, extent) in extents {
        if let Some(count) = counts.get_mut(&*place.topic) {
            *count += extent.low.unsigned_abs();
        }
    }
    for (stream, records) in counts {
        facts.streams.insert(stream, StreamFacts { records, ..StreamFacts::default() });
    }
    Ok(())
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
    let mut rows: BTreeMap<String, (u64, HashSet<u64>)> = BTreeMap::new();
    let mut ledger: BTreeMap<Vec<u8>, (String, u64)> = BTreeMap::new();
    scan(kafka, &names, |record| {
        let (count, keys) = rows.entry(record.topic.to_owned()).or_default();
        *count += 1;
        keys.insert(hasher.hash_one(record.key));
        if record.topic == "ledger"
            && let Some(row) = record.value.and_then(|value| serde_json::from_slice::<Value>(value).ok())
        {
            let stream = row["stream"].as_str().unwrap_or_default().to_owned();
            ledger.insert(record.key.to_vec(), (stream, row["records"].as_u64().unwrap_or(0)));
        }
    })
    .await?;
    for contract in tables {
        let (count, keys) = rows.remove(&contract.name).unwrap_or_default();
        let answer = store.query(&format!("SELECT count(*) AS n FROM \"{}\"", contract.name), &[]).await?;
        let table = facts.tables.entry(contract.name.clone()).or_default();
        table.topic_rows = count;
        table.topic_keys = keys.len() as u64;
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

async fn progress(kafka: &ClientSettings, contracts: &[Contract], facts: &mut Facts) -> anyhow::Result<()> {
    let streams: BTreeSet<&str> =
        contracts.iter().filter(|c| c.role == Role::Source).map(|contract| contract.name.as_str()).collect();
    let mut last: BTreeMap<String, TableProgress> = BTreeMap::new();
    scan(kafka, &["job_progress"], |record| {
        if let Some(row) = record.value.and_then(|value| serde_json::from_slice::<TableProgress>(value).ok()) {
            last.insert(row.table.clone(), row);
        }
    })
    .await?;
    for (name, row) in last {
        let table = facts.tables.entry(name).or_insert_with(|| TableFacts { append: false, ..TableFacts::default() });
        table.append = row.output_mode.as_deref() == Some("append") && table.keyed && !upserts(&row);
        for source in row.sources {
            if !streams.contains(source.topic.as_str()) {
                continue;
            }
            let sum = table.sources.entry(source.topic).or_insert_with(SourceFacts::default);
            sum.records_in += source.counts.records_in;
            sum.counted += source.counts.records_counted;
            sum.late += source.counts.records_late;
            sum.malformed += source.counts.records_malformed;
            sum.duplicate += source.counts.records_duplicate;
        }
    }
    Ok(())
}

/// A table without state over another table in update mode passes on every correction of a key.
fn upserts(row: &TableProgress) -> bool {
    row.state_groups == 0 && row.watermark.is_none()
}
